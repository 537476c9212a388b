"""The engines of ``pyahir simulate``: one function each, found by name.

In: a ``Request``. Out: a ``SimulationResult``; an engine without clock gives no cycles. Another
engine joins with ``@simulates("name")`` in a module that is imported before the command runs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pyahir.backends.aa import ast as aa
from pyahir.backends.aa.interp import AaDeadlockError, Simulator
from pyahir.sim.run import SimulationError, SimulationResult, Stalls, border_ports, simulate
from pyahir.sim.testbench import Mismatch

__all__ = ["ENGINES", "Engine", "Request", "simulates"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One simulation: the program and its words, as bit patterns; ``expect`` None takes all.

    ``limit`` bounds clock cycles; the interpreter has none and bounds words by it.
    """

    program: aa.Program
    inputs: Mapping[str, Sequence[int]]
    expect: Mapping[str, int | None]
    golden: Mapping[str, Sequence[int]] = field(default_factory=dict[str, Sequence[int]])
    stalls: Stalls = field(default_factory=Stalls)
    patience: int = 20_000
    limit: int | None = None
    vhdl: str | None = None
    wave: Path | None = None
    monitor: bool = False


Engine = Callable[[Request], SimulationResult]
ENGINES: dict[str, Engine] = {}


def simulates(name: str) -> Callable[[Engine], Engine]:
    """Register an engine under a name."""

    def register(engine: Engine) -> Engine:
        assert name not in ENGINES, f"engine {name} is registered twice"
        ENGINES[name] = engine
        return engine

    return register


@simulates("ghdl")
def _ghdl(request: Request) -> SimulationResult:
    return simulate(
        request.program,
        request.inputs,
        request.expect,
        stalls=request.stalls,
        patience=request.patience,
        vhdl=request.vhdl,
        golden=request.golden,
        wave=request.wave,
        monitor=request.monitor,
        limit=request.limit,
    )


@simulates("aa")
def _aa(request: Request) -> SimulationResult:
    refused = {
        "waves": request.wave is not None,
        "stalls": max(request.stalls.input_share, request.stalls.output_share) > 0,
        "fills": request.monitor,
    }
    for what, wanted in refused.items():
        if wanted:
            raise SimulationError(
                f"engine aa: there are no {what} without a clock; accepted: engine ghdl"
            )
    counts: dict[str, int | None] = {name: len(words) for name, words in request.golden.items()}
    counts |= request.expect
    border_ports(request.program, request.inputs, counts)
    simulator = Simulator(request.program)
    known = {name: count for name, count in counts.items() if count is not None}
    if len(known) == len(counts):
        outputs = simulator.run(request.inputs, known).outputs
    else:
        outputs = _taken(simulator, request.inputs, counts, request.limit)
    mismatches = _mismatches(request, outputs)
    return SimulationResult(outputs, mismatches=mismatches, passed=not mismatches)


def _taken(
    simulator: Simulator,
    inputs: Mapping[str, Sequence[int]],
    counts: Mapping[str, int | None],
    limit: int | None,
) -> dict[str, list[int]]:
    """Take words of pipes in turn until the counted ones have theirs or nothing comes."""
    found: dict[str, list[int]] = {name: [] for name in counts}
    known = {name: count for name, count in counts.items() if count}
    pending = inputs
    moved = True
    while moved and not (known and all(len(found[name]) >= known[name] for name in known)):
        moved = False
        for name, count in counts.items():
            most = limit if count is None else count
            if most is not None and len(found[name]) >= most:
                continue
            with contextlib.suppress(AaDeadlockError):  # no word of this pipe; of another, perhaps
                fresh, pending = pending, dict[str, Sequence[int]]()
                found[name] += simulator.run(fresh, {name: 1}).outputs[name]
                moved = True
    for name, count in known.items():
        if len(found[name]) < count:
            raise SimulationError(
                f"engine aa: nothing moves; {name} gave {len(found[name])} of {count} words"
            )
    return found


def _mismatches(request: Request, outputs: Mapping[str, Sequence[int]]) -> dict[str, Mismatch]:
    """Compare with golden words as the testbench does."""
    ports = {
        port.name: port
        for port in border_ports(request.program, {}, dict.fromkeys(request.golden, 0))
    }
    found: dict[str, Mismatch] = {}
    for name, words in request.golden.items():
        pairs = list(zip(words, outputs[name], strict=True))
        wrong = [number for number, (expected, actual) in enumerate(pairs) if expected != actual]
        if wrong:
            expected, actual = pairs[wrong[0]]
            text = f"{actual:0{ports[name].digits}x}"
            found[name] = Mismatch(name, len(wrong), wrong[0], None, expected, text)
    return found
