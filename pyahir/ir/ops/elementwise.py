"""Elementwise ops: addition, batch norm, ReLU, clamp."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pyahir.ir.ops.base import Op, require, require_plain
from pyahir.ir.types import Affine, Float16, Float32, Int, Posit, PowerOfTwo, TensorType

__all__ = ["Add", "BatchNorm", "Clamp", "Relu"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Add(Op):
    """``x + y``, element by element, where two branches join. FLOAT.

    Operands: x and y of one shape; nothing is broadcast. Source: torch add.
    """

    arity: ClassVar[int | tuple[int, int]] = 2

    def infer(self, operands: Sequence[TensorType]) -> TensorType:
        x, y = operands
        require(isinstance(x.element, Float32), f"add takes float32, not {x.element}")
        require_plain(operands)
        require(x == y, f"the operands have one type, not {x} and {y}")
        return x


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchNorm(Op):
    """``(x - mean) / sqrt(variance + eps) * weight + bias`` per channel. FLOAT.

    Operands: x, weight, bias, mean, variance, each of the last four of shape (C,).
    Source: torch.nn.BatchNorm2d in eval.
    """

    arity: ClassVar[int | tuple[int, int]] = 5

    eps: float

    def infer(self, operands: Sequence[TensorType]) -> TensorType:
        x = operands[0]
        require(isinstance(x.element, Float32), f"batch_norm takes float32, not {x.element}")
        require_plain(operands)
        for name, kind in zip(("weight", "bias", "mean", "variance"), operands[1:], strict=True):
            require(kind.shape == (x.channels,), f"{name} has shape {kind.shape}, not (C,)")
        return x


def _activation(kind: TensorType) -> bool:
    """Tell whether ``kind`` is what a layer passes on: no accumulator."""
    if isinstance(kind.element, Int):
        return isinstance(kind.quantization, Affine)
    return isinstance(kind.element, Float32) or isinstance(kind.quantization, PowerOfTwo)


@dataclass(frozen=True, slots=True, kw_only=True)
class Relu(Op):
    """``max(x, 0)``; on quantized integers ``max(x, zero_point)``. Source: torch relu.

    On posits the code of a negative number becomes 0 and NaR stays; on floats -0 becomes +0 and
    NaN stays.
    """

    def infer(self, operands: Sequence[TensorType]) -> TensorType:
        (x,) = operands
        require(
            _activation(x),
            f"relu takes float32 or quantized integers, not {x}",
        )
        return x


@dataclass(frozen=True, slots=True, kw_only=True)
class Clamp(Op):
    """``min(max(x, minimum), maximum)``: ReLU6 and hard tanh.

    On quantized integers the limits are codes (they include the zero point), on posits codes as
    signed integers, which compare as the numbers do; NaR stays. On floats NaN stays, a zero is
    +0, and binary16 has limits that it can represent.
    """

    minimum: float
    maximum: float

    def __post_init__(self) -> None:
        if not self.minimum <= self.maximum:
            raise ValueError(f"an empty range: {self.minimum} to {self.maximum}")

    def infer(self, operands: Sequence[TensorType]) -> TensorType:
        (x,) = operands
        require(_activation(x), f"clamp takes quantized integers, not {x}")
        limits = (self.minimum, self.maximum)
        if isinstance(x.element, Float16):
            require(
                all(float(np.float16(limit)) == limit for limit in limits),
                f"limits {limits} are not binary16 numbers",
            )
        elif not isinstance(x.element, Float32):
            require(
                all(float(limit).is_integer() for limit in limits),
                "the limits of an integer clamp are integers",
            )
        if isinstance(x.element, Posit):
            largest = (1 << (x.element.width - 1)) - 1
            require(
                -largest <= self.minimum and self.maximum <= largest,
                f"limits {limits} are not the codes of numbers",
            )
        return x
