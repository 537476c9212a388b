"""Calibration of posits: the power of two of each tensor, by least squared error.

In: numbers, or a FLOAT graph and sample images. Out: exponents by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from pyahir.ir.graph import Graph
from pyahir.ir.posit import encode, values
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


def best_exponent(numbers: Float64, counts: Float64, es: int) -> int:
    """Give the k for which posits in units of ``2**k`` have the least squared error.

    Of equal errors the k nearest to 0 wins; 0 where all numbers are 0.
    """
    largest = float(np.abs(numbers).max(initial=0.0))
    if largest == 0:
        return 0
    top = math.frexp(largest)[1]
    table = values(es)

    def error(k: int) -> float:
        rounded = np.ldexp(table[encode(numbers, es, -k)], k)
        return float(np.sum(counts * (rounded - numbers) ** 2))

    near = range(top - REACH, top + REACH + 1)
    tried = {max(-MOST_EXPONENT, min(MOST_EXPONENT, k)) for k in near}
    return min(tried, key=lambda k: (error(k), abs(k), k))


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
