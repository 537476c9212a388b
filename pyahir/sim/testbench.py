"""A self-checking testbench in VHDL-93 for the ports of a design, whoever compiled the design.

In: the pipes at the border (``Port``), words for the inputs, golden words for outputs, stalls.
Out: files in a folder, and what a run of them left there. Two calls, with the run between::

    write_bench(folder, ports, inputs, golden, stalls, patience)
    ...  analyse the design, then testbench.vhd; elaborate and run ``testbench`` in ``folder``
    found = read_results(folder, ports, patience)

The design is entity ``work.ahir_system`` with ``clk``, ``reset`` (high for ten
cycles) and for each pipe p the ports p_pipe_write_data/req/ack or p_pipe_read_data/req/ack; a word
moves at each rising edge with req = ack = 1.

Files written: ``testbench.vhd``, ``<pipe>.in`` and ``<pipe>.expect`` (hexadecimal, one word a
line). Files of the run: ``<pipe>.out`` (clock cycle and word), ``<pipe>.taken`` (clock cycle of
each input word) and ``testbench.results``: counts, the first word of each pipe that differs, why
the run ended, and as last line PASS or FAIL. A bit that is not 0 or 1 differs from every golden
word.

The run ends when all words came, or when nothing has moved at the border for ``patience`` cycles,
or after ``limit`` cycles. An output with ``words=None`` takes what comes until then; where no
other output has a number of words, the run ends when nothing moves.
Not here: GHDL (``ghdl``), the pipes inside the design (``monitor``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from pyahir.errors import PyahirError
from pyahir.sim import bench_text as vhdl

__all__ = [
    "UNDEFINED",
    "BenchResult",
    "Mismatch",
    "Port",
    "SimulationError",
    "SimulationStopError",
    "Stalls",
    "port_seed",
    "read_results",
    "write_bench",
    "write_words",
]

TOP = "ahir_system"
RESET_CYCLES = 10
UNDEFINED = -1  # stands for a word that is not defined, where golden words were given


class SimulationError(PyahirError):
    """A simulation that did not give the words that were asked for.

    Cause: too few input words, a deadlock, or a word that is not defined.
    Example: ``simulation: nothing moves for 20000 cycles; y_out gave 3 of 8 words``.
    Fix: give the missing words, or deepen the pipe that is full.
    """


class SimulationStopError(SimulationError):
    """Outputs lack words: nothing moves any more, or the limit of cycles was reached.

    Cause: a deadlock, too few input words, or too low a limit.
    Example: ``simulation: nothing moves for 20000 cycles; y_out gave 3 of 8 words``.
    Fix: deepen the pipes that the message calls full, give the missing words, or wait longer. The
    engine verilator does not see the pipes: run the same with the engine ghdl.
    """


@dataclass(frozen=True, slots=True)
class Port:
    """A pipe at the border: ``words`` to give or to wait for; None takes all that come."""

    name: str
    width: int
    words: int | None
    output: bool

    @property
    def digits(self) -> int:
        """Hexadecimal digits of a word."""
        return -(-self.width // 4)

    @property
    def side(self) -> str:
        """The part of the port names that tells the direction."""
        return f"{self.name}_pipe_{'read' if self.output else 'write'}"


@dataclass(frozen=True, slots=True)
class Stalls:
    """Random gaps: in each cycle with probability ``share``; inputs and outputs may differ.

    ``hold``: input pipes that begin when another input pipe has given so many words.
    """

    seed: int = 0
    share: float = 0.0
    inputs: float | None = None
    outputs: float | None = None
    hold: tuple[tuple[str, str, int], ...] = ()

    @property
    def input_share(self) -> float:
        """The share of the input pipes."""
        return self.share if self.inputs is None else self.inputs

    @property
    def output_share(self) -> float:
        """The share of the output pipes."""
        return self.share if self.outputs is None else self.outputs


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The first word of a pipe that differs from its golden word, and how many do.

    ``found`` is text in hexadecimal, with ``x`` where bits are undefined; an engine without clock
    gives no cycle.
    """

    pipe: str
    count: int
    number: int
    cycle: int | None
    expected: int
    found: str

    def __str__(self) -> str:
        digits = len(self.found)
        when = "" if self.cycle is None else f" in cycle {self.cycle}"
        return (
            f"{self.pipe}: word {self.number}{when}: "
            f"{self.expected:0{digits}x} expected, {self.found} found; {self.count} words differ"
        )


@dataclass(frozen=True, slots=True)
class BenchResult:
    """What a run of the testbench left: words, cycles, and the testbench's own verdict.

    ``outputs`` are the words of each output pipe, ``cycles`` those in which each was taken;
    ``taken`` holds the cycles of input words, ``mismatches`` the first word of each pipe that
    differs from its golden word, found in VHDL.
    """

    outputs: dict[str, list[int]]
    cycles: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    taken: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    mismatches: dict[str, Mismatch] = field(default_factory=dict[str, Mismatch])
    passed: bool = True
    end: int = 0
    notes: list[str] = field(default_factory=list[str])

    def parts(self) -> dict[str, Any]:
        """Give the fields by name, for a result that holds more."""
        return {item.name: getattr(self, item.name) for item in fields(BenchResult)}


def write_bench(
    folder: Path,
    ports: Sequence[Port],
    inputs: Mapping[str, Sequence[int]],
    golden: Mapping[str, Sequence[int]] | None = None,
    stalls: Stalls | None = None,
    patience: int = 20_000,
    *,
    limit: int | None = None,
    extra: str = "",
) -> None:
    """Write ``testbench.vhd`` and the files of words; ``extra`` joins the architecture."""
    given = golden or {}
    write_words(folder, ports, inputs, given)
    text = _text(ports, set(given), stalls or Stalls(), (patience, limit), extra)
    (folder / "testbench.vhd").write_text(text, encoding="ascii")


def write_words(
    folder: Path,
    ports: Sequence[Port],
    inputs: Mapping[str, Sequence[int]],
    given: Mapping[str, Sequence[int]],
) -> None:
    """Write the files of input words and of golden words."""
    for port in ports:
        if not port.output:
            _write_words(folder / f"{port.name}.in", port, inputs.get(port.name, ()))
        elif port.name in given:
            if port.words != len(given[port.name]):
                raise SimulationError(
                    f"{port.name}: {len(given[port.name])} golden words for {port.words} words; "
                    "accepted: as many"
                )
            _write_words(folder / f"{port.name}.expect", port, given[port.name])


def port_seed(stalls: Stalls, number: int) -> int:
    """Give the seed of the gaps of one port; the second seed of ``uniform`` is in the bench."""
    return 1 + (stalls.seed * 7919 + number * 104729) % 2_000_000_000


def _write_words(path: Path, port: Port, words: Iterable[int]) -> None:
    rows: list[str] = []
    for number, word in enumerate(words):
        if not 0 <= word < 1 << port.width:
            raise SimulationError(
                f"{port.name}: word {number} is {word}; accepted: 0 to {(1 << port.width) - 1} "
                f"({port.width} bits)"
            )
        rows.append(f"{word:0{port.digits}x}\n")
    path.write_text("".join(rows), encoding="ascii")


def _text(
    ports: Sequence[Port],
    checked: set[str],
    stalls: Stalls,
    bounds: tuple[int, int | None],
    extra: str,
) -> str:
    """Write the testbench."""
    shares = {"input_share": stalls.input_share, "output_share": stalls.output_share}
    lines = [vhdl.HEAD.format(**{name: f"{share:.6f}" for name, share in shares.items()})]
    for port in ports:
        fields = _fields(port)
        lines.append(vhdl.SIGNALS.format(**fields))
        if port.name in checked:
            lines.append(vhdl.WRONG_SIGNALS.format(**fields))
    lines += ["begin", _control(ports, checked, bounds)]
    lines += [_process(port, checked, stalls, number) for number, port in enumerate(ports)]
    links = ["clk => clk", "reset => reset"]
    for port in ports:
        links += [f"{port.side}_{part} => {port.side}_{part}" for part in ("data", "req", "ack")]
    lines.append(f"  design : entity work.{TOP}\n    port map (")
    lines.append("      " + ",\n      ".join(links) + f");\n{extra}end architecture;\n")
    return "\n".join(lines)


def _fields(port: Port) -> dict[str, str]:
    return {
        "name": port.name,
        "side": port.side,
        "kind": "output" if port.output else "input",
        "width": str(port.width),
        "high": str(port.width - 1),
        "digits": str(port.digits),
        "words": "-1" if port.words is None else str(port.words),
        "done": "true" if port.words is None else "false",
    }


def _control(ports: Sequence[Port], checked: set[str], bounds: tuple[int, int | None]) -> str:
    """Write clock, reset, the end and the results."""
    patience, limit = bounds
    moves = [f'({port.side}_req = "1" and {port.side}_ack = "1")' for port in ports]
    outputs = [port for port in ports if port.output]
    complete = " and ".join(f"{port.name}_done" for port in outputs) or "false"
    open_ended = not any(port.words for port in outputs) and any(
        port.words is None for port in outputs
    )
    rows: list[str] = []
    for port in ports:
        rows.append(vhdl.RESULT.format(**_fields(port)))
        if port.name in checked:
            rows.append(vhdl.COMPARE.format(**_fields(port)))
    overdue = f"cycle - last_move > {patience}"
    return vhdl.CLOCK.format(
        reset=10 * RESET_CYCLES + 2,
        moved="\n        or ".join(moves) or "false",
        complete=complete,
        finished="false" if open_ended else complete,
        overdue=overdue if limit is None else f"{overdue} or cycle >= {limit}",
        patience=patience,
        rows="\n".join(rows),
    )


def _process(port: Port, checked: set[str], stalls: Stalls, number: int) -> str:
    """Write the process that gives or takes the words of a pipe."""
    fields = _fields(port)
    fields["seed"] = str(port_seed(stalls, number))
    if not port.output:
        others = [
            f" and {other}_count >= {count}"
            for name, other, count in stalls.hold
            if name == port.name
        ]
        return vhdl.INPUT.format(**fields, held="".join(others))
    check = port.name in checked
    return vhdl.OUTPUT.format(
        **fields,
        loop="loop" if port.words is None else f"for number in 1 to {port.words} loop",
        declarations=vhdl.GOLDEN_DECLARATIONS.format(**fields) if check else "",
        check=vhdl.CHECK.format(**fields) if check else "",
    )


def read_results(folder: Path, ports: Sequence[Port], patience: int) -> BenchResult:
    """Read what a run left; ``SimulationError`` when words are missing or undefined."""
    rows = _read_rows(folder / "testbench.results")
    if not rows or rows[-1] not in (["PASS"], ["FAIL"]):
        raise SimulationError("simulation: the testbench did not come to its end")
    passed = rows[-1] == ["PASS"]
    counts = {row[1]: int(row[2]) for row in rows if row[0] in ("input", "output")}
    mismatches = {row[1]: _mismatch(row) for row in rows if row[0] == "wrong"}
    reason, end = rows[-2][1:]
    if not passed and reason != "words":
        _check_complete(ports, counts, mismatches, reason, patience, int(end))
    outputs: dict[str, list[int]] = {}
    cycles: dict[str, list[int]] = {}
    taken: dict[str, list[int]] = {}
    notes: list[str] = []
    for port in ports:
        if port.output:
            found = _read_rows(folder / f"{port.name}.out")
            cycles[port.name] = [int(row[0]) for row in found]
            checked = (folder / f"{port.name}.expect").exists()
            outputs[port.name] = _words(port, [row[1] for row in found], checked)
        else:
            found = _read_rows(folder / f"{port.name}.taken")
            taken[port.name] = [int(row[0]) for row in found]
            if len(found) != port.words:
                notes.append(f"{port.name} took {len(found)} of {port.words} words")
    if reason == "limit":
        notes.append(f"stopped after {end} cycles")
    return BenchResult(outputs, cycles, taken, mismatches, passed, int(end), notes)


def _read_rows(path: Path) -> list[list[str]]:
    return [row.split() for row in path.read_text(encoding="ascii").splitlines()]


def _mismatch(row: Sequence[str]) -> Mismatch:
    _, pipe, count, number, cycle, expected, found = row
    return Mismatch(pipe, int(count), int(number), int(cycle), int(expected, 16), found)


def _check_complete(
    ports: Sequence[Port],
    counts: Mapping[str, int],
    mismatches: Mapping[str, Mismatch],
    reason: str,
    patience: int,
    end: int,
) -> None:
    """Raise when an output gave fewer words than were waited for."""
    outputs = [port for port in ports if port.output]
    if outputs and all(port.words is None or counts[port.name] >= port.words for port in outputs):
        return
    parts = [
        f"{port.name} {'gave' if port.output else 'took'} {counts[port.name]} of {port.words} words"
        for port in ports
        if port.words is not None and counts[port.name] < port.words
    ]
    parts += [str(item) for item in mismatches.values()]
    why = f"nothing moves for {patience} cycles"
    if reason == "limit":
        why = f"stopped after {end} cycles"
    raise SimulationStopError(f"simulation: {why}; {', '.join(parts) or 'no output asked'}")


def _words(port: Port, texts: Sequence[str], checked: bool) -> list[int]:
    for number, text in enumerate(texts):
        if "x" in text and not checked:
            raise SimulationError(f"simulation: word {number} of {port.name} is undefined: {text}")
    return [UNDEFINED if "x" in text else int(text, 16) for text in texts]
