"""The engine ``verilator``: our own VHDL as Verilog of ``ghdl --synth``, compiled to machine code.

In: the design's files or any Aa program, and words for its input pipes. Out: the words of its
output pipes with their clock cycles, the same as the engine ``ghdl`` gives, with the same gaps:
the bench is the VHDL testbench again, in C++.

Verilator knows 0 and 1 only, so nothing is undefined: where VHDL has ``U`` or ``X``, here are
random bits, the same in each run of a seed. A design that lets one through gives wrong words, not
an error. Ranges are not checked either, and there are no waves: all that is the engine ``ghdl``'s.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pyahir.backends.aa import ast as aa
from pyahir.backends.aa.files import Codes, read_design
from pyahir.backends.vhdl import to_vhdl
from pyahir.ir.types import Array
from pyahir.sim.engine import DesignEngine, Words
from pyahir.sim.registry import Request, simulates
from pyahir.sim.run import SimulationResult, border_ports, load_program
from pyahir.sim.testbench import (
    Port,
    SimulationError,
    SimulationStopError,
    Stalls,
    port_seed,
    read_results,
    write_words,
)
from pyahir.sim.tools import run_tool
from pyahir.sim.verilator_tools import build

__all__ = ["VerilatorEngine", "VerilatorResult", "simulate_verilator"]

HINT = (
    "which pipes are full, the engine ghdl says: run the same with --engine ghdl "
    "(verify: --engines ir,ghdl)"
)


@dataclass(frozen=True, slots=True)
class VerilatorResult(SimulationResult):
    """Words of each output pipe, and the seconds of each tool: ``ghdl`` alone on a cache hit."""

    tool_seconds: dict[str, float] = field(default_factory=dict[str, float])


def simulate_verilator(
    source: aa.Program | Path,
    inputs: Mapping[str, Sequence[int]],
    expect: Mapping[str, int | None],
    *,
    stalls: Stalls | None = None,
    patience: int = 20_000,
    vhdl: str | None = None,
    golden: Mapping[str, Sequence[int]] | None = None,
    limit: int | None = None,
) -> VerilatorResult:
    """Feed ``inputs`` until each pipe of ``expect`` has given as many words, as ``simulate``."""
    program = load_program(source)
    text = to_vhdl(program) if vhdl is None else vhdl
    counts = {**{name: len(words) for name, words in (golden or {}).items()}, **expect}
    ports = border_ports(program, inputs, counts)
    with tempfile.TemporaryDirectory(prefix="pyahir_verilator_") as name:
        folder = Path(name)
        write_words(folder, ports, inputs, golden or {})
        run = _run_text(ports, set(golden or {}), stalls or Stalls(), patience, limit)
        (folder / "bench.run").write_text(run, encoding="ascii")
        built = build(text, ports, folder)
        start = time.perf_counter()
        run_tool([str(built.path)], folder)
        seconds = time.perf_counter() - start
        try:
            found = read_results(folder, ports, patience)
        except SimulationStopError as error:
            raise SimulationStopError(f"{error}\n{HINT}") from None
    return VerilatorResult(
        **found.parts(), seconds=seconds, lines=text.count("\n"), tool_seconds=built.seconds
    )


def _run_text(
    ports: Sequence[Port], checked: set[str], stalls: Stalls, patience: int, limit: int | None
) -> str:
    """Write what the bench reads: bounds, seed and gaps, then a line for each port."""
    places = {port.name: number for number, port in enumerate(ports)}
    shares = f"{stalls.input_share:.6f} {stalls.output_share:.6f}"
    seed = 1 + stalls.seed % 2_000_000_000
    rows = [f"{patience} {-1 if limit is None else limit} {seed} {shares}"]
    for number, port in enumerate(ports):
        words = -1 if port.words is None else port.words
        before = [
            f"{places[other]} {count}" for name, other, count in stalls.hold if name == port.name
        ]
        check = int(port.name in checked)
        held = " ".join([str(len(before)), *before])
        rows.append(f"{words} {port_seed(stalls, number)} {check} {held}")
    return "\n".join(rows) + "\n"


@simulates("verilator")
def _verilator(request: Request) -> SimulationResult:
    for what, wanted in (("waves", request.wave is not None), ("fills", request.monitor)):
        if wanted:
            raise SimulationError(f"engine verilator: no {what}; accepted: engine ghdl")
    return simulate_verilator(
        request.program,
        request.inputs,
        request.expect,
        stalls=request.stalls,
        patience=request.patience,
        vhdl=request.vhdl,
        golden=request.golden,
        limit=request.limit,
    )


class VerilatorEngine(DesignEngine):
    """A design as our own VHDL, in machine code."""

    name = "verilator"

    @classmethod
    def open(cls, path: Path) -> VerilatorEngine:
        """Read the files of a design."""
        return cls(read_design(path))

    def run(
        self,
        codes: Codes,
        *,
        keep: Collection[str] | None = None,
        stalls: Stalls | None = None,
        vhdl: str | None = None,
        golden: Array | None = None,
    ) -> dict[str, Array]:
        """Run frames as ``GhdlEngine.run`` does."""

        def go(
            inputs: Words, expect: Mapping[str, int], wanted: Words | None, patience: int
        ) -> SimulationResult:
            return simulate_verilator(
                self.program,
                inputs,
                expect,
                stalls=stalls,
                patience=patience,
                vhdl=vhdl,
                golden=wanted,
            )

        return self.simulated(codes, keep, golden, go)
