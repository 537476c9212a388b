"""Calibration of posits: the power of two of each tensor, by least squared error.

In: numbers, or a FLOAT graph and sample images. Out: exponents by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from pyahir.ir.graph import Graph
from pyahir.ir.posit import MAXPOS, rounding_steps, values
from pyahir.quant.calibrate import watch
from pyahir.quant.observers import MinMax

__all__ = ["Exponents", "best_exponent", "calibrate_exponents"]

Exponents = Mapping[str, int]
Float64 = npt.NDArray[np.float64]
MOST_EXPONENT = 30  # either way: the factor of an encode stays within its limit
REACH = 10  # powers of two around the largest value that are tried


class _Counts(MinMax):
    """Counts values by the upper half of their binary32 form: 7 bits of the fraction."""

    def __init__(self) -> None:
        super().__init__()
        self.counts = np.zeros(1 << 16, np.int64)

    def observe(self, values: npt.NDArray[np.float32]) -> None:
        super().observe(values)
        tops = np.ascontiguousarray(values).view(np.uint32).ravel() >> np.uint32(16)
        self.counts += np.bincount(tops, minlength=1 << 16)

    def numbers(self) -> tuple[Float64, Float64]:
        """Give the middle of every bin that was hit, and its count; the bin of 0 is 0."""
        used = np.flatnonzero(self.counts).astype(np.uint32)
        middle = ((used << np.uint32(16)) | np.uint32(1 << 15)).view(np.float32)
        middle = np.where(used & np.uint32(0x7F80), middle, np.float32(0))
        return middle.astype(np.float64), self.counts[used].astype(np.float64)


def best_exponent(numbers: Float64, counts: Float64 | None, es: int) -> int:
    """Give the k for which posits in units of ``2**k`` have the least squared error.

    Of equal errors the k nearest to 0 wins; 0 where all numbers are 0. ``counts`` says how often
    each number is there; None: once. The numbers are sorted once, so that each k needs only the
    places where the codes change.
    """
    sizes = np.abs(numbers)
    largest = float(sizes.max(initial=0.0))
    if largest == 0:
        return 0
    if counts is None:
        sizes = np.sort(sizes)
    else:
        order = np.argsort(sizes, kind="stable")
        sizes, counts = sizes[order], counts[order]
    zeros = int(np.searchsorted(sizes, 0.0, side="right"))
    sizes, weights = sizes[zeros:], None if counts is None else counts[zeros:]
    top = math.frexp(largest)[1]

    def error(k: int) -> float:
        squares = (_rounded(sizes, es, k) - sizes) ** 2
        return float(np.sum(squares if weights is None else weights * squares))

    near = range(top - REACH, top + REACH + 1)
    tried = {max(-MOST_EXPONENT, min(MOST_EXPONENT, k)) for k in near}
    return min(tried, key=lambda k: (error(k), abs(k), k))


def _rounded(ascending: Float64, es: int, k: int) -> Float64:
    """Round positive numbers, in ascending order, to posits in units of ``2**k``."""
    positive, steps = values(es)[1 : MAXPOS + 1], np.ldexp(rounding_steps(es), k)
    edges = np.empty(len(steps), np.int64)  # on a step the even code, the lower one of odd steps
    edges[0::2] = np.searchsorted(ascending, steps[0::2], side="left")
    edges[1::2] = np.searchsorted(ascending, steps[1::2], side="right")
    lengths = np.diff(edges, prepend=0, append=len(ascending))
    return np.repeat(np.ldexp(positive, k), lengths)


def calibrate_exponents(
    graph: Graph,
    images: npt.NDArray[np.float32],
    es: int,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Exponents:
    """Give the power of two of each value that is stored, over ``images`` (N, C, H, W)."""
    seen = watch(graph, images, _Counts, progress=progress)
    return {name: best_exponent(*item.numbers(), es) for name, item in seen.items()}
