"""The graph: inputs, constants, nodes in order, outputs. A value's name is its identity.

Nodes and graphs are immutable; a pass builds a new graph. Nothing is checked here beyond what can
never be right: ``ir.verify`` checks a whole graph, and runs after every pass.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from pyahir.ir.ops.base import Op
from pyahir.ir.types import Array, ArrayData, TensorType

__all__ = [
    "NAME",
    "Constant",
    "Graph",
    "Input",
    "Loc",
    "Node",
    "Stage",
    "legal_name",
    "unique_name",
]

NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*\Z")


class Stage(Enum):
    """FLOAT: real numbers, NCHW. QUANTIZED: integers, posits, floats with an order, NHWC."""

    FLOAT = "float"
    QUANTIZED = "quantized"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loc:
    """Where the user wrote it: source file and line, and the path of the layer in the model."""

    file: str = ""
    line: int = 0
    path: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.file else ""
        return f"{where} ({self.path})".strip() if self.path else where


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    name: str
    type: TensorType


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    name: str
    type: TensorType
    data: ArrayData

    @property
    def array(self) -> Array:
        return self.data.array


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One operation with one result; ``inputs`` are names of values or constants."""

    name: str
    op: Op
    inputs: tuple[str, ...]
    type: TensorType
    loc: Loc = field(default=Loc(), compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    name: str
    stage: Stage
    inputs: tuple[Input, ...]
    constants: tuple[Constant, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]

    def types(self) -> dict[str, TensorType]:
        """Map every name, constants among them, to its type."""
        values: Iterable[Input | Constant | Node] = (*self.inputs, *self.constants, *self.nodes)
        return {value.name: value.type for value in values}

    def constant_map(self) -> dict[str, Constant]:
        return {constant.name: constant for constant in self.constants}

    def node_map(self) -> dict[str, Node]:
        return {node.name: node for node in self.nodes}

    def users(self) -> dict[str, tuple[Node, ...]]:
        """Map every value that is read to the nodes that read it, in order."""
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                found.setdefault(name, []).append(node)
        return {name: tuple(nodes) for name, nodes in found.items()}

    def update(self, **changes: object) -> Graph:
        return replace(self, **changes)  # type: ignore[arg-type]  # fields are checked by verify

    def with_used_constants(self) -> Graph:
        """Drop the constants that no node reads; give ``self`` back when there are none."""
        used = {name for node in self.nodes for name in node.inputs}
        kept = tuple(constant for constant in self.constants if constant.name in used)
        return self if len(kept) == len(self.constants) else replace(self, constants=kept)


def legal_name(path: str) -> str:
    """Turn a model's path (``layer1.0.Conv1``) into a name legal in Aa and VHDL.

    Lower case letters, digits and single underscores, beginning with a letter. Two paths may give
    one name: the caller reports that or uses ``unique_name``.
    """
    words = [word for word in re.split(r"[^a-z0-9]+", path.lower()) if word]
    name = "_".join(words) or "value"
    return name if name[0].isalpha() else f"n{name}"


def unique_name(name: str, taken: Mapping[str, object] | set[str]) -> str:
    """Give ``name``, or ``name_2``, ``name_3``... when it is taken: a function of its arguments."""
    if name not in taken:
        return name
    number = 2
    while f"{name}_{number}" in taken:
        number += 1
    return f"{name}_{number}"
