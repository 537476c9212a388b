"""Post-training quantization: a FLOAT graph and ranges become a QUANTIZED graph, NHWC.

Activations: uint8, affine, per tensor. Weights: int8, symmetric, per output channel. Bias: an
integer in accumulator units. Requantization: pyahir's own rule, which needs no exceptions. The
result is a pure function of the arguments.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from pyahir.ir.builder import GraphBuilder
from pyahir.ir.graph import Graph, Node, Stage
from pyahir.ir.ops import (
    Add,
    AvgPool2d,
    Clamp,
    Conv2d,
    Flatten,
    Linear,
    MaxPool2d,
    Relu,
    SumPool2d,
)
from pyahir.ir.ranges import accumulator_bounds
from pyahir.ir.types import Affine, Array, Int, Layout, TensorType
from pyahir.ir.verify import verify
from pyahir.quant.calibrate import Ranges, fused_clamps
from pyahir.quant.integer import Target, add_accumulator, add_pairs, add_requantize
from pyahir.quant.observers import LARGEST_CODE, LEAST_SCALE, affine_of
from pyahir.quant.pairs import own_pairs
from pyahir.quant.requantize import own_fit

__all__ = ["quantize", "weight_scales"]

Float64 = npt.NDArray[np.float64]
LARGEST_WEIGHT = 127
BIAS_BITS = 23
SUM_SPREAD = 2.0**-8  # a sum is at most so much finer than its coarser operand
SCALE_SPREAD = 2.0**-16  # between the scales of one layer: every multiplier keeps 14 bits


def quantize(graph: Graph, ranges: Ranges) -> Graph:
    """Quantize a graph without batch norm; ``ranges`` are those of ``calibrate``.

    A ReLU or clamp that alone reads a layer becomes the clamp of the layer's requantize; the value
    keeps the layer's name. The result is verified.
    """
    assert graph.stage is Stage.FLOAT, "quantize takes real numbers"
    return verify(_Quantizer(graph, ranges).run(), after="quantize")


class _Quantizer:
    """One run over a graph; ``names`` maps each FLOAT value to the one that stands for it."""

    def __init__(self, graph: Graph, ranges: Ranges) -> None:
        self.graph, self.ranges = graph, ranges
        self.builder = GraphBuilder(graph.name, Stage.QUANTIZED)
        self.arrays = {item.name: item.array for item in graph.constants}
        self.names: dict[str, str] = {}

    def run(self) -> Graph:
        for item in self.graph.inputs:
            kind = _integer_type(item.type, affine_of(self.ranges[item.name]))
            self.names[item.name] = self.builder.input(item.name, kind)
        for node in self.graph.nodes:
            if node.name not in self.names:
                self._node(node)
        return self.builder.finish([self.names[name] for name in self.graph.outputs])

    def _node(self, node: Node) -> None:
        match node.op:
            case Conv2d() | Linear():
                self._product(node, node.op)
            case AvgPool2d():
                self._average(node, node.op)
            case Add():
                self._join(node)
            case MaxPool2d() | Relu() | Flatten():
                self._keep(node, node.op)
            case Clamp():
                low, high = _codes(_affine(self._operand(node)), node.op.minimum, node.op.maximum)
                self._keep(node, Clamp(minimum=low, maximum=high))
            case _:
                raise AssertionError(f"{node.name}: {node.op.mnemonic()} has no integer form")

    def _operand(self, node: Node) -> TensorType:
        return self.builder.types[self.names[node.inputs[0]]]

    def _keep(self, node: Node, op: MaxPool2d | Relu | Flatten | Clamp) -> None:
        """Add an op that works on codes as they are."""
        x = self.names[node.inputs[0]]
        self.names[node.name] = self.builder.node(node.name, op, [x], node.loc)

    def _product(self, node: Node, op: Conv2d | Linear) -> None:
        weight, bias = (self.arrays[name].astype(np.float64) for name in node.inputs[1:])
        input_scale = _affine(self._operand(node)).scale
        scales = weight_scales(weight, bias, input_scale)
        rows = scales.reshape(-1, *(1,) * (weight.ndim - 1))
        codes = np.clip(np.rint(weight / rows), -LARGEST_WEIGHT, LARGEST_WEIGHT).astype(np.int8)
        unit = input_scale * scales
        self._sum(node, op, codes, unit, np.rint(bias / unit).astype(np.int64))

    def _average(self, node: Node, op: AvgPool2d) -> None:
        summed = SumPool2d(
            kernel_size=op.kernel_size,
            stride=op.stride,
            padding=op.padding,
            dilation=op.dilation,
            acc_width=1,
        )
        kind = self._operand(node)
        taps = op.kernel_size[0] * op.kernel_size[1]
        unit = np.full(kind.channels, _affine(kind).scale / taps)
        self._sum(node, summed, None, unit, np.zeros(kind.channels, np.int64))

    def _join(self, node: Node) -> None:
        """Add the sum of two branches, with the ReLUs and clamps that alone read it."""
        clamps = fused_clamps(self.graph, node)
        a, b = (self.names[name] for name in node.inputs)
        first, second = (_affine(self.builder.types[name]) for name in (a, b))
        unit = max(first.scale, second.scale) * SUM_SPREAD
        target = self._target((node, *clamps)[-1].name, clamps, unit)
        found = own_pairs((first, second), target.quantization, target.quant_min, target.quant_max)
        name = add_pairs(self.builder, node.name, a, b, found, node.loc)
        self.names |= dict.fromkeys([node.name, *(clamp.name for clamp in clamps)], name)

    def _sum(
        self,
        node: Node,
        op: Conv2d | Linear | SumPool2d,
        weight: Array | None,
        unit: Float64,
        bias: npt.NDArray[np.int64],
    ) -> None:
        """Add an accumulator worth ``unit`` per channel and the requantize of it plus ``bias``."""
        clamps = fused_clamps(self.graph, node)
        target = self._target((node, *clamps)[-1].name, clamps, float(unit.max()))
        x = self.names[node.inputs[0]]
        acc = add_accumulator(self.builder, node.name, op, x, weight, node.loc)
        low, high = accumulator_bounds(op, self.builder.types[x], weight)
        largest = int(max(-low.min(), high.max())) + int(np.abs(bias).max())
        affine = target.quantization
        found = own_fit(unit / affine.scale, bias, affine.zero_point, largest)
        name = add_requantize(self.builder, node.name, acc, found, target, node.loc)
        self.names |= dict.fromkeys([node.name, *(clamp.name for clamp in clamps)], name)

    def _target(self, name: str, clamps: tuple[Node, ...], unit: float) -> Target:
        """Describe the activation ``name``: no finer than the accumulator that it is made of."""
        affine = affine_of(self.ranges[name], max(unit, LEAST_SCALE))
        least, most = -math.inf, math.inf
        for clamp in clamps:
            low, high = (0.0, math.inf)
            if isinstance(clamp.op, Clamp):
                low, high = clamp.op.minimum, clamp.op.maximum
            least, most = min(max(least, low), high), min(max(most, low), high)
        low, high = _codes(affine, least, most)
        return Target(quantization=affine, quant_min=low, quant_max=high)


def weight_scales(weight: Float64, bias: Float64, input_scale: float) -> Float64:
    """Give the scale of each output channel: its largest weight becomes 127.

    Larger where the bias would need more than 23 bits, or where the channel's weights are tiny
    beside the layer's: no scale is 0, and none leaves the multiplier without bits.
    """
    largest = np.abs(weight.reshape(len(weight), -1)).max(axis=1) / LARGEST_WEIGHT
    for_bias = np.abs(bias) / (input_scale * 2.0**BIAS_BITS)
    scales = np.maximum(np.maximum(largest, for_bias), LEAST_SCALE)
    return np.maximum(scales, scales.max() * SCALE_SPREAD)


def _affine(kind: TensorType) -> Affine:
    assert isinstance(kind.quantization, Affine)
    return kind.quantization


def _integer_type(kind: TensorType, affine: Affine) -> TensorType:
    """Give the uint8 type of a FLOAT input."""
    element = Int(8, signed=False)
    if kind.layout is not Layout.NCHW:
        return replace(kind, element=element, quantization=affine)
    batch, channels, height, width = kind.shape
    shape = (batch, height, width, channels)
    return TensorType(shape=shape, element=element, layout=Layout.NHWC, quantization=affine)


def _codes(affine: Affine, least: float, most: float) -> tuple[int, int]:
    """Give the codes nearest to two real limits, which may be infinite."""
    codes = np.rint(np.array([least, most]) / affine.scale) + affine.zero_point
    low, high = np.clip(codes, 0, LARGEST_CODE).astype(np.int64).tolist()
    return low, high
