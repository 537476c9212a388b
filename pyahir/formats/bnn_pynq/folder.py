"""A folder of parameters: ``<layer>-<pe>-weights.bin``, ``-thres.bin`` and ``classes.txt``.

In: a folder and its topology. Out: ``Parameters``, integers by layer and neuron, which do not
depend on the folding; and back, byte for byte. Not here: what the numbers mean to a graph.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pyahir.errors import ImportModelError, OutputError
from pyahir.formats.bnn_pynq.topology import NETWORKS, Layer, Topology
from pyahir.formats.bnn_pynq.words import (
    Thresholds,
    Weights,
    pack_thresholds,
    pack_weights,
    stray_word,
    unpack_thresholds,
    unpack_weights,
)

__all__ = [
    "LayerParameters",
    "Parameters",
    "files_of",
    "find_network",
    "is_folder",
    "read_folder",
    "write_folder",
]

CLASSES = "classes.txt"
FIRST = "0-0-weights.bin"
FILE = re.compile(r"(\d+)-(\d+)-(weights|thres)\.bin\Z")
BYTES = 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LayerParameters:
    """Weights (neurons, synapses), thresholds (neurons, T) as stored, with what is padding.

    The synapses of a convolution come in the order row, column, channel.
    """

    weights: Weights
    thresholds: Thresholds


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parameters:
    """The parameters of a network.

    ``class_text`` is ``classes.txt`` as it is. ``lengths`` are the bytes of files that are shorter
    than their memory, ``ignored`` the files that no memory takes: both only so that the same
    folder is written again.
    """

    layers: tuple[LayerParameters, ...]
    class_text: bytes
    lengths: Mapping[str, int] = field(default_factory=dict[str, int])
    ignored: Mapping[str, bytes] = field(default_factory=dict[str, bytes])

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes: the lines of ``classes.txt`` that are not empty."""
        lines = self.class_text.decode("utf-8", errors="replace").splitlines()
        return tuple(line.strip() for line in lines if line.strip())


def is_folder(path: Path) -> bool:
    """Tell whether a path is a folder of parameters."""
    return (path / CLASSES).is_file() and (path / FIRST).is_file()


def find_network(folder: Path) -> Topology:
    """Find the network that a folder is for from the names and sizes of its files."""
    sizes = {
        path.name: path.stat().st_size for path in _listed(folder) if FILE.fullmatch(path.name)
    }
    fitting = [topology for topology in NETWORKS.values() if _fits(topology, sizes)]
    if len(fitting) == 1:
        return fitting[0]
    names = [topology.name for topology in fitting] or list(NETWORKS)
    what = "files of several networks" if fitting else "files of no known network"
    raise ImportModelError(
        f"{folder}: {what}, {len(sizes)} of them; say which with --network: {', '.join(names)}, "
        "or a config.h"
    )


def _fits(topology: Topology, sizes: Mapping[str, int]) -> bool:
    """Tell whether all files are there, none too long, and those of the first layer whole."""
    for index, layer in enumerate(topology.layers):
        for kind, expected in _expected(layer).items():
            names = [name for name in sizes if _belongs(name, index, kind)]
            if len(names) != layer.pe:
                return False
            found = [sizes[name] for name in names]
            if max(found) > expected or (not index and min(found) < expected):
                return False
    return all(_layer_of(name) < len(topology.layers) for name in sizes)


def _layer_of(name: str) -> int:
    return int(name.split("-")[0])


def _belongs(name: str, index: int, kind: str) -> bool:
    return name.startswith(f"{index}-") and name.endswith(f"-{kind}.bin")


def _expected(layer: Layer) -> dict[str, int]:
    """Give the bytes of a whole file of each kind that a layer has."""
    sizes = {"weights": BYTES * layer.weight_memory}
    if layer.thresholds:
        sizes["thres"] = BYTES * layer.neuron_folds * layer.thresholds
    return sizes


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise ImportModelError(f"{folder}: cannot read: {error.strerror}") from None


def read_folder(folder: Path, topology: Topology | None = None) -> tuple[Topology, Parameters]:
    """Read a folder; its network is found from its files when none is given."""
    if not is_folder(folder):
        raise ImportModelError(
            f"{folder}: not a folder of BNN-PYNQ parameters, which holds {CLASSES} and {FIRST}"
        )
    topology = topology or find_network(folder)
    lengths: dict[str, int] = {}
    taken = {CLASSES}

    def memory(index: int, pe: int, kind: str, size: int) -> bytes:
        name = f"{index}-{pe}-{kind}.bin"
        taken.add(name)
        data = _file(folder / name, size, topology)
        if len(data) < size:
            lengths[name] = len(data)
        return data.ljust(size, b"\0")

    layers = tuple(
        _read_layer(folder, index, layer, memory) for index, layer in enumerate(topology.layers)
    )
    ignored = {
        path.name: _content(path)
        for path in _listed(folder)
        if FILE.fullmatch(path.name) and path.name not in taken
    }
    surplus = [name for name in ignored if not _may_be_ignored(name, topology)]
    if surplus:
        raise ImportModelError(
            f"{folder / surplus[0]}: {topology.name} has no such memory; say another --network"
        )
    text = _content(folder / CLASSES)
    found = Parameters(layers=layers, class_text=text, lengths=lengths, ignored=ignored)
    most = topology.layers[-1].outputs
    if not 0 < len(found.classes) <= most:
        raise ImportModelError(
            f"{folder / CLASSES}: {len(found.classes)} classes; {topology.name} has 1 to {most}"
        )
    return topology, found


def _may_be_ignored(name: str, topology: Topology) -> bool:
    """Accept thresholds of a layer that has none: the host program does not load them."""
    index = _layer_of(name)
    if index >= len(topology.layers) or not name.endswith("-thres.bin"):
        return False
    return not topology.layers[index].thresholds


Memory = Callable[[int, int, str, int], bytes]


def _read_layer(folder: Path, index: int, layer: Layer, memory: Memory) -> LayerParameters:
    sizes = _expected(layer)

    def lines(kind: str, dtype: type[Any]) -> npt.NDArray[Any]:
        parts = [memory(index, pe, kind, sizes[kind]) for pe in range(layer.pe)]
        return np.stack([np.frombuffer(part, np.dtype(dtype).newbyteorder("<")) for part in parts])

    words = lines("weights", np.uint64).astype(np.uint64)
    for pe in range(layer.pe):
        stray = stray_word(layer, words[pe])
        if stray is not None:
            raise ImportModelError(
                f"{folder}/{index}-{pe}-weights.bin: word {stray} is {int(words[pe, stray]):#x}; "
                f"it holds {layer.simd} weights, each {layer.weight_width} bit wide"
            )
    thresholds = np.zeros((layer.outputs, 0), np.int64)
    if layer.thresholds:
        thresholds = unpack_thresholds(layer, lines("thres", np.int64).astype(np.int64))
    return LayerParameters(weights=unpack_weights(layer, words), thresholds=thresholds)


def _file(path: Path, size: int, topology: Topology) -> bytes:
    data = _content(path)
    if len(data) > size or len(data) % BYTES:
        raise ImportModelError(
            f"{path}: {len(data)} bytes; {topology.name} takes {size}, or less in steps of {BYTES}"
        )
    return data


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ImportModelError(f"{path}: no such file; the folder is not complete") from None
    except OSError as error:
        raise ImportModelError(f"{path}: cannot read: {error.strerror}") from None


def files_of(topology: Topology, parameters: Parameters) -> dict[str, bytes]:
    """Give the name and content of every file of a folder."""
    files = {CLASSES: parameters.class_text, **parameters.ignored}
    for index, (layer, given) in enumerate(zip(topology.layers, parameters.layers, strict=True)):
        memories: dict[str, npt.NDArray[Any]] = {
            "weights": pack_weights(layer, given.weights).astype("<u8")
        }
        if layer.thresholds:
            memories["thres"] = pack_thresholds(layer, given.thresholds).astype("<i8")
        for kind, lines in memories.items():
            for pe in range(layer.pe):
                name = f"{index}-{pe}-{kind}.bin"
                files[name] = lines[pe].tobytes()[: parameters.lengths.get(name)]
    return files


def write_folder(folder: Path, topology: Topology, parameters: Parameters) -> None:
    """Write a folder that does not exist, whole or not at all."""
    if folder.exists():
        raise OutputError(f"{folder}: exists; give a new folder")
    part = folder.with_name(f"{folder.name}.part")
    try:
        part.mkdir()
        for name, data in files_of(topology, parameters).items():
            (part / name).write_bytes(data)
        part.rename(folder)
    except OSError as error:
        raise OutputError(f"{folder}: cannot write: {error.strerror}") from None
