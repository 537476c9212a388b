"""The graph of a design: processes, and the pipes between them with width, depth and peak.

A row is a layer; in it the processes stand in the order in which data goes through them.
"""

# The keyword arguments of matplotlib have no types.
# pyright: reportUnknownMemberType=false
from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import networkx as nx
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from pyahir.report.model import PipeRow, Report
from pyahir.report.pictures.style import Colour, drawing

__all__ = ["dataflow_picture"]

STEP_Y, BOX_Y = 1.3, 0.32  # inches, from row to row and of a box
LETTER, SMALL_LETTER = 0.078, 0.066  # inches, the widest of names
TURN = 0.2  # from a box to the corner of a line
SMALL = 7.5
Place = tuple[float, float]


@dataclass(frozen=True, slots=True)
class _Grid:
    """Inches across: of a box, from box to box, and left of the first box for layers' names."""

    box: float
    step: float
    margin: float

    @classmethod
    def of(cls, report: Report) -> _Grid:
        """Make room for the longest names."""
        modules = max(len(row.module) for row in report.processes)
        pipes = max(len(row.name) for row in report.pipes if row.layer is not None)
        layers = max(len(row.name) for row in report.layers)
        box = max(0.98, LETTER * modules + 0.15)
        return cls(box, box + max(1.02, SMALL_LETTER * pipes + 0.15), LETTER * layers + 0.35)


def dataflow_picture(report: Report) -> str:
    """Draw the data's way from the input to the output pipe."""
    grid = _Grid.of(report)
    places = _places(report, grid.step)
    pipes = [row for row in report.pipes if row.layer is not None]
    right = max(x for x, _ in places.values()) + grid.box / 2 + 1.1
    left = -grid.margin - grid.box / 2
    top, bottom = -0.75, STEP_Y * (len(report.layers) - 1) + 0.75
    with drawing("dataflow", "Processes and pipes", bottom - top, right - left) as made:
        axes = made.axes
        made.figure.set_layout_engine("none")
        axes.set_position((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set_xlim(left, right)
        axes.set_ylim(bottom, top)
        for number, layer in enumerate(report.layers):
            axes.text(
                -grid.box / 2 - 0.14,
                STEP_Y * number,
                layer.name,
                ha="right",
                va="center",
                weight="bold",
            )
        loops = Counter[str]()
        for row in pipes:
            if row.writer is not None and row.writer == row.reader:
                x, y = places[row.writer]
                _returning(axes, row, (x - grid.box / 2, y), loops[row.writer])
                loops[row.writer] += 1
            else:
                _pipe(axes, row, grid, places.get(row.writer or ""), places.get(row.reader or ""))
        for name, place in places.items():
            _box(axes, name, place, grid.box)
    return made.svg


def _places(report: Report, step: float) -> dict[str, Place]:
    """Give the middle of each process: columns by the order of the data within the layer."""
    graph: nx.DiGraph[str] = nx.DiGraph()
    owner = {process.module: process.layer for process in report.processes}
    graph.add_nodes_from(owner)
    graph.add_edges_from(
        (row.writer, row.reader) for row in report.pipes if row.layer and row.writer and row.reader
    )
    found: dict[str, Place] = {}
    for number, layer in enumerate(report.layers):
        inside = graph.subgraph([name for name in owner if owner[name] == layer.name])
        # Processes that feed one another both ways have no order: they stand in that of names.
        parts: nx.DiGraph[int] = nx.condensation(nx.DiGraph(inside))
        ordered = (
            name
            for part in nx.topological_sort(parts)
            for name in sorted(parts.nodes[part]["members"])
        )
        for column, name in enumerate(ordered):
            found[name] = (step * column, STEP_Y * number)
    return found


def _box(axes: Axes, name: str, place: Place, width: float) -> None:
    x, y = place
    box = FancyBboxPatch(
        (x - width / 2, y - BOX_Y / 2),
        width,
        BOX_Y,
        boxstyle="round,pad=0,rounding_size=0.06",
        facecolor=Colour.BOX.value,
        edgecolor=Colour.FIRST.value,
        linewidth=1,
    )
    axes.add_patch(box)
    axes.text(x, y, name, ha="center", va="center", fontsize=8.5)


def _returning(axes: Axes, row: PipeRow, place: Place, number: int) -> None:
    """Name a pipe that its own writer reads: below the box, with a sign."""
    text = f"\u21ba {row.name}\n{_size(row)}"
    y = place[1] + BOX_Y / 2 + 0.05 + 0.28 * number
    _text(axes, (place[0] + 0.04, y), text, "left", "top")


def _pipe(
    axes: Axes, row: PipeRow, grid: _Grid, source: Place | None, target: Place | None
) -> None:
    """Draw one pipe: along the row to the next box, else over corners; name and size beside it."""
    half = grid.box / 2
    if source and target and source[1] == target[1] and target[0] == source[0] + grid.step:
        _line(axes, row, [(source[0] + half, source[1]), (target[0] - half, source[1])])
        middle = source[0] + grid.step / 2
        _text(axes, (middle, source[1] - 0.04), f"{row.name}\n{row.width} bit", "center", "bottom")
        _text(axes, (middle, source[1] + 0.05), _depth(row), "center", "top")
        return
    points: list[Place] = []
    label = (0.0, 0.0)
    if source:
        corner = source[0] + half + TURN
        points += [(source[0] + half, source[1]), (corner, source[1])]
        label = (corner + 0.06, source[1] + 0.3)
    if target:
        above = target[1] - BOX_Y / 2
        if points:
            level = target[1] - STEP_Y / 2 + 0.08
            points += [(points[-1][0], level), (target[0], level), (target[0], above)]
        else:
            points += [(target[0], above - 0.45), (target[0], above)]
        label = (target[0] + 0.08, above - 0.3)
    else:
        points.append((points[-1][0], points[-1][1] + 0.5))
    _line(axes, row, points)
    _text(axes, label, f"{row.name}: {_size(row)}", "left", "center")


def _line(axes: Axes, row: PipeRow, points: list[Place]) -> None:
    """Draw a line with an arrow at its end; orange where the pipe was full."""
    colour = Colour.SECOND if row.peak == row.depth else Colour.FIRST
    if len(points) > 2:
        axes.plot(*zip(*points[:-1], strict=True), color=colour.value, linewidth=1.2)
    axes.annotate(
        "",
        xy=points[-1],
        xytext=points[-2],
        arrowprops={
            "arrowstyle": "-|>",
            "color": colour.value,
            "linewidth": 1.2,
            "shrinkA": 0,
            "shrinkB": 0,
        },
    )


def _size(row: PipeRow) -> str:
    return f"{row.width} bit, {_depth(row)}"


def _depth(row: PipeRow) -> str:
    return f"{row.depth:,} deep" if row.peak is None else f"{row.peak:,} of {row.depth:,}"


def _text(axes: Axes, place: Place, text: str, across: str, upright: str) -> None:
    axes.text(*place, text, ha=across, va=upright, fontsize=SMALL, color=Colour.SOFT.value)
