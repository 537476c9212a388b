"""Weights and thresholds as the 64-bit words of the hardware's memories, and back.

In: integer arrays by neuron, or words by processing element. Out: the other form. Neuron n lies in
element n mod PE at fold n / PE; synapse s in lane s mod SIMD of the word at fold s / SIMD.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pyahir.formats.bnn_pynq.topology import Layer

__all__ = [
    "Thresholds",
    "Weights",
    "Words",
    "pack_thresholds",
    "pack_weights",
    "stray_word",
    "unpack_thresholds",
    "unpack_weights",
]

Weights = npt.NDArray[np.int8]
Thresholds = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]


def pack_weights(layer: Layer, weights: Weights) -> Words:
    """Pack weights (neurons, synapses) into the words (PE, WMEM)."""
    width = layer.weight_width
    codes = (weights > 0) if width == 1 else weights.astype(np.int64) & ((1 << width) - 1)
    lanes = codes.reshape(layer.neuron_folds, layer.pe, layer.synapse_folds, layer.simd)
    words = np.zeros(lanes.shape[:3], np.uint64)
    for lane in range(layer.simd):
        words |= lanes[..., lane].astype(np.uint64) << np.uint64(lane * width)
    return np.ascontiguousarray(words.swapaxes(0, 1)).reshape(layer.pe, layer.weight_memory)


def unpack_weights(layer: Layer, words: Words) -> Weights:
    """Unpack the words (PE, WMEM) into weights (neurons, synapses)."""
    width = layer.weight_width
    folds = words.reshape(layer.pe, layer.neuron_folds, layer.synapse_folds).swapaxes(0, 1)
    weights = np.empty((*folds.shape, layer.simd), np.int8)
    for lane in range(layer.simd):
        code = (folds >> np.uint64(lane * width)) & np.uint64((1 << width) - 1)
        if width == 1:
            weights[..., lane] = 2 * code.astype(np.int8) - 1
        else:
            sign = 1 << (width - 1)
            weights[..., lane] = (code.astype(np.int64) ^ sign) - sign
    return weights.reshape(layer.outputs, layer.synapses)


def stray_word(layer: Layer, words: Words) -> int | None:
    """Give the index of the first word with a bit above its lanes."""
    used = layer.simd * layer.weight_width
    if used == 64:
        return None
    found = np.flatnonzero(words >> np.uint64(used))
    return int(found[0]) if len(found) else None


def pack_thresholds(layer: Layer, thresholds: Thresholds) -> Thresholds:
    """Order thresholds (neurons, T) as the memories have them: (PE, TMEM * T)."""
    folds = thresholds.reshape(layer.neuron_folds, layer.pe, layer.thresholds).swapaxes(0, 1)
    return np.ascontiguousarray(folds).reshape(layer.pe, -1)


def unpack_thresholds(layer: Layer, lines: Thresholds) -> Thresholds:
    """Order the lines (PE, TMEM * T) of the memories by neuron: (neurons, T)."""
    folds = lines.reshape(layer.pe, layer.neuron_folds, layer.thresholds).swapaxes(0, 1)
    return np.ascontiguousarray(folds).reshape(layer.outputs, layer.thresholds)
