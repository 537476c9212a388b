"""The integers of a quire, exact at any width: how the golden model multiplies and carries them.

Two forms of a sum:

* *narrow*, where no partial sum reaches 2**53: a plane of float32 or float64, NaN for NaR;
* *wide*: an int64 plane with one more axis in front, ``hi`` and ``lo``, the sum being
  ``hi * 2**60 + lo`` with ``0 <= lo < 2**60``; NaR has the least ``hi``.

Products are those of BLAS. Where the operands are too long for it they are cut into limbs, so that
every partial sum of one product of limbs stays below 2**53.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from pyahir.ir.posit import decode_integers, odd_float32
from pyahir.ir.types import Int

__all__ = [
    "Limbs",
    "admitted",
    "is_wide",
    "join",
    "multiply",
    "odd",
    "plan_limbs",
    "published",
    "widen",
]

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
Plane = npt.NDArray[Any]
LOW = 60
LOW_MASK = (1 << LOW) - 1
NAR_HIGH = -(1 << 63)
WIDEST = LOW + 62
UNITS = np.array([1.0, 2.0**30, 2.0**LOW], np.float32)
BLOCK = 1 << 14  # elements that are worked on at a time: they stay in a level-2 cache
EXACT = 53  # bits of binary64


@dataclass(frozen=True, slots=True, kw_only=True)
class Limbs:
    """How operands are cut: a table code -> limb for x, and the limbs of the weights (O, T).

    The exact product is the sum of ``table[i] * weight[j] * 2**(x_shift[i] + w_shift[j])``.
    ``narrow``: there is one limb of each, and their sums are in the narrow form.
    """

    narrow: bool

    tables: tuple[Plane, ...]
    x_shifts: tuple[int, ...]
    weights: tuple[Plane, ...]
    w_shifts: tuple[int, ...]


def plan_limbs(es: int, weight: Int64, bound: int) -> Limbs:
    """Cut 256 posits and the integers ``weight`` (..., T) into the fewest limbs that are exact.

    ``bound`` is that of the whole sum, bias included.
    """
    codes = decode_integers(np.arange(256, dtype=np.uint8), es)
    if bound < 1 << EXACT:
        dtype = np.float32 if bound < 1 << 24 else np.float64
        table = codes.astype(dtype)
        table[128] = np.nan
        return Limbs(
            narrow=True,
            tables=(table,),
            x_shifts=(0,),
            weights=(weight.astype(dtype),),
            w_shifts=(0,),
        )
    assert bound < 1 << WIDEST, f"a quire of more than {WIDEST} bits: sums up to {bound}"
    spare = _trailing_zeros(weight)
    trimmed = weight >> spare
    x_bits, w_bits = int(codes.max()).bit_length(), int(np.abs(trimmed).max()).bit_length()
    for x_count, w_count in sorted(product(range(1, 9), range(1, 9)), key=lambda n: n[0] * n[1]):
        x_size, w_size = -(-x_bits // x_count), -(-w_bits // w_count)
        w_limbs = _cut(trimmed, w_count, w_size)
        largest = max(int(np.abs(limb).sum(axis=-1).max()) for limb in w_limbs)
        if largest << x_size < 1 << EXACT:
            break
    else:
        raise AssertionError(f"posit<8,{es}>: sums up to {bound} cannot be cut into limbs")
    x_limbs = _cut(codes, x_count, x_size)
    tables = [limb.astype(np.float64) for limb in x_limbs]
    tables[0][128] = np.nan  # a limb 0 that is NaN makes the sum NaN
    return Limbs(
        narrow=False,
        tables=tuple(tables),
        x_shifts=tuple(range(0, x_count * x_size, x_size)),
        weights=tuple(limb.astype(np.float64) for limb in w_limbs),
        w_shifts=tuple(spare + n * w_size for n in range(w_count)),
    )


def _trailing_zeros(array: Int64) -> int:
    together = int(np.bitwise_or.reduce(np.abs(array), axis=None))
    return max((together & -together).bit_length() - 1, 0)


def _cut(array: Int64, count: int, size: int) -> list[Int64]:
    """Give ``count`` limbs of ``size`` bits, the lowest first, each with the sign of the number."""
    magnitude, sign = np.abs(array), np.sign(array)
    mask = (1 << size) - 1
    return [sign * ((magnitude >> (n * size)) & mask) for n in range(count)]


def multiply(
    limbs: Limbs,
    codes: Plane,
    arrange: Callable[[Plane], Plane],
    matmul: Callable[[int, Plane], Plane],
    bias: Int64,
) -> Plane:
    """Give the sums plus ``bias``, which broadcasts to them.

    ``arrange`` brings decoded codes into columns, ``matmul(j, columns)`` multiplies them by the
    weights' limb j, both in floats.
    """
    index = codes.view(np.uint8)
    if limbs.narrow:
        result = matmul(0, arrange(np.take(limbs.tables[0], index)))
        result += bias.astype(result.dtype)
        return result
    terms: list[tuple[Plane, int]] = []
    for table, x_shift in zip(limbs.tables, limbs.x_shifts, strict=True):
        columns = arrange(np.take(table, index))
        for j, w_shift in enumerate(limbs.w_shifts):
            terms.append((matmul(j, columns), x_shift + w_shift))
    rows, columns = terms[0][0].shape
    wide = np.empty((2, rows, columns), np.int64)
    step = max(16, BLOCK // rows)
    for first in range(0, columns, step):
        cut = slice(first, first + step)
        _add([(term[:, cut], shift) for term, shift in terms], bias, wide[:, :, cut])
    return wide


def _add(terms: Sequence[tuple[Plane, int]], bias: Int64, wide: Int64) -> None:
    """Write the sum of ``term * 2**shift`` and the bias (O, 1) into ``wide`` (2, O, M)."""
    hi, lo = wide
    hi[...], lo[...] = bias >> LOW, bias & LOW_MASK
    nar = np.isnan(sum(term for term, _ in terms))
    any_nar = bool(nar.any())
    for term, shift in terms:
        whole = (np.where(nar, 0.0, term) if any_nar else term).astype(np.int64)
        if shift >= LOW:
            hi += whole << (shift - LOW)
            continue
        lo += (whole & ((1 << (LOW - shift)) - 1)) << shift
        whole >>= LOW - shift
        hi += whole
        hi += lo >> LOW
        lo &= LOW_MASK
    if any_nar:
        hi[nar], lo[nar] = NAR_HIGH, 0


def is_wide(plane: Plane) -> bool:
    return plane.dtype == np.int64


def join(
    first: tuple[int, int], second: tuple[int, int], bound: int
) -> Callable[[Plane, Plane], Plane]:
    """Give the function that adds two planes of posits, each (es, left shift), exactly.

    ``bound`` is that of the sum; it decides the form.
    """
    narrow = bound < 1 << EXACT
    assert bound < 1 << WIDEST, f"a quire of more than {WIDEST} bits: sums up to {bound}"
    left, right = (_shifted(es, shift, narrow=narrow) for es, shift in (first, second))

    def add(x: Plane, y: Plane) -> Plane:
        a, b = np.take(left, x.view(np.uint8), axis=-1), np.take(right, y.view(np.uint8), axis=-1)
        if narrow:
            return a + b
        nar = (a[0] == NAR_HIGH) | (b[0] == NAR_HIGH)
        lo = a[1] + b[1]
        wide = np.stack([a[0] + b[0] + (lo >> LOW), lo & LOW_MASK])
        wide[0][nar], wide[1][nar] = NAR_HIGH, 0
        return wide

    return add


def _shifted(es: int, shift: int, *, narrow: bool) -> Plane:
    """Give all 256 posits times ``2**shift``: (256,) in the narrow form, (2, 256) in the wide."""
    codes = decode_integers(np.arange(256, dtype=np.uint8), es)
    if narrow:
        table = np.ldexp(codes.astype(np.float64), shift)
        table[128] = np.nan
        return table
    exact = [int(code) << shift for code in codes]
    wide = np.array([[code >> LOW, code & LOW_MASK] for code in exact], np.int64).T
    wide[:, 128] = NAR_HIGH, 0
    return np.ascontiguousarray(wide)


def widen(plane: Plane, factor: int) -> Plane:
    """Multiply a narrow or wide sum by a small positive integer, exactly."""
    assert factor < 1 << 24, "a factor is that of a binary32 number"
    if not is_wide(plane):
        return plane * plane.dtype.type(factor)
    hi, lo = plane
    nar = hi == NAR_HIGH
    upper, lower = (lo >> 30) * factor, (lo & ((1 << 30) - 1)) * factor
    upper += lower >> 30
    low = ((upper << 30) & LOW_MASK) | (lower & ((1 << 30) - 1))
    result = np.stack([hi * factor + (upper >> 30), low])
    result[0][nar], result[1][nar] = NAR_HIGH, 0
    return result


def odd(plane: Plane) -> npt.NDArray[np.float32]:
    """Round a sum toward zero to binary32, the last bit set where anything was cut off."""
    if plane.dtype == np.float32:
        return plane
    if not is_wide(plane):
        return odd_float32(plane)
    hi, lo = (part.ravel() for part in plane)
    result = np.empty(hi.shape, np.float32)
    for first in range(0, hi.size, BLOCK):
        cut = slice(first, first + BLOCK)
        result[cut] = _odd_wide(hi[cut], lo[cut])
    return result.reshape(plane.shape[1:])


def _odd_wide(hi: Int64, lo: Int64) -> npt.NDArray[np.float32]:
    nar, negative = hi == NAR_HIGH, hi < 0
    lo = np.where(negative, (-lo) & LOW_MASK, lo)
    hi = np.where(negative, -hi - (lo != 0), hi)
    mixed = (hi << 30) | (lo >> 30) | ((lo & ((1 << 30) - 1)) != 0)
    size = np.where(hi < 1 << 30, np.where(hi == 0, lo, mixed), hi | (lo != 0))
    unit = UNITS[(hi >= 1 << 30).astype(np.int8) + (hi != 0)]
    np.negative(unit, out=unit, where=negative)
    unit[nar] = np.nan
    return odd_float32(size) * unit


def admitted(sums: Plane, element: Int) -> Plane:
    """Bring integers of ``element`` into the form in which they are carried."""
    nar = np.asarray(sums == element.min)
    exact = np.where(nar, 0, sums)
    if element.width <= EXACT:
        plane = exact.astype(np.float64)
        plane[nar] = np.nan
        return plane
    wide = np.stack([(exact >> LOW).astype(np.int64), (exact & LOW_MASK).astype(np.int64)])
    wide[0][nar], wide[1][nar] = NAR_HIGH, 0
    return wide


def published(plane: Plane, element: Int) -> Plane:
    """Give the sums as integers: int64, or Python's where they are wider; NaR is the least."""
    if not is_wide(plane):
        nar = np.isnan(plane)
        whole = np.where(nar, 0, plane).astype(np.int64)
        if element.width > 64:
            whole = whole.astype(object)
        return np.where(nar, element.min, whole)
    hi, lo = plane
    exact = hi.astype(object) * (1 << LOW) + lo.astype(object)
    exact[hi == NAR_HIGH] = element.min
    return exact if element.width > 64 else exact.astype(np.int64)
