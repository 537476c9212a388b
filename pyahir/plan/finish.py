"""Widths of what follows a sum: of the sum itself, and of a channel's parameters in memory."""

from __future__ import annotations

from dataclasses import dataclass

from pyahir.plan.layers import Layer
from pyahir.plan.rescale import rescale_format

__all__ = ["Finish", "finish"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """``acc`` bits of a sum, ``bits`` of the parameters of one channel; 0 where there are none."""

    acc: int
    bits: int


def finish(layer: Layer) -> Finish:
    """Give the widths for a layer that has sums."""
    if layer.rescale is not None:
        form = rescale_format(layer.rescale)
        return Finish(acc=form.acc, bits=form.bits)
    if layer.levels is not None:
        return Finish(acc=layer.levels.acc, bits=layer.levels.bits)
    assert layer.rounding is not None, f"{layer.name} has no sums"
    return Finish(acc=layer.rounding.acc, bits=layer.rounding.bits)
