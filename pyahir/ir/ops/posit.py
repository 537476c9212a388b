"""Layers in real numbers whose every rounding is fixed: posit, binary32 and binary16 storage.

A layer is an accumulation (``RealConv2d``, ``RealLinear``, ``RealAvgPool2d``) and, where results
are stored as posits, an ``Encode``, which rounds once. QUANTIZED stage; every operand has a
power-of-two scale in its type, and no op multiplies by a scale: scales only add up.

The arithmetics (attribute ``arith``):

``f32``, ``f16``
    IEEE-754 binary32 or binary16, rounded to nearest even after every operation, subnormals kept,
    no fused multiply-add. With ``f16`` the operands (decoded posits, weights, bias) are rounded to
    binary16 first. A NaR or NaN operand, and what IEEE-754 makes a NaN, gives NaN. The order of a
    sum of T taps, the same for every op:

    1. the products ``p_t = x_t * w_t``, t = 0..T-1, each rounded; a tap in the padding has x = 0
       (and no weight is infinite), so it changes no sum; T is filled up to a multiple of 16 with
       products +0;
    2. partial sums j = 0..15: ``s_j = ((+0 + p_j) + p_{j+16}) + p_{j+32} ...``, each addition
       rounded;
    3. a tree of four levels: ``((s0+s1)+(s2+s3)) + ((s4+s5)+(s6+s7))`` plus the same of s8..s15;
    4. the bias is added last.

    Why: in hardware the adder is a pipeline of up to 16 stages, so 16 sums circulate through it and
    a product is taken every clock cycle. No sum is ever -0.

``quire``
    An exact sum in a fixed-point register of ``acc_width`` bits, so its order does not matter.
    Operands are integers: a posit<8, es> in units of ``2**-F``, F = 6 * 2**es, an integer weight as
    it is. The bias is an integer in the units of the register. As in the posit standard the most
    negative integer is NaR: any NaR operand gives it, and the width is such that no sum does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pyahir.ir.ops.base import Op, require
from pyahir.ir.ops.conv import convolved_shape
from pyahir.ir.ops.window import Pair, WindowOp
from pyahir.ir.posit import ES, LARGEST_SHIFT, WIDTH, fraction_bits
from pyahir.ir.types import Float16, Float32, Int, Layout, Posit, PowerOfTwo, TensorType

__all__ = [
    "ARITHMETICS",
    "LANES",
    "Encode",
    "RealAdd",
    "RealAvgPool2d",
    "RealConv2d",
    "RealLinear",
]

ARITHMETICS = ("f32", "f16", "quire")
LANES = 16  # partial sums of f32 and f16
BIAS = Int(64)


def _check(arith: str, acc_width: int) -> None:
    if arith not in ARITHMETICS:
        raise ValueError(f"arith is f32, f16 or quire, not {arith!r}")
    if (acc_width > 0) != (arith == "quire"):
        raise ValueError(f"acc_width {acc_width} with arith {arith!r}: only a quire has a width")


def exponent_of(kind: TensorType) -> int:
    """Give the exponent of the scale, which every operand here has."""
    scale = kind.quantization
    require(isinstance(scale, PowerOfTwo), f"an operand has a power-of-two scale, not {kind}")
    assert isinstance(scale, PowerOfTwo)
    return scale.exponent


def _unit(kind: TensorType, arith: str) -> int:
    """Check that ``arith`` takes ``kind``; give the exponent of what a 1 in it is worth."""
    element = kind.element
    exponent = exponent_of(kind)
    if isinstance(element, Posit):
        require(
            element.width == WIDTH and element.es in ES,
            f"{element} is not one of posit8_0, posit8_1, posit8_2",
        )
        return exponent - (fraction_bits(element.es) if arith == "quire" else 0)
    wanted = {"f32": Float32, "f16": Float16, "quire": Int}[arith]
    signed = not isinstance(element, Int) or element.signed
    require(isinstance(element, wanted) and signed, f"arith {arith} does not take {element}")
    return exponent


def _accumulator(
    arith: str, acc_width: int, operands: Sequence[TensorType]
) -> tuple[Float32 | Float16 | Int, PowerOfTwo]:
    """Give element type and scale of a sum of products x * weight plus bias."""
    x, weight, bias = operands
    require(not isinstance(x.element, Int), f"arith {arith} does not take an input of {x.element}")
    stored = isinstance(weight.element, Posit) and weight.element != x.element
    require(not stored, f"a weight of {weight.element} with an input of {x.element}")
    scale = PowerOfTwo(exponent=_unit(x, arith) + _unit(weight, arith))
    element = _element(arith, acc_width)
    require(bias.shape == weight.shape[:1], "the bias has shape (O,)")
    expected = BIAS if arith == "quire" else element
    require(
        bias.element == expected and bias.quantization == scale,
        f"the bias is {expected} {scale}, as the sum, not {bias}",
    )
    return element, scale


def _element(arith: str, acc_width: int) -> Float32 | Float16 | Int:
    match arith:
        case "quire":
            return Int(acc_width)
        case "f16":
            return Float16()
        case _:
            return Float32()


@dataclass(frozen=True, slots=True, kw_only=True)
class RealConv2d(WindowOp):
    """The convolution of ``Conv2d``, bias included, in the arithmetic ``arith`` of this module.

    Operands: x (NHWC: posits, or the floats of ``arith``), weight (O, I/groups, KH, KW: posits of
    the same es, floats of ``arith``, or integers for a quire), bias (O) as the sum. The taps of an
    output are in the order (kw, c, kh), kw slowest, c over the channels of its group: the columns
    of a window come one after the other out of the line buffer. Result: binary32, binary16 or an
    integer of ``acc_width`` bits, in units of the product of the operands' scales.
    """

    arity: ClassVar[int | tuple[int, int]] = 3

    arith: str
    groups: int = 1
    acc_width: int = 0

    def __post_init__(self) -> None:
        WindowOp.__post_init__(self)
        _check(self.arith, self.acc_width)
        if self.groups < 1:
            raise ValueError(f"groups is at least 1, not {self.groups}")

    def infer(self, operands: Sequence[TensorType]) -> TensorType:
        x, weight = operands[0], operands[1]
        shape = convolved_shape(self, self.groups, x, weight)
        element, scale = _accumulator(self.arith, self.acc_width, operands)
        return TensorType(shape=shape, element=element, layout=x.layout, quantization=scale)


@dataclass(frozen=True, slots=True, kw_only=True)
class RealLinear(Op):
    """``y[o] = bias[o] + sum_i x[i] * w[o, i]`` in the arithmetic ``arith`` of this module.

    Operands as in ``RealConv2d``, x (NC) and weight (O, I). ``spatial`` is the (H, W) of the
    feature map that x is a flattened form of, (1, 1) for a plain vector: index i is (c, h, w) in
    row-major order, and the taps are in the order (h, w, c), as an NHWC stream brings them.
    """

    arity: ClassVar[int | tuple[int, int]] = 3

    arith: str
    spatial: Pair = (1, 1)
    acc_width: int = 0

    def __post_init__(self) -> None:
        _check(self.arith, self.acc_width)
        if min(self.spatial) < 1:
            raise ValueError(f"height and width are at least 1, not {self.spatial}")

    def infer(self, operands: Sequence[TensorType]) -> TensorType:
        x, weight = operands[0], operands[1]
        require(x.layout is Layout.NC, f"linear needs layout nc, not {x.layout.value}: flatten it")
        require(len(weight.shape) == 2, f"the weight has rank 2, not {len(weight.shape)}")
        require(
            x.shape[1] == weight.shape[1],
            f"{x.shape[1]} inputs do not fit a weight of shape {weight.shape}",
        )
        require(
            x.shape[1] % (self.spatial[0] * self.spatial[1]) == 0,
            f"{x.shape[1]} inputs are no feature map of {self.spatial}",
        )
        element, scale = _accumulator(self.arith, self.acc_width, operands)
        shape = (x.shape[0], weight.shape[0])
        return TensorType(shape=shape, element=element, layout=Layout.NC, quantization=scale)


@dataclass(frozen=True, slots=True, kw_only=True)
class RealAvgPool2d(WindowOp):
    """The mean of each window, padding counted as zeros, in the arithmetic of this module.

    The taps of a channel are summed in the order (kw, kh), without products and without a bias; the
    sum is multiplied once by ``1 / taps`` rounded to the float of ``arith``. A quire takes the
    binary32 number ``M * 2**-f``, M odd, and multiplies by M: exact, in a finer unit.
    """

    arith: str
    acc_width: int = 0

    def __post_init__(self) -> None:
        WindowOp.__post_init__(self)
        _check(self.arith, self.acc_width)

    @property
    def taps(self) -> int:
        return self.kernel_size[0] * self.kernel_size[1]

    def factor(self) -> np.float32 | np.float16:
        """Give ``1 / taps`` as the arithmetic has it."""
        if self.arith == "f16":
            return np.float16(1 / self.taps)
        return np.float32(1 / self.taps)

    def integer_factor(self) -> tuple[int, int]:
        """Give M, f of a quire."""
        numerator, denominator = float(self.factor()).as_integer_ratio()
        return numerator, denominator.bit_length() - 1

    def infer(self, operands: Sequence[TensorType]) -> TensorType:
        (x,) = operands
        require(
            not isinstance(x.element, Int),
            f"arith {self.arith} does not take an input of {x.element}",
        )
        finer = self.integer_factor()[1] if self.arith == "quire" else 0
        return TensorType(
            shape=x.with_spatial(x.channels, *self.output_spatial(x)),
            element=_element(self.arith, self.acc_width),
            layout=x.layout,
            quantization=PowerOfTwo(exponent=_unit(x, self.arith) - finer),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RealAdd(Op):
    """``a + b`` element by element, where two branches join, in the arithmetic of this module.

    Operands: a and b of one shape, both posits of one es, or both floats of ``arith`` with one
    scale. Posits may have different scales ``2**ka`` and ``2**kb``:

    ``f32``, ``f16``: the result is in units of ``2**k``, k the greater of ka and kb; the real
    number of each posit is multiplied by ``2**(ka - k)`` or ``2**(kb - k)`` and rounded once to
    the float of ``arith`` (exact, but for results below its subnormals and posits beyond its
    largest number), and one addition is rounded. Every zero, of an operand too, is +0.

    ``quire``: k is the lesser, so both operands are shifted left only: the integer
    ``(a << (ka - k)) + (b << (kb - k))`` of ``acc_width`` bits is exact; any NaR gives NaR.
    """

    arity: ClassVar[int | tuple[int, int]] = 2

    arith: str
    acc_width: int = 0

    def __post_init__(self) -> None:
        _check(self.arith, self.acc_width)

    def infer(self, operands: Sequence[TensorType]) -> TensorType:
        a, b = operands
        units = [_unit(kind, self.arith) for kind in operands]
        require(not isinstance(a.element, Int), f"arith {self.arith} does not take {a.element}")
        require(
            (a.shape, a.layout, a.element) == (b.shape, b.layout, b.element),
            f"the operands have one shape and element type, not {a} and {b}",
        )
        require(
            isinstance(a.element, Posit) or a == b,
            f"floats are added at one scale, not {a.quantization} and {b.quantization}",
        )
        unit = min(units) if self.arith == "quire" else max(units)
        return TensorType(
            shape=a.shape,
            element=_element(self.arith, self.acc_width),
            layout=a.layout,
            quantization=PowerOfTwo(exponent=unit),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Encode(Op):
    """A sum as a posit<8, ``es``> in units of ``2**exponent``: multiplied by an exact power of two
    and rounded once, to nearest even on the bit pattern.

    What is too large becomes maxpos, what is too small but not 0 minpos, with their signs; NaN, an
    infinity and the NaR of a quire become NaR. With ``relu`` the code of a negative number becomes
    0, and NaR stays.
    """

    es: int
    exponent: int
    relu: bool = False

    def __post_init__(self) -> None:
        if self.es not in ES:
            raise ValueError(f"es is 0, 1 or 2, not {self.es}")
        PowerOfTwo(exponent=self.exponent)

    def infer(self, operands: Sequence[TensorType]) -> TensorType:
        (acc,) = operands
        require(
            isinstance(acc.element, Float32 | Float16)
            or (isinstance(acc.element, Int) and acc.element.signed),
            f"encode takes floats or the integer of a quire, not {acc}",
        )
        shift = exponent_of(acc) - self.exponent
        require(shift <= LARGEST_SHIFT, f"a factor of 2**{shift}; at most 2**{LARGEST_SHIFT}")
        return TensorType(
            shape=acc.shape,
            element=Posit(WIDTH, self.es),
            layout=acc.layout,
            quantization=PowerOfTwo(exponent=self.exponent),
        )
