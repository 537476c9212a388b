"""Weights that come from outside again for every frame: how they are packed into ``weights_in``.

Several layers share one pipe of 64-bit items. A packet is a header and a fixed number of items,
all of one layer: whole *lines* of its weights, then filling. A line is one word of weights, or
several where that fills its items better. A layer with more than one pixel goes through its feature
map once for each of its output folds, with the weights of one fold on the chip and those of the
next one arriving.

The order of the packets. In turn t come the packets of frame ``t - late`` of every layer, evenly
mixed. A layer has all its results of a frame at the end of a turn only, and they need a while to
the next streamed layer; so that this one has its frame when its turn begins, it is ``LATE`` turns
behind. One turn would do for the results to be right: each layer can finish its part of a turn by
itself, as its inputs were made from weights of earlier turns and there is room for its results. So
no order within a turn is a deadlock.

In: the words and their size of each streamed layer. Out: ``Packets``. Not here: which layers are
streamed (``plan.search``), the bits (``backends.aa.feed``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "HEADER_FIELD",
    "ITEM_BITS",
    "LATE",
    "Packets",
    "bandwidth",
    "items_of",
    "line_words",
    "packets",
]

ITEM_BITS = 64
HEADER_FIELD = 16  # bits of a field of a packet's header
CLOCK = 100 * 10**6  # Hz, for bytes a second
LATE = 2
LONGEST_LINE = 16  # items, or one word
LEAST_PACKET = 16  # items: of shorter ones the header is a large part
MOST_PACKET = 64  # or twice the longest word: longer ones only make pipes deeper


def bandwidth(items: int, cycles: int) -> str:
    """Say what comes through the pipe while frames follow one another, a frame in ``cycles``."""
    size, share = ITEM_BITS // 8, items / cycles
    rate = size * share
    return (
        f"{items:,} items of {size} bytes in {cycles:,} cycles, {rate:.2f} bytes a cycle "
        f"({share:.0%} of what the pipe takes; {rate * CLOCK / 1e6:,.0f} MB/s at "
        f"{CLOCK // 10**6} MHz)"
    )


def items_of(width: int) -> int:
    """Count the items of a word of ``width`` bits."""
    return -(-width // ITEM_BITS)


def line_words(words: int, width: int) -> int:
    """Choose how many of ``words`` words of ``width`` bits make a line, for the fewest items.

    All lines are full. Of numbers that are as good the smallest one.
    """
    most = max(1, LONGEST_LINE * ITEM_BITS // width)
    numbers = [number for number in range(1, most + 1) if words % number == 0]
    return min(numbers, key=lambda number: words // number * items_of(number * width))


@dataclass(frozen=True, slots=True)
class Packets:
    """``size`` items a packet, its header included; for each layer the lines a packet holds."""

    size: int
    lines: tuple[int, ...]
    counts: tuple[int, ...]  # packets a frame

    @property
    def items(self) -> int:
        """Items a frame, of all layers."""
        return self.size * sum(self.counts)


def packets(layers: Sequence[tuple[int, int]]) -> Packets:
    """Choose the size of a packet that takes the fewest items for layers of (lines, bits a line).

    Of sizes that take as few the smallest one.
    """
    if not layers:
        return Packets(0, (), ())
    longest = max(items_of(width) for _, width in layers)
    least = max(LEAST_PACKET, 1 + longest)
    sizes = range(least, max(MOST_PACKET, 2 * longest) + 2)
    return min((_sized(size, layers) for size in sizes), key=lambda found: found.items)


def _sized(size: int, layers: Sequence[tuple[int, int]]) -> Packets:
    lines = tuple((size - 1) // items_of(width) for _, width in layers)
    counts = tuple(-(-total // held) for (total, _), held in zip(layers, lines, strict=True))
    return Packets(size, lines, counts)
