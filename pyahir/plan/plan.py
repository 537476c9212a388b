"""The plan: every hardware choice for a graph, and the cycles and memory that it predicts.

In: a QUANTIZED graph and options. Out: ``Plan``, which refers to nodes by name. No Aa here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pyahir.ir.graph import Graph
from pyahir.ir.ops import Conv2d
from pyahir.ir.ops.window import WindowOp
from pyahir.plan.folding import Folding
from pyahir.plan.layers import Layer, LayerKind

__all__ = ["Plan", "PlannedLayer", "Sweep", "planned_layer"]

Int64 = npt.NDArray[np.int64]
WEIGHT_BITS = 8
ACTIVATION_BITS = 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sweep:
    """How a window process walks the padded feature map: all counts are words of ``lanes``.

    ``words`` is the number of words of one pixel (channels / lanes); a column holds one word of
    each of the window's rows.
    """

    window: WindowOp
    lanes: int
    words: int
    height: int
    width: int
    out_height: int
    out_width: int

    @property
    def padded_height(self) -> int:
        return self.height + self.window.padding[0] + self.window.padding[1]

    @property
    def padded_width(self) -> int:
        return self.width + self.window.padding[2] + self.window.padding[3]

    @property
    def advance(self) -> int:
        """Columns that a step to the right brings in new (of those the line buffer sends)."""
        return min(self.window.stride[1], self.window.span[1])

    @property
    def line_cycles(self) -> int:
        return self.padded_height * self.padded_width * self.words

    @property
    def column_lanes(self) -> int:
        return self.window.kernel_size[0] * self.lanes

    @property
    def passes_through(self) -> bool:
        """Whether columns leave the line buffer in the order in which the windows need them."""
        dense = self.window.dilation[1] == 1 or self.window.kernel_size[1] == 1
        return dense and self.window.stride[1] >= self.window.span[1]

    @property
    def column_cycles(self) -> int:
        """Cycles a frame of the process that repeats columns for overlapping windows."""
        if self.passes_through:
            return 0
        return self.out_height * self.out_width * self.window.span[1] * self.words


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlannedLayer:
    """A layer with its folding. ``lanes_in``, ``lanes_out``: channels a word of its streams."""

    layer: Layer
    folding: Folding
    lanes_in: int
    lanes_out: int
    sweep: Sweep | None

    @property
    def name(self) -> str:
        return self.layer.name

    @property
    def multipliers(self) -> int:
        return self.folding.multipliers if self.layer.kind == LayerKind.MATVEC else 0

    @property
    def input_folds(self) -> int:
        return self.layer.inputs // self.folding.simd

    @property
    def output_folds(self) -> int:
        return self.layer.outputs // self.folding.pe

    def column_order(self) -> Int64:
        """Give the weight column of each input element in the order of the window stream."""
        if self.sweep is None:
            order = self.layer.vector_order
            return np.arange(self.layer.inputs) if order is None else order
        kh, kw = self.sweep.window.kernel_size
        index = np.arange(self.layer.inputs, dtype=np.int64)
        grid = index.reshape(self.sweep.words, self.sweep.lanes, kh, kw)
        return grid.transpose(3, 0, 2, 1).ravel()  # kx, word, ky, lane

    @property
    def cycles(self) -> int:
        """Predict the cycles a frame: the slowest of the layer's processes."""
        parts = [self.process_cycles()]
        if self.sweep is not None:
            parts += [self.sweep.line_cycles, self.sweep.column_cycles]
        return max(parts)

    def process_cycles(self) -> int:
        """Count the iterations a frame of the arithmetic process."""
        match self.layer.kind:
            case LayerKind.MATVEC:
                common = math.gcd(self.arriving_lanes, self.folding.simd)
                converter = self.layer.pixels * (self.layer.inputs // common)
                return max(self.folding.cycles(self.layer), converter)
            case LayerKind.ELEMENTWISE:
                return self.layer.x.size // self.lanes_in
            case _:
                assert self.sweep is not None
                columns = self.sweep.window.kernel_size[1] * self.sweep.words
                return self.layer.pixels * columns

    @property
    def arriving_lanes(self) -> int:
        """Elements a word in front of the arithmetic, before width conversion."""
        return self.lanes_in if self.sweep is None else self.sweep.column_lanes

    @property
    def memory_bits(self) -> int:
        """Bits of weights, requantization parameters and line buffers."""
        bits = 0
        if self.layer.weight is not None:
            bits += self.layer.weight.size * WEIGHT_BITS
        if self.sweep is not None and self.sweep.window.span[0] > 1:
            row = self.sweep.padded_width * self.sweep.words * self.sweep.lanes
            bits += row * (self.sweep.window.span[0] - 1) * ACTIVATION_BITS
        return bits


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """All layers in stream order, and the graph they come from."""

    graph: Graph
    input_lanes: int
    layers: tuple[PlannedLayer, ...]

    @property
    def cycles_per_frame(self) -> int:
        return max(layer.cycles for layer in self.layers)

    @property
    def multipliers(self) -> int:
        return sum(layer.multipliers for layer in self.layers)

    @property
    def macs(self) -> int:
        return sum(layer.layer.macs for layer in self.layers)

    @property
    def exceptions(self) -> int:
        return sum(
            len(layer.layer.rescale.exceptions) for layer in self.layers if layer.layer.rescale
        )


def planned_layer(layer: Layer, lanes: int, folding: Folding) -> PlannedLayer:
    """Place a layer behind a stream of ``lanes`` channels a word."""
    out = folding.pe if layer.kind == LayerKind.MATVEC else lanes
    return PlannedLayer(
        layer=layer, folding=folding, lanes_in=lanes, lanes_out=out, sweep=_sweep(layer, lanes)
    )


def _sweep(layer: Layer, lanes: int) -> Sweep | None:
    if layer.window is None or _pointwise(layer.window):
        return None
    height, width = layer.x.spatial
    out_height, out_width = layer.y.spatial
    return Sweep(
        window=layer.window,
        lanes=lanes,
        words=layer.x.channels // lanes,
        height=height,
        width=width,
        out_height=out_height,
        out_width=out_width,
    )


def _pointwise(window: WindowOp) -> bool:
    """Tell whether a convolution needs no window: 1x1, every pixel, no padding."""
    return (
        isinstance(window, Conv2d)
        and window.kernel_size == (1, 1)
        and window.stride == (1, 1)
        and not any(window.padding)
    )
