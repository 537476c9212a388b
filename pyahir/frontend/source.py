"""The front door: a file or a module in, a ``SourceModel`` out: its graph, and torch to compare.

Which kind of file it is decides ``detect``; what cannot be imported is told in one message.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Collection, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from pyahir.errors import DataError, ImportModelError
from pyahir.frontend.brevitas.load import FewBitImport, import_checkpoint
from pyahir.frontend.brevitas.modules import from_brevitas as import_brevitas
from pyahir.frontend.detect import FileKind, detect
from pyahir.frontend.modules import export_module, is_quantized, script_bytes, square_shape
from pyahir.frontend.onnx.load import import_onnx
from pyahir.frontend.pickles import load_pickle, refuse
from pyahir.frontend.program import import_program
from pyahir.frontend.pynq import import_folder
from pyahir.frontend.shapes import Shape, text, traced_shape
from pyahir.frontend.torchrun import quiet
from pyahir.frontend.torchscript import Imported, import_script
from pyahir.frontend.untrusted import check_program, no_pickles
from pyahir.ir.graph import Graph, legal_name
from pyahir.ir.types import Array, TensorType
from pyahir.quant.few_bit import Scores
from pyahir.quant.thresholds import Tie

__all__ = ["Runner", "SourceModel", "from_brevitas", "from_module", "load_model"]

LOAD_ERRORS = (
    AssertionError,  # torch checks the content of a file by assertions
    AttributeError,
    KeyError,
    RuntimeError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
)


class Runner(Protocol):
    """Runs the source in torch; ``sources`` has the names of the values that it can give."""

    @property
    def sources(self) -> Mapping[str, object]: ...

    def run(self, x: npt.NDArray[np.float32], keep: Collection[str]) -> dict[str, Array]:
        """Give the values of every name in ``keep`` for a batch (N, ...)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceModel:
    """A model as it was given, imported.

    ``engine`` says whose arithmetic the graph follows: fbgemm, qnnpack, pt2e or float; of a few-bit
    network, whose forward runs in torch: brevitas, plain torch or bnn-pynq; onnx and onnx reference
    of a file that the reference evaluator of the package onnx runs. ``scores`` maps raw
    scores to the source's real ones, where that is more than the scale of their type; ``ties``
    lists, by layer, the accumulators on a step of its activation or too near to it for float32.
    ``input_shape`` is (C, H, W) or (I,). ``note`` tells what was inferred, for the user to check.
    """

    path: str | None
    kind: FileKind | None
    name: str
    graph: Graph
    input_shape: Shape
    engine: str
    note: str = ""
    torch_version: str = torch.__version__
    scores: Scores | None = None
    ties: Mapping[str, tuple[Tie, ...]] = field(default_factory=dict[str, tuple[Tie, ...]])
    runner: Runner = field(repr=False, compare=False)

    @property
    def input_type(self) -> TensorType:
        """The type of the graph's input; codes for a quantized graph."""
        return self.graph.inputs[0].type

    @property
    def forward(self) -> str:
        """What runs the source itself, which is the engine ``torch`` of the command line."""
        return "reference evaluation" if self.kind is FileKind.ONNX else "torch"

    @property
    def host(self) -> str | None:
        """The host rule (``pyahir.hosts``) that the source comes with."""
        return "bnn-pynq" if self.kind is FileKind.BNN_PYNQ else None

    def run(
        self, x: npt.NDArray[np.float32], keep: Collection[str] | None = None
    ) -> dict[str, Array]:
        """Run torch on a batch (N, *input_shape); give values under the graph's names.

        Codes for a quantized graph, the input's codes among them, float32 for a float one,
        all in torch's order (N, C, H, W). ``keep`` names the values wanted; default: all that
        torch has. Accumulators are not among them.
        """
        if x.shape[1:] != self.input_shape or not len(x):
            raise DataError(
                f"an array of shape {'x'.join(map(str, x.shape))}; the model takes "
                f"Nx{'x'.join(map(str, self.input_shape))} with N of 1 or more"
            )
        wanted = self.runner.sources.keys() if keep is None else set(keep)
        return self.runner.run(np.asarray(x, np.float32), wanted)


def load_model(
    path: str | os.PathLike[str],
    *,
    trust_pickle: bool = False,
    input_shape: Shape | None = None,
    quantized_engine: str = "auto",
    network: str | None = None,
    threshold_ties: str = "source",
) -> SourceModel:
    """Import a model file that holds a graph, a few-bit checkpoint or a BNN-PYNQ folder.

    A pickle runs code when it is loaded: it is, only with ``trust_pickle``. ``quantized_engine``
    is fbgemm or qnnpack; auto reads it off the weights. ``network``, such as ``TFC_1W1A``, and
    ``threshold_ties`` serve few-bit checkpoints: ``quant.few_bit`` says what they do. ``network``
    is also that of a folder, such as ``lfcW1A1``.
    """
    kind = detect(path)
    if kind is FileKind.BNN_PYNQ:
        return _folder(Path(path), network)
    if network is not None:
        if kind is not FileKind.STATE_DICT:
            raise ImportModelError(
                f"{path}: this is {kind.value}; --network {network} takes a state dict or a "
                "checkpoint that holds one"
            )
        few = import_checkpoint(path, network, threshold_ties=threshold_ties)
        return _few_bit(few, os.fspath(path), kind)
    origin, name = os.fspath(path), legal_name(Path(path).stem)
    shape = tuple(input_shape) if input_shape else None
    if kind is FileKind.TORCHSCRIPT:
        imported = import_script(
            Path(path).read_bytes(),
            origin=origin,
            name=name,
            input_shape=shape,
            traced=traced_shape(path),
            quantized_engine=quantized_engine,
        )
    elif kind is FileKind.EXPORTED:
        imported = import_program(
            _program(path, trust_pickle), origin=origin, name=name, input_shape=shape
        )
    elif kind is FileKind.ONNX:
        read = import_onnx(path, name, input_shape=shape, threshold_ties=threshold_ties)
        if isinstance(read, FewBitImport):
            return _few_bit(read, origin, kind)
        imported = read
    elif kind in (FileKind.EAGER_PICKLE, FileKind.FX_PICKLE) and trust_pickle:
        module = load_pickle(path)
        imported = _import_module(module, None, origin, name, shape, quantized_engine)
    else:
        raise refuse(path, kind)
    return _model(imported, origin, kind, name)


def _folder(path: Path, network: str | None) -> SourceModel:
    graph, runner = import_folder(path, network)
    topology = runner.topology
    return SourceModel(
        path=str(path),
        kind=FileKind.BNN_PYNQ,
        name=graph.name,
        graph=graph,
        input_shape=topology.image,
        engine="bnn-pynq",
        note="" if network else f"network {topology.name}, from the sizes of the files",
        scores=Scores(),
        runner=runner,
    )


def from_module(
    module: nn.Module,
    example: torch.Tensor | tuple[torch.Tensor, ...],
    *,
    quantized_engine: str = "auto",
) -> SourceModel:
    """Import a module in memory: traced when it is quantized, exported when it is float."""
    if isinstance(example, tuple):
        if len(example) != 1:
            raise ImportModelError(
                f"{type(module).__name__}: {len(example)} example inputs; a model takes one tensor"
            )
        example = example[0]
    label = type(module).__name__
    name = legal_name(getattr(module, "original_name", label))
    shape = tuple(example.shape[1:])
    imported = _import_module(module, example, label, name, shape, quantized_engine)
    return _model(imported, None, None, name)


def from_brevitas(
    module: nn.Module,
    *,
    input_shape: Shape | None = None,
    name: str | None = None,
    threshold_ties: str = "source",
) -> SourceModel:
    """Import a few-bit Brevitas module in memory; it takes images (C, H, W) in [0, 1]."""
    few = import_brevitas(module, input_shape=input_shape, name=name, threshold_ties=threshold_ties)
    return _few_bit(few, None, None)


def _few_bit(few: FewBitImport, path: str | None, kind: FileKind | None) -> SourceModel:
    return SourceModel(
        path=path,
        kind=kind,
        name=few.network.name,
        graph=few.compiled.graph,
        input_shape=few.network.input_shape,
        engine=few.engine,
        note=few.note,
        scores=few.compiled.scores,
        ties=few.compiled.ties,
        runner=few.runner,
    )


def _model(imported: Imported, path: str | None, kind: FileKind | None, name: str) -> SourceModel:
    return SourceModel(
        path=path,
        kind=kind,
        name=name,
        graph=imported.graph,
        input_shape=imported.input_shape,
        engine=imported.engine,
        note=imported.note,
        runner=imported.runner,
    )


def _program(path: str | os.PathLike[str], trust_pickle: bool) -> Any:
    if not trust_pickle:
        check_program(path)
    guard = nullcontext() if trust_pickle else no_pickles()
    try:
        with quiet(), guard:
            return torch.export.load(path)
    except LOAD_ERRORS as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ImportModelError(
            f"{path}: torch {torch.__version__} cannot load this exported program: {reason}"
        ) from None


def _import_module(
    module: nn.Module,
    example: torch.Tensor | None,
    origin: str,
    name: str,
    shape: Shape | None,
    quantized_engine: str,
) -> Imported:
    note = ""
    if example is None:
        if shape is None:
            shape = square_shape(module, origin)
            note = f"input shape {text(shape)} inferred; --input-shape sets another"
        example = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0))
    if isinstance(module, torch.jit.ScriptModule) or is_quantized(module):
        data = script_bytes(module, example, origin)
        imported = import_script(
            data, origin=origin, name=name, input_shape=shape, quantized_engine=quantized_engine
        )
    else:
        program = export_module(module, example, origin)
        imported = import_program(program, origin=origin, name=name)
    return replace(imported, note="; ".join(filter(None, (note, imported.note))))
