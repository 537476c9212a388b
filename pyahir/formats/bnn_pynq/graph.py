"""Parameters of a folder to an IR graph: the same integers, without padding and folding.

In: a topology and its parameters. Out: a QUANTIZED graph from pixels to the last layer's sums, or
its bits. Layers are ``l0``, ``l1``...; ``l0_acc`` is the sum that the thresholds of ``l0`` compare.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pyahir.formats.bnn_pynq.folder import LayerParameters, Parameters
from pyahir.formats.bnn_pynq.steps import to_steps
from pyahir.formats.bnn_pynq.topology import Accumulator, Layer, Topology
from pyahir.formats.bnn_pynq.words import Weights
from pyahir.ir.builder import GraphBuilder
from pyahir.ir.graph import Graph, Loc, Stage, legal_name
from pyahir.ir.ops import Conv2d, Flatten, Linear, MaxPool2d, MultiThreshold, Recode
from pyahir.ir.ranges import accumulator_bounds, signed_width
from pyahir.ir.types import Affine, Array, Bipolar, Int, Layout, PowerOfTwo, TensorType
from pyahir.ir.verify import verify

__all__ = ["PIXEL_EXPONENT", "PIXEL_SCALE", "bit_table", "import_graph", "pixel_table"]

PIXEL_SCALE = float(np.float32(1 / 255))
PIXEL_EXPONENT = -7
PIXELS = 256
HALF = 128
THRESHOLD = np.int32


def bit_table() -> Array:
    """Give the bit of every pixel: whether it is bright, that is, 2 p / 255 - 1 >= 0."""
    return (np.arange(PIXELS) >= HALF).astype(np.uint8)


def pixel_table() -> Array:
    """Give 2 p / 255 - 1 of every pixel in units of 1/128: rounded, saturated, never 0."""
    pixel = np.arange(PIXELS)
    codes = np.where(pixel < HALF, pixel - HALF, np.minimum(pixel - HALF + 1, HALF - 1))
    return codes.astype(np.int8)


def import_graph(topology: Topology, parameters: Parameters, folder: str) -> Graph:
    """Give the graph of a network; ``folder`` begins messages."""
    builder = GraphBuilder(legal_name(topology.name), Stage.QUANTIZED)
    channels, height, width = topology.image
    kind = TensorType(
        shape=(1, height, width, channels),
        element=Int(8, signed=False),
        layout=Layout.NHWC,
        quantization=Affine(scale=PIXEL_SCALE, zero_point=0),
    )
    value = _recoded(builder, builder.input("x", kind), topology)
    for index, (layer, given) in enumerate(zip(topology.layers, parameters.layers, strict=True)):
        last = index + 1 == len(topology.layers)
        rows = len(parameters.classes) if last else layer.outputs
        value = _layer(builder, value, topology, index, _kept(given, rows), folder)
        pooling = topology.pooling(index)
        if pooling == 2:
            pool = MaxPool2d(kernel_size=(2, 2), stride=(2, 2))
            value = builder.node(f"l{index}_pool", pool, [value], Loc(path=f"L{index}"))
    return verify(builder.finish([value]), after="import")


def _kept(given: LayerParameters, rows: int) -> LayerParameters:
    """Drop the neurons of the padding, which come last."""
    return replace(given, weights=given.weights[:rows], thresholds=given.thresholds[:rows])


def _recoded(builder: GraphBuilder, pixels: str, topology: Topology) -> str:
    if topology.accumulator(0) is Accumulator.FIXED:
        op, table = Recode(width=8, exponent=PIXEL_EXPONENT), pixel_table()
    else:
        op, table = Recode(width=1, exponent=0), bit_table()
    return builder.node("image", op, [pixels, builder.constant("image_table", table)], Loc())


def _layer(
    builder: GraphBuilder,
    value: str,
    topology: Topology,
    index: int,
    given: LayerParameters,
    folder: str,
) -> str:
    layer, loc = topology.layers[index], Loc(path=f"L{index}")
    name, accumulator = f"l{index}", topology.accumulator(index)
    weights, padding = given.weights, given.weights[:, :0]
    if layer.kernel_size:
        size = layer.kernel_size
        op: Conv2d | Linear = Conv2d(kernel_size=(size, size), acc_width=1)
        weights = weights.reshape(-1, size, size, layer.inputs).transpose(0, 3, 1, 2)
    else:
        op = Linear(acc_width=1)
        real = topology.real_inputs(index)
        weights, padding = weights[:, :real], weights[:, real:]
        if builder.types[value].layout is not Layout.NC:
            shape = builder.types[value].shape[1:]
            weights = _channels_first(weights, shape)
            value = builder.node(f"{name}_flat", Flatten(), [value], loc)
    low, high = accumulator_bounds(op, builder.types[value], weights)
    op = replace(op, acc_width=signed_width(int(low.min()), int(high.max())))
    acc_name = f"{name}_acc" if layer.thresholds else name
    operands = [value, _weight_constant(builder, f"{name}_weight", layer, weights)]
    acc = builder.node(acc_name, op, operands, loc)
    if not layer.thresholds:
        return acc
    fan_in = int(np.prod(weights.shape[1:]))
    steps = to_steps(accumulator, given.thresholds, fan_in, padding, f"{folder}: layer {index}")
    width = layer.activation_width
    activation = MultiThreshold(
        width=width,
        exponent=-layer.activation_fraction,
        base=0 if width == 1 else layer.base,
    )
    table = builder.constant(f"{name}_thresholds", steps.astype(THRESHOLD))
    return builder.node(name, activation, [acc, table], loc)


def _channels_first(weights: Weights, shape: tuple[int, ...]) -> Weights:
    """Bring synapses in the stream's order, row, column, channel, into that of ``Flatten``."""
    height, width, channels = shape
    ordered = weights.reshape(-1, height, width, channels).transpose(0, 3, 1, 2)
    return ordered.reshape(len(weights), -1)


def _weight_constant(builder: GraphBuilder, name: str, layer: Layer, weights: Weights) -> str:
    if layer.weight_width == 1:
        return builder.constant(name, (weights > 0).astype(np.uint8), Bipolar())
    scale = PowerOfTwo(exponent=-layer.weight_fraction)
    return builder.constant(name, weights, Int(layer.weight_width), scale)
