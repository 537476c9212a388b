"""Each layer's hardware on its own: fed by the golden model, compared with the golden model.

In: a model, images and names of layers. Out: ``LayerCheck``, one a layer: the comparisons of the
engines and the clock cycles. A layer that is too slow to simulate behind all the others is
simulated here without them. Not here: cutting it out of the plan (``plan.single``).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pyahir import tables
from pyahir.compiler import (
    CompileOptions,
    compile_plan,
    provenance_of,
    quantized_graph,
    rounded_graph,
)
from pyahir.data import Images
from pyahir.engines import (
    ENGINES,
    SIMULATORS,
    LayerCheck,
    Timing,
    Values,
    compare,
    input_codes,
    run_aa,
    run_ir,
    run_simulator,
)
from pyahir.errors import PlanError, PyahirError
from pyahir.ir.eval import from_nchw, to_nchw
from pyahir.ir.types import Array, TensorType
from pyahir.plan.plan import Plan
from pyahir.plan.search import make_plan
from pyahir.plan.single import single_layer
from pyahir.sim.run import Stalls

if TYPE_CHECKING:
    from pyahir.frontend.source import SourceModel

__all__ = ["ALL", "LAYER_ENGINES", "check_layer", "verify_layers"]

ALL = "all"
LAYER_ENGINES = tuple(engine for engine in ENGINES if engine != "torch")


def verify_layers(
    source: SourceModel,
    options: CompileOptions,
    layers: Sequence[str],
    engines: Sequence[str],
    images: Images,
    folder: Path,
    stalls: Stalls | None = None,
) -> list[LayerCheck]:
    """Check the named layers of a model, or ``all``, in stream order, each once.

    Raises ``PyahirError`` for the engine torch, which has no single layers, and for unknown names.
    """
    if "torch" in engines:
        raise PyahirError(
            "--layer with the engine torch: PyTorch runs the whole model only; "
            f"accepted: {', '.join(LAYER_ENGINES)}"
        )
    graph = rounded_graph(quantized_graph(source, options), options)
    plan = make_plan(graph, options.plan)
    chosen = _chosen(plan, layers)
    golden = run_ir(graph, input_codes(graph, images, source.engine))
    made_from = provenance_of(source)
    checks: list[LayerCheck] = []
    for name in chosen:
        part = single_layer(plan, name)
        path = folder / f"{part.graph.name}.aa"
        compile_plan(part, options, made_from).write(path)
        checks.append(check_layer(part, path, golden, engines, stalls))
    return checks


def _chosen(plan: Plan, layers: Sequence[str]) -> list[str]:
    names = [planned.name for planned in plan.layers]
    unknown = [name for name in layers if name not in (*names, ALL)]
    if unknown:
        accepted = ", ".join((*names, ALL))
        raise PlanError(f"--layer {unknown[0]}: no such layer; accepted: {accepted}")
    return [name for name in names if name in layers or ALL in layers]


def check_layer(
    part: Plan, path: Path, golden: Values, engines: Sequence[str], stalls: Stalls | None = None
) -> LayerCheck:
    """Feed a written layer with the golden model's values of the whole network; compare its own."""
    (planned,) = part.layers
    codes = {
        source.name: from_nchw(_shaped(golden[source.name], source.type), source.type)
        for source in part.graph.inputs
    }
    value = planned.layer.value
    results: dict[str, Values] = {}
    timings: list[Timing] = []
    for engine in engines:
        if engine == "ir":
            results[engine] = {value: _shaped(golden[value], planned.layer.y)}
        elif engine in SIMULATORS:
            results[engine], timing = run_simulator(engine, path, codes, stalls=stalls)
            timings.append(timing)
        else:
            results[engine] = run_aa(path, codes, progress=tables.progress(planned.name))
    return LayerCheck(
        layer=planned.name,
        predicted=part.cycles_per_frame,
        comparisons=tuple(compare(results, [value])),
        timings=tuple(timings),
    )


def _shaped(values: Array, kind: TensorType) -> Array:
    """Give values in the model's order the shape of ``kind``: of a map, where they were flattened.

    A flattened map is in the order channel, row, column, as a map in the model's order.
    """
    shape = to_nchw(np.empty((1, *kind.shape[1:]), np.bool_), kind).shape[1:]
    return values.reshape(len(values), *shape)
