"""The tables of a report as text, for any format. Figures come from ``model``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pyahir.report.model import Quality, Report

__all__ = [
    "Column",
    "Row",
    "Table",
    "accuracy",
    "layers",
    "loops",
    "memory",
    "pipes",
    "quality",
]


@dataclass(frozen=True, slots=True)
class Column:
    """A heading; numbers are aligned to the right."""

    title: str
    number: bool = True


@dataclass(frozen=True, slots=True)
class Row:
    """The cells of a row; ``marked`` ones catch the eye."""

    cells: tuple[str, ...]
    marked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Cells of text; ``total`` is a last row."""

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    total: Sequence[str] = ()


def _columns(words: Sequence[str], numbers: Sequence[str]) -> list[Column]:
    return [Column(title, False) for title in words] + [Column(title) for title in numbers]


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _decibels(value: float | None) -> str:
    return "exact" if value is None else f"{value:.1f}"


def layers(report: Report) -> Table:
    """Work, parts and time of each layer."""
    rows = [
        Row(
            (
                row.name,
                row.kind,
                row.folding or "-",
                _count(row.macs),
                _count(row.multipliers),
                _count(row.adders),
                _count(row.requantizers),
                _count(row.cycles),
                _count(row.bound) if row.bound else "-",
                _share(row.busy),
                _share(row.utilization),
                _count(row.interval),
            ),
            marked=row is report.bottleneck,
        )
        for row in report.layers
    ]
    totals = report.totals
    figures = [_count(totals[key]) for key in ("macs", "multipliers", "adders", "requantizers")]
    cycles = _count(totals["cycles_per_frame"])
    bound = -(-totals["macs"] // totals["multipliers"]) if totals["multipliers"] else None
    return Table(
        caption=(
            "Each layer for one frame. Busy: its cycles of those of the network. Used: MACs of "
            "what its multipliers could do in the network's cycles a frame. Interval: cycles from "
            "one iteration of its slowest loop to the next."
        ),
        columns=_columns(
            ("layer", "kind", "pe x simd"),
            (
                "MACs",
                "multipliers",
                "adders",
                "requantizers",
                "cycles",
                "MACs / multipliers",
                "busy",
                "used",
                "interval",
            ),
        ),
        rows=rows,
        total=("all", "", "", *figures, cycles, _count(bound), "", _share(report.utilization), ""),
    )


def memory(report: Report) -> Table:
    """Bits of each layer."""
    keys = ("weight_bits", "parameter_bits", "line_bits", "pipe_bits", "memory_bits", "ram_blocks")
    rows = [Row((row.name, *(_count(getattr(row, key)) for key in keys))) for row in report.layers]
    total = [_count(sum(getattr(row, key) for row in report.layers)) for key in keys]
    return Table(
        caption=(
            "Memory in bits. Parameters are those of requantization, lines the rows that a window "
            "keeps, pipes those that are more than a few words deep."
        ),
        columns=_columns(
            ("layer",), ("weights", "parameters", "lines", "pipes", "all", "18-kbit block RAM")
        ),
        rows=rows,
        total=["all", *total],
    )


def pipes(report: Report) -> Table:
    """Depth and fill of each FIFO."""
    rows = [
        Row(
            (
                row.name,
                row.layer or "(control)",
                _count(row.width),
                _count(row.depth),
                _count(row.peak),
                "-" if row.fill is None else f"{row.fill:.0%}",
                _count(row.full),
                _count(row.words),
                _count(row.bits),
            ),
            marked=row.layer is not None and row.peak == row.depth,
        )
        for row in report.pipes
    ]
    total = ["all"] + [""] * 7 + [_count(sum(row.bits for row in report.pipes))]
    return Table(
        caption=(
            "Every FIFO of the design. Peak: the most words held at a time in the simulation; "
            "cycles full: how long its writer could not put a word."
        ),
        columns=_columns(
            ("FIFO", "layer"),
            ("width", "depth", "peak", "filled", "cycles full", "words", "bits"),
        ),
        rows=rows,
        total=total,
    )


def loops(report: Report) -> Table:
    """Initiation interval of each loop of the VHDL."""
    return Table(
        caption=(
            "Loops in the VHDL of pyahir's own back end: the stages that an iteration goes "
            "through, and the cycles from one iteration's begin to the next."
        ),
        columns=[
            *_columns(("module", "layer", "loop"), ("stages", "interval")),
            Column("why not 1", False),
        ],
        rows=[
            Row(
                (
                    row.module,
                    row.layer or "(control)",
                    row.loop,
                    _count(row.stages),
                    _count(row.interval),
                    row.reason or "-",
                ),
                marked=row.interval > 1,
            )
            for row in report.loops
        ],
    )


def quality(found: Quality) -> Table:
    """Signal to noise of each layer."""
    return Table(
        caption="Signal to quantization noise in dB, and that of rounding the float values only.",
        columns=_columns(("layer",), ("measured", "rounding alone")),
        rows=[Row((row.layer, _decibels(row.sqnr), _decibels(row.rounding))) for row in found.rows],
    )


def accuracy(found: Quality) -> Table:
    """Images in the right class."""
    return Table(
        caption="Images that are put into the right class.",
        columns=_columns(("model",), ("correct", "images", "accuracy")),
        rows=[
            Row((row.model, _count(row.correct), _count(row.images), f"{row.accuracy:.2%}"))
            for row in found.accuracy
        ],
    )
