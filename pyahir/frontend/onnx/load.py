"""An ONNX file as what a ``SourceModel`` is made of: a few-bit network, or an 8-bit graph."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pyahir.errors import ImportModelError
from pyahir.frontend.brevitas.load import FewBitImport, note
from pyahir.frontend.brevitas.runner import Coding, FewBitRunner
from pyahir.frontend.onnx.constants import fold
from pyahir.frontend.onnx.few_bit import few_bit_network
from pyahir.frontend.onnx.layers import Chain
from pyahir.frontend.onnx.model import OnnxModel, read
from pyahir.frontend.onnx.qdq import Found, qdq_graph
from pyahir.frontend.shapes import Shape
from pyahir.frontend.torchscript import Imported
from pyahir.ir.graph import legal_name
from pyahir.ir.types import Array, Layout, TensorType
from pyahir.quant.few_bit import FewBitGraph, few_bit_graph

if TYPE_CHECKING:
    from pyahir.frontend.onnx.reference import Evaluation  # needs the package onnx

__all__ = ["EVALUATION", "OnnxRunner", "import_onnx"]

EVALUATION = "onnx reference"


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxRunner:
    """Runs an 8-bit file with the reference evaluator; ``shapes`` are torch's, without batch."""

    forward: Evaluation = field(repr=False)
    sources: Mapping[str, Found]
    shapes: Mapping[str, tuple[int, ...]]

    def run(self, x: npt.NDArray[np.float32], keep: Collection[str]) -> dict[str, Array]:
        """Give the codes of every name in ``keep`` for a batch (N, ...)."""
        wanted = {name: found for name, found in self.sources.items() if name in keep}
        values = self.forward(x, {found.value for found in wanted.values()})
        return {
            name: found.codes(values[found.value]).reshape(len(x), *self.shapes[name])
            for name, found in wanted.items()
        }


def import_onnx(
    path: str | os.PathLike[str],
    name: str,
    *,
    input_shape: Shape | None = None,
    threshold_ties: str = "source",
) -> FewBitImport | Imported:
    """Import a file: nodes of QONNX make it a few-bit network, QuantizeLinear an 8-bit one."""
    model = read(path, input_shape)
    nodes, known = fold(model)
    if any(item.custom for item in model.nodes):
        return _few_bit(model, few_bit_network(model, name, nodes, known), threshold_ties)
    if not any(item.op == "QuantizeLinear" for item in model.nodes):
        raise ImportModelError(
            f"{model.origin}: the network is not quantized; accepted are QONNX (Quant, "
            "BipolarQuant, MultiThreshold) and QuantizeLinear with DequantizeLinear; give a float "
            "network as a file of torch.export.save with --calibrate"
        )
    from pyahir.frontend.onnx.reference import Evaluation

    found = qdq_graph(model, name, nodes, known)
    runner = OnnxRunner(
        forward=Evaluation(model), sources=found.sources, shapes=_shapes(found.graph.types())
    )
    return Imported(
        graph=found.graph, runner=runner, engine="onnx", input_shape=model.shape, note=found.note
    )


def _shapes(types: Mapping[str, TensorType]) -> dict[str, tuple[int, ...]]:
    return {
        name: (kind.channels, *kind.spatial) if kind.layout is Layout.NHWC else kind.shape[1:]
        for name, kind in types.items()
    }


def _few_bit(model: OnnxModel, chain: Chain, ties: str) -> FewBitImport:
    from pyahir.frontend.onnx.reference import Evaluation

    compiled = few_bit_graph(chain.network, ties)
    sources = _codings(chain, compiled)
    evaluation, names = Evaluation(model), {coding.path for coding in sources.values()}

    def forward(images: Tensor) -> dict[str, Tensor]:
        pixels = images.numpy().reshape(len(images), *model.shape)
        found = evaluation(pixels, names)
        return {name: torch.from_numpy(np.array(values)) for name, values in found.items()}

    runner = FewBitRunner(
        forward=forward,
        sources=sources,
        input_name=compiled.graph.inputs[0].name,
        shapes=_shapes(compiled.graph.types()),
    )
    return FewBitImport(
        network=chain.network,
        compiled=compiled,
        runner=runner,
        engine=EVALUATION,
        note=note(compiled),
    )


def _codings(chain: Chain, compiled: FewBitGraph) -> dict[str, Coding]:
    """Map the graph's values to those of the file."""
    pixels = chain.network.pixels
    assert pixels is not None
    unit = pixels.unit
    found = {
        legal_name(chain.network.input_path): Coding(
            path=chain.recoded, unit=unit, bit=pixels.width == 1, dtype="int16"
        )
    }
    for layer in chain.network.layers:
        if layer.activation is None:
            worth = unit * float(np.asarray(layer.scale).flat[0])
            sign = -1 if compiled.negated_scores else 1
            found[layer.name] = Coding(
                path=chain.scores, unit=sign * worth, term=chain.term, dtype="int64"
            )
            continue
        unit, bit = layer.activation.scale, layer.activation.width == 1
        coding = Coding(path=chain.activations[layer.path], unit=unit, bit=bit, dtype="int16")
        # A pooling that the file has before the activation leaves no value of its own.
        moved = layer.pool is not None and (layer.pool.first or layer.pool.moved)
        if not moved:
            found[layer.name] = coding
        if layer.pool is not None:
            path = coding.path if moved else chain.pools[layer.pool.path]
            found[legal_name(layer.pool.path)] = Coding(
                path=path, unit=unit, bit=bit, dtype="int16"
            )
    return found
