"""Writes designs of graphs into a folder and runs them, as a user would: from the files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from pyahir.backends.aa.engine import AaEngine
from pyahir.compiler import Compiled, CompileOptions, compile_graph
from pyahir.ir.eval import Evaluator
from pyahir.ir.graph import Graph
from pyahir.plan.folding import Folding, divisors
from pyahir.plan.grouping import layers_of
from pyahir.plan.layers import LayerKind
from pyahir.plan.search import Options


def drawn_foldings(data: st.DataObject, graph: Graph) -> dict[str, Folding]:
    """Draw a folding for every layer that multiplies; sums of floats take one input at a time."""
    foldings: dict[str, Folding] = {}
    for layer in layers_of(graph):
        if layer.kind == LayerKind.MATVEC:
            pe = data.draw(st.sampled_from(divisors(layer.outputs)))
            foldings[layer.name] = Folding(
                pe=pe,
                simd=1 if layer.floats else data.draw(st.integers(1, layer.inputs)),
                requantizers=data.draw(st.sampled_from(divisors(pe))),
                whole=data.draw(st.booleans()),
            )
    return foldings


def written(
    graph: Graph, folder: Path, *, multipliers: int = 64, foldings: dict[str, Folding] | None = None
) -> tuple[Compiled, Path]:
    """Compile ``graph`` and write its files; give the design and the path of the text."""
    plan = Options(multipliers=multipliers, foldings=foldings or {})
    compiled = compile_graph(graph, CompileOptions(plan=plan))
    path = folder / "net.aa"
    compiled.write(path)
    return compiled, path


def check_against_golden(
    graph: Graph, path: Path, images: np.ndarray, order_seed: int | None = None
) -> None:
    """Assert that every layer's stream equals the golden model's values."""
    engine = AaEngine.open(path)
    names = [item["value"] for item in engine.layers]
    actual = engine.run(images, keep=names, order_seed=order_seed)
    expected = Evaluator(graph).run(images, keep=names)
    for name in names:
        np.testing.assert_array_equal(expected[name], actual[name], err_msg=name)
