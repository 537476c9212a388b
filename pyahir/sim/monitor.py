"""How full the pipes inside a design are: measured in simulation, never part of a design.

In: the VHDL text of a design, and the folder of a run. Out: the text with a probe in entity
``aa_fifo``, and afterwards ``PipeFill`` of every pipe, with its ``Activity``. A probe looks at the
ports of the FIFO only and writes its rows when the testbench ends. (GHDL 2 has no external names,
so that the testbench cannot look into the design by itself.)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = [
    "PACKAGE",
    "TESTBENCH_PART",
    "Activity",
    "PipeFill",
    "describe",
    "probed",
    "read_fills",
]

BINS = 2048  # of the activity: when they are used up, two become one, and half are free again
PACKAGE = f"""\
package aa_monitor is
  constant bins : positive := {BINS};
  type counts is array (0 to bins - 1) of natural;
  signal ended : boolean := false;
end package;
"""
TESTBENCH_PART = "  work.aa_monitor.ended <= ended;\n"
_FIFO = re.compile(
    r"(architecture rtl of aa_fifo is\n)(.*?)(end architecture;)", re.DOTALL | re.IGNORECASE
)
_INSTANCE = re.compile(r"\bfifo_(\w+) : entity work\.aa_fifo\b")
_PROBE = """\
  probe : process
    file fills, activity : text;
    variable row : line;
    variable puts, takes : work.aa_monitor.counts := (others => 0);
    variable bin : natural := 0;
    variable bin_cycles : positive := 1;
    variable cycle, fill, peak, words, full : natural := 0;
    variable first_cycle, last_cycle : integer := -1;
  begin
    loop
      wait until rising_edge(clk) or work.aa_monitor.ended;
      exit when work.aa_monitor.ended;
      bin := cycle / bin_cycles;
      if bin = work.aa_monitor.bins then
        for pair in 0 to work.aa_monitor.bins / 2 - 1 loop
          puts(pair) := puts(2 * pair) + puts(2 * pair + 1);
          takes(pair) := takes(2 * pair) + takes(2 * pair + 1);
        end loop;
        puts(work.aa_monitor.bins / 2 to work.aa_monitor.bins - 1) := (others => 0);
        takes(work.aa_monitor.bins / 2 to work.aa_monitor.bins - 1) := (others => 0);
        bin_cycles := 2 * bin_cycles;
        bin := cycle / bin_cycles;
      end if;
      if reset = '1' then
        fill := 0;
      elsif write_put = '1' or read_take = '1' then
        last_cycle := cycle;
        if write_put = '1' then
          if words = 0 then
            first_cycle := cycle;
          end if;
          words := words + 1;
          puts(bin) := puts(bin) + 1;
          fill := fill + 1;
        end if;
        if read_take = '1' then
          fill := fill - 1;
          takes(bin) := takes(bin) + 1;
        end if;
        if fill > peak then
          peak := fill;
        end if;
      end if;
      if fill = depth then
        full := full + 1;
      end if;
      cycle := cycle + 1;
    end loop;
    file_open(fills, "testbench.fills", append_mode);
    write(row, aa_fifo'path_name & string'(" ") & integer'image(depth)
      & string'(" ") & integer'image(peak) & string'(" ") & integer'image(fill)
      & string'(" ") & integer'image(first_cycle) & string'(" ") & integer'image(last_cycle)
      & string'(" ") & integer'image(words) & string'(" ") & integer'image(full));
    writeline(fills, row);
    file_close(fills);
    file_open(activity, "testbench.activity", append_mode);
    write(row, aa_fifo'path_name & string'(" ") & integer'image(bin_cycles));
    writeline(activity, row);
    for number in 0 to bin loop
      write(row, integer'image(puts(number)) & string'(" ") & integer'image(takes(number)));
      writeline(activity, row);
    end loop;
    file_close(activity);
    wait;
  end process;
"""
_MOST = 12  # names in a message


@dataclass(frozen=True, slots=True)
class Activity:
    """Words put into and taken from a pipe in each stretch of ``bin_cycles`` clock cycles.

    The stretches of all pipes of a run are the same, the first one begins with cycle 0.
    """

    bin_cycles: int
    put: tuple[int, ...]
    taken: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PipeFill:
    """How many words a pipe held; cycles are those of the testbench, -1 where nothing moved.

    ``peak`` and ``final`` count words after an edge. ``first_cycle`` is that of the first word put,
    ``last_cycle`` that of the last word put or taken; ``full`` counts the cycles without room.
    """

    pipe: str
    depth: int
    peak: int
    final: int
    first_cycle: int
    last_cycle: int
    words: int
    full: int
    activity: Activity | None = field(default=None, compare=False, repr=False)


def probed(text: str) -> str | None:
    """Give the design's text with a probe in every FIFO; None when it has no such FIFO."""
    found = _FIFO.search(text)
    if found is None:
        return None
    head, body, end = found.groups()
    new = f"{head}  use std.textio.all;\n{body}{_PROBE}{end}"
    return text[: found.start()] + new + text[found.end() :]


def read_fills(folder: Path, text: str, pipes: Sequence[str]) -> dict[str, PipeFill]:
    """Read the rows of the probes; ``pipes`` are those that the program uses, in its order.

    The FIFOs of a design's ``text`` have that order too, under names that VHDL allows.
    """
    labels = _INSTANCE.findall(text)
    names = {
        label.lower(): pipe
        for label, pipe in zip(labels, pipes, strict=False)
        if len(labels) == len(pipes)
    }
    activities = _activities(folder)
    found: dict[str, PipeFill] = {}
    for row in (folder / "testbench.fills").read_text(encoding="ascii").splitlines():
        path, *figures = row.split()
        label = path.strip(":").rpartition(":")[2].removeprefix("fifo_")
        pipe = names.get(label.lower(), label)
        found[pipe] = PipeFill(pipe, *map(int, figures), activity=activities[path])
    return {name: found[name] for name in sorted(found, key=[*names.values(), *found].index)}


def _activities(folder: Path) -> dict[str, Activity]:
    """Read a heading, path and cycles a bin, and below it the words of each bin."""
    headings: dict[str, int] = {}
    counts: dict[str, list[tuple[int, int]]] = {}
    path = ""
    for row in (folder / "testbench.activity").read_text(encoding="ascii").splitlines():
        first, second = row.split()
        if not first.isdigit():
            path, headings[first], counts[first] = first, int(second), []
            continue
        counts[path].append((int(first), int(second)))
    return {
        name: Activity(size, *(tuple(column) for column in zip(*counts[name], strict=True)))
        for name, size in headings.items()
    }


def describe(fills: Mapping[str, PipeFill], users: Mapping[str, str]) -> str:
    """Say which pipes are full, partly full and empty; ``users`` tells who writes and reads."""
    groups: dict[str, list[str]] = {"full": [], "holding words": [], "empty": []}
    for fill in fills.values():
        if fill.final == 0:
            groups["empty"].append(fill.pipe)
            continue
        kind = "full" if fill.final == fill.depth else "holding words"
        who = f": {users[fill.pipe]}" if fill.pipe in users else ""
        groups[kind].append(f"{fill.pipe} ({fill.final} of {fill.depth}{who})")
    return "".join(f"\n  {kind}: {_listed(items)}" for kind, items in groups.items() if items)


def _listed(items: Iterable[str]) -> str:
    texts = list(items)
    more = f" and {len(texts) - _MOST} more" if len(texts) > _MOST else ""
    return ", ".join(texts[:_MOST]) + more
