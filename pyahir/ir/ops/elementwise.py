"""Elementwise ops: batch norm, ReLU, clamp."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from pyahir.ir.ops.base import Op, require
from pyahir.ir.types import Float32, TensorType

__all__ = ["BatchNorm", "Clamp", "Relu"]


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
        for name, kind in zip(("weight", "bias", "mean", "variance"), operands[1:], strict=True):
            require(kind.shape == (x.channels,), f"{name} has shape {kind.shape}, not (C,)")
        return x


@dataclass(frozen=True, slots=True, kw_only=True)
class Relu(Op):
    """``max(x, 0)``; on quantized integers ``max(x, zero_point)``. Source: torch relu."""

    def infer(self, operands: Sequence[TensorType]) -> TensorType:
        (x,) = operands
        require(
            isinstance(x.element, Float32) or x.quantization is not None,
            f"relu takes float32 or quantized integers, not {x}",
        )
        return x


@dataclass(frozen=True, slots=True, kw_only=True)
class Clamp(Op):
    """``min(max(x, minimum), maximum)``: ReLU6 and hard tanh.

    On quantized integers the limits are codes (they include the zero point).
    """

    minimum: float
    maximum: float

    def __post_init__(self) -> None:
        if not self.minimum <= self.maximum:
            raise ValueError(f"an empty range: {self.minimum} to {self.maximum}")

    def infer(self, operands: Sequence[TensorType]) -> TensorType:
        (x,) = operands
        if not isinstance(x.element, Float32):
            require(x.quantization is not None, f"clamp takes quantized integers, not {x}")
            require(
                float(self.minimum).is_integer() and float(self.maximum).is_integer(),
                "the limits of an integer clamp are integers",
            )
        return x
