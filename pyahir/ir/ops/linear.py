"""Fully connected layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from pyahir.ir.ops.base import Op, require, require_plain
from pyahir.ir.types import Affine, Bipolar, Float32, Int, Layout, PowerOfTwo, TensorType

__all__ = ["Linear", "product"]


Product = tuple[Float32 | Int, PowerOfTwo | None]


def product(operands: Sequence[TensorType], acc_width: int) -> Product:
    """Give element and scale of a sum of products: float32, or an integer of ``acc_width`` bits."""
    x, weight = operands[0].element, operands[1].element
    if isinstance(x, Float32):
        require(isinstance(weight, Float32), f"a float32 input with a weight of {weight}")
        require_plain(operands)
        require(acc_width == 0, "acc_width belongs to integers; a float32 op has 0")
        return Float32(), None
    require(isinstance(x, Int | Bipolar), f"an input of {x} is not supported here")
    affine = isinstance(operands[0].quantization, Affine)
    require(
        affine or scale_exponent(operands[0]) is not None,
        "an integer input has an affine quantization or a power-of-two scale",
    )
    require(
        (isinstance(weight, Int) and weight.signed) or (isinstance(weight, Bipolar) and not affine),
        f"the weight is a signed integer, not {weight}",
    )
    require(acc_width > 0, "an integer op states its acc_width")
    require(len(operands) == 2, "an integer op has no bias: requantize holds it")
    if affine:
        return Int(acc_width), None
    exponents = [scale_exponent(kind) for kind in operands]
    require(exponents[1] is not None, "the weight of a few-bit input has a power-of-two scale")
    return Int(acc_width), PowerOfTwo(exponent=sum(item or 0 for item in exponents))


def scale_exponent(kind: TensorType) -> int | None:
    """Give the exponent of a power-of-two scale, 0 for bipolar numbers, None without a scale."""
    if isinstance(kind.element, Bipolar):
        return 0
    return kind.quantization.exponent if isinstance(kind.quantization, PowerOfTwo) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear(Op):
    """``y[o] = bias[o] + sum_i x[i] * w[o, i]``.

    Operands: x (NC), weight (O, I), and for FLOAT a bias (O). QUANTIZED as in ``Conv2d``.
    Source: torch.nn.functional.linear.
    """

    arity: ClassVar[int | tuple[int, int]] = (2, 3)

    acc_width: int = 0

    def infer(self, operands: Sequence[TensorType]) -> TensorType:
        x, weight = operands[0], operands[1]
        require(x.layout is Layout.NC, f"linear needs layout nc, not {x.layout.value}: flatten it")
        require(len(weight.shape) == 2, f"the weight has rank 2, not {len(weight.shape)}")
        require(
            x.shape[1] == weight.shape[1],
            f"{x.shape[1]} inputs do not fit a weight of shape {weight.shape}",
        )
        element, scale = product(operands, self.acc_width)
        if isinstance(element, Float32):
            require(
                len(operands) == 3 and operands[2].shape == weight.shape[:1],
                "the bias has shape (O,)",
            )
        return TensorType(
            shape=(x.shape[0], weight.shape[0]),
            element=element,
            layout=Layout.NC,
            quantization=scale,
        )
