"""The narrow form of the golden model: bytes between layers, int32 within them, channels innermost.

How values are carried (nothing of it is seen outside ``pyahir.ir.eval``):

* a feature map is an array (N, H, W, C), a vector one (N, C), so that the numbers of one sum lie
  side by side, as products of bytes want them;
* a number of up to 8 bits is an int8: its code, less 128 where the type is unsigned and reaches
  beyond 127 (``carried_offset``); bipolar numbers are -1 and +1;
* a wider integer is an int32, whole: its type proves that it fits.

In: a graph. Out: its steps, or None where one of its nodes has no narrow kernel: then the whole
graph is evaluated in the form of ``eval.core``. Not here: the kernels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pyahir.ir.eval.core import EvaluationError, Form, Plane, Step, integer_dtype, last_uses
from pyahir.ir.graph import Graph, Node
from pyahir.ir.ops import Op
from pyahir.ir.types import Array, Bipolar, Element, Int, Layout, TensorType

__all__ = [
    "Kernel",
    "Memory",
    "Site",
    "carried_offset",
    "carried_type",
    "narrow",
    "narrow_form",
    "registered_narrow",
    "tiled",
]

LARGEST_CHUNK = 256  # images: products of vectors gain nothing beyond
WORKING_SET = 1 << 22  # bytes that one layer may touch: two level-2 caches
LINE = 64  # bytes of a cache line

Kernel = Callable[..., Plane]


class Memory:
    """One piece of memory, used again for arrays of any shape; it grows to the largest of them."""

    __slots__ = ("_raw",)

    def __init__(self) -> None:
        self._raw = np.empty(0, np.uint8)

    def array(self, shape: tuple[int, ...], dtype: Any) -> Plane:
        """Give an array in this memory: what the last one held is lost."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        if size > self._raw.size:
            raw = np.empty(size + LINE, np.uint8)
            self._raw = raw[-raw.ctypes.data % LINE :]
        return self._raw[:size].view(dtype).reshape(shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What a narrow kernel is made from: its node, operands, constants, and where it writes.

    ``out`` is for its result alone, ``scratch`` is shared by all kernels: its arrays hold nothing
    from one call to the next.
    """

    node: Node
    operands: tuple[TensorType, ...]
    constants: tuple[Array | None, ...]
    out: Memory
    scratch: Callable[[str], Memory]

    def constant(self, position: int) -> Array:
        array = self.constants[position]
        assert array is not None, f"{self.node.name}: operand {position} is not a constant"
        return array

    def sums(self, shape: tuple[int, ...]) -> Plane:
        """Give an array for the sums in int32 that ``settled`` turns into the result."""
        wide = carried_type(self.node.type.element) is np.int32
        return (self.out if wide else self.scratch("sums")).array(shape, np.int32)

    def settled(self, sums: Plane) -> Plane:
        """Give the result for ``sums``: themselves, or in int8 where its type is so short."""
        if carried_type(self.node.type.element) is np.int32:
            return sums
        result = self.out.array(sums.shape, np.int8)
        np.copyto(result, sums, casting="unsafe")
        return result


Maker = Callable[[Any, Site], Kernel | None]
_makers: dict[type[Op], Maker] = {}


def narrow(op: type[Op]) -> Callable[[Maker], Maker]:
    """Register the function that makes the narrow kernel of ``op``, or None where it has none."""

    def register(maker: Maker) -> Maker:
        if op in _makers:
            raise ValueError(f"{op.__name__} has a narrow kernel already")
        _makers[op] = maker
        return maker

    return register


def registered_narrow() -> frozenset[type[Op]]:
    """List the ops that have a narrow kernel."""
    return frozenset(_makers)


def carried_type(element: Element) -> type[np.int8] | type[np.int32] | None:
    """Give the type in which numbers of ``element`` are carried; None where there is none."""
    match element:
        case Bipolar():
            return np.int8
        case Int():
            if element.width <= 8:
                return np.int8
            return np.int32 if element.max < 1 << 31 else None
        case _:
            return None


def carried_offset(element: Element) -> int:
    """Give what is taken from a code to make it an int8."""
    return 128 if isinstance(element, Int) and not element.signed and element.width == 8 else 0


def tiled(row: Array, shape: tuple[int, ...]) -> Array:
    """Repeat one number a channel for all pixels of a line: NumPy is slow on short rows."""
    return np.tile(row, shape[2]) if len(shape) == 4 else row


def narrow_form(graph: Graph) -> Form | None:
    """Make the narrow form of ``graph``; None where a value or a node has none."""
    types = graph.types()
    constants = graph.constant_map()
    values = [name for name in types if name not in constants]
    if not all(_carried(types[name]) for name in values):
        return None
    if not all(type(node.op) in _makers for node in graph.nodes):
        return None
    memories = _memories(graph)
    scratch: dict[str, Memory] = {}
    steps: list[Step] = []
    for node in graph.nodes:
        site = Site(
            node=node,
            operands=tuple(types[name] for name in node.inputs),
            constants=tuple(
                constants[name].array if name in constants else None for name in node.inputs
            ),
            out=memories[node.name],
            scratch=lambda role: scratch.setdefault(role, Memory()),
        )
        kernel = _makers[type(node.op)](node.op, site)
        if kernel is None:
            return None
        data = tuple(name for name in node.inputs if name not in constants)
        steps.append((node, kernel, data))
    return Form(
        steps=steps,
        admit=lambda name, array: _admit(name, array, types[name]),
        publish=lambda name, plane: _publish(name, plane, types[name]),
        chunk=_chunk(graph, types),
    )


def _carried(kind: TensorType) -> bool:
    """Tell whether values of ``kind`` have a narrow form."""
    if kind.layout not in (Layout.NHWC, Layout.NC) or (dtype := carried_type(kind.element)) is None:
        return False
    if dtype is np.int32 or isinstance(kind.element, Bipolar):
        return kind.zero_point == 0
    assert isinstance(kind.element, Int)
    return kind.element.min <= kind.zero_point <= kind.element.max


def _memories(graph: Graph) -> dict[str, Memory]:
    """Give every node a place for its result; one that has been read last is used again."""
    last = last_uses(graph)
    ending: dict[int, list[str]] = {}
    for name, index in last.items():
        ending.setdefault(index, []).append(name)
    places: dict[str, Memory] = {}
    free: list[Memory] = []
    for index, node in enumerate(graph.nodes):
        places[node.name] = free.pop() if free else Memory()
        free += [places[name] for name in ending.get(index, []) if name in places]
    return places


def _chunk(graph: Graph, types: Mapping[str, TensorType]) -> int:
    largest = max((_working_bytes(node, types) for node in graph.nodes), default=1)
    return int(min(LARGEST_CHUNK, max(1, WORKING_SET // largest)))


def _working_bytes(node: Node, types: Mapping[str, TensorType]) -> int:
    """Count the bytes of a result in int32, and of the patches that it is the product of."""
    patches = 0
    weights = [types[name] for name in node.inputs[1:2]]
    if weights and weights[0].layout is Layout.PLAIN and len(shape := weights[0].shape) == 4:
        patches = math.prod(shape[1:]) * node.type.size // node.type.channels
    return 4 * node.type.size + patches


def _admit(name: str, array: Array, kind: TensorType) -> Plane:
    """Bring an input (n, ...) into the carried form."""
    if array.shape[1:] != kind.shape[1:]:
        raise ValueError(f"an array of shape {array.shape} for an input of type {kind}")
    dtype = carried_type(kind.element)
    assert dtype is not None
    if isinstance(kind.element, Bipolar):
        return np.ascontiguousarray(array).astype(np.int8) * np.int8(2) - np.int8(1)
    assert isinstance(kind.element, Int)
    whole = np.ascontiguousarray(array)
    if array.dtype != integer_dtype(kind.element) or kind.element.width not in (8, 16, 32):
        _check(name, whole, kind.element)
    if carried_offset(kind.element):
        return (whole.astype(np.uint8) ^ np.uint8(128)).view(np.int8)
    return whole.astype(dtype)


def _publish(name: str, plane: Plane, kind: TensorType) -> Array:
    """Turn a carried value into a new array of what the type says, range checked."""
    if isinstance(kind.element, Bipolar):
        return np.greater(plane, 0).astype(np.uint8)
    assert isinstance(kind.element, Int)
    if carried_offset(kind.element):
        return plane.view(np.uint8) ^ np.uint8(128)
    _check(name, plane, kind.element)
    return plane.astype(integer_dtype(kind.element))


def _check(name: str, values: Array, element: Int) -> None:
    low, high = (values.min(), values.max()) if values.size else (0, 0)
    if low < element.min or high > element.max:
        raise EvaluationError(f"{name}: values from {low} to {high} leave the range of {element}")
