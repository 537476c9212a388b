"""The wide form of the golden model, which every graph has: integers in float32, images innermost.

How values are carried between kernels (nothing of it is seen outside this package):

* a feature map is an array of shape (C, H, W, N), a vector one of shape (C, N): N innermost, so
  that every copy and every matrix product runs over contiguous memory;
* a quantized activation is carried *centered*, ``x - zero_point``: padding is 0 and ReLU is
  ``max(x, 0)``;
* integers travel in float32 where the type proves that they, and every partial sum made of them,
  stay below 2**24, else in float64 below 2**53: then BLAS is exact in any order, with or without
  fused multiply-add. A kernel refuses (``AssertionError``) what neither can hold;
* bipolar numbers travel as -1 and +1;
* posits travel as int8, their codes as signed integers; binary16 as the same numbers in float32;
  the integers of a quire as ``eval.posit`` says.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pyahir.ir.eval.quire import admitted, published
from pyahir.ir.graph import Graph, Node
from pyahir.ir.ops import Encode, Op
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

__all__ = [
    "Buffers",
    "Context",
    "EvaluationError",
    "Form",
    "Join",
    "Kernel",
    "Plane",
    "Step",
    "carrier",
    "evaluates",
    "integer_dtype",
    "last_uses",
    "registered",
    "wide_form",
]

Plane = npt.NDArray[Any]
Kernel = Callable[[Plane], Plane]
Join = Callable[[Plane, Plane], Plane]
LARGEST_CHUNK = 256  # images: products of vectors gain nothing beyond
WORKING_SET = (
    1 << 23
)  # bytes that one chunk of the batch may touch: several level-2 caches, one level-3


class EvaluationError(Exception):
    """A value left the range of its type: a fault of pyahir, with the node's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a kernel is made from: the node, its operands' types, and the constants by position."""

    node: Node
    operands: tuple[TensorType, ...]
    constants: tuple[Array | None, ...]

    def constant(self, position: int) -> Array:
        array = self.constants[position]
        assert array is not None, f"{self.node.name}: operand {position} is not a constant"
        return array

    @property
    def integers(self) -> bool:
        """Whether the operand is of numbers that are whole: integers or bipolar."""
        return isinstance(self.operands[0].element, Int | Bipolar)


Maker = Callable[[Any, Context], Callable[..., Plane]]  # a Kernel or a Join
_makers: dict[type[Op], Maker] = {}


def evaluates(op: type[Op]) -> Callable[[Maker], Maker]:
    """Register the function that makes the kernel of ``op`` from ``(op, context)``."""

    def register(maker: Maker) -> Maker:
        if op in _makers:
            raise ValueError(f"{op.__name__} has an evaluation rule already")
        _makers[op] = maker
        return maker

    return register


def registered() -> Collection[type[Op]]:
    """List the ops that can be evaluated."""
    return _makers.keys()


def carrier(bound: int, what: str) -> type[np.float32] | type[np.float64]:
    """Choose the narrowest float type in which integers up to ``bound`` are exact."""
    if bound < 1 << 24:
        return np.float32
    assert bound < 1 << 53, f"{what}: partial sums up to {bound} are not exact in float64"
    return np.float64


class Buffers:
    """Scratch arrays that are kept from chunk to chunk: one per role, made anew on a new shape."""

    __slots__ = ("kept",)

    def __init__(self) -> None:
        self.kept: dict[str, Plane] = {}

    def get(
        self, role: str, shape: tuple[int, ...], dtype: Any, fill: float | None = None
    ) -> Plane:
        array = self.kept.get(role)
        if array is None or array.shape != shape:
            array = np.empty(shape, dtype) if fill is None else np.full(shape, fill, dtype)
            self.kept[role] = array
        return array


Step = tuple[Node, Callable[..., Plane], tuple[str, ...]]  # the names: of what it is called with


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A graph made ready: its kernels, and how values come into the carried form and out of it."""

    steps: list[Step]
    admit: Callable[[str, Array], Plane]
    publish: Callable[[str, Plane], Array]
    chunk: int  # images that are best taken at a time


def wide_form(graph: Graph) -> Form:
    """Prepare the kernels of the form that this module describes, which every op has."""
    types = graph.types()
    constants = graph.constant_map()
    steps: list[Step] = []
    for node in graph.nodes:
        context = Context(
            node=node,
            operands=tuple(types[name] for name in node.inputs),
            constants=tuple(
                constants[name].array if name in constants else None for name in node.inputs
            ),
        )
        data = tuple(name for name in node.inputs if name not in constants)
        steps.append((node, _makers[type(node.op)](node.op, context), data))
    quires = {name for node in graph.nodes if isinstance(node.op, Encode) for name in node.inputs}
    return Form(
        steps=steps,
        admit=lambda name, array: _admit(array, types[name], quire=name in quires),
        publish=lambda name, plane: publish(name, plane, types[name]),
        chunk=_chunk_size(graph, types),
    )


def last_uses(graph: Graph) -> dict[str, int]:
    """Give for every value that is read the index of the node that reads it last."""
    last: dict[str, int] = {}
    for index, node in enumerate(graph.nodes):
        last |= dict.fromkeys(node.inputs, index)
    return last


def _chunk_size(graph: Graph, types: Mapping[str, TensorType]) -> int:
    largest = max((_working_bytes(node, types) for node in graph.nodes), default=1)
    return int(min(LARGEST_CHUNK, max(1, WORKING_SET // largest)))


def _working_bytes(node: Node, types: Mapping[str, TensorType]) -> int:
    taps = 1
    weights = [types[name] for name in node.inputs[1:2]]
    if weights and weights[0].layout is Layout.PLAIN and len(shape := weights[0].shape) == 4:
        taps = shape[1] * shape[2] * shape[3] // node.type.channels + 1
    return 4 * node.type.size * taps


def _admit(array: Array, kind: TensorType, *, quire: bool) -> Plane:
    """Bring an input (n, ...) into the carried form; ``quire``: an encode reads its integers."""
    if array.shape[1:] != kind.shape[1:]:
        raise ValueError(f"an array of shape {array.shape} for an input of type {kind}")
    moved = np.moveaxis(array, 0, -1)
    if kind.layout is Layout.NHWC:
        moved = np.moveaxis(moved, 2, 0)
    if isinstance(kind.element, Posit):
        return np.ascontiguousarray(moved, dtype=np.uint8).view(np.int8)
    if isinstance(kind.element, Bipolar):
        return 2 * np.ascontiguousarray(moved, dtype=np.float32) - np.float32(1)
    if quire and isinstance(kind.element, Int):
        return admitted(moved, kind.element)
    dtype: type[np.float32] | type[np.float64] = np.float32
    if isinstance(kind.element, Int):
        dtype = carrier(kind.element.max - kind.element.min + abs(kind.zero_point), "an input")
    plane = np.ascontiguousarray(moved, dtype=dtype)
    if kind.zero_point:
        plane = plane - dtype(kind.zero_point)
    return plane


def publish(name: str, plane: Plane, kind: TensorType) -> Array:
    """Turn a carried value into what the type says: layout, element type, range checked."""
    if isinstance(kind.element, Int) and isinstance(kind.quantization, PowerOfTwo):
        plane = published(plane, kind.element)
    values: Array = np.moveaxis(plane, -1, 0)
    if kind.layout is Layout.NHWC:
        values = np.moveaxis(values, 1, -1)
    match kind.element:
        case Float32() | Float16():
            dtype = np.float32 if isinstance(kind.element, Float32) else np.float16
            return np.ascontiguousarray(values, dtype=dtype)
        case Posit():
            return np.ascontiguousarray(values).view(np.uint8)
        case Bipolar():
            return np.greater(values.astype(np.float32), 0).astype(np.uint8)
        case Int() if values.dtype.kind == "O":  # wider than any NumPy integer
            return np.ascontiguousarray(values)
        case _:
            assert isinstance(kind.element, Int)
    wide = values.astype(np.int64)
    if kind.zero_point:
        wide += kind.zero_point
    if wide.size and (wide.min() < kind.element.min or wide.max() > kind.element.max):
        raise EvaluationError(
            f"{name}: values from {wide.min()} to {wide.max()} leave the range of {kind.element}"
        )
    return wide.astype(integer_dtype(kind.element))


def integer_dtype(element: Int) -> np.dtype[Any]:
    """Give the narrowest NumPy type that holds ``element``."""
    size = next(size for size in (1, 2, 4, 8) if 8 * size >= element.width)
    return np.dtype(f"{'i' if element.signed else 'u'}{size}")
