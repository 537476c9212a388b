"""The verifier: re-infers every node and compares; it runs after every pass, always.

A failure is a fault of pyahir (a pass broke the graph), so ``VerifyError`` is no ``PyahirError``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from pyahir.ir.graph import NAME, Constant, Graph, Node, Stage
from pyahir.ir.ops import (
    BatchNorm,
    Conv2d,
    InferError,
    Linear,
    MultiThreshold,
    QuantizedAdd,
    RealAdd,
    RealAvgPool2d,
    RealConv2d,
    RealLinear,
    Recode,
    Requantize,
    SumPool2d,
)
from pyahir.ir.posit import NAR, decode
from pyahir.ir.printer import node_text
from pyahir.ir.ranges import (
    accumulator_bounds,
    numbers,
    quire_add_bound,
    quire_bound,
    quire_weight,
)
from pyahir.ir.types import (
    Array,
    Bipolar,
    Float16,
    Float32,
    Int,
    Layout,
    Posit,
    PowerOfTwo,
    TensorType,
)

__all__ = ["VerifyError", "verify"]

CONTEXT = 10
LARGEST_CODE = 255


class VerifyError(Exception):
    """A graph that breaks the rules of the IR, with every violation and the lines around each.

    Cause: a pass or an importer with a defect. Fix: report it, with the text of the message.
    """


def verify(graph: Graph, *, after: str = "construction") -> Graph:
    """Raise one ``VerifyError`` that lists all violations, or give the graph back."""
    structure = list(_structure(graph))
    broken = {where for where, _ in structure}
    errors = [*_names(graph), *structure, *_stage(graph, broken)]
    if not errors:
        return graph
    lines = [f"{len(errors)} violation(s) in graph {graph.name!r} after {after}:"]
    for where, message in errors:
        lines.append(f"  {message}")
        lines += _context(graph, where)
    raise VerifyError("\n".join(lines))


Violation = tuple[int | None, str]


def _context(graph: Graph, where: int | None) -> list[str]:
    if where is None:
        return []
    first = max(0, where - CONTEXT)
    around = graph.nodes[first : where + CONTEXT + 1]
    return [
        f"    {'>' if first + offset == where else ' '} {node_text(graph, node)}"
        for offset, node in enumerate(around)
    ]


def _names(graph: Graph) -> Iterator[Violation]:
    named = (*graph.inputs, *graph.constants, *graph.nodes)
    for name, count in Counter(value.name for value in named).items():
        if count > 1:
            yield None, f"the name {name!r} is defined {count} times"
        if not NAME.match(name):
            yield None, f"the name {name!r} is not lower case words joined by single underscores"


def _structure(graph: Graph) -> Iterator[Violation]:
    known: dict[str, TensorType] = {item.name: item.type for item in graph.inputs}
    known |= {item.name: item.type for item in graph.constants}
    for where, node in enumerate(graph.nodes):
        missing = [name for name in node.inputs if name not in known]
        if missing:
            yield where, f"{node.name}: reads {missing[0]!r} before it is defined"
        else:
            yield from _node(where, node, known)
        known[node.name] = node.type
    values = {item.name for item in (*graph.inputs, *graph.nodes)}
    if not graph.outputs:
        yield None, "the graph has no output"
    for name in graph.outputs:
        if name not in values:
            yield None, f"the output {name!r} does not exist"


def _node(where: int, node: Node, known: dict[str, TensorType]) -> Iterator[Violation]:
    arity = type(node.op).arity
    least, most = arity if isinstance(arity, tuple) else (arity, arity)
    if not least <= len(node.inputs) <= most:
        yield where, f"{node.name}: {node.op.mnemonic()} takes {least} to {most} operands"
        return
    try:
        inferred = node.op.infer([known[name] for name in node.inputs])
    except InferError as error:
        yield where, f"{node.name}: {error}"
        return
    if inferred != node.type:
        yield where, f"{node.name}: has type {node.type}, but {inferred} is inferred"


def _stage(graph: Graph, broken: set[int | None]) -> Iterator[Violation]:
    """Check the rules of the stage; ranges only of nodes that are not ``broken`` already."""
    for item in graph.inputs:
        yield from ((None, f"{item.name}: {text}") for text in _fits(graph.stage, item.type))
    for constant in graph.constants:
        yield from ((None, f"{constant.name}: {text}") for text in _constant(constant))
        if graph.stage is Stage.QUANTIZED and _plain(constant.type):
            yield None, f"{constant.name}: a float32 constant in a quantized graph"
    constants = graph.constant_map()
    types = graph.types()
    for where, node in enumerate(graph.nodes):
        yield from ((where, f"{node.name}: {text}") for text in _fits(graph.stage, node.type))
        if graph.stage is Stage.QUANTIZED and isinstance(node.op, BatchNorm):
            yield where, f"{node.name}: batch_norm in a quantized graph"
        if where not in broken:
            yield from ((where, text) for text in _ranges(node, constants, types))


def _plain(kind: TensorType) -> bool:
    """Tell whether ``kind`` is of the FLOAT stage: a float whose arithmetic has no fixed order."""
    return isinstance(kind.element, Float32) and kind.quantization is None


def _fits(stage: Stage, kind: TensorType) -> Iterator[str]:
    layouts = (Layout.NCHW, Layout.NC) if stage is Stage.FLOAT else (Layout.NHWC, Layout.NC)
    if _plain(kind) != (stage is Stage.FLOAT):
        scale = f" {kind.quantization}" if isinstance(kind.quantization, PowerOfTwo) else ""
        yield f"an element of {kind.element}{scale} in a {stage.value} graph"
    scaled = isinstance(kind.quantization, PowerOfTwo)
    if isinstance(kind.element, Float16 | Posit) and not scaled:
        yield f"an element of {kind.element} without a power-of-two scale"
    if kind.layout not in layouts:
        yield f"layout {kind.layout.value} in a {stage.value} graph"
    if kind.shape[0] != 1:
        yield f"axis 0 is the batch and has size 1, not {kind.shape[0]}"


def _constant(constant: Constant) -> Iterator[str]:
    array, kind = constant.array, constant.type
    if array.shape != kind.shape:
        yield f"an array of shape {array.shape} for the type {kind}"
    if isinstance(kind.element, Float32):
        if array.dtype != np.float32 or not np.isfinite(array).all():
            yield "a float32 constant holds finite float32 numbers"
    elif isinstance(kind.element, Float16):
        if array.dtype != np.float16 or not np.isfinite(array).all():
            yield "a float16 constant holds finite float16 numbers"
    elif isinstance(kind.element, Posit):
        if array.dtype != np.uint8 or np.any(array == NAR):
            yield "a posit constant holds codes of numbers, as uint8"
    elif isinstance(kind.element, Bipolar):
        if array.dtype != np.uint8 or not np.isin(array, (0, 1)).all():
            yield "a bipolar constant holds the codes 0 and 1, as uint8"
    else:
        if array.dtype.kind not in "iu":
            yield f"an integer constant holds integers, not {array.dtype}"
        elif array.size and (array.min() < kind.element.min or array.max() > kind.element.max):
            yield f"values {array.min()} to {array.max()} do not fit {kind.element}"


def _ranges(
    node: Node, constants: dict[str, Constant], types: dict[str, TensorType]
) -> Iterator[str]:
    if isinstance(node.op, Conv2d | Linear | SumPool2d) and isinstance(node.type.element, Int):
        if not isinstance(node.op, SumPool2d) and node.inputs[1] not in constants:
            yield f"{node.name}: the weight is not a constant"
            return
        weight = None
        if not isinstance(node.op, SumPool2d):
            stored = constants[node.inputs[1]]
            weight = numbers(stored.array, stored.type.element)
        low, high = accumulator_bounds(node.op, types[node.inputs[0]], weight)
        if low.min() < node.type.element.min or high.max() > node.type.element.max:
            yield (
                f"{node.name}: sums from {low.min()} to {high.max()} overflow {node.type.element}"
            )
    if isinstance(node.op, RealConv2d | RealLinear | RealAvgPool2d):
        yield from _real_ranges(node, constants, types)
    if isinstance(node.op, RealAdd) and isinstance(node.type.element, Int):
        bound = quire_add_bound(*(types[name] for name in node.inputs))
        if bound > node.type.element.max:
            yield f"{node.name}: sums up to {bound} overflow {node.type.element}"
    if isinstance(node.op, QuantizedAdd):
        yield from _pairs(node, constants)
    if isinstance(node.op, Recode | MultiThreshold):
        yield from _few_bit_ranges(node, constants)
    if isinstance(node.op, Requantize) and all(name in constants for name in node.inputs[1:]):
        multiplier, offset, exceptions = (constants[name].array for name in node.inputs[1:])
        acc = types[node.inputs[0]].element
        assert isinstance(acc, Int)
        largest = max(-acc.min, acc.max) * _magnitude(multiplier) + _magnitude(offset)
        if largest >= 1 << 63:
            yield f"{node.name}: acc * M + B needs more than 64 bits"
        keys = [tuple(row[:2]) for row in exceptions.tolist()]
        if keys != sorted(set(keys)):
            yield f"{node.name}: the exceptions are not sorted by channel and accumulator"
        channels = {row[0] for row in keys}
        if not channels <= set(range(len(multiplier))):
            yield f"{node.name}: an exception of a channel that does not exist"


def _pairs(node: Node, constants: dict[str, Constant]) -> Iterator[str]:
    """Check the exceptions of a quantized_add: pairs of codes, sorted."""
    if node.inputs[2] not in constants:
        yield f"{node.name}: its exceptions are not a constant"
        return
    rows = constants[node.inputs[2]].array.astype(np.int64)
    keys = [tuple(row[:2]) for row in rows.tolist()]
    if keys != sorted(set(keys)):
        yield f"{node.name}: the exceptions are not sorted by their codes"
    if rows.size and (rows[:, :2].min() < 0 or rows[:, :2].max() > LARGEST_CODE):
        yield f"{node.name}: an exception of a code that does not exist"


def _few_bit_ranges(node: Node, constants: dict[str, Constant]) -> Iterator[str]:
    if node.inputs[1] not in constants:
        yield f"{node.name}: its table is not a constant"
        return
    table = constants[node.inputs[1]].array
    if isinstance(node.op, MultiThreshold):
        if np.any(np.diff(table.astype(np.int64), axis=1) < 0):
            yield f"{node.name}: the thresholds of a channel do not ascend"
        return
    element = node.type.element
    low, high = (element.min, element.max) if isinstance(element, Int) else (0, 1)
    if table.min() < low or table.max() > high:
        yield f"{node.name}: codes {table.min()} to {table.max()} do not fit {element}"


def _real_ranges(
    node: Node, constants: dict[str, Constant], types: dict[str, TensorType]
) -> Iterator[str]:
    assert isinstance(node.op, RealConv2d | RealLinear | RealAvgPool2d)
    if not all(name in constants for name in node.inputs[1:]):
        yield f"{node.name}: weight and bias are constants"
        return
    if not isinstance(node.type.element, Int):
        weights = [constants[name] for name in node.inputs[1:2]]
        if isinstance(node.type.element, Float16) and any(map(_overflows, weights)):
            yield f"{node.name}: a weight is infinite in binary16"
        return
    weight, bias = None, None
    if not isinstance(node.op, RealAvgPool2d):
        stored = constants[node.inputs[1]]
        weight = quire_weight(stored.array, stored.type.element)
        bias = constants[node.inputs[2]].array
    bound = quire_bound(node.op, types[node.inputs[0]], weight, bias)
    if bound > node.type.element.max:  # so the least integer, NaR, is no sum
        yield f"{node.name}: sums up to {bound} overflow {node.type.element}"


def _overflows(weight: Constant) -> bool:
    """Tell whether a posit among the weights is too large for binary16."""
    element = weight.type.element
    if not isinstance(element, Posit):
        return False
    return bool(np.isinf(decode(weight.array.astype(np.uint8), element.es, np.float16)).any())


def _magnitude(array: Array) -> int:
    """Give the greatest absolute value of integers; the least of int64 has none in int64."""
    return max(-int(array.min()), int(array.max()))
