"""Drops the exception tables of requantize and quantized_add: ``--rounding linear``.

The codes of a few accumulators or pairs then differ from the source's float rule;
``count_exceptions`` says of how many.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from pyahir.ir.graph import Constant, Graph, Node, Stage
from pyahir.ir.ops import QuantizedAdd, Requantize
from pyahir.ir.types import ArrayData
from pyahir.passes.base import Pass

__all__ = ["EliminateExceptions", "count_exceptions", "eliminate_exceptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EliminateExceptions(Pass):
    name: ClassVar[str] = "eliminate_exceptions"
    requires: ClassVar[Stage | None] = Stage.QUANTIZED
    ensures: ClassVar[Stage | None] = Stage.QUANTIZED

    def run(self, graph: Graph) -> Graph:
        return eliminate_exceptions(graph)


def eliminate_exceptions(graph: Graph) -> Graph:
    """Empty every exception table; ``graph`` itself when all are empty."""
    tables = {node.inputs[-1] for node in graph.nodes if _has_table(node)}
    constants = tuple(
        _emptied(item) if item.name in tables and item.type.shape[0] else item
        for item in graph.constants
    )
    return graph if constants == graph.constants else graph.update(constants=constants)


def count_exceptions(graph: Graph) -> dict[str, int]:
    """Count, per node, the (channel, accumulator) or (a, b) whose code the table corrects.

    Without the table exactly these differ from the source's rule.
    """
    constants = graph.constant_map()
    return {
        node.name: int(np.count_nonzero(constants[node.inputs[-1]].array[:, 2]))
        for node in graph.nodes
        if _has_table(node)
    }


def _has_table(node: Node) -> bool:
    """Tell whether the last operand is a table of exceptions."""
    return isinstance(node.op, QuantizedAdd | Requantize)


def _emptied(table: Constant) -> Constant:
    empty = table.array[:0]
    return replace(table, type=replace(table.type, shape=empty.shape), data=ArrayData(empty))
