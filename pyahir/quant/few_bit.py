"""Binary and few-bit networks: layers with batch norms become a QUANTIZED graph of thresholds.

In: a ``FewBitNetwork``, whose weights are integers already and whose batch norms are numbers; a
front end reads it from a checkpoint. Out: ``FewBitGraph``: the graph, how its raw scores are read,
and the accumulators that lie on a step. Not here: float networks (``quant.quantize``).

A layer is a sum, a batch norm, an activation of one or two bits, and a pooling that stands after
the activation. Pooling that stands before the batch norm is moved behind the activation, which
changes nothing where no gamma is negative, and is refused elsewhere: the greatest sum would then be
the least activation.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from pyahir.errors import ImportModelError
from pyahir.ir.builder import GraphBuilder
from pyahir.ir.graph import Graph, Loc, Stage, legal_name
from pyahir.ir.ops import Conv2d, Flatten, Linear, MaxPool2d, MultiThreshold, Recode
from pyahir.ir.ops.threshold import PIXELS
from pyahir.ir.ops.window import Padding, Pair
from pyahir.ir.ranges import accumulator_bounds, numbers, signed_width
from pyahir.ir.types import Affine, Array, Bipolar, Int, Layout, PowerOfTwo, TensorType
from pyahir.ir.verify import verify
from pyahir.quant.thresholds import BatchNorm, Tie, activation_steps, find_ties, fold_thresholds

__all__ = [
    "Activation",
    "FewBitGraph",
    "FewBitLayer",
    "FewBitNetwork",
    "Pixels",
    "Pool",
    "Scores",
    "few_bit_graph",
    "input_table",
    "pixel_type",
]

Float64 = npt.NDArray[np.float64]
PIXEL_SCALE = float(np.float32(1 / 255))  # quantizing an image in [0, 1] gives its pixels
RULES = ("source", "low", "high")


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation:
    """The quantizer behind a batch norm: ``width`` bits, each level worth ``scale``.

    Without ``least`` and ``greatest`` more than one bit has as many levels below 0 as above, all
    that fit. ``steps``, real and ascending, (C, n) or (1, n), stand for a multi-threshold, whose
    level rises where a sum reaches a step; else a number is rounded half to even.
    """

    width: int
    scale: float = 1.0
    least: int | None = None
    greatest: int | None = None
    steps: Float64 | None = field(default=None, compare=False)

    def levels(self) -> tuple[Float64, int]:
        """Give the steps, in units of a level unless they are given, and the least level."""
        if self.steps is not None:
            return self.steps, 0 if self.least is None else self.least
        if self.least is None or self.greatest is None:
            return activation_steps(self.width)
        return np.arange(self.least, self.greatest, dtype=np.float64) + np.float64(0.5), self.least


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pixels:
    """What the pixels 0 to 255 become: codes of ``width`` bits, an integer of which is ``unit``.

    The graph has the scale ``2**exponent``; a unit that is no power of two is known only here.
    """

    width: int
    table: Array
    exponent: int
    unit: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Max pooling without padding.

    ``first``: the source has it before the batch norm; ``moved``: between that and the activation.
    """

    path: str
    kernel_size: Pair = (2, 2)
    stride: Pair = (2, 2)
    first: bool = False
    moved: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FewBitLayer:
    """A fully connected layer, weight (O, I), or a convolution, weight (O, I, KH, KW).

    ``weight`` holds integers: -1 and +1 for one bit, else those of ``weight_width`` bits; each is
    worth ``scale``, one number or one per output channel. Without ``activation`` it is the last
    layer, whose sums are the network's scores, and ``norm`` is the TensorNorm that maps them.
    """

    path: str
    weight: npt.NDArray[np.int8]
    weight_width: int
    scale: Float64 | float = 1.0
    norm: BatchNorm | None = None
    activation: Activation | None = None
    pool: Pool | None = None
    stride: Pair = (1, 1)
    padding: Padding = (0, 0, 0, 0)

    @property
    def name(self) -> str:
        return legal_name(self.path)

    @property
    def convolution(self) -> bool:
        return self.weight.ndim == 4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FewBitNetwork:
    """A network on images of ``input_shape`` (C, H, W) in [0, 1], mapped to [-1, 1] first.

    ``pixels``, where it is given, stands for that map and the ``input_width`` bits behind it.
    """

    name: str
    input_shape: tuple[int, ...]
    input_path: str
    input_width: int
    layers: tuple[FewBitLayer, ...]
    pixels: Pixels | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """How raw scores, integers, become the source's real ones: ``factor * raw + term``."""

    factor: float = 1.0
    term: float = 0.0

    def __call__(self, raw: Array) -> npt.NDArray[np.float32]:
        return (self.factor * raw.astype(np.float64) + self.term).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class FewBitGraph:
    """``ties`` lists, by layer, the accumulators on a step or nearer to it than float32 tells.

    ``negated_scores``: the raw scores are the negated sums of the source.
    """

    graph: Graph
    scores: Scores
    negated_scores: bool
    ties: dict[str, tuple[Tie, ...]] = field(hash=False)


def pixel_type(input_shape: tuple[int, ...]) -> TensorType:
    """Give the type of the graph's input: pixels 0 to 255."""
    channels, height, width = input_shape
    return TensorType(
        shape=(1, height, width, channels),
        element=Int(8, signed=False),
        layout=Layout.NHWC,
        quantization=Affine(scale=PIXEL_SCALE, zero_point=0),
    )


def input_table(width: int) -> tuple[Array, int]:
    """Give what pixels become in ``width`` bits, and the exponent of the scale.

    The real input is ``2 * pixel / 255 - 1``. One bit is its sign, two bits are it rounded, eight
    are Q1.7: it times 128, rounded half to even within -128 to 127.
    """
    real = [Fraction(2 * pixel, 255) - 1 for pixel in range(PIXELS)]
    if width == 1:
        return np.array([x >= 0 for x in real], np.uint8), 0
    bits = 0 if width == 2 else width - 1
    low, high = (-1, 1) if width == 2 else (-(1 << bits), (1 << bits) - 1)
    codes = [min(max(round(x * (1 << bits)), low), high) for x in real]
    return np.array(codes, np.int8), -bits


def few_bit_graph(network: FewBitNetwork, ties: str = "source") -> FewBitGraph:
    """Build the verified graph.

    ``ties`` says which level an accumulator exactly on a step has: ``source`` follows Brevitas
    (one bit up, more bits to the even level), ``low`` is BNN-PYNQ's strict comparison, ``high``
    its opposite.
    """
    assert ties in RULES, ties
    return _Builder(network, ties).run()


class _Builder:
    """One run over a network; ``unit`` is what an integer of the current activation is worth."""

    def __init__(self, network: FewBitNetwork, ties: str) -> None:
        self.network, self.ties = network, ties
        self.builder = GraphBuilder(network.name, Stage.QUANTIZED)
        self.found: dict[str, tuple[Tie, ...]] = {}
        self.unit = 1.0
        self.scores = Scores()
        self.negated_scores = False

    def run(self) -> FewBitGraph:
        value = self._input()
        for layer in self.network.layers:
            value = self._layer(layer, value)
        graph = verify(self.builder.finish([value]), after="few_bit_graph")
        return FewBitGraph(
            graph=graph,
            scores=self.scores,
            negated_scores=self.negated_scores,
            ties=self.found,
        )

    def _input(self) -> str:
        network = self.network
        x = self.builder.input("x", pixel_type(network.input_shape))
        pixels = network.pixels
        if pixels is None:
            table, exponent = input_table(network.input_width)
            pixels = Pixels(
                width=network.input_width, table=table, exponent=exponent, unit=2.0**exponent
            )
        name = legal_name(network.input_path)
        stored = self.builder.constant(f"{name}_table", pixels.table)
        op = Recode(width=pixels.width, exponent=pixels.exponent)
        self.unit = pixels.unit
        return self.builder.node(name, op, [x, stored], Loc(path=network.input_path))

    def _layer(self, layer: FewBitLayer, x: str) -> str:
        loc = Loc(path=layer.path)
        if not layer.convolution and self.builder.types[x].layout is not Layout.NC:
            x = self.builder.node("flatten", Flatten(), [x], loc)
        norm = layer.norm
        if layer.activation is None:
            return self._scores(layer, x, loc)
        assert norm is not None, f"{layer.path}: an activation stands behind a batch norm"
        self._check_pool(layer, norm)
        negated = norm.gamma < 0
        name = f"{layer.name}_acc"
        acc, low, high = self._sum(name, layer, x, negated, loc)
        value = self._thresholds(layer, norm, acc, (low, high), loc)
        if layer.pool is not None:
            op = MaxPool2d(kernel_size=layer.pool.kernel_size, stride=layer.pool.stride)
            value = self.builder.node(
                legal_name(layer.pool.path), op, [value], Loc(path=layer.pool.path)
            )
        self.unit = layer.activation.scale
        return value

    def _sum(
        self,
        name: str,
        layer: FewBitLayer,
        x: str,
        negated: npt.NDArray[np.bool_],
        loc: Loc,
    ) -> tuple[str, Array, Array]:
        """Add the accumulator; give its name and bounds. ``negated`` neurons change their sign."""
        sign = np.where(negated, -1, 1).reshape(-1, *(1,) * (layer.weight.ndim - 1))
        weight = (layer.weight * sign).astype(np.int8)
        element = Bipolar() if layer.weight_width == 1 else Int(layer.weight_width)
        scale = None if layer.weight_width == 1 else PowerOfTwo(exponent=0)
        stored = (weight > 0).astype(np.uint8) if layer.weight_width == 1 else weight
        op: Conv2d | Linear = Linear(acc_width=1)
        if layer.convolution:
            op = Conv2d(
                kernel_size=(weight.shape[2], weight.shape[3]),
                stride=layer.stride,
                padding=layer.padding,
                acc_width=1,
            )
        kind = self.builder.types[x]
        low, high = accumulator_bounds(op, kind, numbers(stored, element))
        op = replace(op, acc_width=signed_width(int(low.min()), int(high.max())))
        operand = self.builder.constant(f"{layer.name}_weight", stored, element, scale)
        return self.builder.node(name, op, [x, operand], loc), low, high

    def _thresholds(
        self,
        layer: FewBitLayer,
        norm: BatchNorm,
        acc: str,
        bounds: tuple[Array, Array],
        loc: Loc,
    ) -> str:
        assert layer.activation is not None
        width, scale = layer.activation.width, layer.activation.scale
        given = layer.activation.steps is not None
        steps, base = layer.activation.levels()
        steps = steps if given else steps * scale
        worth = self.unit * np.asarray(layer.scale, np.float64)
        rule = self.ties
        if rule == "source":
            rule = "high" if width == 1 or given else "even"
        found = fold_thresholds(norm, steps, worth, rule, levels_from=base)
        low, high = (bound.astype(np.int64) for bound in bounds)
        values = np.clip(found.values, low[:, None] - 1, high[:, None])
        self.found[layer.name] = find_ties(
            norm, steps, worth, low, high, 2 if self._odd(acc) else 1
        )
        dtype = np.int32 if np.abs(values).max() < 1 << 31 else np.int64
        stored = self.builder.constant(f"{layer.name}_thresholds", values.astype(dtype))
        op = MultiThreshold(width=width, exponent=0, base=base)
        return self.builder.node(layer.name, op, [acc, stored], loc)

    def _odd(self, acc: str) -> bool:
        """Tell whether a sum is of numbers -1 and +1 only, so that it has one parity."""
        node = next(node for node in self.builder.nodes if node.name == acc)
        return all(isinstance(self.builder.types[name].element, Bipolar) for name in node.inputs)

    def _scores(self, layer: FewBitLayer, x: str, loc: Loc) -> str:
        """Add the last layer: its sums, negated where the TensorNorm would turn them round."""
        norm = layer.norm
        scale = np.asarray(layer.scale, np.float64)
        outputs = len(layer.weight)
        negated = np.zeros(outputs, np.bool_)
        if scale.size > 1 and np.unique(scale).size > 1:
            raise ImportModelError(
                f"{layer.path}: the weights of the last layer have a scale per class, so its sums "
                "are no scores that compare; accepted is one scale for all"
            )
        worth = self.unit * float(scale.flat[0])
        if norm is None:
            self.scores = Scores(factor=worth)
        else:
            self.negated_scores = bool(norm.gamma[0] < 0)
            negated[:] = self.negated_scores
            self.scores = _mapped(layer, norm, worth)
        name, _, _ = self._sum(layer.name, layer, x, negated, loc)
        return name

    def _check_pool(self, layer: FewBitLayer, norm: BatchNorm) -> None:
        if layer.pool is None or not layer.pool.first:
            return
        negative = np.flatnonzero(norm.gamma < 0).tolist()
        if negative:
            shown = ", ".join(map(str, negative[:8])) + (", ..." if len(negative) > 8 else "")
            raise ImportModelError(
                f"{layer.path}: max pooling stands before the batch norm, whose weight is negative "
                f"in {len(negative)} of {len(norm.gamma)} channels ({shown}): there the greatest "
                "sum gives the least activation; pool after the activation, or train with "
                "positive weights"
            )


def _mapped(layer: FewBitLayer, norm: BatchNorm, worth: float) -> Scores:
    gamma, beta, mean = (float(part[0]) for part in (norm.gamma, norm.beta, norm.mean))
    if not gamma:
        raise ImportModelError(
            f"{layer.path}: the norm behind the last layer has weight 0, so every score is the "
            "same; train the network again"
        )
    slope = gamma / float(norm.deviation[0])
    return Scores(factor=abs(slope) * worth, term=beta - mean * slope)
