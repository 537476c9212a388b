"""Puts a report together. In: a design and what was measured of it. Out: ``Report``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyahir.backends.aa import ast as aa
from pyahir.backends.vhdl import loops
from pyahir.errors import DataError
from pyahir.report.figures import layer_rows, loop_rows, pipe_rows
from pyahir.report.flow import processes
from pyahir.report.measure import simulated, timeline
from pyahir.report.model import Quality, Report
from pyahir.sim.engine import FrameCycles
from pyahir.sim.run import SimulationResult

__all__ = ["Run", "build_report"]

Run = tuple[FrameCycles, SimulationResult, str, float]  # and what the images were, and the stalls


def build_report(
    manifest: Mapping[str, Any],
    program: aa.Program,
    *,
    run: Run | None = None,
    quality: Quality | None = None,
) -> Report:
    """Collect everything about the design of ``manifest`` and ``program``."""
    if not manifest["layers"]:
        raise DataError(f"{manifest['name']}: the manifest has no layers: compile again")
    rows = processes(program, manifest)
    looping = loop_rows(loops(program), rows)
    fills = run[1].fills if run is not None else {}
    measured = simulated(*run) if run is not None else None
    planned = float(manifest["totals"]["cycles_per_frame"])
    return Report(
        name=manifest["name"],
        layers=layer_rows(manifest, looping, measured.interval if measured else planned),
        totals=manifest["totals"],
        hashes=manifest["hashes"],
        made_from=manifest["made_from"],
        pipes=pipe_rows(manifest, program, rows, fills),
        processes=rows,
        loops=looping,
        simulated=measured,
        timeline=timeline(manifest, rows, fills, measured.frames) if measured else None,
        quality=quality,
    )
