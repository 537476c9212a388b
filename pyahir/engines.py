"""Runs the engines on one batch and compares them, tensor by tensor.

In: a model, a design, images. Out: ``Comparison``: per pair of engines and per layer, how many
codes differ and where the first one is. The engines themselves live in their own packages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pyahir.backends.aa.engine import AaEngine
from pyahir.backends.aa.files import Codes
from pyahir.data import Images
from pyahir.errors import PyahirError
from pyahir.ir.eval import Evaluator, from_nchw, quantize, to_nchw
from pyahir.ir.graph import Graph, Stage
from pyahir.ir.ops import Encode, Flatten, MaxPool2d, MultiThreshold, Recode
from pyahir.ir.types import Affine, Array, Bipolar, Int, PowerOfTwo, TensorType
from pyahir.sim.ahir import AhirEngine
from pyahir.sim.design import stream_type
from pyahir.sim.engine import FrameCycles, GhdlEngine
from pyahir.sim.run import Stalls
from pyahir.sim.verilator import VerilatorEngine

if TYPE_CHECKING:
    from pyahir.frontend.source import SourceModel

__all__ = [
    "ENGINES",
    "SIMULATORS",
    "Comparison",
    "Difference",
    "LayerCheck",
    "Timing",
    "compare",
    "input_codes",
    "run_aa",
    "run_ir",
    "run_simulator",
    "run_torch",
]

ENGINES = ("torch", "ir", "aa", "ghdl", "ahir", "verilator")
SIMULATORS = {"ghdl": GhdlEngine, "ahir": AhirEngine, "verilator": VerilatorEngine}
PASSED = (Recode, MultiThreshold, MaxPool2d, Flatten)  # a few-bit integer, and no sum
Values = dict[str, Array]  # codes in the model's order: (N, C, H, W) or (N, I)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The first code of a tensor that differs, in row-major order."""

    frame: int
    channel: int
    row: int | None
    column: int | None
    expected: int
    actual: int

    def __str__(self) -> str:
        place = "" if self.row is None else f", row {self.row}, column {self.column}"
        return (
            f"frame {self.frame}, channel {self.channel}{place}: "
            f"{self.expected} expected, {self.actual} found"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One tensor in two engines."""

    left: str
    right: str
    layer: str
    compared: int
    differing: int
    first: Difference | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Clock cycles of a simulation beside the plan's prediction."""

    engine: str
    frames: FrameCycles
    predicted: int

    def text(self) -> str:
        frames = self.frames
        alone = frames.latency or 0
        text = f"{self.engine}: weights in {frames.first - alone:,} cycles, one frame in {alone:,}"
        if len(frames.ends) < 2:
            return text
        return f"{text}; back to back {frames.interval:,.0f} a frame, {self.predicted:,} predicted"

    def json(self) -> dict[str, Any]:
        settled = self.frames.interval if len(self.frames.ends) > 1 else None
        return {
            "engine": self.engine,
            "first_frame_cycles": self.frames.first,
            "cycles_per_frame": settled,
            "latency_cycles": self.frames.latency,
            "predicted_cycles_per_frame": self.predicted,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCheck:
    """One layer on its own: what differs, the planned cycles a frame, and the simulated ones."""

    layer: str
    predicted: int
    comparisons: tuple[Comparison, ...]
    timings: tuple[Timing, ...]


def run_torch(source: SourceModel, images: Images, graph: Graph | None = None) -> Values:
    """Run the model file itself in PyTorch, or a posit ``graph`` that was made of it."""
    if graph is not None and isinstance(graph.inputs[0].type.quantization, PowerOfTwo):
        from pyahir.frontend.positrun import run_real

        return run_real(graph, images)
    if source.graph.stage is Stage.FLOAT:
        raise PyahirError(
            f"{source.path or source.name}: the engine torch has no integers for a float model; "
            "compare --engines ir,aa, and float with quantized accuracy by 'pyahir evaluate'"
        )
    return {
        name: values for name, values in source.run(images).items() if values.dtype.kind in "iu"
    }


def input_codes(graph: Graph, images: Images, rule: str = "float") -> Array:
    """Quantize images (N, C, H, W) as the source of ``rule`` does; codes in the graph's layout."""
    kind = graph.inputs[0].type
    return quantize(from_nchw(images, kind), kind, rule=rule)


def run_ir(graph: Graph, codes: Array) -> Values:
    """Run the golden model; every activation, not the accumulators."""
    types = graph.types()
    names = [
        item.name
        for item in (*graph.inputs, *graph.nodes)
        if _is_activation(graph, item.name, item.type)
    ]
    found = Evaluator(graph).run(codes, keep=names)
    return {name: to_nchw(_bits(values), types[name]) for name, values in found.items()}


def _is_activation(graph: Graph, name: str, kind: TensorType) -> bool:
    """Tell the values that layers pass on, raw scores among them, from other accumulators."""
    if isinstance(kind.element, Bipolar):
        return True
    if isinstance(kind.element, Int):
        node = graph.node_map().get(name)
        passed = node is not None and isinstance(node.op, PASSED)
        return isinstance(kind.quantization, Affine) or passed or name in graph.outputs
    readers = graph.users().get(name, ())
    return kind.quantization is not None and not any(isinstance(n.op, Encode) for n in readers)


def _bits(values: Array) -> Array:
    """Give floats as their bit patterns, every NaN as the same one, so that == compares bits."""
    if values.dtype.kind != "f":
        return values
    same = np.where(np.isnan(values), values.dtype.type(np.nan), values)
    return same.view(f"u{values.dtype.itemsize}")


def run_aa(
    path: Path, codes: Codes, *, progress: Callable[[int, int], None] | None = None
) -> Values:
    """Run the written design in the Aa interpreter, frame after frame, weights loaded once."""
    engine = AaEngine.open(path)
    rows = engine.values
    given = {str(row["value"]): part for row, part in engine.files.frames(codes)}
    count = len(next(iter(given.values())))
    parts: list[Values] = []
    for frame in range(count):
        one = {name: part[frame : frame + 1] for name, part in given.items()}
        parts.append(engine.run(one, keep=rows.keys()))
        if progress is not None:
            progress(frame + 1, count)
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return {name: to_nchw(values, stream_type(rows[name])) for name, values in found.items()}


def run_simulator(
    simulator: str, path: Path, codes: Codes, *, stalls: Stalls | None = None
) -> tuple[Values, Timing]:
    """Simulate the written design as VHDL; give the last layer's codes and the clock cycles.

    ``simulator`` says whose VHDL: ``ghdl`` and ``verilator`` simulate ours, ``ahir`` that of the
    AHIR-V2 tools. Frames begin when the weights have been loaded, so that the first one shows the
    latency of a frame alone.
    """
    engine = SIMULATORS[simulator].open(path)
    output = engine.output
    (values,) = engine.run(codes, stalls=engine.after_weights(stalls)).values()
    predicted = int(engine.files.manifest["totals"]["cycles_per_frame"])
    timing = Timing(engine=simulator, frames=engine.cycles, predicted=predicted)
    return {output["value"]: to_nchw(values, stream_type(output))}, timing


def compare(results: Mapping[str, Values], order: Sequence[str]) -> list[Comparison]:
    """Compare each engine with the one before it, on the layers that both have."""
    found: list[Comparison] = []
    for left, right in pairwise(results):
        common = results[left].keys() & results[right].keys()
        if not common:
            raise PyahirError(f"{left} and {right} have no layer in common: different models?")
        found += [
            _compare(left, right, layer, results[left][layer], results[right][layer])
            for layer in order
            if layer in common
        ]
    return found


def _compare(left: str, right: str, layer: str, expected: Array, actual: Array) -> Comparison:
    if expected.shape != actual.shape:
        raise PyahirError(
            f"{layer}: {left} has shape {expected.shape}, {right} {actual.shape}: different models?"
        )
    places = np.argwhere(expected != actual)
    first = None
    if len(places):
        place = tuple(places[0].tolist())
        spatial = place[2:] if len(place) == 4 else (None, None)
        first = Difference(
            frame=place[0],
            channel=place[1],
            row=spatial[0],
            column=spatial[1],
            expected=int(expected[place]),
            actual=int(actual[place]),
        )
    return Comparison(
        left=left,
        right=right,
        layer=layer,
        compared=expected.size,
        differing=len(places),
        first=first,
    )
