"""Pictures made of rows of bars: cycles a layer, fill of the pipes, error of quantization."""

# The keyword arguments of matplotlib have no types.
# pyright: reportUnknownMemberType=false
from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import StrMethodFormatter

from pyahir.report.model import PipeRow, Report
from pyahir.report.pictures.style import BAR, Colour, bare, drawing

__all__ = ["MOST_PIPES", "fill_picture", "pace_picture", "quality_picture"]

MOST_PIPES = 48
ROW = 0.34  # inches


def pace_picture(report: Report) -> str:
    """Show cycles a layer against those of the network, and what multiplications alone need."""
    rows = report.layers
    with drawing("pace", "Cycles a frame of each layer", 1.25 + ROW * len(rows)) as made:
        axes = made.axes
        _rows(axes, [row.name for row in rows])
        for place, row in enumerate(rows):
            slow = row is report.bottleneck
            colour = Colour.SECOND if slow else Colour.FIRST
            axes.barh(place, row.cycles, BAR, color=colour.value)
            if row.bound:
                axes.plot(
                    [row.bound, row.bound],
                    [place - BAR / 2, place + BAR / 2],
                    color=Colour.INK.value,
                    linewidth=2,
                )
            text = f"{row.cycles:,}"
            if row.multipliers:
                many = "s" if row.multipliers > 1 else ""
                text += f"  ({row.multipliers:,} multiplier{many}, {row.utilization:.0%} used)"
            axes.annotate(
                text,
                (max(report.planned, report.interval), place),
                xytext=(7, 0),
                textcoords="offset points",
                va="center",
                color=Colour.SOFT.value,
            )
        axes.axvline(report.planned, color=Colour.SECOND.value, linewidth=1, linestyle="--")
        if report.simulated is not None and report.interval > 1.005 * report.planned:
            axes.axvline(report.interval, color=Colour.ALARM.value, linewidth=1, linestyle=":")
        axes.set_xlim(0, 1.5 * max(report.planned, report.interval))
        axes.set_xlabel("clock cycles a frame", loc="left")
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    return made.svg


def fill_picture(report: Report) -> str:
    """Show the depth of each pipe and how much of it was used."""
    rows = shown_pipes(report)
    with drawing("fill", "Depth and peak fill of the pipes", 1.1 + 0.24 * len(rows)) as made:
        axes = made.axes
        _rows(axes, [row.name for row in rows])
        for place, row in enumerate(rows):
            peak = row.peak or 0
            colour = Colour.SECOND if peak == row.depth else Colour.FIRST
            axes.barh(place, row.depth, 0.74, color=Colour.BOX.value, edgecolor=Colour.OTHER.value)
            axes.barh(place, peak, 0.74, color=colour.value)
            axes.annotate(
                f"{peak:,} of {row.depth:,}",
                (row.depth, place),
                xytext=(5, 0),
                textcoords="offset points",
                va="center",
                fontsize=8.5,
                color=Colour.SOFT.value,
            )
        deepest = max(row.depth for row in rows)
        axes.set_xscale("symlog", base=2, linthresh=1, linscale=0.6)
        axes.set_xlim(0, 3 * deepest)
        powers = range(math.ceil(math.log2(deepest)) + 1)
        axes.set_xticks([0, *(1 << power for power in powers)])
        axes.minorticks_off()
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.set_xlabel("words: depth (frame), peak in the simulation (filled)", loc="left")
    return made.svg


def shown_pipes(report: Report) -> list[PipeRow]:
    """Give the pipes of data in order; of very many, those with the most bits."""
    rows = [row for row in report.pipes if row.layer is not None and row.peak is not None]
    largest = sorted(rows, key=lambda row: -row.bits)[:MOST_PIPES]
    return [row for row in rows if row in largest]


def quality_picture(report: Report) -> str:
    """Show signal to quantization noise of each layer, and of rounding alone."""
    assert report.quality is not None
    rows = report.quality.rows
    with drawing("quality", "Error of quantization", 1.1 + ROW * len(rows)) as made:
        axes = made.axes
        _rows(axes, [row.layer for row in rows])
        for place, row in enumerate(rows):
            axes.barh(place, row.sqnr or 0, BAR, color=Colour.FIRST.value)
            if row.rounding is not None:
                axes.plot(
                    [row.rounding] * 2,
                    [place - BAR / 2, place + BAR / 2],
                    color=Colour.INK.value,
                    linewidth=2,
                )
            axes.annotate(
                "exact" if row.sqnr is None else f"{row.sqnr:.1f} dB",
                (max(row.sqnr or 0, row.rounding or 0), place),
                xytext=(5, 0),
                textcoords="offset points",
                va="center",
                color=Colour.SOFT.value,
            )
        most = max([row.sqnr or 0 for row in rows] + [row.rounding or 0 for row in rows])
        axes.set_xlim(min(0, *(row.sqnr or 0 for row in rows)), 1.15 * most)
        axes.set_xlabel("dB: longer is better", loc="left")
    return made.svg


def _rows(axes: Axes, names: Sequence[str]) -> None:
    """Name the rows, the first one on top."""
    bare(axes)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
