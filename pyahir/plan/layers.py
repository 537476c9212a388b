"""From graph to processes: which nodes run together in one piece of hardware, and their geometry.

In: a QUANTIZED graph that is a chain. Out: one ``Layer`` a process, in stream order. How many
multipliers a layer gets is not decided here (``plan.folding``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pyahir.errors import PlanError
from pyahir.ir.graph import Graph, Loc, Node, Stage
from pyahir.ir.ops import (
    Clamp,
    Conv2d,
    Encode,
    Flatten,
    Linear,
    MaxPool2d,
    MultiThreshold,
    RealAvgPool2d,
    RealConv2d,
    RealLinear,
    Recode,
    Relu,
    Requantize,
    SumPool2d,
)
from pyahir.ir.ops.window import WindowOp
from pyahir.ir.types import Bipolar, Element, Int, Posit, PowerOfTwo, TensorType
from pyahir.plan.levels import Levels, levels_of
from pyahir.plan.rounding import RealSum, Rounding, fixed_width, rounding_of

__all__ = ["Layer", "LayerKind", "Rescale", "chain", "layers_of"]

Int64 = npt.NDArray[np.int64]
INT8 = Int(8)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rescale:
    """A requantize on the *uncentered* sum ``sum x * w`` that the hardware forms.

    The zero point of the input is in ``offset`` and in the accumulators of ``exceptions``, so that
    padding with the zero point and multiplying plain codes gives the same integers.
    """

    multiplier: Int64
    offset: Int64
    shift: int
    quant_min: int
    quant_max: int
    exceptions: Int64
    low: int
    high: int
    tie_bits: int = 0
    tie_parity: int = 0

    @property
    def slots(self) -> int:
        """The most exceptions that one channel has: each needs a comparator."""
        if not len(self.exceptions):
            return 0
        return int(np.bincount(self.exceptions[:, 0]).max())


class LayerKind:
    """What a process does; the names appear in tables and in the manifest."""

    MATVEC = "matvec"
    MAX_POOL = "max_pool"
    SUM_POOL = "sum_pool"
    ELEMENTWISE = "elementwise"


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """One process. ``name`` is the layer's own, ``value`` the node whose values its pipe carries.

    They differ where a ReLU follows a layer and is done by its requantize.

    ``weight`` is (outputs, inputs), columns in OIHW order; ``vector_order[i]`` is the column of the
    i-th element of a flattened stream; the weights are integers, codes or bit patterns, as
    ``weight_element`` says. ``clamp`` is the range of an elementwise layer, ``table`` that of one
    that recodes. What is done with a sum is its ``rescale`` (integers), its ``rounding`` (posits
    and floats) or its ``levels`` (few bits).
    """

    name: str
    value: str
    kind: str
    loc: Loc
    nodes: tuple[str, ...]
    x: TensorType
    y: TensorType
    window: WindowOp | None = None
    weight: Int64 | None = None
    weight_element: Element = INT8
    rescale: Rescale | None = None
    rounding: Rounding | None = None
    levels: Levels | None = None
    table: Int64 | None = None
    clamp: tuple[float, float] | None = None
    vector_order: Int64 | None = None

    @cached_property
    def pixels(self) -> int:
        return math.prod(self.y.spatial)

    @cached_property
    def inputs(self) -> int:
        """The number of input elements of one output pixel (the columns of the weight matrix)."""
        if self.weight is not None:
            return int(self.weight.shape[1])
        return self.x.channels

    @cached_property
    def outputs(self) -> int:
        return self.y.channels

    @property
    def floats(self) -> bool:
        """Whether the sums are IEEE-754 numbers, whose order is fixed."""
        return self.rounding is not None and self.rounding.arith != "quire"

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates a frame that the network asks for (groups counted once)."""
        if self.weight is None:
            return 0
        groups = self.window.groups if isinstance(self.window, Conv2d | RealConv2d) else 1
        return self.pixels * self.inputs * self.outputs // groups


def chain(graph: Graph) -> tuple[Node, ...]:
    """Check that the graph is one chain from one input to one output, and give its nodes."""
    assert graph.stage is Stage.QUANTIZED, "the plan is made of a quantized graph"
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise PlanError(
            f"{graph.name}: {len(graph.inputs)} inputs and {len(graph.outputs)} outputs; "
            "hardware is made for networks with one of each"
        )
    for name, users in graph.users().items():
        if name in graph.node_map() and (len(users) > 1 or name in graph.outputs):
            raise PlanError(
                f"{name}: is read by {len(users)} layers and as an output; "
                "branches are not supported in hardware yet"
            )
    return graph.nodes


def layers_of(graph: Graph) -> tuple[Layer, ...]:
    """Group the nodes of a chain into processes."""
    nodes = list(chain(graph))
    types = graph.types()
    constants = {item.name: item.array for item in graph.constants}
    layers: list[Layer] = []
    vector_order: Int64 | None = None
    while nodes:
        node = nodes.pop(0)
        x = types[node.inputs[0]]
        base = Layer(
            name=node.name,
            value=node.name,
            kind=LayerKind.ELEMENTWISE,
            loc=node.loc,
            nodes=(node.name,),
            x=x,
            y=node.type,
            vector_order=vector_order,
        )
        match node.op:
            case Flatten():
                vector_order = _stream_order(x)
                continue
            case Conv2d() | Linear() if isinstance(node.type.quantization, PowerOfTwo):
                layer = _few_bit(base, node, nodes, graph)
                vector_order = None
            case Recode():
                layer = replace(base, table=constants[node.inputs[1]].astype(np.int64))
            case Conv2d() | Linear() | SumPool2d():
                layer = _weighted(base, node, nodes, constants)
                vector_order = None
            case RealConv2d() | RealLinear() | RealAvgPool2d():
                layer = _real(base, node, node.op, nodes, graph)
                vector_order = None
            case MaxPool2d():
                layer = replace(base, kind=LayerKind.MAX_POOL, window=node.op)
            case Relu() | Clamp():
                layer = replace(base, clamp=_clamp_range(node))
            case _:
                raise PlanError(f"{node.loc} {node.op.mnemonic()} has no hardware on its own")
        layers.append(layer)
    if not layers:
        raise PlanError(f"{graph.name}: no layer to build")
    return tuple(layers)


def _stream_order(x: TensorType) -> Int64:
    """Give, for each element of an NHWC stream, its index in the flattened (C, H, W) vector."""
    height, width = x.spatial
    index = np.arange(x.size, dtype=np.int64).reshape(x.channels, height, width)
    return np.moveaxis(index, 0, -1).ravel()


def _clamp_range(node: Node) -> tuple[float, float]:
    """Give the limits: codes, signed ones of posits, or real numbers of floats."""
    if isinstance(node.op, Clamp):
        return node.op.minimum, node.op.maximum
    assert isinstance(node.op, Relu)
    match node.type.element:
        case Int() as element:
            return node.type.zero_point, element.max
        case Posit(width=width):
            return 0, (1 << (width - 1)) - 1
        case _:
            return 0.0, math.inf


def _weighted(
    base: Layer, node: Node, rest: list[Node], constants: dict[str, npt.NDArray[np.generic]]
) -> Layer:
    """Join a sum with the requantize and the clamps that follow it."""
    if not rest or not isinstance(rest[0].op, Requantize):
        raise PlanError(f"{node.loc} {node.name}: an accumulator as output is not supported yet")
    requantize = rest.pop(0)
    members = [node.name, requantize.name]
    assert isinstance(requantize.op, Requantize)
    low, high = requantize.op.quant_min, requantize.op.quant_max
    last = requantize
    while rest and isinstance(rest[0].op, Relu | Clamp):
        last = rest.pop(0)
        members.append(last.name)
        clamp = _clamp_range(last)
        low, high = (int(min(max(limit, clamp[0]), clamp[1])) for limit in (low, high))
    weight: Int64 | None = None
    kind, window = LayerKind.SUM_POOL, None
    if isinstance(node.op, WindowOp):
        window = node.op
    if isinstance(node.op, Conv2d | Linear):
        kind = LayerKind.MATVEC
        weight = _dense(node.op, constants[node.inputs[1]].astype(np.int64))
    multiplier, offset, exceptions = (constants[name] for name in requantize.inputs[1:])
    rescale = _uncentered(
        base,
        node,
        weight,
        (low, high),
        requantize.op,
        (multiplier.astype(np.int64), offset.astype(np.int64), exceptions.astype(np.int64)),
    )
    return replace(
        base,
        name=requantize.name,
        value=last.name,
        kind=kind,
        nodes=tuple(members),
        y=last.type,
        window=window,
        weight=weight,
        rescale=rescale,
        loc=node.loc,
    )


def _real(base: Layer, node: Node, op: RealSum, rest: list[Node], graph: Graph) -> Layer:
    """Join a sum of real numbers with the encoding that follows it."""
    if isinstance(op, RealConv2d) and op.groups > 1:
        raise PlanError(
            f"{node.loc} {node.name}: a convolution in {op.groups} groups has an order of its own "
            f"for each group; hardware in arith {op.arith} is made for one group, uint8 for all"
        )
    last = node
    if rest and isinstance(rest[0].op, Encode):
        last = rest.pop(0)
    constants = {item.name: item for item in graph.constants}
    operands = [constants[name] for name in node.inputs[1:]]
    product = fixed_width(base.x.element)
    if operands:
        product += fixed_width(operands[0].type.element)
    layer = replace(
        base,
        name=last.name,
        value=last.name,
        kind=LayerKind.SUM_POOL,
        nodes=(node.name,) if last is node else (node.name, last.name),
        y=last.type,
        window=op if isinstance(op, WindowOp) else None,
        rounding=rounding_of(node, last, [item.array for item in operands], product),
        loc=node.loc,
    )
    if not operands:
        return layer
    array = operands[0].array
    patterns = array.view(f"u{array.itemsize}") if array.dtype.kind == "f" else array
    return replace(
        layer,
        kind=LayerKind.MATVEC,
        weight=patterns.astype(np.int64).reshape(len(array), -1),
        weight_element=operands[0].type.element,
    )


def _few_bit(base: Layer, node: Node, rest: list[Node], graph: Graph) -> Layer:
    """Join a sum of few-bit numbers with the thresholds that follow it."""
    constants = {item.name: item for item in graph.constants}
    weight = constants[node.inputs[1]]
    op, last, steps = node.op, node, None
    assert isinstance(op, Conv2d | Linear)
    if isinstance(op, Conv2d) and op.groups > 1 and isinstance(weight.type.element, Bipolar):
        raise PlanError(
            f"{node.loc} {node.name}: a convolution in {op.groups} groups with weights of one bit; "
            "hardware is made for one group, as there is no weight 0"
        )
    if rest and isinstance(rest[0].op, MultiThreshold):
        last = rest.pop(0)
        steps = constants[last.inputs[1]].array
    return replace(
        base,
        name=last.name,
        value=last.name,
        kind=LayerKind.MATVEC,
        nodes=(node.name,) if last is node else (node.name, last.name),
        y=last.type,
        window=op if isinstance(op, WindowOp) else None,
        weight=_dense(op, weight.array.astype(np.int64)),
        weight_element=weight.type.element,
        levels=levels_of(node, last, base.x, (weight.array, weight.type), steps),
        loc=node.loc,
    )


def _dense(op: Conv2d | Linear, weight: Int64) -> Int64:
    """Give the weights as (O, K), columns in OIHW order; groups become blocks among zeros."""
    if not isinstance(op, Conv2d) or op.groups == 1:
        return weight.reshape(weight.shape[0], -1)
    out, per_group, kh, kw = weight.shape
    dense = np.zeros((out, per_group * op.groups, kh, kw), dtype=np.int64)
    share = out // op.groups
    for group in range(op.groups):
        rows = slice(group * share, (group + 1) * share)
        dense[rows, group * per_group : (group + 1) * per_group] = weight[rows]
    return dense.reshape(out, -1)


def _uncentered(
    base: Layer,
    node: Node,
    weight: Int64 | None,
    clamp: tuple[int, int],
    op: Requantize,
    parts: tuple[Int64, Int64, Int64],
) -> Rescale:
    multiplier, offset, exceptions = parts
    assert isinstance(base.x.element, Int)
    top = base.x.element.max
    if weight is None:
        assert isinstance(node.op, SumPool2d)
        taps = node.op.kernel_size[0] * node.op.kernel_size[1]
        sums = np.full(base.x.channels, taps, dtype=np.int64)
        low, high = 0, taps * top
    else:
        sums = weight.sum(axis=1)
        low = int(np.where(weight < 0, weight, 0).sum(axis=1).min()) * top
        high = int(np.where(weight > 0, weight, 0).sum(axis=1).max()) * top
    shifted = exceptions.copy()
    center = base.x.zero_point * sums
    if len(exceptions):
        shifted[:, 1] += center[exceptions[:, 0]]
        shifted = _still_needed(shifted, multiplier, offset - multiplier * center, op, clamp)
    offset = offset - multiplier * center
    spare = _common_shift(multiplier, op)
    return Rescale(
        multiplier=multiplier >> spare,
        offset=offset >> spare,
        shift=op.shift - spare,
        quant_min=clamp[0],
        quant_max=clamp[1],
        exceptions=shifted,
        low=low,
        high=high,
        tie_bits=op.tie_bits,
        tie_parity=op.tie_parity,
    )


def _common_shift(multiplier: Int64, op: Requantize) -> int:
    """Count the low bits that are 0 in every multiplier: they say nothing about any code.

    ``(a * (m << j) + b) >> s`` is ``(a * m + (b >> j)) >> (s - j)``, as shifts round down.
    """
    together = int(np.bitwise_or.reduce(multiplier))
    zeros = (together & -together).bit_length() - 1
    return max(0, min(zeros, op.shift - max(1, op.tie_bits)))


def _still_needed(
    exceptions: Int64, multiplier: Int64, offset: Int64, op: Requantize, clamp: tuple[int, int]
) -> Int64:
    """Keep the exceptions that a following clamp (ReLU) does not hide, what is left of each."""
    channel, acc, delta = exceptions.T
    if op.tie_bits:
        return exceptions
    code = np.clip(
        (acc * multiplier[channel] + offset[channel]) >> op.shift, op.quant_min, op.quant_max
    )
    change = np.clip(code + delta, *clamp) - np.clip(code, *clamp)
    kept = exceptions[change != 0].copy()
    kept[:, 2] = change[change != 0]
    return kept
