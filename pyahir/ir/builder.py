"""Builds a graph node by node: infers types, keeps names unique. Importers and passes use it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pyahir.ir.graph import Constant, Graph, Input, Loc, Node, Stage, unique_name
from pyahir.ir.ops import Op
from pyahir.ir.types import (
    Array,
    ArrayData,
    Element,
    Float16,
    Float32,
    Int,
    PowerOfTwo,
    TensorType,
)

__all__ = ["GraphBuilder"]


@dataclass(slots=True)
class GraphBuilder:
    """The graph so far. ``finish`` gives it as an immutable ``Graph`` (not yet verified)."""

    name: str
    stage: Stage
    inputs: list[Input] = field(default_factory=list[Input])
    constants: list[Constant] = field(default_factory=list[Constant])
    nodes: list[Node] = field(default_factory=list[Node])
    types: dict[str, TensorType] = field(default_factory=dict[str, TensorType])

    def input(self, name: str, kind: TensorType) -> str:
        name = unique_name(name, self.types)
        self.inputs.append(Input(name=name, type=kind))
        self.types[name] = kind
        return name

    def constant(
        self,
        name: str,
        array: Array,
        element: Element | None = None,
        quantization: PowerOfTwo | None = None,
    ) -> str:
        """Add a constant; the element type follows the array's type unless it is given."""
        name = unique_name(name, self.types)
        if element is None:
            element = _element(array)
        if isinstance(element, Float32):
            array = array.astype(np.float32)
        elif isinstance(element, Float16):
            array = array.astype(np.float16)
        kind = TensorType(shape=array.shape, element=element, quantization=quantization)
        self.constants.append(Constant(name=name, type=kind, data=ArrayData(array)))
        self.types[name] = kind
        return name

    def node(self, name: str, op: Op, inputs: Sequence[str], loc: Loc) -> str:
        """Add a node; raises ``InferError`` when the operands do not fit."""
        name = unique_name(name, self.types)
        kind = op.infer([self.types[item] for item in inputs])
        self.nodes.append(Node(name=name, op=op, inputs=tuple(inputs), type=kind, loc=loc))
        self.types[name] = kind
        return name

    def finish(self, outputs: Sequence[str]) -> Graph:
        return Graph(
            name=self.name,
            stage=self.stage,
            inputs=tuple(self.inputs),
            constants=tuple(self.constants),
            nodes=tuple(self.nodes),
            outputs=tuple(outputs),
        )


def _element(array: Array) -> Element:
    if array.dtype.kind == "f":
        return Float32()
    assert array.dtype.kind in "iu", f"no element type for {array.dtype}"
    return Int(8 * array.dtype.itemsize, signed=array.dtype.kind == "i")
