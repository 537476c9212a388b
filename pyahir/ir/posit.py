"""The number system ``posit<8, es>`` for es 0, 1 and 2: codes to numbers and numbers to codes.

In: uint8 codes, or floats and integers of any size that a register of the hardware has. Out: the
other. Exact: every result is what rounding the exact real number once, to nearest even on the bit
pattern, gives. Not here: tensors, scales, layers (``ir.types``, ``ir.ops.posit``).

* A code is a bit pattern: sign, regime (a run of equal bits), es exponent bits, fraction. The
  negative of a number is the two's complement of its code, so codes compare as signed integers.
* 0x00 is zero; 0x80 is NaR, "not a real", smaller than every number. NaN and the infinities of the
  float formats become NaR, and NaR becomes NaN.
* Nothing else rounds to zero, and nothing rounds to NaR: beyond the ends lie the ends, ``maxpos``
  (0x7f) and ``minpos`` (0x01).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "ES",
    "LARGEST_SHIFT",
    "MAXPOS",
    "NAR",
    "WIDTH",
    "decode",
    "decode_integers",
    "encode",
    "encode_odd",
    "encoding_table",
    "fraction_bits",
    "odd_float32",
    "odd_top",
    "pattern_value",
    "rounding_steps",
    "signed",
    "values",
]

Float = npt.NDArray[np.floating[Any]]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Codes = npt.NDArray[np.uint8]

WIDTH = 8
ES = (0, 1, 2)
NAR = 0x80
MAXPOS = 0x7F
LARGEST_SHIFT = 96  # up to it a subnormal binary32 number stays below every step
TOP_BITS = 16  # sign, exponent and 7 bits of the fraction of a binary32


def fraction_bits(es: int) -> int:
    """Give F: every posit<8, es> is a multiple of ``2**-F``, and ``minpos`` is that number."""
    return (WIDTH - 2) << es


def pattern_value(pattern: int, width: int, es: int) -> float:
    """Give the number of a positive bit pattern, by the definition of posit<width, es>."""
    body = [(pattern >> place) & 1 for place in range(width - 2, -1, -1)]
    run = next((n for n, bit in enumerate(body) if bit != body[0]), len(body))
    regime = run - 1 if body[0] else -run
    rest = body[run + 1 :] + [0] * es
    exponent = sum(bit << (es - 1 - n) for n, bit in enumerate(rest[:es]))
    fraction = sum(bit * 2.0 ** -(n + 1) for n, bit in enumerate(rest[es:]))
    return (1.0 + fraction) * 2.0 ** ((regime << es) + exponent)


@cache
def values(es: int) -> Float64:
    """Give the numbers of all 256 codes; NaR is NaN."""
    assert es in ES, f"posit<8,{es}>: es is 0, 1 or 2"
    positive = [pattern_value(code, WIDTH, es) for code in range(1, NAR)]
    table = np.array([0.0, *positive, np.nan, *(-item for item in reversed(positive))])
    table.flags.writeable = False
    return table


@cache
def rounding_steps(es: int) -> Float64:
    """Give the 126 numbers at which the rounding of a positive number changes its code.

    Between the codes c and c + 1 that is the posit of one more bit: pattern ``2c + 1``.
    """
    return np.array([pattern_value(2 * code + 1, WIDTH + 1, es) for code in range(1, MAXPOS)])


@cache
def _decoding_table(es: int, dtype: type[np.floating[Any]]) -> Float:
    with np.errstate(over="ignore"):  # 2**24 is an infinity of binary16
        table = values(es).astype(dtype)
    table.flags.writeable = False
    return table


def decode(codes: Codes, es: int, dtype: type[np.floating[Any]] = np.float32) -> Float:
    """Give the numbers of ``codes`` in ``dtype``, NaN for NaR.

    binary32 and binary64 hold every posit; binary16 rounds those of es 2 to nearest even.
    """
    return _decoding_table(es, dtype)[codes]


@cache
def _integer_table(es: int) -> Int64:
    table = np.nan_to_num(values(es) * 2.0 ** fraction_bits(es), nan=0.0).astype(np.int64)
    table.flags.writeable = False
    return table


def decode_integers(codes: Codes, es: int) -> Int64:
    """Give the numbers of ``codes`` in units of ``2**-F``; 0 for NaR, which has no number."""
    return _integer_table(es)[codes]


def signed(codes: Codes) -> npt.NDArray[np.int8]:
    """Give codes as the signed integers that compare as the numbers do; NaR is the least."""
    return codes.view(np.int8)


def encode(numbers: Float, es: int, shift: int = 0) -> Codes:
    """Give the codes of ``numbers * 2**shift``; the product is exact, and rounded once."""
    with np.errstate(all="ignore"):  # any NaN is welcome; far beyond either end is the end
        real = np.asarray(numbers, np.float64)
        scaled = np.ldexp(np.abs(real), shift)
    steps = rounding_steps(es)
    place = np.searchsorted(steps, scaled, side="left")
    on_step = steps[np.minimum(place, len(steps) - 1)] == scaled
    code: Int64 = place + (on_step & (place % 2 == 0)) + 1  # place 0 lies between codes 1 and 2
    result = np.where(np.signbit(real), 256 - code, code).astype(np.uint8)
    result[real == 0] = 0
    result[~np.isfinite(real)] = NAR
    return result


def odd_float32(numbers: Float | Int64) -> Float32:
    """Round toward zero to a binary32 whose last bit is set where anything was cut off.

    So a later rounding to fewer bits (a posit needs 6, and one to see a tie) is that of the exact
    number: Boldo and Melquiond, "Emulation of FMA and correctly rounded sums" (2008). Takes
    binary64 numbers within the exponents of a normal binary32, 0, infinities, NaN, and int64.
    """
    if numbers.dtype == np.int64:
        size = np.abs(numbers.view(np.int64)).view(np.uint64)
        low = size & np.uint64(0xFFFF)
        size = np.where(size >> np.uint64(53), size - low + ((low != 0).astype("u8") << 15), size)
        numbers = np.copysign(size.astype(np.float64), numbers)
    bits = np.ascontiguousarray(numbers, np.float64).view(np.uint64)
    low = (bits & np.uint64((1 << 29) - 1)) != 0
    special = ~np.isfinite(numbers)
    kept = (bits & ~np.uint64((1 << 29) - 1)) | ((low & ~special).astype(np.uint64) << 29)
    rounded = np.where(special, numbers, kept.view(np.float64))
    return rounded.astype(np.float32)


def odd_top(numbers: Float32) -> npt.NDArray[np.uint16]:
    """Give the upper 16 bits of binary32 numbers, the last one set where anything was cut off."""
    bits = numbers.view(np.uint32)
    top = (bits >> np.uint32(TOP_BITS)).astype(np.uint16)
    return top | ((bits & np.uint32(0xFFFF)) != 0).astype(np.uint16)


@cache
def _tops() -> Float32:
    """Give the numbers of all upper halves; the last bit stands for itself and all below."""
    top = np.arange(1 << TOP_BITS, dtype=np.uint32)
    return (top << np.uint32(TOP_BITS)).view(np.float32)


def encoding_table(es: int, shift: int = 0) -> Codes:
    """Give the code of ``number * 2**shift`` for each of the 65,536 results of ``odd_top``."""
    assert shift <= LARGEST_SHIFT, f"a shift of {shift} makes subnormal numbers large"
    return encode(_tops(), es, shift)


def encode_odd(numbers: Float32, table: Codes) -> Codes:
    """Look up the codes of binary32 numbers in a table of ``encoding_table``."""
    return table[odd_top(np.ascontiguousarray(numbers))]
