"""Folds batch norm into the convolution or fully connected layer before it.

A batch norm with nothing to fold into (after a pool, or after a convolution that others read too)
becomes a depthwise 1x1 convolution, on a vector a linear layer with a diagonal weight.
A folded layer keeps the name of the convolution, as torch's own fusion does; its weight and bias
are new constants.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from pyahir.ir.builder import GraphBuilder
from pyahir.ir.graph import Graph, Node, Stage
from pyahir.ir.ops import BatchNorm, Conv2d, Linear, Op
from pyahir.ir.types import Array, Layout
from pyahir.passes.base import Pass

__all__ = ["FoldBatchNorm", "fold_batch_norm"]

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldBatchNorm(Pass):
    name: ClassVar[str] = "fold_batch_norm"
    requires: ClassVar[Stage | None] = Stage.FLOAT
    ensures: ClassVar[Stage | None] = Stage.FLOAT

    def run(self, graph: Graph) -> Graph:
        return fold_batch_norm(graph)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Product:
    """A convolution or linear layer: its op, its data operand and its parameters."""

    op: Op
    x: str
    weight: Float64
    bias: Float64


def fold_batch_norm(graph: Graph) -> Graph:
    """Remove every batch norm, one for one; ``graph`` itself when there is none."""
    if not any(isinstance(node.op, BatchNorm) for node in graph.nodes):
        return graph
    arrays = {item.name: item.array for item in graph.constants}
    producers = _foldable(graph)
    folded = {producer.name for producer in producers.values()}
    renamed = {name: producer.name for name, producer in producers.items()}
    builder = GraphBuilder(graph.name, graph.stage, list(graph.inputs), list(graph.constants))
    builder.types |= graph.types()  # every name of the graph stays taken
    for node in graph.nodes:
        if node.name in folded:
            continue
        node = replace(node, inputs=tuple(renamed.get(name, name) for name in node.inputs))
        if isinstance(node.op, BatchNorm):
            producer = producers.get(node.name)
            before = _product(producer, arrays, renamed) if producer else _identity(node, builder)
            node = _scaled(builder, node, before, producer or node, arrays)
        builder.nodes.append(node)
    outputs = [renamed.get(name, name) for name in graph.outputs]
    return builder.finish(outputs).with_used_constants()


def _foldable(graph: Graph) -> Mapping[str, Node]:
    """Map each batch norm to the product that only it reads."""
    nodes, users, constants = graph.node_map(), graph.users(), graph.constant_map()
    found: dict[str, Node] = {}
    for node in graph.nodes:
        producer = nodes.get(node.inputs[0])
        if not isinstance(node.op, BatchNorm) or producer is None:
            continue
        private = len(users[producer.name]) == 1 and producer.name not in graph.outputs
        fixed = all(name in constants for name in producer.inputs[1:])
        if private and fixed and isinstance(producer.op, Conv2d | Linear):
            found[node.name] = producer
    return found


def _product(node: Node, arrays: Mapping[str, Array], renamed: Mapping[str, str]) -> _Product:
    weight, bias = (arrays[name].astype(np.float64) for name in node.inputs[1:])
    x = renamed.get(node.inputs[0], node.inputs[0])
    return _Product(op=node.op, x=x, weight=weight, bias=bias)


def _identity(node: Node, builder: GraphBuilder) -> _Product:
    """Give the product that changes nothing, for the batch norm ``node``."""
    x = builder.types[node.inputs[0]]
    bias = np.zeros(x.channels)
    if x.layout is Layout.NC:
        return _Product(op=Linear(), x=node.inputs[0], weight=np.eye(x.channels), bias=bias)
    op = Conv2d(kernel_size=(1, 1), groups=x.channels)
    return _Product(op=op, x=node.inputs[0], weight=np.ones((x.channels, 1, 1, 1)), bias=bias)


def _scaled(
    builder: GraphBuilder, norm: Node, before: _Product, origin: Node, arrays: Mapping[str, Array]
) -> Node:
    """Give ``before`` with the affine map of ``norm`` in its weight and bias."""
    assert isinstance(norm.op, BatchNorm)
    gamma, beta, mean, variance = (arrays[name].astype(np.float64) for name in norm.inputs[1:])
    factor = gamma / np.sqrt(variance + norm.op.eps)
    weight = before.weight * factor.reshape(-1, *(1,) * (before.weight.ndim - 1))
    bias = (before.bias - mean) * factor + beta
    operands = [
        before.x,
        builder.constant(f"{origin.name}_folded_weight", weight.astype(np.float32)),
        builder.constant(f"{origin.name}_folded_bias", bias.astype(np.float32)),
    ]
    kind = before.op.infer([builder.types[name] for name in operands])
    return Node(name=origin.name, op=before.op, inputs=tuple(operands), type=kind, loc=origin.loc)
