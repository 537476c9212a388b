"""Observers: see the values of one tensor, then give the range that its codes shall span."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from pyahir.ir.types import Affine

__all__ = ["OBSERVERS", "MinMax", "Mse", "Observer", "Percentile", "Range", "affine_of"]

Real = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Range = tuple[float, float]
LARGEST_CODE = 255
LEAST_SCALE = 2.0**-100  # its inverse and its product with any weight scale are normal float32


class Observer:
    """Base of the observers. The range does not depend on the order in which values come."""

    def observe(self, values: Real) -> None:
        """Take finite values, an array of any shape with at least one element."""
        raise AssertionError(f"{type(self).__name__} has no observe")

    def range(self) -> Range:
        """Give the least and greatest real value to represent."""
        raise AssertionError(f"{type(self).__name__} has no range")


class MinMax(Observer):
    """Every value seen is represented."""

    def __init__(self) -> None:
        self.low, self.high = math.inf, -math.inf

    def observe(self, values: Real) -> None:
        self.low = min(self.low, float(values.min()))
        self.high = max(self.high, float(values.max()))

    def range(self) -> Range:
        return self.low, self.high


class _Histogram(MinMax):
    """Counts values in ``BINS`` bins from ``-bound`` to ``bound``, a power of two.

    A larger value doubles the bound, and neighbouring bins join: the counts depend on the values
    only, not on their order.
    """

    BINS = 1 << 13

    def __init__(self) -> None:
        super().__init__()
        self.exponent: int | None = None  # None: only zeros so far
        self.counts = np.zeros(self.BINS, np.int64)

    def observe(self, values: Real) -> None:
        super().observe(values)
        largest = max(-self.low, self.high)
        if largest > 0:
            self._cover(math.frexp(largest)[1])  # largest < 2 ** exponent
        unit = 0.0 if self.exponent is None else math.ldexp(self.BINS / 2, -self.exponent)
        place = np.floor(values.astype(np.float64).ravel() * unit).astype(np.int64)
        self.counts += np.bincount(place + self.BINS // 2, minlength=self.BINS)

    def _cover(self, exponent: int) -> None:
        if self.exponent is None or exponent <= self.exponent:
            self.exponent = exponent if self.exponent is None else self.exponent
            return
        half = self.BINS // 2
        step = min(exponent - self.exponent, half.bit_length() - 1)
        place = ((np.arange(self.BINS) - half) >> step) + half
        merged = np.zeros_like(self.counts)
        np.add.at(merged, place, self.counts)
        self.counts, self.exponent = merged, exponent

    def edges(self) -> Float64:
        """Give the BINS + 1 limits of the bins."""
        unit = math.ldexp(1.0, (self.exponent or 0)) / (self.BINS // 2)
        return (np.arange(self.BINS + 1, dtype=np.float64) - self.BINS // 2) * unit


class Percentile(_Histogram):
    """The range that holds ``percent`` of the values; the same share is cut off at either end."""

    def __init__(self, percent: float = 99.99) -> None:
        super().__init__()
        if not 50 < percent <= 100:
            raise ValueError(f"a percentile is more than 50 and at most 100, not {percent}")
        self.percent = percent

    def range(self) -> Range:
        below = np.cumsum(self.counts)
        total = int(below[-1])
        cut = int(total * (100.0 - self.percent) / 200.0)
        edges = self.edges()
        first = int(np.searchsorted(below, cut, side="right"))
        last = int(np.searchsorted(below, total - cut, side="left"))
        return max(self.low, float(edges[first])), min(self.high, float(edges[last + 1]))


class Mse(_Histogram):
    """The range whose 256 levels give the least mean squared error over the values.

    Searched on a grid of shrunken ends, one end after the other, until neither moves: the error
    decreases strictly, so the search ends.
    """

    STEPS = 64

    def range(self) -> Range:
        low, high = min(self.low, 0.0), max(self.high, 0.0)
        used = np.flatnonzero(self.counts)
        edges = self.edges()
        centers = (edges[used] + edges[used + 1]) / 2
        counts = self.counts[used].astype(np.float64)
        parts = np.arange(self.STEPS, 0, -1) / self.STEPS
        best, chosen = _squared_error(centers, counts, (low, high)), (low, high)
        while True:
            before = chosen
            trials = [(low * part, chosen[1]) for part in parts]
            best, chosen = _best(centers, counts, trials, best, chosen)
            trials = [(chosen[0], high * part) for part in parts]
            best, chosen = _best(centers, counts, trials, best, chosen)
            if chosen == before:
                return chosen


def _best(
    centers: Float64, counts: Float64, trials: list[Range], best: float, chosen: Range
) -> tuple[float, Range]:
    for trial in trials:
        error = _squared_error(centers, counts, trial)
        if error < best:
            best, chosen = error, trial
    return best, chosen


def _squared_error(centers: Float64, counts: Float64, limits: Range) -> float:
    affine = affine_of(limits)
    codes = np.clip(np.rint(centers / affine.scale) + affine.zero_point, 0, LARGEST_CODE)
    return float(np.sum(counts * ((codes - affine.zero_point) * affine.scale - centers) ** 2))


def affine_of(limits: Range, least_scale: float = LEAST_SCALE) -> Affine:
    """Give the uint8 codes that span ``limits`` and 0, which has an exact code.

    The scale is at least ``least_scale``; for a constant 0, which any scale represents, it is 1.
    """
    low, high = min(limits[0], 0.0), max(limits[1], 0.0)
    width = high - low
    scale = np.float32(max(width / LARGEST_CODE if width > 0 else 1.0, least_scale))
    zero_point = int(np.clip(np.rint(-low / float(scale)), 0, LARGEST_CODE))
    return Affine(scale=float(scale), zero_point=zero_point)


OBSERVERS: Mapping[str, Callable[[], Observer]] = MappingProxyType(
    {"minmax": MinMax, "percentile": Percentile, "mse": Mse}
)
