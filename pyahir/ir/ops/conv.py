"""Convolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from pyahir.ir.ops.base import require
from pyahir.ir.ops.linear import product
from pyahir.ir.ops.window import WindowOp
from pyahir.ir.types import Bipolar, Float32, TensorType

__all__ = ["Conv2d", "convolved_shape"]


def convolved_shape(
    op: WindowOp, groups: int, x: TensorType, weight: TensorType
) -> tuple[int, ...]:
    """Give the shape of a convolution of ``x`` with a weight (O, I/groups, KH, KW)."""
    require(len(weight.shape) == 4, f"the weight has rank 4 (OIHW), not {len(weight.shape)}")
    out, per_group, *window = weight.shape
    require(
        tuple(window) == op.kernel_size,
        f"the weight's window {tuple(window)} is not kernel_size {op.kernel_size}",
    )
    require(
        x.channels == per_group * groups and out % groups == 0,
        f"{x.channels} input channels in {groups} groups do not fit a weight of shape "
        f"{weight.shape}",
    )
    return x.with_spatial(out, *op.output_spatial(x))


@dataclass(frozen=True, slots=True, kw_only=True)
class Conv2d(WindowOp):
    """``y[o,i,j] = bias[o] + sum x[c, i*sh + kh*dh - top, j*sw + kw*dw - left] * w[o,c,kh,kw]``.

    Operands: x (NCHW or NHWC), weight (O, I/groups, KH, KW), and for FLOAT a bias (O).
    QUANTIZED: ``x - zero_point`` is multiplied, padding adds 0 to the sum (it stands for the zero
    point), the weight is a symmetric integer, there is no bias (requantize holds it), and the
    result is an exact integer of ``acc_width`` bits. Instead of affine integers, x may be bipolar
    or integers with a power-of-two scale, and then the weight too; the exponents of the two add up
    to the scale of the result. Bipolar numbers have no zero, so they take no padding. Source:
    torch.nn.functional.conv2d.
    """

    arity: ClassVar[int | tuple[int, int]] = (2, 3)

    groups: int = 1
    acc_width: int = 0

    def __post_init__(self) -> None:
        WindowOp.__post_init__(self)
        if self.groups < 1:
            raise ValueError(f"groups is at least 1, not {self.groups}")

    def infer(self, operands: Sequence[TensorType]) -> TensorType:
        x, weight = operands[0], operands[1]
        shape = convolved_shape(self, self.groups, x, weight)
        require(
            not isinstance(x.element, Bipolar) or not any(self.padding),
            f"bipolar numbers have no zero to pad with, but the padding is {self.padding}",
        )
        element, scale = product(operands, self.acc_width)
        if isinstance(element, Float32):
            require(
                len(operands) == 3 and operands[2].shape == weight.shape[:1],
                "the bias has shape (O,)",
            )
        return TensorType(shape=shape, element=element, layout=x.layout, quantization=scale)
