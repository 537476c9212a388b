"""What is done with a sum of real numbers: bias or factor, then one rounding to what is stored.

In: a sum of ``ir.ops.posit`` and the ``Encode`` behind it, if there is one. Out: ``Rounding``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pyahir.errors import PlanError
from pyahir.ir.graph import Node
from pyahir.ir.ops import Encode, RealAdd, RealAvgPool2d, RealConv2d, RealLinear
from pyahir.ir.posit import fraction_bits
from pyahir.ir.ranges import signed_width
from pyahir.ir.types import Array, Element, Float16, Float32, Posit, PowerOfTwo

__all__ = ["RealSum", "Rounding", "fixed_width", "rounding_of"]

Int64 = npt.NDArray[np.int64]
RealSum = RealConv2d | RealLinear | RealAvgPool2d
LEAST_SHIFT = -128  # of the kernels' operand of 8 bits


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rounding:
    """``y = round((sum + bias) * 2**shift)``, or ``round(sum * factor * 2**shift)`` of a mean.

    ``acc`` is the number of bits of a sum: those of the quire, whose least integer is NaR, or of
    the float. ``bias`` (C,) and ``factor`` are integers of a quire, bit patterns of floats.
    Floats that are stored as they are have a shift of 0.
    """

    arith: str
    acc: int
    bias: Int64 | None
    factor: int
    element: Posit | Float32 | Float16
    shift: int
    relu: bool

    @property
    def bits(self) -> int:
        """Bits of a channel's parameters in memory."""
        if self.bias is None:
            return 0
        if self.arith != "quire":
            return self.acc
        return signed_width(int(self.bias.min()), int(self.bias.max()))


def fixed_width(element: Element) -> int:
    """Give the bits of a factor of a quire: a posit is a multiple of its ``minpos``."""
    return 2 * fraction_bits(element.es) + 2 if isinstance(element, Posit) else element.width


def rounding_of(node: Node, last: Node, operands: Sequence[Array], product: int) -> Rounding:
    """Describe the sum ``node``; ``last`` is the encoding behind it, or the node itself.

    ``product`` is the width of a product of a quire, which its sum has at least.
    """
    op, acc, element = node.op, node.type, last.type.element
    assert isinstance(op, RealAdd | RealConv2d | RealLinear | RealAvgPool2d)
    assert isinstance(element, Posit | Float32 | Float16)
    assert isinstance(acc.quantization, PowerOfTwo)
    shift, relu = 0, False
    if isinstance(last.op, Encode):
        shift, relu = acc.quantization.exponent - last.op.exponent, last.op.relu
    if shift < LEAST_SHIFT:
        raise PlanError(
            f"{node.loc} {node.name}: its results are 2**{-shift} times smaller than its sums; "
            f"hardware is made for at most 2**{-LEAST_SHIFT}"
        )
    return Rounding(
        arith=op.arith,
        acc=max(op.acc_width, product + 1) if op.arith == "quire" else acc.element.width,
        bias=_patterns(operands[1]) if operands else None,
        factor=_factor(op) if isinstance(op, RealAvgPool2d) else 1,
        element=element,
        shift=shift,
        relu=relu,
    )


def _factor(op: RealAvgPool2d) -> int:
    if op.arith == "quire":
        return op.integer_factor()[0]
    return int(_patterns(np.array([op.factor()]))[0])


def _patterns(array: Array) -> Int64:
    """Give floats as their bit patterns, integers as they are."""
    found = array.view(f"u{array.itemsize}") if array.dtype.kind == "f" else array
    return found.astype(np.int64)
