"""The front door: a file or a module in, a ``SourceModel`` out: its graph, and torch to compare.

Which kind of file it is decides ``detect``; what cannot be imported is told in one message.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Collection
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from pyahir.errors import DataError, ImportModelError
from pyahir.formats.bnn_pynq.host import classify
from pyahir.frontend.detect import FileKind, detect
from pyahir.frontend.modules import export_module, is_quantized, script_bytes, square_shape
from pyahir.frontend.pickles import load_pickle, refuse
from pyahir.frontend.program import ProgramRunner, import_program
from pyahir.frontend.pynq import FolderRunner, import_folder
from pyahir.frontend.shapes import Shape, text, traced_shape
from pyahir.frontend.torchrun import quiet
from pyahir.frontend.torchscript import Imported, ScriptRunner, import_script
from pyahir.frontend.untrusted import check_program, no_pickles
from pyahir.ir.graph import Graph, legal_name
from pyahir.ir.types import Array, TensorType

__all__ = ["SourceModel", "from_module", "load_model"]

LOAD_ERRORS = (
    AssertionError,  # torch checks the content of a file by assertions
    AttributeError,
    KeyError,
    RuntimeError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceModel:
    """A model as it was given, imported.

    ``engine`` says whose arithmetic the graph follows: fbgemm, qnnpack, pt2e or float.
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
    runner: ScriptRunner | ProgramRunner | FolderRunner = field(repr=False, compare=False)

    @property
    def input_type(self) -> TensorType:
        """The type of the graph's input; codes for a quantized graph."""
        return self.graph.inputs[0].type

    def classify(self, scores: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """Give the class of every row of scores, as the source's own host does: the largest."""
        if isinstance(self.runner, FolderRunner):
            return classify(self.runner.topology, scores)
        return scores.argmax(axis=1)

    def run(
        self, x: npt.NDArray[np.float32], keep: Collection[str] | None = None
    ) -> dict[str, Array]:
        """Run torch on a batch (N, *input_shape); give values under the graph's names.

        uint8 codes for a quantized graph, the input's codes among them, float32 for a float one,
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
) -> SourceModel:
    """Import a model file of any kind that holds a graph, or a folder of BNN-PYNQ parameters.

    A pickle runs code when it is loaded: it is, only with ``trust_pickle``. ``quantized_engine``
    is fbgemm or qnnpack; auto reads it off the weights. ``network`` is that of a folder.
    """
    kind = detect(path)
    if kind is FileKind.BNN_PYNQ:
        return _folder(Path(path), network)
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
    elif kind in (FileKind.EAGER_PICKLE, FileKind.FX_PICKLE) and trust_pickle:
        module = load_pickle(path)
        imported = _import_module(module, None, origin, name, shape, quantized_engine)
    else:
        raise refuse(path, kind)
    return _model(imported, origin, kind, name)


def _folder(path: Path, network: str | None) -> SourceModel:
    graph, runner = import_folder(path, network)
    shape = runner.topology.image
    note = "" if network else f"network {runner.topology.name}, from the sizes of the files"
    imported = Imported(graph=graph, runner=runner, engine="bnn-pynq", input_shape=shape, note=note)
    return _model(imported, str(path), FileKind.BNN_PYNQ, graph.name)


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
