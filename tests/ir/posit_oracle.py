"""Posits from the definition, on bit strings and fractions: nothing of ``pyahir.ir.posit``."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

WIDTH = 8
NAR = 0x80


@cache
def decode(code: int, es: int) -> Fraction | None:
    """Give the number of a code; None for NaR."""
    if code == NAR:
        return None
    if code == 0:
        return Fraction(0)
    if code & NAR:
        return -_positive(256 - code, es)
    return _positive(code, es)


def _positive(code: int, es: int) -> Fraction:
    bits = f"{code:08b}"[1:]
    run = len(bits) - len(bits.lstrip(bits[0]))
    regime = run - 1 if bits[0] == "1" else -run
    rest = bits[run + 1 :]
    exponent = int((rest[:es] + "0" * es)[:es] or "0", 2)
    fraction = rest[es:]
    mantissa = Fraction(int("1" + fraction, 2), 1 << len(fraction))
    return mantissa * Fraction(2) ** (regime * (1 << es) + exponent)


def encode(number: Fraction | None, es: int) -> int:
    """Write the number out as an endless posit and round it to 8 bits, to nearest even."""
    if number is None:
        return NAR
    if number == 0:
        return 0
    size = abs(number)
    scale = size.numerator.bit_length() - size.denominator.bit_length()
    if size < Fraction(2) ** scale:
        scale -= 1
    if size >= Fraction(2) ** (scale + 1):
        scale += 1
    regime, exponent = scale >> es, scale & ((1 << es) - 1)
    regime = max(-40, min(40, regime))  # far beyond both ends
    bits = "1" * (regime + 1) + "0" if regime >= 0 else "0" * -regime + "1"
    bits += f"{exponent:0{es}b}" if es else ""
    fraction = size / Fraction(2) ** scale - 1
    for _ in range(12):  # more than a posit has
        fraction *= 2
        bits += "1" if fraction >= 1 else "0"
        fraction -= fraction >= 1
    kept, half, below = int(bits[: WIDTH - 1], 2), bits[WIDTH - 1], bits[WIDTH:]
    rest = "1" in below or fraction > 0
    if half == "1" and (rest or kept % 2):
        kept += 1
    code = min(max(kept, 1), 127)
    return 256 - code if number < 0 else code


def exact(value: float) -> Fraction | None:
    """Give the fraction of a float; None for what becomes NaR."""
    try:
        return Fraction(value)
    except (ValueError, OverflowError):
        return None
