"""Small networks with BNN-PYNQ's layers, and parameters drawn at random for any network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pyahir.formats.bnn_pynq.folder import LayerParameters, Parameters
from pyahir.formats.bnn_pynq.topology import RAW, Accumulator, Layer, Topology


def full(inputs: int, outputs: int, simd: int, pe: int, weights: int, acts: int) -> Layer:
    return Layer(
        inputs=inputs,
        outputs=outputs,
        simd=simd,
        pe=pe,
        weight_bits=weights,
        activation_bits=acts,
    )


def window(layer: Layer, in_dim: int) -> Layer:
    return replace(layer, kernel_size=3, in_dim=in_dim, out_dim=in_dim - 2)


def digits(name: str, acts: int, *, last: int = 1, weights: int = 1) -> Topology:
    """11 pixels padded to 16 synapses, and outputs of padding."""
    layers = (
        full(16, 8, 8, 4, weights, acts),
        full(8, 12, 4, 3, weights, acts),
        full(12, 8, 6, 2, weights, last),
    )
    return Topology(name=name, image=(1, 1, 11), layers=layers)


def colours(name: str, weights: int, acts: int) -> Topology:
    """Two convolutions with a pooling between, and a feature map of 2x2 that becomes a vector."""
    layers = (
        window(full(3, 4, 3, 2, weights, acts), 10),
        window(full(4, 6, 2, 3, weights, acts), 4),
        full(24, 8, 4, 4, weights, acts),
        full(8, 8, 1, 2, weights, RAW),
    )
    return Topology(name=name, image=(3, 10, 10), layers=layers)


SMALL = (
    digits("digits1", 1),
    digits("digits2", 2),
    digits("digits_raw", 1, last=RAW),
    colours("colours11", 1, 1),
    colours("colours12", 1, 2),
    colours("colours22", 2, 2),
)


def reach(topology: Topology, index: int) -> tuple[int, int]:
    """Give the least and greatest threshold worth drawing."""
    size = topology.layers[index].synapses
    match topology.accumulator(index):
        case Accumulator.POPCOUNT:
            return size // 4, 3 * size // 4
        case Accumulator.FIXED:
            return -64 * size, 64 * size
        case Accumulator.SIGNED:
            return -(size // 2), size // 2


def drawn(topology: Topology, seed: int, classes: int = 5) -> Parameters:
    """Draw parameters, those of the padding among them."""
    rng = np.random.default_rng(seed)
    layers = []
    for index, layer in enumerate(topology.layers):
        size = (layer.outputs, layer.synapses)
        weights = (
            rng.integers(0, 2, size) * 2 - 1
            if layer.weight_bits == 1
            else (rng.integers(-2, 2, size))
        )
        low, high = reach(topology, index)
        steps = np.sort(rng.integers(low, high + 1, (layer.outputs, layer.thresholds)), axis=1)
        layers.append(LayerParameters(weights=weights.astype(np.int8), thresholds=steps))
    names = "\n".join(f"class {number}" for number in range(classes))
    return Parameters(layers=tuple(layers), class_text=names.encode())
