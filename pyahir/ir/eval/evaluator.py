"""The golden model: evaluates a graph on a batch, node by node, in integers (or float32 for FLOAT).

In: a graph, batches. Out: the values that are asked for. Not here: how values are carried between
kernels; of two forms, ``eval.narrow`` is taken where it has a kernel for every node.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Protocol

import numpy as np

from pyahir.ir.eval.core import Form, Plane, last_uses, wide_form
from pyahir.ir.eval.narrow import accelerated, narrow_form
from pyahir.ir.graph import Graph
from pyahir.ir.types import Array, TensorType

__all__ = ["Evaluator", "Listener"]


class Listener(Protocol):
    """Sees values as they are computed: calibration, comparison, statistics."""

    def wants(self, name: str) -> bool: ...

    def observe(self, name: str, kind: TensorType, values: Array) -> None:
        """Take a chunk of values of ``name``: (n, ...) in the type's layout and element type."""
        ...


def chosen_form(graph: Graph) -> Form:
    """Choose the narrow form where the graph has one and the machine multiplies bytes."""
    return (narrow_form(graph) if accelerated() else None) or wide_form(graph)


class Evaluator:
    """Evaluates one graph. Weights are prepared once; ``run`` may be called any number of times.

    Not for several threads at once: kernels own scratch memory.
    """

    def __init__(self, graph: Graph, form: Form | None = None) -> None:
        self.graph = graph
        self._types = graph.types()
        self._form = chosen_form(graph) if form is None else form
        self._last_use = last_uses(graph)

    def run(
        self,
        batch: Mapping[str, Array] | Array,
        *,
        keep: Collection[str] | None = None,
        listeners: Collection[Listener] = (),
    ) -> dict[str, Array]:
        """Evaluate a batch; give the values named in ``keep`` (default: the graph's outputs).

        ``batch`` maps each input to an array (N, ...) in its type's layout: codes for integers,
        float32 otherwise; a single array stands for the only input. Results are (N, ...) in each
        type's layout, with an integer NumPy type for integers.
        """
        if not isinstance(batch, Mapping):
            batch = {self.graph.inputs[0].name: batch}
        keep = self.graph.outputs if keep is None else keep
        count = len(next(iter(batch.values())))
        results: dict[str, Array] = {}
        for start in range(0, count, self._form.chunk):
            part = {name: array[start : start + self._form.chunk] for name, array in batch.items()}
            for name, plane in self._run_chunk(part):
                self._report(name, plane, start, count, keep, listeners, results)
        return results

    def _run_chunk(self, part: Mapping[str, Array]) -> Iterator[tuple[str, Plane]]:
        live: dict[str, Plane] = {}
        for item in self.graph.inputs:
            live[item.name] = self._form.admit(item.name, part[item.name])
            yield item.name, live[item.name]
        for index, (node, kernel, data) in enumerate(self._form.steps):
            live[node.name] = kernel(*(live[name] for name in data))
            yield node.name, live[node.name]
            for name in data:
                if self._last_use[name] == index:
                    live.pop(name, None)

    def _report(
        self,
        name: str,
        plane: Plane,
        start: int,
        count: int,
        keep: Collection[str],
        listeners: Collection[Listener],
        results: dict[str, Array],
    ) -> None:
        interested = [listener for listener in listeners if listener.wants(name)]
        if name not in keep and not interested:
            return
        kind = self._types[name]
        values = self._form.publish(name, plane)
        for listener in interested:
            listener.observe(name, kind, values)
        if name in keep:
            if name not in results:
                results[name] = np.empty((count, *kind.shape[1:]), values.dtype)
            results[name][start : start + len(values)] = values
