"""The plan: every hardware choice for a graph, and the cycles and memory that it predicts.

In: a QUANTIZED graph and options. Out: ``Plan``, which refers to nodes by name. No Aa here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pyahir.ir.graph import Graph
from pyahir.ir.ops import Conv2d, RealConv2d
from pyahir.ir.ops.posit import LANES
from pyahir.ir.ops.window import WindowOp
from pyahir.plan.folding import Folding
from pyahir.plan.layers import Layer, LayerKind
from pyahir.plan.streaming import LATE, Packets, line_words, packets

__all__ = ["Plan", "PlannedLayer", "Sweep", "gear_cycles", "planned_layer"]

Int64 = npt.NDArray[np.int64]
MOST_PACKED = 4  # pixels in a group: each but the last costs a sum of its own


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sweep:
    """How a window process walks the padded feature map: all counts are words of ``lanes``.

    ``words`` is the number of words of one pixel (channels / lanes); a column holds one word of
    each of the window's rows. ``whole``: all columns of a window leave in one word.
    """

    window: WindowOp
    lanes: int
    words: int
    height: int
    width: int
    out_height: int
    out_width: int
    whole: bool = False

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
        """Elements of a word that leaves the line buffer."""
        return self.window.kernel_size[0] * self.lanes

    @property
    def window_lanes(self) -> int:
        """Elements of a word that leaves the window processes."""
        return self.column_lanes * (self.window.kernel_size[1] if self.whole else 1)

    @property
    def passes_through(self) -> bool:
        """Whether columns leave the line buffer in the order in which the windows need them."""
        if self.whole:
            return False
        dense = self.window.dilation[1] == 1 or self.window.kernel_size[1] == 1
        return dense and self.window.stride[1] >= self.window.span[1]

    @property
    def columns_used(self) -> int:
        """Columns of a row that some window needs."""
        return (self.out_width - 1) * self.window.stride[1] + self.window.span[1]

    @property
    def columns_sent(self) -> int:
        """Columns of a row that the line buffer sends."""
        return (self.out_width - 1) * self.advance + self.window.span[1]

    @property
    def row_gap(self) -> int:
        """Words that whole windows are late at the beginning of a row: its first columns."""
        return (self.window.span[1] - 1) * self.words if self.whole else 0

    @property
    def column_cycles(self) -> int:
        """Cycles a frame of the process that makes windows of columns."""
        if self.passes_through:
            return 0
        columns = self.columns_sent if self.whole else self.out_width * self.window.span[1]
        return self.out_height * columns * self.words


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlannedLayer:
    """A layer with its folding. ``lanes_in``, ``lanes_out``: channels a word of its streams.

    ``input_major``: each word of inputs is multiplied for all outputs before the next one, so that
    the layer is done when its last input has come; else output after output, as they are needed.
    """

    layer: Layer
    folding: Folding
    lanes_in: int
    lanes_out: int
    sweep: Sweep | None
    input_major: bool = False

    @property
    def name(self) -> str:
        return self.layer.name

    @property
    def multipliers(self) -> int:
        return self.folding.multipliers if self.layer.kind == LayerKind.MATVEC else 0

    @property
    def packed(self) -> bool:
        """Whether a word may end one pixel and begin the next, so that no lane is ever idle.

        That needs all output channels at a time: otherwise a pixel's words come several times.
        """
        layer, folding = self.layer, self.folding
        one_fold = layer.kind == LayerKind.MATVEC and folding.pe == layer.outputs
        one_fold &= layer.rounding is None  # a NaR is one of a pixel; floats have an order
        one_fold &= not self.streamed
        return one_fold and layer.pixels > 1 and 1 < self.group <= MOST_PACKED

    @property
    def streamed(self) -> bool:
        """Whether the weights come from outside for every frame."""
        return bool(self.folding.streamed)

    @property
    def tiled(self) -> bool:
        """Whether the feature map is gone through once for each output fold.

        Then the weights of one fold are used for all pixels, before those of the next one come.
        """
        return self.streamed and self.layer.pixels > 1

    @property
    def passes(self) -> int:
        """How often a frame goes through the window processes."""
        return self.output_folds if self.tiled else 1

    @property
    def weight_words(self) -> int:
        """Words of weights, each of ``weight_width`` bits."""
        return self.input_folds * self.output_folds

    @property
    def weight_width(self) -> int:
        return self.multipliers * self.layer.weight_element.width

    @property
    def line_words(self) -> int:
        """Words of streamed weights that come in one line."""
        return line_words(self.weight_words, self.weight_width)

    @property
    def lines(self) -> tuple[int, int]:
        """Lines of streamed weights a frame, and bits of a line."""
        return self.weight_words // self.line_words, self.weight_width * self.line_words

    @property
    def group(self) -> int:
        """Pixels after which the words of a packed layer begin with a pixel again."""
        return self.folding.simd // math.gcd(self.layer.inputs, self.folding.simd)

    @property
    def input_folds(self) -> int:
        """Words of inputs after which the weights repeat: of a pixel, or of a packed group.

        Sums of floats go round in ``LANES`` parts: their words are filled up to a multiple.
        """
        if self.layer.floats:
            return -(-self.layer.inputs // LANES) * LANES
        if self.packed:
            return self.layer.inputs * self.group // self.folding.simd
        return -(-self.layer.inputs // self.folding.simd)

    @property
    def frame_words(self) -> int:
        """Words of inputs a frame, each counted once."""
        if self.packed:
            return -(-self.layer.pixels * self.layer.inputs // self.folding.simd)
        return self.layer.pixels * self.input_folds

    @property
    def output_folds(self) -> int:
        return self.layer.outputs // self.folding.pe

    @property
    def requantizers(self) -> int:
        """Requantizers side by side: one for each lane of the stream of results."""
        return self.lanes_out if self.layer.kind == LayerKind.MATVEC else 0

    def column_order(self) -> Int64:
        """Give the weight column of each input element in the order of the window stream."""
        if self.sweep is None:
            order = self.layer.vector_order
            return np.arange(self.layer.inputs) if order is None else order
        kh, kw = self.sweep.window.kernel_size
        index = np.arange(self.layer.inputs, dtype=np.int64)
        grid = index.reshape(self.sweep.words, self.sweep.lanes, kh, kw)
        if self.sweep.whole:
            return grid.transpose(0, 3, 2, 1).ravel()  # word, kx, ky, lane
        return grid.transpose(3, 0, 2, 1).ravel()  # kx, word, ky, lane

    @property
    def cycles(self) -> int:
        """Predict the cycles a frame: the slowest of the layer's processes."""
        parts = [self.process_cycles()]
        if self.sweep is not None:
            passes = self.passes
            parts += [passes * self.sweep.line_cycles, passes * self.sweep.column_cycles]
        if self.tiled:
            parts.append(self.passes * (self.layer.x.size // self.lanes_in))
        return max(parts)

    def process_cycles(self) -> int:
        """Count the iterations a frame of the arithmetic process."""
        match self.layer.kind:
            case LayerKind.MATVEC:
                serial = self.layer.pixels * (self.layer.outputs // self.requantizers)
                serial *= LANES if self.layer.floats else 1  # parts of a sum
                sums = self.frame_words * self.output_folds
                return max(sums, serial, self.passes * self.converter_cycles)
            case LayerKind.ELEMENTWISE | LayerKind.JOIN:
                return self.layer.x.size // self.lanes_in
            case _:
                assert self.sweep is not None
                columns = 1 if self.sweep.whole else self.sweep.window.kernel_size[1]
                return self.layer.pixels * columns * self.sweep.words

    @property
    def arriving_lanes(self) -> int:
        """Elements a word in front of the arithmetic, before width conversion."""
        return self.lanes_in if self.sweep is None else self.sweep.window_lanes

    @property
    def converter_cycles(self) -> int:
        """Cycles a frame of the conversion from arriving words to those of ``simd`` inputs."""
        pixels, inputs = self.layer.pixels, self.layer.inputs
        if self.packed:
            return gear_cycles(pixels * inputs, self.arriving_lanes, self.folding.simd)
        return pixels * gear_cycles(inputs, self.arriving_lanes, self.folding.simd)


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """All layers in stream order, and the graph they come from."""

    graph: Graph
    input_lanes: int
    layers: tuple[PlannedLayer, ...]

    @cached_property
    def cycles_per_frame(self) -> int:
        return max(self.packets.items, *(layer.cycles for layer in self.layers))

    @property
    def streamed(self) -> tuple[PlannedLayer, ...]:
        """The layers whose weights come from outside for every frame, in stream order."""
        return tuple(layer for layer in self.layers if layer.streamed)

    @cached_property
    def packets(self) -> Packets:
        """How the weights of ``streamed`` come."""
        return packets([layer.lines for layer in self.streamed])

    def late(self) -> Mapping[str, int]:
        """Give how many turns each streamed layer is behind the first one, by its name."""
        late: dict[str, int] = {}  # of values: turns that a streamed layer reading them is behind
        found: dict[str, int] = {}
        for layer in self.layers:
            behind = max(late.get(source, 0) for source in layer.layer.sources)
            if layer.streamed:
                found[layer.name] = behind
            late[layer.layer.value] = behind + LATE * layer.streamed
        return found

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


def gear_cycles(elements: int, arriving: int, target: int) -> int:
    """Cycles to repack ``elements`` from words of ``arriving`` into words of ``target``.

    One word in and one word out a cycle; the last word is filled up.
    """
    if arriving >= target:
        return -(-elements // target)
    reads = elements // arriving
    before_last = (elements - arriving) % target
    return reads + (before_last + arriving > target)


def planned_layer(layer: Layer, lanes: int, folding: Folding) -> PlannedLayer:
    """Place a layer behind a stream of ``lanes`` channels a word; what is open is the plainest."""
    if layer.kind == LayerKind.MATVEC and layer.floats:
        lanes = 1  # one element after the other is added
    if layer.kind == LayerKind.JOIN:
        lanes = folding.requantizers or lanes
    out = lanes
    if layer.kind == LayerKind.MATVEC:
        out = folding.requantizers or folding.pe
    sweep = _sweep(layer, lanes, whole=bool(folding.whole))
    whole = sweep is not None and sweep.whole
    streamed = bool(folding.streamed) and layer.kind == LayerKind.MATVEC
    chosen = Folding(
        pe=folding.pe, simd=folding.simd, requantizers=out, whole=whole, streamed=streamed
    )
    return PlannedLayer(layer=layer, folding=chosen, lanes_in=lanes, lanes_out=out, sweep=sweep)


def _sweep(layer: Layer, lanes: int, *, whole: bool) -> Sweep | None:
    if layer.window is None or _pointwise(layer.window):
        return None
    height, width = layer.x.spatial
    out_height, out_width = layer.y.spatial
    sweep = Sweep(
        window=layer.window,
        lanes=lanes,
        words=layer.x.channels // lanes,
        height=height,
        width=width,
        out_height=out_height,
        out_width=out_width,
    )
    if layer.kind == LayerKind.SUM_POOL and layer.rounding is not None:
        return replace(sweep, whole=sweep.window.kernel_size[1] > 1)  # a tree adds them
    overlap = layer.window.stride[1] < layer.window.span[1]
    serves = layer.kind == LayerKind.MATVEC and overlap and not sweep.passes_through
    serves &= not layer.floats
    return replace(sweep, whole=whole and serves)


def _pointwise(window: WindowOp) -> bool:
    """Tell whether a convolution needs no window: 1x1, every pixel, no padding."""
    return (
        isinstance(window, Conv2d | RealConv2d)
        and window.kernel_size == (1, 1)
        and window.stride == (1, 1)
        and not any(window.padding)
    )
