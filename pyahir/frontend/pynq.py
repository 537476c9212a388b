"""Folders of BNN-PYNQ parameters: imported to a graph, and run in torch as the hardware does.

In: a folder. Out: a graph with its ``FolderRunner``, which works from the stored bits: it counts
agreeing bits, padding included, and compares stored thresholds. The graph knows none of that.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from pyahir.formats.bnn_pynq.config import read_config
from pyahir.formats.bnn_pynq.folder import LayerParameters, Parameters, read_folder
from pyahir.formats.bnn_pynq.graph import PIXEL_SCALE, import_graph
from pyahir.formats.bnn_pynq.topology import Accumulator, Layer, Topology, network
from pyahir.frontend.torchrun import engine
from pyahir.ir.graph import Graph
from pyahir.ir.types import Array

__all__ = ["FolderRunner", "import_folder"]

CHUNK = 32
FRACTION = 128  # of a pixel as the first convolution takes it
UNITS = 2  # thresholds of that layer count in half of them


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderRunner:
    """Runs the hardware's arithmetic with torch's kernels, in float64, which is exact here."""

    topology: Topology
    parameters: Parameters
    sources: dict[str, int] = field(default_factory=dict[str, int])

    def run(self, x: npt.NDArray[np.float32], keep: Collection[str]) -> dict[str, Array]:
        """Give the codes of every name in ``keep`` for a batch (N, C, H, W)."""
        parts = [self._chunk(x[at : at + CHUNK], keep) for at in range(0, len(x), CHUNK)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _chunk(self, x: npt.NDArray[np.float32], keep: Collection[str]) -> dict[str, Array]:
        with engine():
            images = torch.from_numpy(np.ascontiguousarray(x))
            pixels = torch.quantize_per_tensor(images, PIXEL_SCALE, 0, torch.quint8).int_repr()
            found = {"x": pixels, "image": self._recoded(pixels)}
            value = found["image"].double()
            for index, layer in enumerate(self.topology.layers):
                value = self._layer(index, layer, value)
                found[f"l{index}"] = value
                if self.topology.pooling(index) == 2:
                    value = functional.max_pool2d(value, 2)
                    found[f"l{index}_pool"] = value
            return {name: _codes(found[name]) for name in keep}

    def _recoded(self, pixels: Tensor) -> Tensor:
        scaled = pixels.double() * 2 / 255 - 1
        if self.topology.accumulator(0) is Accumulator.FIXED:
            return (scaled * FRACTION + 0.5).floor().clamp(-FRACTION, FRACTION - 1)
        return (scaled >= 0).double()

    def _layer(self, index: int, layer: Layer, value: Tensor) -> Tensor:
        given, kind = self.parameters.layers[index], self.topology.accumulator(index)
        weights = torch.from_numpy(given.weights).double()
        if not layer.kernel_size and value.ndim == 4:
            value = value.permute(0, 2, 3, 1).flatten(1)  # the stream's order: row, column, channel
        if not layer.kernel_size:
            value = functional.pad(value, (0, layer.synapses - value.shape[1]))
        acc = self._accumulated(layer, kind, weights, value, bits=self.topology.input_bits(index))
        if index + 1 == len(self.topology.layers):
            acc = acc[:, : len(self.parameters.classes)]
        if layer.thresholds:
            return _activated(layer, kind, given, acc)
        return 2 * acc - layer.synapses if kind is Accumulator.POPCOUNT else acc

    def _accumulated(
        self, layer: Layer, kind: Accumulator, weights: Tensor, value: Tensor, *, bits: int
    ) -> Tensor:
        if kind is Accumulator.POPCOUNT:
            ones = (weights > 0).double()
            agreeing = _products(layer, value, ones)
            return agreeing + _products(layer, 1 - value, 1 - ones)
        if bits == 1:
            value = 2 * value - 1
        return _products(layer, value, weights)


def _products(layer: Layer, value: Tensor, weights: Tensor) -> Tensor:
    if not layer.kernel_size:
        return functional.linear(value, weights)
    size = layer.kernel_size
    return functional.conv2d(
        value, weights.reshape(-1, size, size, layer.inputs).permute(0, 3, 1, 2)
    )


def _activated(layer: Layer, kind: Accumulator, given: LayerParameters, acc: Tensor) -> Tensor:
    """Give bits, or the activation: its base and the stored thresholds that are less."""
    if kind is Accumulator.FIXED:
        acc = acc * UNITS
    base = 0 if layer.activation_width == 1 else layer.base
    count = torch.full_like(acc, base)
    for step in torch.from_numpy(given.thresholds[: acc.shape[1]]).double().T:
        count += acc > step.reshape(-1, *(1,) * (acc.ndim - 2))
    return count


def _codes(value: Tensor) -> Array:
    return value.to(torch.int64).numpy()


def _topology(name: str) -> Topology:
    return read_config(Path(name)) if name.endswith(".h") else network(name)


def import_folder(path: Path, name: str | None) -> tuple[Graph, FolderRunner]:
    """Import a folder; ``name`` is its network, or a ``config.h``; None: as the files tell."""
    topology, parameters = read_folder(path, None if name is None else _topology(name))
    graph = import_graph(topology, parameters, str(path))
    names = ["x", "image"]
    for index in range(len(topology.layers)):
        names.append(f"l{index}")
        names += [f"l{index}_pool"] if topology.pooling(index) == 2 else []
    sources = {item: position for position, item in enumerate(names)}
    return graph, FolderRunner(topology=topology, parameters=parameters, sources=sources)
