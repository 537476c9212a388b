"""Which integers can occur: exact bounds of accumulators, from types and actual weights.

The bounds hold for every input of the type, so a width taken from them is a proof.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pyahir.ir.ops import Conv2d, Linear, Op, RealAvgPool2d, SumPool2d
from pyahir.ir.posit import decode_integers, fraction_bits
from pyahir.ir.types import Array, Bipolar, Element, Int, Posit, PowerOfTwo, TensorType

__all__ = [
    "Bounds",
    "accumulator_bounds",
    "centered_range",
    "magnitude_bound",
    "numbers",
    "quire_add_bound",
    "quire_bound",
    "quire_weight",
    "signed_width",
]

Int64 = npt.NDArray[np.int64]
Bounds = tuple[Int64, Int64]


def centered_range(x: TensorType) -> tuple[int, int]:
    """Give the least and greatest ``x - zero_point`` of a quantized type; bipolar is -1 to 1."""
    if isinstance(x.element, Bipolar):
        return -1, 1
    assert isinstance(x.element, Int)
    return x.element.min - x.zero_point, x.element.max - x.zero_point


def numbers(array: Array, element: Element) -> Array:
    """Give the integers that stored ones stand for: bipolar codes are -1 and +1."""
    if isinstance(element, Bipolar):
        return 2 * array.astype(np.int8) - 1
    return array


def accumulator_bounds(op: Op, x: TensorType, weight: Array | None) -> Bounds:
    """Give the least and greatest accumulator per output channel, both of shape (C,).

    ``weight`` is what ``numbers`` gives for a Conv2d or Linear, and None for a SumPool2d.
    """
    low, high = centered_range(x)
    if isinstance(op, SumPool2d):
        taps = op.kernel_size[0] * op.kernel_size[1]
        ones = np.ones(x.channels, dtype=np.int64)
        return ones * min(0, low * taps), ones * max(0, high * taps)
    assert isinstance(op, Conv2d | Linear)
    assert weight is not None
    rows = weight.reshape(weight.shape[0], -1).astype(np.int64)
    positive = np.where(rows > 0, rows, 0).sum(axis=1)
    negative = np.where(rows < 0, rows, 0).sum(axis=1)
    low, high = min(low, 0), max(high, 0)  # padding adds zeros, so 0 is always among the inputs
    return positive * low + negative * high, positive * high + negative * low


def magnitude_bound(x: TensorType, weight: Array) -> int:
    """Bound every partial sum, in any order: ``max |x - zero_point| * max_o sum |w[o]|``."""
    low, high = centered_range(x)
    rows = np.abs(weight.reshape(weight.shape[0], -1).astype(np.int64))
    return max(-low, high) * int(rows.sum(axis=1).max())


def quire_weight(weight: Array, element: Element) -> Int64:
    """Give the weights of a quire as the integers that it multiplies by."""
    if isinstance(element, Posit):
        return decode_integers(weight.astype(np.uint8), element.es)
    return weight.astype(np.int64)


def quire_bound(op: Op, x: TensorType, weight: Int64 | None, bias: Array | None) -> int:
    """Bound the magnitude of every sum of a quire, bias included, over all posits of ``x``.

    ``weight`` is that of ``quire_weight``, and None for a RealAvgPool2d.
    """
    assert isinstance(x.element, Posit)
    largest = 1 << (2 * fraction_bits(x.element.es))  # maxpos in units of minpos
    if isinstance(op, RealAvgPool2d):
        return largest * op.taps * op.integer_factor()[0]
    assert weight is not None
    assert bias is not None
    rows = np.abs(weight).reshape(weight.shape[0], -1).tolist()
    return max(
        largest * sum(row) + abs(term) for row, term in zip(rows, bias.tolist(), strict=True)
    )


def quire_add_bound(a: TensorType, b: TensorType) -> int:
    """Bound the magnitude of the exact sum of two posits, in units of the finer of them."""
    assert isinstance(a.element, Posit)
    assert isinstance(a.quantization, PowerOfTwo)
    assert isinstance(b.quantization, PowerOfTwo)
    largest = 1 << (2 * fraction_bits(a.element.es))
    return largest + (largest << abs(a.quantization.exponent - b.quantization.exponent))


def signed_width(low: int, high: int) -> int:
    """Give the least width of a two's complement integer that holds ``low`` to ``high``."""
    return 1 + max(high.bit_length() if high > 0 else 0, (-low - 1).bit_length() if low < 0 else 0)
