"""How many words must wait before and behind a line buffer, so that nobody ever waits for it.

A line buffer sends nothing while it takes in rows that end no window, and takes nothing while it
makes up padding; its neighbours work evenly. The two pipes beside it even that out.
In: a ``Sweep`` and the cycles a frame. Out: words. Sizes are exact for neighbours that take and
give words at constant rates; what they do within a pixel or a row is added as a margin.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pyahir.plan.plan import Sweep

__all__ = ["Rooms", "line_buffer_rooms"]

FRAMES = 3  # the first ones let the rhythm settle


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooms:
    """Words in the pipe before a line buffer and in the one behind it."""

    before: int
    behind: int


def line_buffer_rooms(sweep: Sweep, cycles: int) -> Rooms:
    """Size the pipes beside a line buffer for a frame every ``cycles`` clock cycles."""
    cycles = max(cycles, sweep.line_cycles)
    sends, takes = _rhythm(sweep)
    behind = _behind(sends, sweep.words, cycles)
    before = _before(sends, takes, sweep.words, cycles, behind)
    rows = (sweep.window.span[0] - 1) * sweep.width  # of a neighbour that sends row by row
    return Rooms(
        before=max(math.ceil(before), rows) * sweep.words,
        behind=(math.ceil(behind) + sweep.window.span[1]) * sweep.words,
    )


Flags = npt.NDArray[np.bool_]


def _rhythm(sweep: Sweep) -> tuple[Flags, Flags]:
    """Flag the places of the padded map where a column is sent, and where a pixel is taken."""
    (span_y, span_x), (stride_y, stride_x) = sweep.window.span, sweep.window.stride
    top, _, left, _ = sweep.window.padding
    rows, columns = np.arange(sweep.padded_height), np.arange(sweep.padded_width)
    last = span_y - 1 + (sweep.out_height - 1) * stride_y
    row_sends = (rows >= span_y - 1) & (rows <= last) & ((rows - span_y + 1) % stride_y == 0)
    column_sends = columns < sweep.columns_used
    if stride_x > span_x:
        column_sends &= columns % stride_x < span_x
    row_takes = (rows >= top) & (rows < top + sweep.height)
    column_takes = (columns >= left) & (columns < left + sweep.width)
    return np.outer(row_sends, column_sends).ravel(), np.outer(row_takes, column_takes).ravel()


def _behind(sends: Flags, words: int, cycles: int) -> float:
    """Give the most that is taken in any stretch of time, less what has been sent in it."""
    sent = np.tile(sends, 2).cumsum()
    rate = sends.sum() / cycles
    short = rate * words * np.arange(1, len(sent) + 1) - sent
    return float((short - np.minimum.accumulate(short)).max())


def _before(sends: Flags, takes: Flags, words: int, cycles: int, behind: float) -> float:
    """Give the most that an even source is ahead of a line buffer that waits for room behind it."""
    count = FRAMES * int(sends.sum())
    places = np.flatnonzero(np.tile(sends, FRAMES))
    own = (places + 1.0) * words  # the cycle of each sending, if it never waited
    room = (np.arange(count) - behind) * cycles / sends.sum()  # when there is room for it
    late = np.maximum.accumulate(np.maximum(room - own, 0.0))
    everywhere = np.zeros(FRAMES * len(sends))
    everywhere[places] = np.diff(late, prepend=0.0)
    waits = np.cumsum(everywhere)
    taken = np.flatnonzero(np.tile(takes, FRAMES))
    when = (taken + 1.0) * words + waits[taken]
    ahead = when * (takes.sum() / cycles) - np.arange(len(taken))
    settled = ahead[(FRAMES - 1) * int(takes.sum()) :]
    return float(settled.max() - settled.min())
