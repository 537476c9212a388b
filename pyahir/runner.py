"""What the commands do with engines: run one, compare several, measure accuracy."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pyahir import tables
from pyahir.backends.aa.engine import AaEngine
from pyahir.backends.aa.files import write_files
from pyahir.compiler import (
    CompileOptions,
    compile_graph,
    provenance_of,
    quantized_graph,
    rounded_graph,
)
from pyahir.data import Images, Labels, load_images
from pyahir.engines import (
    SIMULATORS,
    Comparison,
    Timing,
    Values,
    compare,
    input_codes,
    run_aa,
    run_ir,
    run_simulator,
    run_torch,
)
from pyahir.errors import PyahirError
from pyahir.hosts import HostRule
from pyahir.ir.eval import dequantize, evaluate_batch, to_nchw
from pyahir.ir.graph import Graph, Stage
from pyahir.ir.types import Affine, Array, Bipolar, Int, TensorType
from pyahir.sim.design import image_codes, image_shape, stream_type
from pyahir.sim.run import Stalls

if TYPE_CHECKING:
    from pyahir.frontend.source import SourceModel

__all__ = ["evaluate", "is_design", "run_design", "run_model", "save_array", "verify"]


def is_design(path: Path) -> bool:
    """Tell a compiled design from a model file: it is text, and its manifest lies beside it."""
    try:
        head = path.open("rb").read(64)
    except OSError:
        return False
    return path.with_suffix(".json").is_file() and head.isascii() and b"\0" not in head


def save_array(path: Path, array: Array) -> None:
    """Write an ``.npy`` file, whole or not at all."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    write_files({path: buffer.getvalue()})


def run_design(path: Path, engine: str, images_path: Path, *, codes: bool) -> Array:
    """Run a compiled design; its manifest says how to quantize images."""
    if engine != "aa" and engine not in SIMULATORS:
        raise PyahirError(
            f"{path}: a compiled design runs in the engines aa, {', '.join(SIMULATORS)}; "
            f"give the model file to run it in {engine}"
        )
    opened = AaEngine.open(path) if engine == "aa" else SIMULATORS[engine].open(path)
    manifest = opened.files.manifest
    images = load_images(images_path, image_shape(manifest))
    found = opened.run(image_codes(manifest, images, images_path))
    output = opened.files.manifest["output"]
    return _result(found[output["value"]], stream_type(output), codes=codes)


def _result(values: Array, kind: TensorType, *, codes: bool) -> Array:
    ordered = to_nchw(values, kind)
    return np.ascontiguousarray(ordered if codes else dequantize(ordered, kind))


def run_model(
    source: SourceModel, options: CompileOptions, engine: str, images_path: Path, *, codes: bool
) -> Array:
    """Run a model file in one engine; real numbers, or codes."""
    import tempfile

    images = load_images(images_path, source.input_shape)
    if engine == "torch" and source.graph.stage is Stage.FLOAT and not codes:
        return source.run(images)[source.graph.outputs[0]]
    graph = rounded_graph(quantized_graph(source, options), options)
    with tempfile.TemporaryDirectory(prefix="pyahir-") as folder:
        values, _ = _engine_values(engine, source, graph, options, images, None, Path(folder))
    output = graph.outputs[0]
    kind = graph.types()[output]
    found = values[output]
    if source.scores is not None and not codes:
        return source.scores(found)
    return np.ascontiguousarray(found if codes else dequantize(found, kind))


def _engine_values(
    engine: str,
    source: SourceModel,
    graph: Graph,
    options: CompileOptions,
    images: Images,
    design: Path | None,
    folder: Path,
    stalls: Stalls | None = None,
) -> tuple[Values, Timing | None]:
    if engine == "torch":
        return run_torch(source, images, graph), None
    codes = input_codes(graph, images, source.engine)
    if engine == "ir":
        return run_ir(graph, codes), None
    if design is None:
        design = folder / f"{graph.name}.aa"
        compile_graph(graph, options, provenance_of(source)).write(design)
    if engine in SIMULATORS:
        return run_simulator(engine, design, codes, stalls=stalls)
    return run_aa(design, codes, progress=tables.progress("aa")), None


def verify(
    source: SourceModel,
    options: CompileOptions,
    engines: Sequence[str],
    images: Images,
    design: Path | None,
    folder: Path,
    stalls: Stalls | None = None,
) -> tuple[list[Comparison], list[Timing]]:
    """Run ``engines`` on ``images`` and compare each with the one before it.

    The clock cycles of the simulations among them come along; ``stalls`` are theirs.
    """
    graph = rounded_graph(quantized_graph(source, options), options)
    results: dict[str, Values] = {}
    timings: list[Timing] = []
    for engine in engines:
        results[engine], timing = _engine_values(
            engine, source, graph, options, images, design, folder, stalls
        )
        timings += [] if timing is None else [timing]
    order = [item.name for item in (*graph.inputs, *graph.nodes)]
    return compare(results, order), timings


def evaluate(
    source: SourceModel,
    options: CompileOptions,
    images: Images,
    labels: Labels,
    reference: SourceModel | None,
    rule: HostRule | None = None,
    jobs: int = 1,
) -> list[dict[str, Any]]:
    """Measure accuracy: the float model where there is one, PyTorch's and pyahir's integers.

    ``rule`` says which class scores stand for; default: the first of the greatest. The golden model
    runs in ``jobs`` processes.
    """
    rule = rule or HostRule()
    rows: list[dict[str, Any]] = []
    for model in (reference, source):
        if model is None:
            continue
        output = model.graph.outputs[0]
        what = "float" if model.graph.stage is Stage.FLOAT else _arithmetic(model)
        rows.append(
            _accuracy(
                f"{model.forward} ({what})",
                lambda m=model, o=output: m.run(images, keep=[o])[o],
                labels,
                rule,
            )
        )
    if source.graph.stage is Stage.FLOAT and not options.calibrated:
        return rows
    graph = rounded_graph(quantized_graph(source, options), options)
    codes = input_codes(graph, images, source.engine)
    output = graph.outputs[0]
    kind, progress = graph.types()[output], tables.progress("golden model")
    rows.append(
        _accuracy(
            f"pyahir ({options.scheme if source.scores is None else 'few-bit'} golden model)",
            lambda: _scores(
                evaluate_batch(graph, codes, output, jobs=jobs, progress=progress), kind
            ),
            labels,
            rule,
        )
    )
    return rows


def _arithmetic(model: SourceModel) -> str:
    return model.engine if model.scores is not None else f"uint8, {model.engine}"


def _scores(values: Array, kind: TensorType) -> Array:
    """Give what a class is chosen by: real numbers, or the integers of a few-bit network."""
    return (
        values
        if isinstance(kind.element, Bipolar | Int) and not isinstance(kind.quantization, Affine)
        else dequantize(values, kind)
    )


def _accuracy(
    model: str, run: Callable[[], Array], labels: Labels, rule: HostRule
) -> dict[str, Any]:
    start = time.perf_counter()
    scores = run()
    seconds = time.perf_counter() - start
    correct = int((rule.classes(scores) == labels).sum())
    return {
        "model": model,
        "correct": correct,
        "accuracy": correct / len(labels),
        "images_per_second": len(labels) / seconds,
    }
