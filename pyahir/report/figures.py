"""The plan's figures: one row a layer, a pipe, a loop.

In: the manifest, the program, and what a simulation found in its pipes. Out: rows of ``model``.
A manifest that lacks a figure is a ``DataError``: it comes from another version of pyahir.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pyahir.backends.aa import ast as aa
from pyahir.backends.aa.natural_types import scalar_width
from pyahir.backends.aa.scopes import build_scopes
from pyahir.backends.vhdl import LoopReport
from pyahir.errors import DataError
from pyahir.report.model import LayerRow, LoopRow, PipeRow, ProcessRow
from pyahir.sim.monitor import PipeFill

__all__ = ["layer_rows", "loop_rows", "pipe_rows"]


def loop_rows(
    reports: Sequence[LoopReport], processes: Sequence[ProcessRow]
) -> tuple[LoopRow, ...]:
    """Say of each loop to which layer it belongs."""
    owner = {process.module: process.layer for process in processes}
    return tuple(
        LoopRow(
            module=item.module,
            layer=owner.get(item.module),
            loop=item.loop,
            stages=item.stages,
            interval=item.interval,
            reason=item.reason,
        )
        for item in reports
    )


def layer_rows(
    manifest: Mapping[str, Any], loops: Sequence[LoopRow], interval: float
) -> tuple[LayerRow, ...]:
    """Take the manifest's layers; ``interval`` is the cycles a frame of the network."""
    try:
        planned = int(manifest["totals"]["cycles_per_frame"])
        return tuple(_layer(row, loops, interval, planned) for row in manifest["layers"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"the manifest has no valid layers ({type(error).__name__}: {error}): compile again"
        ) from None


def _layer(
    row: Mapping[str, Any], loops: Sequence[LoopRow], interval: float, planned: int
) -> LayerRow:
    macs, multipliers = int(row["macs"]), int(row["multipliers"])
    intervals = [loop.interval for loop in loops if loop.layer == row["name"]]
    return LayerRow(
        name=row["name"],
        kind=row["kind"],
        source=row["source"],
        folding=f"{row['pe']} x {row['simd']}" if multipliers else "",
        macs=macs,
        multipliers=multipliers,
        adders=row["adders"],
        requantizers=row["requantizers"],
        cycles=row["cycles"],
        bound=-(-macs // multipliers) if multipliers else 0,
        utilization=macs / (multipliers * interval) if multipliers else None,
        busy=row["cycles"] / planned,
        interval=max(intervals, default=1),
        streamed=row["streamed"],
        weight_bits=row["weight_bits"],
        parameter_bits=row["parameter_bits"],
        line_bits=row["line_bits"],
        pipe_bits=row["pipe_bits"],
        memory_bits=row["memory_bits"],
        ram_blocks=row["ram_blocks"],
    )


def pipe_rows(
    manifest: Mapping[str, Any],
    program: aa.Program,
    processes: Sequence[ProcessRow],
    fills: Mapping[str, PipeFill],
) -> tuple[PipeRow, ...]:
    """List all pipes of the program in its order; those of control have no layer."""
    scopes = build_scopes(program)
    owner = {row["name"]: row["layer"] for row in manifest["pipes"]}
    writers = {pipe: row.module for row in processes for pipe in row.writes}
    readers = {pipe: row.module for row in processes for pipe in row.reads}
    found: list[PipeRow] = []
    for pipe in program.pipes():
        fill = fills.get(pipe.name)
        depth = 1 if pipe.depth is None else max(1, scopes.size(pipe.depth, pipe.loc))
        found.append(
            PipeRow(
                name=pipe.name,
                layer=owner.get(pipe.name),
                writer=writers.get(pipe.name),
                reader=readers.get(pipe.name),
                width=scalar_width(scopes.resolve(pipe.type)),
                depth=depth,
                words=fill.words if fill else None,
                peak=fill.peak if fill else None,
                full=fill.full if fill else None,
            )
        )
    return tuple(found)
