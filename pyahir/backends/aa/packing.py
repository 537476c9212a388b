"""Bits of memories and streams: plan to loader items, tensors to words and back.

In: a ``Plan`` and the ``Memory`` list of its design. Out: 64-bit items for ``weights_in``; words of
a stream for a tensor. No arithmetic on values beyond shifting them into place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pyahir.backends.aa.lower.loader import ITEM_BITS, Memory
from pyahir.ir.types import Array
from pyahir.plan.layers import Rescale
from pyahir.plan.plan import Plan, PlannedLayer
from pyahir.plan.rescale import RescaleFormat, rescale_format

__all__ = ["pack_frames", "pack_memories", "unpack_frames"]

Items = npt.NDArray[np.uint64]


def pack_memories(plan: Plan, memories: Sequence[Memory]) -> Items:
    """Give the items of all memories in loading order, little-endian 64 bits each."""
    layers = {layer.name: layer for layer in plan.layers}
    parts: list[Items] = []
    for memory in memories:
        planned = layers[memory.layer]
        if memory.name == f"w_{planned.name}":
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
    ordered = np.pad(ordered, ((0, 0), (0, filling)))
    grid = ordered.reshape(planned.output_folds, pe, planned.input_folds, simd)
    order = (2, 0, 1, 3) if planned.input_major else (0, 2, 1, 3)
    words = grid.transpose(order).reshape(memory.words, pe * simd).astype(np.int8)
    padded = np.zeros((memory.words, memory.items * ITEM_BITS // 8), np.uint8)
    padded[:, : words.shape[1]] = words.view(np.uint8)
    return padded.view(np.dtype("<u8")).ravel()


def _parameters(planned: PlannedLayer, memory: Memory) -> Items:
    """One field group a channel, as ``lower.rescale`` lays it out."""
    rescale = planned.layer.rescale
    assert rescale is not None
    form = rescale_format(rescale)
    channels = [_channel_word(rescale, form, c) for c in range(len(rescale.multiplier))]
    per_word = planned.lanes_out
    words = [
        sum(
            word << (lane * form.bits)
            for lane, word in enumerate(channels[start : start + per_word])
        )
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


def pack_frames(codes: Array, lanes: int) -> list[int]:
    """Turn codes (N, ..., C) into stream words, ``lanes`` codes each, the first lowest."""
    rows = np.ascontiguousarray(codes, np.uint8).reshape(-1, lanes)
    if lanes == 1:
        return rows.ravel().tolist()
    raw = rows.tobytes()
    return [
        int.from_bytes(raw[start : start + lanes], "little") for start in range(0, len(raw), lanes)
    ]


def unpack_frames(words: Sequence[int], lanes: int, shape: Sequence[int]) -> Array:
    """Turn words back into codes (N, *shape); words of an unfinished frame are left out."""
    raw = b"".join(word.to_bytes(lanes, "little") for word in words)
    size = math.prod(shape)
    frames = len(raw) // size
    return np.frombuffer(raw[: frames * size], np.uint8).reshape(frames, *shape)
