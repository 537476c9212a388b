"""A testbench in VHDL for the ports of a design: words from files in, words to files out.

In: the pipes of the design, counts of words, stalls. Out: the text of entity ``testbench``, in
VHDL-93, which reads ``<pipe>.in`` (one word in hexadecimal a line) and writes ``<pipe>.out``
(clock cycle and word). It ends when all words came, or when nothing has moved for ``patience``
cycles: then ``timeout.out`` names the waiting pipes. The caller compares the words.
Not here: running it (``run``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Port", "testbench"]

RESET_CYCLES = 10


@dataclass(frozen=True, slots=True)
class Port:
    """A pipe at the border: ``words`` to give or to wait for."""

    name: str
    width: int
    words: int
    output: bool

    @property
    def digits(self) -> int:
        """Hexadecimal digits of a word."""
        return -(-self.width // 4)

    @property
    def side(self) -> str:
        """The part of the port names that tells the direction."""
        return f"{self.name}_pipe_{'read' if self.output else 'write'}"


_HEAD = """\
library ieee;
use ieee.std_logic_1164.all;
use ieee.math_real.all;
use std.textio.all;

entity testbench is
end entity;

architecture simulation of testbench is
  constant stall_share : real := {share};

  function digit_bits(c : character) return std_logic_vector is
    constant digits : string(1 to 16) := "0123456789abcdef";
    variable value : natural := 0;
    variable bits : std_logic_vector(3 downto 0);
  begin
    for i in digits'range loop
      if digits(i) = c then
        value := i - 1;
      end if;
    end loop;
    for i in 0 to 3 loop
      if (value / 2**i) mod 2 = 1 then
        bits(i) := '1';
      else
        bits(i) := '0';
      end if;
    end loop;
    return bits;
  end function;

  function to_word(text : string; width : positive) return std_logic_vector is
    variable bits : std_logic_vector(4 * text'length - 1 downto 0);
    variable place : integer := bits'high;
  begin
    for i in text'range loop
      bits(place downto place - 3) := digit_bits(text(i));
      place := place - 4;
    end loop;
    return bits(width - 1 downto 0);
  end function;

  function to_text(word : std_logic_vector; digits : positive) return string is
    constant names : string(1 to 16) := "0123456789abcdef";
    alias bits : std_logic_vector(word'length - 1 downto 0) is word;
    variable text : string(1 to digits);
    variable value : natural;
  begin
    for i in 0 to digits - 1 loop
      value := 0;
      for j in 0 to 3 loop
        if 4 * i + j < word'length then
          if bits(4 * i + j) = '1' then
            value := value + 2**j;
          elsif bits(4 * i + j) /= '0' then
            value := 16;
          end if;
        end if;
        exit when value > 15;
      end loop;
      if value > 15 then
        text(digits - i) := 'x';
      else
        text(digits - i) := names(value + 1);
      end if;
    end loop;
    return text;
  end function;

  signal clk : std_logic := '0';
  signal reset : std_logic := '1';
  signal ended : boolean := false;
  signal cycle : natural := 0;
  signal last_move : natural := 0;
"""

_CLOCK = """\
  clk <= not clk after 5 ns when not ended else '0';
  reset <= '0' after {reset} ns;

  process (clk)
  begin
    if rising_edge(clk) then
      cycle <= cycle + 1;
      if {moved} then
        last_move <= cycle;
      end if;
    end if;
  end process;

  process
    file report_file : text;
    variable row : line;
  begin
    wait until rising_edge(clk) and (({finished}) or cycle - last_move > {patience});
    if cycle - last_move > {patience} then
      file_open(report_file, "timeout.out", write_mode);
{waiting}
      file_close(report_file);
    end if;
    ended <= true;
    wait;
  end process;
"""

_WAITING = """\
      if not {name}_done then
        write(row, string'("{name} ") & integer'image({name}_count) & string'(" {words}"));
        writeline(report_file, row);
      end if;"""

_INPUT = """\
  process
    file words : text open read_mode is "{name}.in";
    variable row : line;
    variable word : string(1 to {digits});
    variable seed1 : positive := {seed};
    variable seed2 : positive := 4711;
    variable chance : real;
  begin
    wait until rising_edge(clk) and reset = '0';
    while not endfile(words) loop
      readline(words, row);
      read(row, word);
      loop
        uniform(seed1, seed2, chance);
        exit when chance >= stall_share;
        wait until rising_edge(clk);
      end loop;
      {side}_data <= to_word(word, {width});
      {side}_req <= "1";
      wait until rising_edge(clk) and {side}_ack = "1";
      {name}_count <= {name}_count + 1;
      {side}_req <= "0";
    end loop;
    {name}_done <= true;
    wait;
  end process;
"""

_OUTPUT = """\
  process
    file words : text open write_mode is "{name}.out";
    variable row : line;
    variable seed1 : positive := {seed};
    variable seed2 : positive := 1234;
    variable chance : real;
  begin
    wait until rising_edge(clk) and reset = '0';
    for number in 1 to {words} loop
      loop
        uniform(seed1, seed2, chance);
        exit when chance >= stall_share;
        wait until rising_edge(clk);
      end loop;
      {side}_req <= "1";
      wait until rising_edge(clk) and {side}_ack = "1";
      write(row, integer'image(cycle) & string'(" ") & to_text({side}_data, {digits}));
      writeline(words, row);
      {name}_count <= {name}_count + 1;
      {side}_req <= "0";
    end loop;
    {name}_done <= true;
    wait;
  end process;
"""


def testbench(
    top: str, ports: Sequence[Port], *, stall_share: float, seed: int, patience: int
) -> str:
    """Write the testbench."""
    lines = [_HEAD.format(share=f"{stall_share:.6f}")]
    for port in ports:
        word = f"std_logic_vector({port.width - 1} downto 0)"
        lines += [
            f"  signal {port.side}_data : {word} := (others => '0');",
            f'  signal {port.side}_req, {port.side}_ack : std_logic_vector(0 downto 0) := "0";',
            f"  signal {port.name}_count : natural := 0;",
            f"  signal {port.name}_done : boolean := false;",
        ]
    lines += ["begin", _control(ports, patience)]
    lines += [_process(port, seed, number) for number, port in enumerate(ports)]
    links = ["clk => clk", "reset => reset"]
    for port in ports:
        links += [f"{port.side}_{part} => {port.side}_{part}" for part in ("data", "req", "ack")]
    lines.append(f"  design : entity work.{top}\n    port map (")
    lines.append("      " + ",\n      ".join(links) + ");\nend architecture;\n")
    return "\n".join(lines)


def _control(ports: Sequence[Port], patience: int) -> str:
    """Write clock, reset, the end and the time-out."""
    moves = [f'({port.side}_req = "1" and {port.side}_ack = "1")' for port in ports]
    outputs = [f"{port.name}_done" for port in ports if port.output]
    return _CLOCK.format(
        reset=10 * RESET_CYCLES + 2,
        moved="\n        or ".join(moves),
        finished=" and ".join(outputs) or "false",
        patience=patience,
        waiting="\n".join(_WAITING.format(name=port.name, words=port.words) for port in ports),
    )


def _process(port: Port, seed: int, number: int) -> str:
    """Write the process that gives or takes the words of a pipe."""
    return (_OUTPUT if port.output else _INPUT).format(
        name=port.name,
        side=port.side,
        width=port.width,
        digits=port.digits,
        words=port.words,
        seed=1 + (seed * 7919 + number * 104729) % 2_000_000_000,
    )
