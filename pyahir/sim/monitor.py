"""How full the pipes inside a design are: measured in simulation, never part of a design.

In: the VHDL text of a design, and the folder of a run. Out: the text with a probe in entity
``aa_fifo``, and afterwards ``PipeFill`` of every pipe. A probe looks at the ports of the FIFO only
and writes its row when the testbench ends. (GHDL 2 has no external names, so that the testbench
cannot look into the design by itself.)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PACKAGE", "TESTBENCH_PART", "PipeFill", "describe", "probed", "read_fills"]

PACKAGE = """\
package aa_monitor is
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
    file fills : text;
    variable row : line;
    variable cycle, fill, peak, words, full : natural := 0;
    variable first_cycle, last_cycle : integer := -1;
  begin
    loop
      wait until rising_edge(clk) or work.aa_monitor.ended;
      exit when work.aa_monitor.ended;
      if reset = '1' then
        fill := 0;
      elsif write_put = '1' or read_take = '1' then
        last_cycle := cycle;
        if write_put = '1' then
          if words = 0 then
            first_cycle := cycle;
          end if;
          words := words + 1;
          fill := fill + 1;
        end if;
        if read_take = '1' then
          fill := fill - 1;
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
    wait;
  end process;
"""
_MOST = 12  # names in a message


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
    found: dict[str, PipeFill] = {}
    for row in (folder / "testbench.fills").read_text(encoding="ascii").splitlines():
        path, *figures = row.split()
        label = path.strip(":").rpartition(":")[2].removeprefix("fifo_")
        pipe = names.get(label.lower(), label)
        found[pipe] = PipeFill(pipe, *map(int, figures))
    return {name: found[name] for name in sorted(found, key=[*names.values(), *found].index)}


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
