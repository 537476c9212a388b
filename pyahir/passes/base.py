"""What a pass is: a graph in, a graph out; options are fields. The logic is a plain function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pyahir.ir.graph import Graph, Stage

__all__ = ["Pass"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """Base of all passes. A pass that finds nothing to do gives the same object back.

    ``requires`` and ``ensures`` are the stages of its input and of its result; None is any stage.
    """

    name: ClassVar[str]
    requires: ClassVar[Stage | None] = None
    ensures: ClassVar[Stage | None] = None

    def run(self, graph: Graph) -> Graph:
        """Give the rewritten graph."""
        raise AssertionError(f"the pass {type(self).__name__} does nothing")
