"""Pooling: maximum, average (FLOAT) and sum (QUANTIZED; a requantize divides)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pyahir.ir.ops.base import require, require_plain
from pyahir.ir.ops.window import WindowOp
from pyahir.ir.types import Affine, Float32, Int, TensorType

__all__ = ["AvgPool2d", "MaxPool2d", "SumPool2d"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxPool2d(WindowOp):
    """The largest element of each window; padding never wins. Source: torch max_pool2d.

    Posit codes compare as signed integers, so NaR is less than every number; among floats a NaN
    wins, and a zero is +0.
    """

    def infer(self, operands: Sequence[TensorType]) -> TensorType:
        (x,) = operands
        top, bottom, left, right = self.padding
        require(
            max(top, bottom) < self.span[0] and max(left, right) < self.span[1],
            f"padding {self.padding} is not smaller than the window {self.span}",
        )
        return replace(x, shape=x.with_spatial(x.channels, *self.output_spatial(x)))


@dataclass(frozen=True, slots=True, kw_only=True)
class AvgPool2d(WindowOp):
    """The mean of each window, padding counted as zeros. FLOAT. Source: torch avg_pool2d."""

    def infer(self, operands: Sequence[TensorType]) -> TensorType:
        (x,) = operands
        require(isinstance(x.element, Float32), f"avg_pool2d takes float32, not {x.element}")
        require_plain(operands)
        return replace(x, shape=x.with_spatial(x.channels, *self.output_spatial(x)))


@dataclass(frozen=True, slots=True, kw_only=True)
class SumPool2d(WindowOp):
    """``sum (x - zero_point)`` over each window, an exact integer of ``acc_width`` bits.

    QUANTIZED: average pooling is this sum followed by a requantize that divides.
    """

    acc_width: int

    def infer(self, operands: Sequence[TensorType]) -> TensorType:
        (x,) = operands
        require(
            isinstance(x.element, Int) and isinstance(x.quantization, Affine),
            f"sum_pool2d takes quantized integers, not {x}",
        )
        shape = x.with_spatial(x.channels, *self.output_spatial(x))
        return TensorType(shape=shape, element=Int(self.acc_width), layout=x.layout)
