// The testbench of testbench.py again, for a design that Verilator made C++ of.
//
// In: "bench.run" (bounds, gaps, one line a port), <pipe>.in, <pipe>.expect in the current folder.
// Out: <pipe>.out, <pipe>.taken and testbench.results, as the VHDL of bench_text.py writes them,
// with the same cycle numbers: each port steps through the states of its VHDL process.
// PORTS, the table of ports, is in ports.h, which is written for each design.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "Vbench.h"
#include "ports.h"
#include "verilated.h"

namespace {

using Word = std::vector<std::uint32_t>;  // the low part first, at least two parts

template <typename Integer>
void put(Integer& port, const Word& word) {
  port = static_cast<Integer>(word[0] | (std::uint64_t{word[1]} << 32));
}

template <std::size_t parts>
void put(VlWide<parts>& port, const Word& word) {
  for (std::size_t i = 0; i < parts; ++i) port[i] = word[i];
}

template <typename Integer>
void get(const Integer& port, Word& word) {
  word[0] = static_cast<std::uint32_t>(port);
  word[1] = static_cast<std::uint32_t>(static_cast<std::uint64_t>(port) >> 32);
}

template <std::size_t parts>
void get(const VlWide<parts>& port, Word& word) {
  for (std::size_t i = 0; i < parts; ++i) word[i] = port[i];
}

[[noreturn]] void fail(const std::string& message) {
  std::cerr << "bench: " << message << "\n";
  std::exit(2);
}

Word to_word(const std::string& digits, std::size_t width) {
  Word word((width < 64 ? 64 : width + 31) / 32, 0);
  std::size_t place = 0;
  for (std::size_t i = digits.size(); i-- > 0; place += 4) {
    const char c = digits[i];
    const std::uint32_t value = c <= '9' ? c - '0' : c - 'a' + 10;
    word[place / 32] |= value << (place % 32);
  }
  return word;
}

std::string to_text(const Word& word, std::size_t digits) {
  std::string text(digits, '0');
  for (std::size_t i = 0; i < digits; ++i) {
    text[digits - 1 - i] = "0123456789abcdef"[(word[i / 8] >> (i % 8 * 4)) & 15];
  }
  return text;
}

// "uniform" of IEEE 1076.2, math_real: two combined congruential generators.
class Uniform {
 public:
  Uniform() = default;
  Uniform(std::int64_t first, std::int64_t second) : first_(first), second_(second) {}

  double operator()() {
    first_ = 40014 * first_ % 2147483563;
    second_ = 40692 * second_ % 2147483399;
    const std::int64_t difference = first_ - second_;
    return static_cast<double>(difference < 1 ? difference + 2147483562 : difference) *
           4.656613e-10;
  }

 private:
  std::int64_t first_ = 1;
  std::int64_t second_ = 1;
};

enum class State { before, gap, move, after };

struct Port {
  std::string name;
  std::size_t width;
  bool output;
  CData* req;
  CData* ack;
  void (*write)(Vbench&, const Word&);
  void (*read)(Vbench&, Word&);

  long long words = 0;  // to wait for; -1 takes all
  double share = 0;
  Uniform chance;
  bool checked = false;
  // Input ports that must have given so many words before this one begins.
  std::vector<std::pair<std::size_t, long long>> after;

  std::vector<Word> given;  // input words, or golden ones
  Word word;
  std::ofstream file;
  State state = State::before;
  long long count = 0;
  bool done = false;
  long long wrong = 0;
  long long wrong_number = 0;
  long long wrong_cycle = 0;
  std::string wrong_text;

  std::size_t digits() const { return (width + 3) / 4; }
  bool moves() const { return *req && *ack; }
};

struct Run {
  long long patience = 0;
  long long limit = -1;  // -1: none
  int seed = 1;
  double shares[2] = {0, 0};  // of inputs, of outputs
  std::vector<Port> ports;
};

std::vector<Port> all_ports(Vbench& top) {
  std::vector<Port> ports;
#define PORT(number, name, width, output)                                         \
  ports.push_back(Port{name, width, output, &top.p##number##_req, &top.p##number##_ack, \
                       [](Vbench& t, const Word& w) { put(t.p##number##_data, w); },    \
                       [](Vbench& t, Word& w) { get(t.p##number##_data, w); }});
  PORTS
#undef PORT
  return ports;
}

std::vector<Word> read_words(const std::string& name, std::size_t width) {
  std::ifstream file(name);
  if (!file) fail("cannot read " + name);
  std::vector<Word> words;
  for (std::string digits; file >> digits;) words.push_back(to_word(digits, width));
  return words;
}

void read_bounds(std::istream& file, Run& run) {
  file >> run.patience >> run.limit >> run.seed >> run.shares[0] >> run.shares[1];
}

void read_ports(std::istream& file, Run& run, Vbench& top) {
  for (Port& port : run.ports) {
    std::int64_t seed = 0;
    std::size_t holds = 0;
    file >> port.words >> seed >> port.checked >> holds;
    port.after.resize(holds);
    for (auto& [other, words] : port.after) file >> other >> words;
    port.share = run.shares[port.output];
    port.chance = Uniform(seed, port.output ? 1234 : 4711);
    port.done = port.words < 0;
    port.word = to_word("0", port.width);
    if (!port.output) port.given = read_words(port.name + ".in", port.width);
    if (port.checked) port.given = read_words(port.name + ".expect", port.width);
    port.file.open(port.name + (port.output ? ".out" : ".taken"));
    *port.req = 0;
    if (!port.output) port.write(top, port.word);
  }
  if (!file) fail("bench.run is not complete");
}

// Begin the next word, or its gap, or end: what a VHDL process does between two waits.
void next(Port& port, Vbench& top, bool fresh) {
  const auto count = static_cast<std::size_t>(port.count);
  const bool more = port.output ? port.words < 0 || port.count < port.words
                                : count < port.given.size();
  *port.req = 0;
  if (fresh && !more) {
    port.state = State::after;
    return;
  }
  if (port.chance() < port.share) {
    port.state = State::gap;
    return;
  }
  if (!port.output) port.write(top, port.given[count]);
  *port.req = 1;
  port.state = State::move;
}

void check(Port& port, long long cycle) {
  const Word& expected = port.given[static_cast<std::size_t>(port.count)];
  if (port.word == expected) return;
  if (port.wrong == 0) {
    port.wrong_number = port.count;
    port.wrong_cycle = cycle;
    port.wrong_text = to_text(expected, port.digits()) + " " + to_text(port.word, port.digits());
  }
  ++port.wrong;
}

void move(Port& port, long long cycle) {
  port.file << cycle;
  if (port.output) {
    port.file << ' ' << to_text(port.word, port.digits());
    if (port.checked) check(port, cycle);
  }
  port.file << '\n';
  ++port.count;
}

// One rising edge, with what the design showed before it: "moved", port.word and "may_begin".
void step(Port& port, Vbench& top, bool moved, bool may_begin, long long cycle) {
  switch (port.state) {
    case State::before:
      if (may_begin) next(port, top, true);
      break;
    case State::gap:
      next(port, top, false);
      break;
    case State::move:
      if (moved) {
        move(port, cycle);
        next(port, top, true);
      }
      break;
    case State::after:
      break;
  }
}

void write_results(const Run& run, const char* reason, bool complete, long long cycle) {
  std::ofstream file("testbench.results");
  bool failed = !complete;
  for (const Port& port : run.ports) {
    file << (port.output ? "output " : "input ") << port.name << ' ' << port.count << ' '
         << port.words << '\n';
    if (port.wrong > 0) {
      failed = true;
      file << "wrong " << port.name << ' ' << port.wrong << ' ' << port.wrong_number << ' '
           << port.wrong_cycle << ' ' << port.wrong_text << '\n';
    }
  }
  file << "end " << reason << ' ' << cycle << '\n' << (failed ? "FAIL" : "PASS") << '\n';
}

void simulate(Run& run, Vbench& top) {
  long long last_move = 0;
  bool any = false;
  bool counted = false;
  for (const Port& port : run.ports) {
    any = any || port.output;
    counted = counted || (port.output && port.words > 0);
  }
  bool endless = false;
  for (const Port& port : run.ports) endless = endless || (port.output && port.words < 0);
  const bool open_ended = endless && !counted;
  std::vector<bool> moved(run.ports.size()), may_begin(run.ports.size());
  for (long long cycle = 0;; ++cycle) {
    const bool reset = cycle < RESET_CYCLES;
    top.reset = reset;
    top.clk = 0;
    top.eval();
    bool complete = any;
    bool some_moved = false;
    for (std::size_t i = 0; i < run.ports.size(); ++i) {
      Port& port = run.ports[i];
      moved[i] = port.moves();
      some_moved = some_moved || moved[i];
      if (port.output && moved[i]) port.read(top, port.word);
      may_begin[i] = !reset;
      for (const auto& [other, words] : port.after) {
        may_begin[i] = may_begin[i] && run.ports[other].count >= words;
      }
      if (port.output) complete = complete && port.done;
    }
    const bool finished = complete && !open_ended;
    const bool quiet = cycle - last_move > run.patience;
    const bool limited = run.limit >= 0 && cycle >= run.limit;
    const bool last = finished || quiet || limited;
    if (last) {
      write_results(run, finished ? "words" : quiet ? "quiet" : "limit", complete, cycle);
    }
    top.clk = 1;
    top.eval();
    for (std::size_t i = 0; i < run.ports.size(); ++i) {
      Port& port = run.ports[i];
      step(port, top, moved[i], may_begin[i], cycle);
      port.done = port.done || port.state == State::after;
    }
    if (some_moved) last_move = cycle;
    if (last) return;
  }
}

}  // namespace

int main(int argc, char** argv) {
  const auto context = std::make_unique<VerilatedContext>();
  context->commandArgs(argc, argv);
  Run run;
  std::ifstream file("bench.run");
  read_bounds(file, run);
  // What VHDL calls undefined begins with random bits here.
  context->randReset(2);
  context->randSeed(run.seed);
  const auto top = std::make_unique<Vbench>(context.get());
  run.ports = all_ports(*top);
  read_ports(file, run, *top);
  simulate(run, *top);
  top->final();
  return 0;
}
