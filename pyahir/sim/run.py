"""Runs a program as VHDL in GHDL: writes the files, analyses, elaborates, runs, reads the words.

In: an Aa program (or a path of its text), words for its input pipes and how many to expect of its
output pipes. Out: the words with the clock cycle of each, and the testbench's verdict on golden
words. All files lie in a temporary folder; waves are written where the caller says.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pyahir.backends.aa import ast as aa
from pyahir.backends.aa.checked import checked_program
from pyahir.backends.aa.natural_types import scalar_width
from pyahir.backends.aa.scopes import Kind, build_scopes
from pyahir.backends.aa.traverse import scoped, uses
from pyahir.backends.vhdl import to_vhdl
from pyahir.errors import DataError
from pyahir.sim import monitor as probes
from pyahir.sim.ghdl import check_wave, run_ghdl
from pyahir.sim.testbench import (
    BenchResult,
    Port,
    SimulationError,
    SimulationStopError,
    Stalls,
    read_results,
    write_bench,
)

__all__ = [
    "SimulationError",
    "SimulationResult",
    "Stalls",
    "border_ports",
    "load_program",
    "parse_stalls",
    "simulate",
]


@dataclass(frozen=True, slots=True)
class SimulationResult(BenchResult):
    """What the testbench left, and what it took; ``fills`` is what a monitored run saw inside."""

    seconds: float = 0.0
    lines: int = 0
    fills: dict[str, probes.PipeFill] = field(default_factory=dict[str, probes.PipeFill])


def load_program(source: aa.Program | Path) -> aa.Program:
    """Parse and check a text; a program is taken as it is."""
    if isinstance(source, aa.Program):
        return source
    try:
        text = source.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DataError(f"{source}: no such file") from None
    except OSError as error:
        raise DataError(f"{source}: cannot read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DataError(f"{source}: not text; accepted: an Aa program in UTF-8") from None
    return checked_program(text, str(source))


def simulate(
    source: aa.Program | Path,
    inputs: Mapping[str, Sequence[int]],
    expect: Mapping[str, int | None],
    *,
    stalls: Stalls | None = None,
    patience: int = 20_000,
    vhdl: str | None = None,
    golden: Mapping[str, Sequence[int]] | None = None,
    wave: Path | None = None,
    monitor: bool = False,
    limit: int | None = None,
) -> SimulationResult:
    """Feed ``inputs`` until each pipe of ``expect`` has given as many words.

    None as a count takes what comes until nothing moves for ``patience`` cycles. ``golden`` words
    are compared in VHDL; their pipes need no count. ``limit`` ends the run after so many cycles.
    ``vhdl`` replaces the text of the design: with it a test can run a mutant.
    """
    if wave is not None:
        check_wave(wave)
    program = load_program(source)
    text = to_vhdl(program) if vhdl is None else vhdl
    counts = {**{name: len(words) for name, words in (golden or {}).items()}, **expect}
    ports = border_ports(program, inputs, counts)
    run = _Run(program, ports, text, inputs, golden or {}, stalls or Stalls(), patience, limit)
    with tempfile.TemporaryDirectory(prefix="pyahir_") as name:
        seconds = run.go(Path(name), probe=monitor, wave=wave)
        fills = run.fills(Path(name)) if monitor else {}
        found = run.read(Path(name), fills)
    return SimulationResult(**found.parts(), seconds=seconds, lines=text.count("\n"), fills=fills)


@dataclass(frozen=True, slots=True)
class _Run:
    """What one simulation needs."""

    program: aa.Program
    ports: Sequence[Port]
    text: str
    inputs: Mapping[str, Sequence[int]]
    golden: Mapping[str, Sequence[int]]
    stalls: Stalls
    patience: int
    limit: int | None

    def go(self, folder: Path, *, probe: bool, wave: Path | None) -> float:
        """Write the files and run; with probes in the FIFOs when they are wanted."""
        text, extra = self.text, ""
        files = ["design.vhd", "testbench.vhd"]
        if probe:
            text, extra = probes.probed(self.text), probes.TESTBENCH_PART
            if text is None:
                raise SimulationError("monitor: the VHDL has no entity 'aa_fifo' to look at")
            (folder / "monitor.vhd").write_text(probes.PACKAGE, encoding="ascii")
            files.insert(0, "monitor.vhd")
        (folder / "design.vhd").write_text(text, encoding="utf-8")
        write_bench(
            folder,
            self.ports,
            self.inputs,
            self.golden,
            self.stalls,
            self.patience,
            limit=self.limit,
            extra=extra,
        )
        return run_ghdl(folder, files, wave=wave)

    def read(self, folder: Path, fills: Mapping[str, probes.PipeFill]) -> BenchResult:
        """Read the results; when words are missing, look into the pipes in a second run."""
        try:
            return read_results(folder, self.ports, self.patience)
        except SimulationStopError as error:
            if not fills and probes.probed(self.text) is not None:
                with tempfile.TemporaryDirectory(prefix="pyahir_") as name:
                    self.go(Path(name), probe=True, wave=None)
                    fills = self.fills(Path(name))
            border = {port.name for port in self.ports}
            inner = {name: fill for name, fill in fills.items() if name not in border}
            text = probes.describe(inner, pipe_users(self.program))
            raise SimulationStopError(f"{error}{text}") from None

    def fills(self, folder: Path) -> dict[str, probes.PipeFill]:
        """Read what the probes saw, in the order of the program."""
        readers, writers = _sides(self.program)
        used = [
            pipe.name
            for pipe in self.program.pipes()
            if pipe.name in readers or pipe.name in writers
        ]
        return probes.read_fills(folder, self.text, used)


def border_ports(
    program: aa.Program,
    inputs: Mapping[str, Sequence[int]],
    expect: Mapping[str, int | None],
) -> list[Port]:
    """List the pipes at the border, in textual order; check the names that were given."""
    scopes = build_scopes(program)
    readers, writers = _sides(program)
    ports: list[Port] = []
    for pipe in program.pipes():
        read, written = pipe.name in readers, pipe.name in writers
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


def pipe_users(program: aa.Program) -> dict[str, str]:
    """Say of each pipe inside who writes and who reads it."""
    readers, writers = _sides(program)
    return {
        name: f"written by {', '.join(writers[name])}, read by {', '.join(readers[name])}"
        for name in writers
        if name in readers
    }


def _sides(program: aa.Program) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Collect the modules that read each pipe and those that write it."""
    scopes = build_scopes(program)
    sides: tuple[dict[str, list[str]], dict[str, list[str]]] = ({}, {})
    for module in program.modules():
        for statement, inner in scoped(module.body or (), scopes.modules[module.name]):
            for use in uses(statement, inner):
                if use.symbol is not None and use.symbol.kind is Kind.PIPE:
                    names = sides[use.write].setdefault(use.symbol.name, [])
                    if module.name not in names:
                        names.append(module.name)
    return sides


def parse_stalls(text: str, seed: int) -> Stalls:
    """Read ``0.3``, or ``0.2,0.5`` for inputs and outputs."""
    try:
        shares = [float(part) for part in text.split(",")]
    except ValueError:
        shares = []
    if len(shares) not in (1, 2) or not all(0 <= share < 1 for share in shares):
        raise SimulationError(
            f"--stalls {text}: accepted are one share from 0 to below 1, or two: 0.2,0.5"
        )
    return Stalls(seed, inputs=shares[0], outputs=shares[-1])
