"""Colours and letters of the pictures, and SVG that follows the page that it stands in.

In: drawing functions that use ``Colour``. Out: one ``<svg>`` element. Its colours are the page's
own variables, so that light, dark and print need one picture; without such a page the colours
named here are used. Equal drawings give equal text: no date, no random name.
"""

# The keyword arguments of matplotlib have no types.
# pyright: reportUnknownMemberType=false
from __future__ import annotations

import io
import re
from collections.abc import Generator
from contextlib import contextmanager
from enum import StrEnum
from html import escape
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.style import context

__all__ = ["BAR", "WIDTH", "Colour", "Drawing", "bare", "drawing"]

WIDTH = 8.6  # inches; a page shows the picture as wide as it is
BAR = 0.62  # of the height of a row


class Colour(StrEnum):
    """Each is a variable of the page, ``--ink`` and so on, and no two have the same value."""

    INK = "#1f2328"
    SOFT = "#59636e"
    GRID = "#d1d9e0"
    BOX = "#eef2f6"
    FIRST = "#2f6fb2"
    SECOND = "#c2620e"
    BUSY = "#7fae93"
    OTHER = "#b6bec7"
    ALARM = "#b42318"
    ON = "#fefefe"


_SETTINGS: dict[str, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 9.5,
    "text.color": Colour.INK.value,
    "axes.labelcolor": Colour.SOFT.value,
    "axes.edgecolor": Colour.GRID.value,
    "xtick.color": Colour.SOFT.value,
    "ytick.color": Colour.INK.value,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "legend.frameon": False,
    "hatch.linewidth": 0.6,
}
_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


class Drawing:
    """One figure on its way to SVG: draw into ``axes``, then take ``svg``."""

    def __init__(self, name: str, title: str, height: float, width: float = WIDTH) -> None:
        self.name = name
        self.title = title
        self.figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(self.figure)
        self.axes: Axes = self.figure.add_subplot()
        self.svg = ""

    def finish(self) -> None:
        """Print the figure."""
        buffer = io.StringIO()
        self.figure.savefig(buffer, format="svg", metadata=_METADATA)
        self.svg = _for_page(buffer.getvalue(), self.name, self.title)


@contextmanager
def drawing(name: str, title: str, height: float, width: float = WIDTH) -> Generator[Drawing]:
    """Draw in pyahir's style; the SVG is there when the block is left."""
    with context({**_SETTINGS, "svg.hashsalt": name}):
        made = Drawing(name, title, height, width)
        yield made
        made.finish()


def bare(axes: Axes) -> None:
    """Leave away the frame: rows of bars need only a grid along the numbers."""
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0)
    axes.set_axisbelow(True)
    axes.grid(axis="x", color=Colour.GRID.value, linewidth=0.7)


def _for_page(text: str, name: str, title: str) -> str:
    """Cut the prolog, name the picture, make its ids its own and its colours the page's."""
    body = text[text.index("<svg") :].rstrip()
    body = re.sub(r'\b(id="|href="#|url\(#)', rf"\g<1>{name}-", body)
    for colour in Colour:
        variable = colour.name.lower().replace("_", "-")
        body = body.replace(colour.value, f"var(--{variable}, {colour.value})")
    head = f'<svg role="img" aria-label="{escape(title)}"'
    return body.replace("<svg", head, 1)
