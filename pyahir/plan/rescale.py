"""Widths of a requantizer: of its parameters in memory, and of the arithmetic on them."""

from __future__ import annotations

from dataclasses import dataclass

from pyahir.ir.ranges import signed_width
from pyahir.plan.layers import Rescale

__all__ = ["RescaleFormat", "rescale_format"]

LEAST_ACC_WIDTH = 17  # a product of 8 by 8 bits, and its sign-extension, fit


@dataclass(frozen=True, slots=True, kw_only=True)
class RescaleFormat:
    """Widths of the fields of a channel's parameter word and of the arithmetic on them.

    ``multiplier`` is 0 where every multiplier is 1: a power of two is only a shift.
    """

    acc: int
    multiplier: int
    offset: int
    slots: int
    delta: int
    product: int

    @property
    def bits(self) -> int:
        return self.multiplier + self.offset + self.slots * (self.acc + self.delta)


def rescale_format(rescale: Rescale) -> RescaleFormat:
    """Give the narrowest widths in which every value that can occur is exact."""
    acc = max(LEAST_ACC_WIDTH, signed_width(rescale.low, rescale.high))
    offset = signed_width(int(rescale.offset.min()), int(rescale.offset.max()))
    largest = int(rescale.multiplier.max())
    low = min(rescale.low, 0) * largest + int(rescale.offset.min())
    high = max(rescale.high, 0) * largest + int(rescale.offset.max())
    product = max(signed_width(low, high), rescale.shift + 10, acc, offset)
    deltas = rescale.exceptions[:, 2]
    delta = signed_width(int(deltas.min()), int(deltas.max())) if len(deltas) else 1
    return RescaleFormat(
        acc=acc,
        multiplier=0 if (rescale.multiplier == 1).all() else max(1, largest.bit_length()),
        offset=offset,
        slots=rescale.slots,
        delta=max(2, delta) if rescale.slots else 1,
        product=product,
    )
