"""Removes nodes and constants that no output depends on. Inputs stay: they are the interface."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pyahir.ir.graph import Graph
from pyahir.passes.base import Pass

__all__ = ["EliminateDead", "eliminate_dead"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EliminateDead(Pass):
    name: ClassVar[str] = "eliminate_dead"

    def run(self, graph: Graph) -> Graph:
        return eliminate_dead(graph)


def eliminate_dead(graph: Graph) -> Graph:
    """Keep what the outputs need; ``graph`` itself when that is everything."""
    needed = set(graph.outputs)
    for node in reversed(graph.nodes):
        if node.name in needed:
            needed.update(node.inputs)
    nodes = tuple(node for node in graph.nodes if node.name in needed)
    if len(nodes) < len(graph.nodes):
        graph = graph.update(nodes=nodes)
    return graph.with_used_constants()
