"""Runs a program as VHDL in GHDL: writes the files, analyses, elaborates, runs, reads the words.

In: an Aa program (or a path of its text), words for its input pipes and how many to expect of its
output pipes. Out: the words with the clock cycle of each. All files lie in a temporary folder.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pyahir.backends.aa import ast as aa
from pyahir.backends.aa.natural_types import scalar_width
from pyahir.backends.aa.parser import parse
from pyahir.backends.aa.scopes import Kind, build_scopes
from pyahir.backends.aa.traverse import scoped, uses
from pyahir.backends.aa.verify import verify
from pyahir.backends.vhdl import TOP, to_vhdl
from pyahir.errors import PyahirError
from pyahir.sim.testbench import Port, testbench
from pyahir.sim.tools import require_tool, run_tool

__all__ = ["SimulationError", "SimulationResult", "Stalls", "load_program", "simulate"]

_STANDARD = "--std=08"


class SimulationError(PyahirError):
    """A simulation that did not give the words that were asked for.

    Cause: too few input words, a deadlock, or a word that is not defined.
    Example: ``simulation: nothing moves after 20000 cycles; y_out gave 3 of 8 words``.
    Fix: give the missing words, or deepen the pipe that is full.
    """


@dataclass(frozen=True, slots=True)
class Stalls:
    """Random gaps on all inputs and outputs: in each cycle with probability ``share``."""

    seed: int = 0
    share: float = 0.0


@dataclass(frozen=True, slots=True)
class SimulationResult:
    """Words of each output pipe, and the cycle in which each was taken."""

    outputs: dict[str, list[int]]
    cycles: dict[str, list[int]]
    seconds: float
    lines: int = 0
    notes: list[str] = field(default_factory=list[str])


def load_program(source: aa.Program | Path) -> aa.Program:
    """Parse and check a text; a program is taken as it is."""
    if isinstance(source, aa.Program):
        return source
    program = parse(source.read_text(encoding="utf-8"), str(source))
    verify(program)
    return program


def simulate(
    source: aa.Program | Path,
    inputs: Mapping[str, Sequence[int]],
    expect: Mapping[str, int],
    *,
    stalls: Stalls | None = None,
    patience: int = 20_000,
    vhdl: str | None = None,
) -> SimulationResult:
    """Feed ``inputs`` until each pipe of ``expect`` has given as many words.

    ``vhdl`` replaces the text of the design: with it a test can run a mutant.
    """
    program = load_program(source)
    text = to_vhdl(program) if vhdl is None else vhdl
    ports = _ports(program, inputs, expect)
    chosen = stalls or Stalls()
    bench = testbench(TOP, ports, stall_share=chosen.share, seed=chosen.seed, patience=patience)
    with tempfile.TemporaryDirectory(prefix="pyahir_") as name:
        folder = Path(name)
        (folder / "design.vhd").write_text(text, encoding="utf-8")
        (folder / "testbench.vhd").write_text(bench, encoding="utf-8")
        for port in ports:
            if not port.output:
                words = (f"{word:0{port.digits}x}\n" for word in inputs.get(port.name, ()))
                (folder / f"{port.name}.in").write_text("".join(words), encoding="ascii")
        seconds = _run_ghdl(folder)
        _check_timeout(folder, patience)
        return _results(folder, ports, seconds, text.count("\n"))


def _ports(
    program: aa.Program, inputs: Mapping[str, Sequence[int]], expect: Mapping[str, int]
) -> list[Port]:
    """List the pipes at the border, in textual order; check the names that were given."""
    scopes = build_scopes(program)
    sides = _sides(program)
    ports: list[Port] = []
    for pipe in program.pipes():
        read, written = pipe.name in sides[0], pipe.name in sides[1]
        if read == written:
            continue
        width = scalar_width(scopes.resolve(pipe.type))
        words = expect.get(pipe.name, 0) if written else len(inputs.get(pipe.name, ()))
        ports.append(Port(pipe.name, width, words, output=written))
    for given, output in ((inputs, False), (expect, True)):
        accepted = [port.name for port in ports if port.output is output]
        for name in given:
            if name not in accepted:
                what = "n output" if output else "n input"
                listed = ", ".join(accepted) or "none"
                raise SimulationError(f"'{name}' is not a{what} pipe; accepted: {listed}")
    return ports


def _sides(program: aa.Program) -> tuple[set[str], set[str]]:
    """Collect the pipes that the program reads and those that it writes."""
    scopes = build_scopes(program)
    sides: tuple[set[str], set[str]] = (set(), set())
    for module in program.modules():
        for statement, inner in scoped(module.body or (), scopes.modules[module.name]):
            for use in uses(statement, inner):
                if use.symbol is not None and use.symbol.kind is Kind.PIPE:
                    sides[use.write].add(use.symbol.name)
    return sides


def _run_ghdl(folder: Path) -> float:
    """Analyse, elaborate and run; return the seconds of the run."""
    ghdl = require_tool("ghdl")
    run_tool([ghdl, "-a", _STANDARD, "design.vhd", "testbench.vhd"], folder)
    run_tool([ghdl, "-e", _STANDARD, "testbench"], folder)
    start = time.perf_counter()
    run_tool([ghdl, "-r", _STANDARD, "testbench", "--ieee-asserts=disable-at-0"], folder)
    return time.perf_counter() - start


def _check_timeout(folder: Path, patience: int) -> None:
    found = folder / "timeout.out"
    if not found.exists():
        return
    rows = [row.split() for row in found.read_text(encoding="ascii").splitlines()]
    parts = [
        f"{name} {'gave' if (folder / f'{name}.out').exists() else 'took'} {count} of {words} words"
        for name, count, words in rows
    ]
    raise SimulationError(
        f"simulation: nothing moves for {patience} cycles; {', '.join(parts) or 'no output asked'}"
    )


def _results(folder: Path, ports: Sequence[Port], seconds: float, lines: int) -> SimulationResult:
    outputs: dict[str, list[int]] = {}
    cycles: dict[str, list[int]] = {}
    for port in ports:
        if not port.output:
            continue
        rows = (folder / f"{port.name}.out").read_text(encoding="ascii").splitlines()
        for number, row in enumerate(rows):
            if "x" in row:
                raise SimulationError(
                    f"simulation: word {number} of {port.name} is undefined: {row.split()[1]}"
                )
        outputs[port.name] = [int(row.split()[1], 16) for row in rows]
        cycles[port.name] = [int(row.split()[0]) for row in rows]
    return SimulationResult(outputs, cycles, seconds, lines)
