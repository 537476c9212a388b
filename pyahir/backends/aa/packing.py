"""Bits of memories and streams: plan to loader items, tensors to words and back.

In: a ``Plan`` and the ``Memory`` list of its design. Out: 64-bit items for ``weights_in``; words of
a stream for a tensor. No arithmetic on values beyond shifting them into place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pyahir.backends.aa.lower.loader import ITEM_BITS, Memory
from pyahir.ir.types import Array, Element, Int
from pyahir.plan.finish import finish
from pyahir.plan.layers import Rescale
from pyahir.plan.plan import Plan, PlannedLayer
from pyahir.plan.rescale import RescaleFormat, rescale_format

__all__ = ["pack_bits", "pack_frames", "pack_memories", "unpack_bits", "unpack_frames"]

Items = npt.NDArray[np.uint64]


def pack_memories(plan: Plan, memories: Sequence[Memory]) -> Items:
    """Give the items of memories, or streams of weights, in order, little-endian 64 bits each."""
    layers = {layer.name: layer for layer in plan.layers}
    parts: list[Items] = []
    for memory in memories:
        planned = layers[memory.layer]
        if memory.name != f"q_{planned.name}":
            parts.append(_weights(planned, memory))
        else:
            parts.append(_parameters(planned, memory))
    return np.concatenate(parts) if parts else np.zeros(0, np.dtype("<u8"))


def _weights(planned: PlannedLayer, memory: Memory) -> Items:
    """Words in the order (output fold, input fold); lanes (channel, input), inputs lowest.

    In an input-major layer the words are in the order (input fold, output fold).

    Lanes beyond the inputs of a pixel are zero; in a packed layer they are those of the next one.
    """
    weight = planned.layer.weight
    assert weight is not None
    pe, simd = planned.folding.pe, planned.folding.simd
    ordered = weight[:, planned.column_order()]
    if planned.packed:
        ordered = np.tile(ordered, planned.group)
    filling = planned.input_folds * simd - ordered.shape[1]
    levels = planned.layer.levels
    disagree = int(levels is not None and levels.agreeing is not None)  # with an input 0
    ordered = np.pad(ordered, ((0, 0), (0, filling)), constant_values=disagree)
    grid = ordered.reshape(planned.output_folds, pe, planned.input_folds, simd)
    order = (2, 0, 1, 3) if planned.input_major else (0, 2, 1, 3)
    words = grid.transpose(order).reshape(memory.words, -1)  # of streamed weights: lines
    packed = pack_bits(words, planned.layer.weight_element.width)
    padded = np.zeros((memory.words, memory.items * ITEM_BITS // 8), np.uint8)
    padded[:, : packed.shape[1]] = packed
    return padded.view(np.dtype("<u8")).ravel()


def pack_bits(rows: npt.NDArray[Any], width: int) -> npt.NDArray[np.uint8]:
    """Turn rows (N, L) of elements into bytes (N, ceil(L * width / 8)), the first element lowest.

    Of an element the lowest ``width`` bits count: negative integers are two's complement.
    """
    if width in (8, 16, 32):
        elements = np.ascontiguousarray(rows.astype(f"<u{width // 8}"))
        return elements.view(np.uint8).reshape(len(rows), -1)
    assert width <= 64
    places = np.arange(width, dtype=np.int64)
    bits = (rows[..., None].astype(np.int64) >> places) & 1
    return np.packbits(bits.reshape(len(rows), -1).astype(np.uint8), axis=1, bitorder="little")


def unpack_bits(raw: npt.NDArray[np.uint8], lanes: int, width: int) -> Array:
    """Turn rows of bytes into elements (N, ``lanes``), unsigned patterns of ``width`` bits."""
    if width in (8, 16, 32):
        elements = np.ascontiguousarray(raw).view(f"<u{width // 8}")
        return elements.reshape(len(raw), raw.shape[1] * 8 // width)[:, :lanes]
    bits = np.unpackbits(raw, axis=1, count=lanes * width, bitorder="little")
    parts = bits.reshape(len(raw), lanes, width).astype(np.int64)
    values = (parts << np.arange(width, dtype=np.int64)).sum(axis=2)
    size = next(size for size in (1, 2, 4, 8) if 8 * size >= width)
    return values.astype(f"u{size}")


def _parameters(planned: PlannedLayer, memory: Memory) -> Items:
    """One field group a channel: that of ``lower.rescale``, or the bias of a real number."""
    layer, bits = planned.layer, finish(planned.layer).bits
    if layer.rescale is not None:
        form = rescale_format(layer.rescale)
        channels = [_channel_word(layer.rescale, form, c) for c in range(layer.outputs)]
    elif layer.levels is not None:
        assert layer.levels.thresholds is not None
        mask = (1 << layer.levels.acc) - 1
        channels = [
            sum((step & mask) << (place * layer.levels.acc) for place, step in enumerate(row))
            for row in layer.levels.thresholds.tolist()
        ]
    else:
        assert layer.rounding is not None
        assert layer.rounding.bias is not None
        mask = (1 << bits) - 1
        channels = [int(bias) & mask for bias in layer.rounding.bias]
    per_word = planned.lanes_out
    words = [
        sum(word << (lane * bits) for lane, word in enumerate(channels[start : start + per_word]))
        for start in range(0, len(channels), per_word)
    ]
    raw = b"".join(word.to_bytes(memory.items * ITEM_BITS // 8, "little") for word in words)
    return np.frombuffer(raw, np.dtype("<u8"))


def _channel_word(rescale: Rescale, form: RescaleFormat, channel: int) -> int:
    word = int(rescale.multiplier[channel]) if form.multiplier else 0
    word |= (int(rescale.offset[channel]) & ((1 << form.offset) - 1)) << form.multiplier
    position = form.multiplier + form.offset
    for _, acc, delta in rescale.exceptions[rescale.exceptions[:, 0] == channel].tolist():
        word |= (acc & ((1 << form.acc) - 1)) << position
        word |= (delta & ((1 << form.delta) - 1)) << (position + form.acc)
        position += form.acc + form.delta
    return word


def pack_frames(codes: Array, lanes: int, element: Element) -> list[int]:
    """Turn elements (N, ..., C) into stream words, ``lanes`` elements each, the first lowest.

    Floats are taken as their bit patterns, integers by their lowest bits.
    """
    width = element.width
    patterns = codes.view(f"u{codes.itemsize}") if codes.dtype.kind == "f" else codes
    rows = np.ascontiguousarray(patterns).reshape(-1, lanes)
    if lanes == 1:
        return (rows.ravel().astype(np.int64) & ((1 << width) - 1)).tolist()
    packed = pack_bits(rows, width)
    raw, size = packed.tobytes(), packed.shape[1]
    return [
        int.from_bytes(raw[start : start + size], "little") for start in range(0, len(raw), size)
    ]


def unpack_frames(
    words: Sequence[int], lanes: int, shape: Sequence[int], element: Element
) -> Array:
    """Turn words back into elements (N, *shape), without those of an unfinished frame.

    Floats come as their bit patterns.
    """
    width = element.width
    size = -(-lanes * width // 8)
    raw = np.frombuffer(b"".join(word.to_bytes(size, "little") for word in words), np.uint8)
    elements: npt.NDArray[Any] = unpack_bits(raw.reshape(-1, size), lanes, width).ravel()
    if isinstance(element, Int) and element.signed:
        sign = 1 << (width - 1)
        values = (elements.astype(np.int64) ^ sign) - sign
        elements = values.astype(f"i{elements.itemsize}")
    frames = len(elements) // math.prod(shape)
    return elements[: frames * math.prod(shape)].reshape(frames, *shape)
