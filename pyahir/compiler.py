"""The compiler as a function: a model in, the files of a design out.

In: a model file, a module or a quantized graph, and options. Out: ``Compiled``, which knows its
text, weights and manifest and can write them. No command line here.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pyahir.backends.aa.files import weights_bytes, write_files
from pyahir.backends.aa.lower import Design, lower
from pyahir.backends.aa.packing import pack_memories
from pyahir.backends.aa.printer import to_text
from pyahir.backends.aa.verify import verify as verify_aa
from pyahir.data import check_images
from pyahir.errors import PlanError, PyahirError
from pyahir.ir.graph import Graph, Stage
from pyahir.manifest import build_manifest
from pyahir.passes.eliminate_exceptions import count_exceptions, eliminate_exceptions
from pyahir.passes.pipeline import SIMPLIFY, Pipeline
from pyahir.plan.file import plan_text
from pyahir.plan.plan import Plan
from pyahir.plan.search import Options, make_plan
from pyahir.quant.calibrate import calibrate
from pyahir.quant.exponents import calibrate_exponents
from pyahir.quant.observers import OBSERVERS
from pyahir.quant.posit import quantize_real
from pyahir.quant.quantize import quantize
from pyahir.quant.scheme import RealScheme

if TYPE_CHECKING:
    import torch

    from pyahir.frontend.source import SourceModel

__all__ = [
    "CompileOptions",
    "Compiled",
    "compile_graph",
    "compile_module",
    "compile_plan",
    "provenance_of",
    "quantized_graph",
    "rounded_graph",
]

Progress = Callable[[int, int], None]
VERSIONED = ("numpy", "torch", "lark", "networkx")


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileOptions:
    """How to quantize and what hardware to make.

    ``rounding``: ``exact`` keeps the exceptions that make a requantize equal to its source's float
    rule everywhere, ``linear`` drops them. ``observer``, ``calibration`` (float32 images) and
    ``real``, the posit or float scheme that takes the place of uint8, serve float models only.
    ``native_floats`` takes AHIR's float operators: those of float16 are exact, those of float32
    are not, so that the engine ``ahir`` then differs from the others.
    """

    plan: Options = field(default_factory=Options)
    rounding: str = "exact"
    observer: str = "minmax"
    real: RealScheme | None = None
    calibration: npt.NDArray[np.float32] | None = None
    native_floats: bool = False
    dump_dir: Path | None = None
    progress: Progress | None = None

    @property
    def calibrated(self) -> bool:
        """Whether a float model can be quantized: there are images, or none are needed."""
        return self.calibration is not None or (self.real is not None and not self.real.calibrated)

    @property
    def scheme(self) -> str:
        return "uint8" if self.real is None else str(self.real)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Compiled:
    """A design in memory."""

    graph: Graph
    plan: Plan
    design: Design
    text: bytes
    weights: bytes
    manifest: dict[str, Any]

    def write(self, path: Path) -> tuple[Path, ...]:
        """Write ``path`` (.aa), ``.weights``, ``.json`` and ``.plan.json`` together, or nothing."""
        suffixes = (".weights", ".json", ".plan.json")
        paths = (path, *(path.with_suffix(suffix) for suffix in suffixes))
        if len(set(paths)) < len(paths):
            raise PlanError(f"{path}: the output is named like its own manifest; end it in .aa")
        manifest = json.dumps(self.manifest, indent=2, sort_keys=True) + "\n"
        texts = (self.text, self.weights, manifest.encode(), plan_text(self.plan).encode())
        write_files(dict(zip(paths, texts, strict=True)))
        return paths


def quantized_graph(source: SourceModel, options: CompileOptions) -> Graph:
    """Give the QUANTIZED graph of a model: imported, or quantized here from calibration data."""
    graph = source.graph
    if graph.stage is Stage.QUANTIZED:
        if options.real is not None:
            raise PyahirError(
                f"{source.path or source.name}: is quantized to uint8 already; --scheme "
                f"{options.real.scheme} takes a float model"
            )
        return graph
    if not options.calibrated:
        raise PyahirError(
            f"{source.path or source.name}: a float model; give calibration images with "
            "--calibrate data.npz (an array 'x'), and pyahir quantizes it"
        )
    if options.calibration is not None:
        check_images(options.calibration, source.input_shape, "the calibration data")
    graph = Pipeline(SIMPLIFY).run(graph, dump_dir=options.dump_dir)
    return _quantized(graph, options)


def _quantized(graph: Graph, options: CompileOptions) -> Graph:
    images, real = options.calibration, options.real
    if real is None:
        assert images is not None
        observer = OBSERVERS[options.observer]
        return quantize(graph, calibrate(graph, images, observer, progress=options.progress))
    if not real.calibrated:
        return quantize_real(graph, real)
    assert images is not None
    return quantize_real(
        graph, real, calibrate_exponents(graph, images, real.es, progress=options.progress)
    )


def rounded_graph(graph: Graph, options: CompileOptions) -> Graph:
    """Drop the exceptions where ``--rounding linear`` asks for that."""
    return eliminate_exceptions(graph) if options.rounding == "linear" else graph


def compile_graph(
    graph: Graph, options: CompileOptions, provenance: Mapping[str, Any] | None = None
) -> Compiled:
    """Plan, lower, verify and print a quantized graph."""
    exceptions = sum(count_exceptions(graph).values())
    graph = rounded_graph(graph, options)
    dropped = exceptions - sum(count_exceptions(graph).values())
    made_from = {**(provenance or {}), "dropped_exceptions": dropped}
    return compile_plan(make_plan(graph, options.plan), options, made_from)


def compile_plan(
    plan: Plan, options: CompileOptions, provenance: Mapping[str, Any] | None = None
) -> Compiled:
    """Lower, verify and print what was planned."""
    design = lower(plan, native=options.native_floats)
    verify_aa(design.program, emitted=True)
    text = to_text(design.program).encode()
    weights = weights_bytes(pack_memories(plan, (*design.memories, *design.streams)))
    made_from = {
        "dropped_exceptions": 0,
        **(provenance or {}),
        "inexact_in_ahir": _inexact(plan, options),
        "options": _recorded(options),
        "versions": _versions(),
    }
    return Compiled(
        graph=plan.graph,
        plan=plan,
        design=design,
        text=text,
        weights=weights,
        manifest=build_manifest(plan, design, text, weights, made_from),
    )


def _inexact(plan: Plan, options: CompileOptions) -> bool:
    """Tell whether float32 operators of AHIR are in the design, which round some results wrong."""
    roundings = [planned.layer.rounding for planned in plan.layers]
    return options.native_floats and any(item and item.arith == "f32" for item in roundings)


def provenance_of(source: SourceModel) -> dict[str, Any]:
    """Say what a design was made from: the file's hash, never its path."""
    digest = None
    if source.path is not None:
        digest = _file_digest(Path(source.path))
    kind = source.kind.name.lower() if source.kind is not None else "module"
    return {"model_sha256": digest, "kind": kind, "rule": source.engine}


def _file_digest(path: Path) -> str:
    """Hash a file, or the names and hashes of a folder's files."""
    if not path.is_dir():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    files = sorted(item for item in path.iterdir() if item.is_file())
    lines = [f"{item.name} {_file_digest(item)}\n" for item in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def compile_module(
    module: torch.nn.Module,
    example: torch.Tensor,
    *,
    calibration: npt.NDArray[np.float32] | None = None,
    multipliers: int | None = None,
    foldings: Mapping[str, Any] | None = None,
    rounding: str = "exact",
    observer: str = "minmax",
    real: RealScheme | None = None,
) -> Compiled:
    """Compile an ``nn.Module``: quantized by PyTorch, or float with ``calibration`` images.

    ``example`` is one input as the module takes it, float32 of shape (1, C, H, W) or (1, I).
    ``calibration`` is float32 (N, C, H, W). ``real`` is a scheme of ``quant.scheme.real_scheme``
    (posit8, float16, float32) instead of uint8. Raises ``PyahirError`` for what cannot be compiled.
    """
    from pyahir.frontend.source import from_module

    source = from_module(module, example)
    plan = Options(foldings=foldings or {})
    if multipliers is not None:
        plan = Options(multipliers=multipliers, foldings=foldings or {})
    options = CompileOptions(
        plan=plan, rounding=rounding, observer=observer, real=real, calibration=calibration
    )
    return compile_graph(quantized_graph(source, options), options, provenance_of(source))


def _recorded(options: CompileOptions) -> dict[str, Any]:
    digest = None
    if options.calibration is not None:
        digest = hashlib.sha256(options.calibration.tobytes()).hexdigest()
    return {
        "multipliers": options.plan.multipliers,
        "cycles": options.plan.cycles,
        "memory": options.plan.memory,
        "foldings": {
            name: [
                folding.pe,
                folding.simd,
                folding.requantizers,
                folding.whole,
                folding.streamed,
            ]
            for name, folding in sorted(options.plan.foldings.items())
        },
        "streamed": sorted(options.plan.streamed),
        "weight_memory": options.plan.weight_memory,
        "scheme": options.scheme,
        "float": "native" if options.native_floats else "exact",
        "rounding": options.rounding,
        "observer": options.observer if digest else None,
        "calibration_sha256": digest,
    }


def _versions() -> dict[str, str]:
    from pyahir import __version__

    found = {name: importlib.metadata.version(name) for name in VERSIONED}
    return {"pyahir": __version__, **found}
