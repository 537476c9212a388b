"""Removes nodes that change no value of their operand, whatever the input.

A node that is an output of the graph stays, so that the output keeps its name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from pyahir.ir.graph import Graph, Node
from pyahir.ir.ops import AvgPool2d, Clamp, Flatten, MaxPool2d, Relu
from pyahir.ir.types import Int, Layout, TensorType
from pyahir.passes.base import Pass

__all__ = ["EliminateIdentity", "eliminate_identity"]

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class EliminateIdentity(Pass):
    name: ClassVar[str] = "eliminate_identity"

    def run(self, graph: Graph) -> Graph:
        return eliminate_identity(graph)


def eliminate_identity(graph: Graph) -> Graph:
    """Let the users of an identity read its operand; ``graph`` itself when there is none."""
    types = graph.types()
    stands_for: dict[str, str] = {}
    bounds = {item.name: _of_type(item.type) for item in graph.inputs}
    nodes: list[Node] = []
    for node in graph.nodes:
        inputs = tuple(stands_for.get(name, name) for name in node.inputs)
        bounds[node.name] = _result(node, inputs, bounds)
        if node.name not in graph.outputs and _is_identity(node, types[inputs[0]], bounds):
            stands_for[node.name] = inputs[0]
        else:
            nodes.append(node if inputs == node.inputs else replace(node, inputs=inputs))
    if not stands_for:
        return graph
    return graph.update(nodes=tuple(nodes))


def _is_identity(node: Node, x: TensorType, bounds: Mapping[str, Interval]) -> bool:
    match node.op:
        case Relu() | Clamp():
            low, high = bounds.get(node.inputs[0], _of_type(x))
            least, most = _limits(node)
            return least <= low and high <= most
        case Flatten():
            return x.layout is Layout.NC
        case MaxPool2d() | AvgPool2d():
            once = node.op.kernel_size == (1, 1) and node.op.stride == (1, 1)
            return once and not any(node.op.padding)
        case _:
            return False


def _limits(node: Node) -> Interval:
    """Give the values that a ReLU or clamp lets through (codes in a QUANTIZED graph)."""
    if isinstance(node.op, Clamp):
        return node.op.minimum, node.op.maximum
    return float(node.type.zero_point), math.inf


def _result(node: Node, inputs: tuple[str, ...], bounds: Mapping[str, Interval]) -> Interval:
    """Give bounds of the node's values that hold for every input."""
    if isinstance(node.op, Relu | Clamp):
        low, high = bounds[inputs[0]]
        least, most = _limits(node)
        return min(max(low, least), most), min(max(high, least), most)
    if isinstance(node.op, MaxPool2d | Flatten):
        return bounds[inputs[0]]
    return _of_type(node.type)


def _of_type(kind: TensorType) -> Interval:
    if isinstance(kind.element, Int):
        return float(kind.element.min), float(kind.element.max)
    return -math.inf, math.inf
