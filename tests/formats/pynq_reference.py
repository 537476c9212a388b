"""BNN-PYNQ hardware in plain Python: word by word from the files of a folder, nothing of pyahir.

Slow, and meant to be read: one processing element, one lane, one synapse at a time. Sizes come from
the topology; weights, thresholds and padding only from the bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from pyahir.formats.bnn_pynq.topology import Layer, Topology

Files = Mapping[str, bytes]
Ints = npt.NDArray[np.int64]


def word(data: bytes, index: int, *, signed: bool) -> int:
    """Read one 64-bit word; beyond the end of a short file there is 0."""
    part = data[8 * index : 8 * index + 8].ljust(8, b"\0")
    return int.from_bytes(part, "little", signed=signed)


def neuron(layer: Layer, files: Files, index: int, row: int) -> list[int]:
    """Read the lanes of a neuron: codes of weights in the order of its synapses."""
    fold, pe = divmod(row, layer.pe)
    data = files[f"{index}-{pe}-weights.bin"]
    mask = (1 << layer.weight_bits) - 1
    codes = []
    for part in range(layer.synapses // layer.simd):
        value = word(data, fold * (layer.synapses // layer.simd) + part, signed=False)
        for lane in range(layer.simd):
            codes.append((value >> (lane * layer.weight_bits)) & mask)
    return codes


def steps(layer: Layer, files: Files, index: int, row: int) -> list[int]:
    """Read the thresholds of a neuron."""
    count = {1: 1, 2: 2}[layer.activation_bits]
    fold, pe = divmod(row, layer.pe)
    data = files[f"{index}-{pe}-thres.bin"]
    return [word(data, fold * count + number, signed=True) for number in range(count)]


def fired(layer: Layer, files: Files, index: int, row: int, inputs: list[int], bits: int) -> int:
    """Compute one neuron on input codes; give its activation's code, or its sum."""
    codes = neuron(layer, files, index, row)
    assert len(codes) == len(inputs)
    if bits == 1 and layer.weight_bits == 1 and layer.activation_bits != 2:
        total = sum(int(code == value) for code, value in zip(codes, inputs, strict=True))
    else:
        values = [2 * value - 1 for value in inputs] if bits == 1 else inputs
        weights = [2 * code - 1 for code in codes]
        if layer.weight_bits == 2:
            weights = [code - 4 if code > 1 else code for code in codes]
        total = sum(weight * value for weight, value in zip(weights, values, strict=True))
    if layer.activation_bits == 16:
        return total
    compared = 2 * total if bits == 8 else total
    count = sum(threshold < compared for threshold in steps(layer, files, index, row))
    return count if layer.activation_bits == 1 else count - 1


def pixel_code(pixel: int) -> int:
    """Give a pixel as a number of 8 bits, 7 behind the point: rounded, saturated."""
    exact = pixel * 2 / 255 - 1
    return int(min(max(np.floor(exact * 128 + 0.5), -128), 127))


def run(topology: Topology, files: Files, classes: int, image: npt.NDArray[Any]) -> list[Ints]:
    """Run an image (C, H, W) of pixels; give every layer's result, (C, H, W) or (classes,)."""
    bits, value = 8, np.moveaxis(image, 0, -1).astype(np.int64)
    if topology.layers[0].kernel_size:
        value = np.vectorize(pixel_code)(value)
    else:
        bits, value = 1, np.array([int(p * 2 / 255 - 1 >= 0) for p in image.ravel().tolist()])
    found: list[Ints] = []
    for index, layer in enumerate(topology.layers):
        last = index + 1 == len(topology.layers)
        rows = range(classes if last else layer.outputs)
        if layer.kernel_size:
            value = _convolved(topology, files, index, value, bits)
            found.append(np.moveaxis(value, -1, 0))
            if topology.layers[index + 1].kernel_size and layer.out_dim != (
                topology.layers[index + 1].in_dim
            ):
                value = _pooled(value)
        else:
            stream = value.ravel().tolist()
            stream += [0] * (layer.synapses - len(stream))
            value = np.array([fired(layer, files, index, row, stream, bits) for row in rows])
            found.append(value)
        bits = layer.activation_bits
    return found


def _convolved(topology: Topology, files: Files, index: int, value: Ints, bits: int) -> Ints:
    layer = topology.layers[index]
    out = np.zeros((layer.out_dim, layer.out_dim, layer.outputs), np.int64)
    for y in range(layer.out_dim):
        for x in range(layer.out_dim):
            window = value[y : y + layer.kernel_size, x : x + layer.kernel_size].ravel().tolist()
            for row in range(layer.outputs):
                out[y, x, row] = fired(layer, files, index, row, window, bits)
    return out


def _pooled(value: Ints) -> Ints:
    height, width, channels = value.shape
    return value.reshape(height // 2, 2, width // 2, 2, channels).max(axis=(1, 3))
