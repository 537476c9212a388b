"""Posits of any width from their definition, in exact numbers: what the kernels are held against.

A number between two neighbouring codes rounds at the number that the code between them has in
posits of one bit more; that is what "to nearest on the bit pattern" means.
"""

from __future__ import annotations

from bisect import bisect_left
from fractions import Fraction
from functools import cache

import numpy as np
import numpy.typing as npt

NAR = 0x80


def decoded(code: int, width: int, es: int) -> Fraction:
    """Give the value of a positive code by reading its bits one after another."""
    bits = format(code, f"0{width}b")[1:]
    run = len(bits) - len(bits.lstrip(bits[0]))
    regime = run - 1 if bits[0] == "1" else -run
    rest = bits[run + 1 :]
    exponent = int((rest[:es] + "0" * es)[:es] or "0", 2)
    fraction = rest[es:]
    significand = Fraction(int("1" + fraction, 2), 1 << len(fraction))
    return significand * Fraction(2) ** (regime * 2**es + exponent)


@cache
def value(code: int, es: int) -> Fraction | None:
    """Give the value of an 8-bit code; None for NaR."""
    if code in (0, NAR):
        return Fraction(0) if code == 0 else None
    return -decoded(256 - code, 8, es) if code > NAR else decoded(code, 8, es)


@cache
def bounds(es: int) -> tuple[Fraction, ...]:
    """Give the numbers between the codes 1 and 2, 2 and 3, and so on."""
    return tuple(decoded(2 * code + 1, 9, es) for code in range(1, 127))


def nearest(numbers: npt.NDArray[np.float64], es: int) -> npt.NDArray[np.int64]:
    """Give the codes of doubles; the bounds are doubles themselves."""
    limits = np.array([float(bound) for bound in bounds(es)])
    size = np.abs(numbers)
    code = 1 + np.searchsorted(limits, size, side="left")
    tie = np.isin(size, limits)
    code += (tie & (code % 2 == 1)).astype(np.int64)
    code = np.where(numbers < 0, 256 - code, code)
    code = np.where(numbers == 0, 0, code)
    return np.where(np.isfinite(numbers), code, NAR)


def nearest_exact(number: Fraction, es: int) -> int:
    """Give the code of an exact number."""
    if number == 0:
        return 0
    limits, size = bounds(es), abs(number)
    code = 1 + bisect_left(limits, size)
    code += size in limits and code % 2 == 1
    return 256 - code if number < 0 else code
