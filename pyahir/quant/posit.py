"""Quantization to posits and to plain floats: a FLOAT graph becomes a QUANTIZED one, NHWC.

In: a graph without batch norm, a ``RealScheme``, and for ``scale="auto"`` the exponents of
``calibrate_exponents``. Out: a graph of the ops of ``ir.ops.posit``. The result is a pure function
of the arguments. Not here: uint8 (``quant.quantize``).

Where numbers are rounded, once each: weights and bias to what the arithmetic takes. Weights of a
quire that are not posits become 16-bit integers times a power of two per tensor; the bias of a
quire is rounded to the unit of its register, at most half of ``2**-F`` of either operand's product.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pyahir.errors import PyahirError
from pyahir.ir.builder import GraphBuilder
from pyahir.ir.graph import Graph, Node, Stage
from pyahir.ir.ops import (
    Add,
    AvgPool2d,
    Clamp,
    Conv2d,
    Encode,
    Flatten,
    Linear,
    MaxPool2d,
    RealAdd,
    RealAvgPool2d,
    RealConv2d,
    RealLinear,
    Relu,
)
from pyahir.ir.posit import decode, encode, fraction_bits, signed
from pyahir.ir.ranges import quire_add_bound, quire_bound, quire_weight, signed_width
from pyahir.ir.types import (
    Array,
    Element,
    Float16,
    Float32,
    Int,
    Layout,
    Posit,
    PowerOfTwo,
    TensorType,
)
from pyahir.ir.verify import verify
from pyahir.quant.calibrate import fused_clamps
from pyahir.quant.exponents import Exponents, best_exponent
from pyahir.quant.scheme import RealScheme

__all__ = ["quantize_real"]

Float64 = npt.NDArray[np.float64]
RealSum = RealConv2d | RealLinear | RealAvgPool2d
WEIGHT_BITS = 16  # of a quire's weights that are not posits: one multiplier of an FPGA takes them


def quantize_real(graph: Graph, scheme: RealScheme, exponents: Exponents | None = None) -> Graph:
    """Quantize a graph without batch norm; the result is verified.

    ``exponents`` are those of ``calibrate_exponents``; without them every scale is 1. With posits a
    ReLU that alone reads a layer becomes part of its ``Encode``; the value keeps the layer's name.
    """
    assert graph.stage is Stage.FLOAT, "quantize_real takes a FLOAT graph"
    return verify(_Quantizer(graph, scheme, exponents or {}).run(), after="quantize_real")


class _Quantizer:
    """One run over a graph; ``names`` maps each FLOAT value to the one that stands for it."""

    def __init__(self, graph: Graph, scheme: RealScheme, exponents: Exponents) -> None:
        self.graph, self.scheme, self.exponents = graph, scheme, exponents
        self.builder = GraphBuilder(graph.name, Stage.QUANTIZED)
        self.arrays = {item.name: item.array for item in graph.constants}
        self.names: dict[str, str] = {}
        self.maps: dict[str, tuple[int, int]] = {}  # height and width of what was flattened

    def run(self) -> Graph:
        for item in self.graph.inputs:
            kind = _stored(item.type, self.scheme.element, self.exponents.get(item.name, 0))
            self.names[item.name] = self.builder.input(item.name, kind)
        for node in self.graph.nodes:
            if node.name not in self.names:
                self._node(node)
        return self.builder.finish([self.names[name] for name in self.graph.outputs])

    def _node(self, node: Node) -> None:
        x = self.names[node.inputs[0]]
        match node.op:
            case Conv2d():
                self._sum(node, _convolution(node.op, self.scheme.arith))
            case Linear():
                spatial = self.maps.get(x, (1, 1))
                width = _unsized(self.scheme.arith)
                op = RealLinear(arith=self.scheme.arith, spatial=spatial, acc_width=width)
                self._sum(node, op)
            case AvgPool2d():
                self._sum(node, _average(node.op, self.scheme.arith))
            case Add():
                self._join(node)
            case MaxPool2d() | Relu() | Flatten() | Clamp():
                self._keep(node, x)
            case _:
                raise AssertionError(f"{node.name}: {node.op.mnemonic()} has no posit form")

    def _keep(self, node: Node, x: str) -> None:
        """Add an op that works on stored values as they are."""
        kind, op = self.builder.types[x], node.op
        if isinstance(op, Clamp):
            op = _clamp(op, kind)
        name = self.builder.node(node.name, op, [x], node.loc)
        if isinstance(op, Flatten) and kind.layout is not Layout.NC:
            self.maps[name] = kind.spatial
        elif x in self.maps:
            self.maps[name] = self.maps[x]
        self.names[node.name] = name

    def _sum(self, node: Node, op: RealSum) -> None:
        x, scheme = self.names[node.inputs[0]], self.scheme
        weight: _Weight | None = None
        if not isinstance(op, RealAvgPool2d):
            weight = _weight(self.arrays[node.inputs[1]].astype(np.float64), scheme)
        operands, op = self._operands(node, op, x, weight)
        name = f"{node.name}_acc" if scheme.posit else node.name
        value = self.builder.node(name, op, operands, node.loc)
        self.names[node.name] = value
        if scheme.posit:
            self._encode(node, value)

    def _join(self, node: Node) -> None:
        """Add the sum of two branches; with posits an encode of it."""
        scheme, operands = self.scheme, [self.names[name] for name in node.inputs]
        width = 0
        if scheme.arith == "quire":
            bound = quire_add_bound(*(self.builder.types[name] for name in operands))
            width = signed_width(-bound - 1, bound)  # the least integer is NaR
        op = RealAdd(arith=scheme.arith, acc_width=width)
        name = f"{node.name}_acc" if scheme.posit else node.name
        self.names[node.name] = self.builder.node(name, op, operands, node.loc)
        if scheme.posit:
            self._encode(node, self.names[node.name])
        if operands[0] in self.maps:  # two flattened maps: hardware adds no others (plan.grouping)
            self.maps[self.names[node.name]] = self.maps[operands[0]]

    def _operands(
        self, node: Node, op: RealSum, x: str, weight: _Weight | None
    ) -> tuple[list[str], RealSum]:
        """Add weight and bias; give the operands, and the op with the width of its quire."""
        kind = self.builder.types[x]
        if weight is None:
            if op.arith == "quire":
                op = replace(op, acc_width=_quire_width(op, kind, None, None))
            return [x], op
        unit = weight.unit(op.arith) + _exponent(kind)
        if op.arith == "quire" and isinstance(kind.element, Posit):
            unit -= fraction_bits(kind.element.es)
        bias = np.ldexp(self.arrays[node.inputs[2]].astype(np.float64), -unit)
        element, stored = self._bias(node, op.arith, bias)
        if op.arith == "quire":
            integers = quire_weight(weight.array, weight.element)
            op = replace(op, acc_width=_quire_width(op, kind, integers, stored))
        operands = [
            x,
            self.builder.constant(
                f"{node.name}_weight",
                weight.array,
                weight.element,
                PowerOfTwo(exponent=weight.exponent),
            ),
            self.builder.constant(f"{node.name}_bias", stored, element, PowerOfTwo(exponent=unit)),
        ]
        return operands, op

    def _bias(self, node: Node, arith: str, bias: Float64) -> tuple[Element, Array]:
        """Round a bias in units of the sum to what the arithmetic adds."""
        if arith == "quire":
            rounded = np.rint(bias)
            if np.abs(rounded).max(initial=0.0) >= 2.0**62:
                raise PyahirError(
                    f"{node.loc} {node.name}: its bias is too large for a quire beside these "
                    "weights; take --arith f32"
                )
            return Int(64), rounded.astype(np.int64)
        element: Element = Float16() if arith == "f16" else Float32()
        return element, _rounded(node, "bias", bias, arith)

    def _encode(self, node: Node, acc: str) -> None:
        """Add ``NAME``: the posits; the first ReLU that alone reads them comes with it."""
        clamps = fused_clamps(self.graph, node)
        relu = bool(clamps) and isinstance(clamps[0].op, Relu)
        exponent = self.exponents.get((node, *clamps)[-1].name, 0)
        op = Encode(es=self.scheme.es, exponent=exponent, relu=relu)
        name = self.builder.node(node.name, op, [acc], node.loc)
        self.names[node.name] = name
        if relu:
            self.names[clamps[0].name] = name


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Weight:
    """A weight as it is stored: ``number * 2**exponent``."""

    array: Array
    element: Element
    exponent: int

    def unit(self, arith: str) -> int:
        """Give the exponent of what an integer 1 of a quire, or a float 1.0, is worth."""
        if arith == "quire" and isinstance(self.element, Posit):
            return self.exponent - fraction_bits(self.element.es)
        return self.exponent


def _weight(weight: Float64, scheme: RealScheme) -> _Weight:
    if scheme.posit and scheme.weights == "posit8":
        k = 0
        if scheme.scale == "auto":
            k = best_exponent(weight.ravel(), None, scheme.es)
        codes = encode(weight, scheme.es, -k)
        if scheme.arith == "f16":
            _finite(decode(codes, scheme.es, np.float16), weight, scheme.arith)
        return _Weight(array=codes, element=Posit(8, scheme.es), exponent=k)
    if scheme.arith == "quire":
        return _integer_weight(weight)
    element: Element = Float16() if scheme.arith == "f16" else Float32()
    dtype = np.float16 if scheme.arith == "f16" else np.float32
    with np.errstate(over="ignore"):
        array = weight.astype(dtype)
    _finite(array, weight, scheme.arith)
    return _Weight(array=array, element=element, exponent=0)


def _finite(array: Array, weight: Float64, arith: str) -> None:
    if not np.isfinite(array.astype(np.float64)).all():
        largest = np.abs(weight).max()
        raise PyahirError(f"a weight of {largest:.6g} is no number of arith {arith}; take f32")


def _integer_weight(weight: Float64) -> _Weight:
    """Round to integers of 16 bits times the least power of two that they fit."""
    largest = float(np.abs(weight).max(initial=0.0))
    exponent = math.frexp(largest)[1] - (WEIGHT_BITS - 1) if largest > 0 else 0
    if np.rint(math.ldexp(largest, -exponent)) >= 1 << (WEIGHT_BITS - 1):
        exponent += 1
    array = np.rint(np.ldexp(weight, -exponent)).astype(np.int16)
    return _Weight(array=array, element=Int(WEIGHT_BITS), exponent=exponent)


def _rounded(node: Node, what: str, numbers: Float64, arith: str) -> Array:
    dtype = np.float16 if arith == "f16" else np.float32
    with np.errstate(over="ignore", under="ignore"):
        array = numbers.astype(dtype)
    if not np.isfinite(array).all():
        raise PyahirError(
            f"{node.loc} {node.name}: a {what} of {np.abs(numbers).max():.6g} is no number of "
            f"arith {arith}; take --arith f32"
        )
    return array


def _quire_width(
    op: RealSum, x: TensorType, weight: npt.NDArray[np.int64] | None, bias: Array | None
) -> int:
    bound = quire_bound(op, x, weight, bias)
    return signed_width(-bound - 1, bound)  # the least integer is NaR


def _exponent(kind: TensorType) -> int:
    assert isinstance(kind.quantization, PowerOfTwo)
    return kind.quantization.exponent


def _unsized(arith: str) -> int:
    """Give the width of an op whose sums have not been bounded yet."""
    return 1 if arith == "quire" else 0


def _convolution(op: Conv2d, arith: str) -> RealConv2d:
    return RealConv2d(
        kernel_size=op.kernel_size,
        stride=op.stride,
        padding=op.padding,
        dilation=op.dilation,
        groups=op.groups,
        arith=arith,
        acc_width=_unsized(arith),
    )


def _average(op: AvgPool2d, arith: str) -> RealAvgPool2d:
    return RealAvgPool2d(
        kernel_size=op.kernel_size,
        stride=op.stride,
        padding=op.padding,
        dilation=op.dilation,
        arith=arith,
        acc_width=_unsized(arith),
    )


def _stored(kind: TensorType, element: Element, exponent: int) -> TensorType:
    """Give the type of a FLOAT input as it is stored."""
    scale = PowerOfTwo(exponent=exponent)
    if kind.layout is not Layout.NCHW:
        return replace(kind, element=element, quantization=scale)
    batch, channels, height, width = kind.shape
    shape = (batch, height, width, channels)
    return TensorType(shape=shape, element=element, layout=Layout.NHWC, quantization=scale)


def _clamp(op: Clamp, kind: TensorType) -> Clamp:
    """Give the clamp on stored values: the posits or floats nearest to its limits."""
    limits = np.array([op.minimum, op.maximum])
    if isinstance(kind.element, Posit):
        finite = np.nan_to_num(limits, posinf=1e300, neginf=-1e300)
        low, high = signed(encode(finite, kind.element.es, -_exponent(kind))).tolist()
        return Clamp(minimum=low, maximum=high)
    if isinstance(kind.element, Float16):
        with np.errstate(over="ignore"):
            limits = limits.astype(np.float16).astype(np.float64)
    low, high = limits.tolist()
    return Clamp(minimum=low, maximum=high)
