"""The timeline: which layer works when, over two frames, drawn from the simulation."""

# The keyword arguments of matplotlib have no types.
# pyright: reportUnknownMemberType=false
from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import StrMethodFormatter

from pyahir.report.model import Report, Span, Timeline
from pyahir.report.pictures.style import Colour, drawing

__all__ = ["timeline_picture"]

LANE = 0.36  # height of one of the two lanes of a row
MOST_STEPS = 500  # of activity in the picture
_COLOURS = (Colour.FIRST, Colour.SECOND)


def timeline_picture(report: Report) -> str:
    """Draw a row a layer, in it a lane for each of the two frames, and the activity below."""
    line = report.timeline
    assert line is not None
    names = [row.name for row in report.layers]
    start = min(item.start for item in line.spans if item.frame == line.shown[0])
    end = max(item.end for item in line.spans if item.frame == line.shown[1])
    with drawing("timeline", "Which layer works when", 1.15 + 0.62 * len(names)) as made:
        axes = made.axes
        for place, name in enumerate(names):
            _activity(axes, line, name, place, (start, end))
            for span in line.spans:
                if span.layer == name and span.start < end and span.end > start:
                    _span(axes, line, span, place, start, end)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlim(0, end - start)
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.set_axisbelow(True)
        axes.grid(axis="x", color=Colour.GRID.value, linewidth=0.7)
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        first, second = (frame + 1 for frame in line.shown)
        axes.set_xlabel(
            f"clock cycles since frame {first} went in; blue: frame {first}, "
            f"orange: frame {second}, grey: others",
            loc="left",
        )
    return made.svg


def _span(axes: Axes, line: Timeline, span: Span, place: int, start: int, end: int) -> None:
    """Draw one frame in one layer, in the lane of even or of odd frames."""
    lane = (span.frame - line.shown[0]) % 2
    colour = _COLOURS[lane] if span.frame in line.shown else Colour.OTHER
    height = LANE / 2
    left, right = max(span.start, start), min(span.end, end)
    axes.barh(
        place - 0.38 + lane * (height + 0.03),
        right - left,
        height,
        left=left - start,
        align="edge",
        color=colour.value,
    )
    if span.frame in line.shown and right - left > 0.06 * (end - start):
        axes.annotate(
            f"{span.end - span.start:,}",
            (left - start, place - 0.38 + lane * (height + 0.03) + height / 2),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=7,
            color=Colour.ON.value,
        )


def _activity(axes: Axes, line: Timeline, name: str, place: int, window: tuple[int, int]) -> None:
    """Draw the share of busy cycles as a step line that rises from the foot of the row."""
    start, end = window
    size = line.bin_cycles
    first, last = start // size, -(-end // size)
    shares = np.asarray(line.activity[name][first:last])
    group = -(-len(shares) // MOST_STEPS)
    padded = np.pad(shares, (0, -len(shares) % group), mode="edge").reshape(-1, group).mean(axis=1)
    edges = (first + group * np.arange(len(padded) + 1)) * size - start
    foot = place + 0.42
    axes.stairs(
        foot - 0.36 * padded,
        edges,
        baseline=foot,
        fill=True,
        color=Colour.BUSY.value,
    )
    axes.plot([0, end - start], [foot, foot], color=Colour.GRID.value, linewidth=0.7)
