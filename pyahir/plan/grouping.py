"""From graph to processes: which nodes run together in one piece of hardware.

In: a QUANTIZED graph with one input and one output, or that of a join alone, with two inputs. Out:
one ``Layer`` a process, in an order in which streams are made before they are read. A value may be
read by several layers (a fork), and a layer may read two (a join).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from pyahir.errors import PlanError
from pyahir.ir.graph import Graph, Node, Stage
from pyahir.ir.ops import (
    Clamp,
    Conv2d,
    Encode,
    Flatten,
    Linear,
    MaxPool2d,
    MultiThreshold,
    Op,
    QuantizedAdd,
    RealAdd,
    RealAvgPool2d,
    RealConv2d,
    RealLinear,
    Recode,
    Relu,
    Requantize,
    SumPool2d,
)
from pyahir.ir.ops.window import WindowOp
from pyahir.ir.types import Bipolar, Int, Posit, PowerOfTwo, TensorType
from pyahir.plan.addition import Addition
from pyahir.plan.layers import Layer, LayerKind, Rescale
from pyahir.plan.levels import levels_of
from pyahir.plan.rounding import RealSum, fixed_width, rounding_of

__all__ = ["layers_of"]

Int64 = npt.NDArray[np.int64]
Map = tuple[int, int, int]  # channels, height, width


@dataclass(slots=True)
class Followers:
    """The nodes that have not become part of a layer."""

    graph: Graph
    users: dict[str, tuple[Node, ...]]
    taken: set[str] = field(default_factory=set[str])

    def take(self, node: Node, *kinds: type[Op]) -> Node | None:
        """Take the node behind ``node`` if it alone reads its value and is of one of ``kinds``."""
        readers = self.users.get(node.name, ())
        if len(readers) != 1 or node.name in self.graph.outputs:
            return None
        (reader,) = readers
        if not isinstance(reader.op, kinds):
            return None
        self.taken.add(reader.name)
        return reader


def _check(graph: Graph, inputs: int) -> None:
    """Check that so many streams come in and one, which nobody else reads, goes out."""
    assert graph.stage is Stage.QUANTIZED, "the plan is made of a quantized graph"
    if len(graph.inputs) != inputs or len(graph.outputs) != 1:
        raise PlanError(
            f"{graph.name}: {len(graph.inputs)} inputs and {len(graph.outputs)} outputs; "
            "hardware is made for networks with one of each"
        )
    (output,) = graph.outputs
    readers = graph.users().get(output, ())
    if readers:
        raise PlanError(
            f"{output}: is the output, and {readers[0].name} reads it; the output of hardware is "
            "read by nobody else"
        )


def layers_of(graph: Graph, *, inputs: int = 1) -> tuple[Layer, ...]:
    """Group the nodes into processes; a network has one input, a join alone may have two."""
    _check(graph, inputs)
    types = graph.types()
    constants = {item.name: item.array for item in graph.constants}
    rest = Followers(graph, graph.users())
    layers: list[Layer] = []
    streams = {item.name: item.name for item in graph.inputs}  # of each value, what carries it
    maps: dict[str, Map] = {}  # of flattened streams
    for node in graph.nodes:
        if node.name in rest.taken:
            continue
        read = [name for name in node.inputs if name not in constants]
        x = types[read[0]]
        if isinstance(node.op, Flatten):
            streams[node.name] = streams[read[0]]
            maps[node.name] = maps.get(read[0], (x.channels, *x.spatial))
            continue
        base = Layer(
            name=node.name,
            value=node.name,
            kind=LayerKind.ELEMENTWISE,
            loc=node.loc,
            nodes=(node.name,),
            x=x,
            y=node.type,
            sources=tuple(streams[name] for name in read),
            flattened=maps.get(read[0]),
        )
        if isinstance(node.op, QuantizedAdd | RealAdd):
            _check_orders(node, [maps.get(name) for name in read])
        layer = _layer(base, node, rest, constants, types)
        layers.append(layer)
        streams[layer.value] = layer.value
        if layer.gives_flattened is not None:
            maps[layer.value] = layer.gives_flattened
    if not layers:
        raise PlanError(f"{graph.name}: no layer to build")
    return tuple(layers)


def _layer(
    base: Layer,
    node: Node,
    rest: Followers,
    constants: dict[str, npt.NDArray[np.generic]],
    types: dict[str, TensorType],
) -> Layer:
    match node.op:
        case Conv2d() | Linear() if isinstance(node.type.quantization, PowerOfTwo):
            return _few_bit(base, node, rest, rest.graph)
        case Recode():
            return replace(base, table=constants[node.inputs[1]].astype(np.int64))
        case Conv2d() | Linear() | SumPool2d():
            return _weighted(base, node, rest, constants)
        case RealConv2d() | RealLinear() | RealAvgPool2d():
            return _real(base, node, node.op, rest, rest.graph)
        case MaxPool2d():
            return replace(base, kind=LayerKind.MAX_POOL, window=node.op)
        case Relu() | Clamp():
            return replace(base, clamp=_clamp_range(node))
        case QuantizedAdd() | RealAdd():
            return _join(base, node, rest, constants, types)
        case _:
            raise PlanError(f"{node.loc} {node.op.mnemonic()} has no hardware on its own".strip())


def _join(
    base: Layer,
    node: Node,
    rest: Followers,
    constants: dict[str, npt.NDArray[np.generic]],
    types: dict[str, TensorType],
) -> Layer:
    """Join two streams, whose elements are added."""
    layer = replace(base, kind=LayerKind.JOIN, other=types[node.inputs[1]])
    if isinstance(node.op, QuantizedAdd):
        exceptions = constants[node.inputs[2]].astype(np.int64)
        return replace(layer, addition=Addition(op=node.op, exceptions=exceptions))
    last = rest.take(node, Encode) or node
    assert isinstance(node.op, RealAdd)
    return replace(
        layer,
        name=last.name,
        value=last.name,
        nodes=(node.name,) if last is node else (node.name, last.name),
        y=last.type,
        addition=Addition(op=node.op),
        rounding=rounding_of(node, last, [], 0),
    )


def _check_orders(node: Node, maps: list[Map | None]) -> None:
    """Check that two streams, whose elements are added one by one, come in the same order."""
    first, second = (None if shape is None or _in_order(shape) else shape for shape in maps)
    if first == second:
        return
    left, right = ("a vector" if item is None else f"a map {item}" for item in (first, second))
    raise PlanError(
        f"{node.loc} {node.name}: adds {left} and {right}, (channels, height, width), whose "
        "streams come in different orders; accepted: flattened maps of one shape, or vectors that "
        "are none"
    )


def _in_order(shape: Map) -> bool:
    """Tell whether a map's stream is in the order of the flattened vector."""
    channels, height, width = shape
    return channels == 1 or height * width == 1


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
    base: Layer, node: Node, rest: Followers, constants: dict[str, npt.NDArray[np.generic]]
) -> Layer:
    """Join a sum with the requantize and the clamps that follow it."""
    requantize = rest.take(node, Requantize)
    if requantize is None:
        raise PlanError(f"{node.loc} {node.name}: an accumulator as output is not supported yet")
    members = [node.name, requantize.name]
    assert isinstance(requantize.op, Requantize)
    low, high = requantize.op.quant_min, requantize.op.quant_max
    last = requantize
    while (clamped := rest.take(last, Relu, Clamp)) is not None:
        last = clamped
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


def _real(base: Layer, node: Node, op: RealSum, rest: Followers, graph: Graph) -> Layer:
    """Join a sum of real numbers with the encoding that follows it."""
    if isinstance(op, RealConv2d) and op.groups > 1:
        raise PlanError(
            f"{node.loc} {node.name}: a convolution in {op.groups} groups has an order of its own "
            f"for each group; hardware in arith {op.arith} is made for one group, uint8 for all"
        )
    last = rest.take(node, Encode) or node
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


def _few_bit(base: Layer, node: Node, rest: Followers, graph: Graph) -> Layer:
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
    thresholds = rest.take(node, MultiThreshold)
    if thresholds is not None:
        last = thresholds
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
