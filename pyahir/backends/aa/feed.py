"""What the pipe ``weights_in`` takes: the memories once, then packets of streamed weights.

In: the manifest of a design, the items of its ``.weights`` file, a number of frames. Out: items of
64 bits in the order in which the hardware takes them. The file holds a streamed layer's weights
once; here they are repeated for every frame, in turns (``plan.streaming``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pyahir.plan.streaming import HEADER_FIELD

__all__ = ["feed", "most_late"]

Items = npt.NDArray[np.uint64]


def most_late(manifest: Mapping[str, Any]) -> int:
    """Give the turns that the last streamed layer is behind the first one."""
    return max((int(stream["late"]) for stream in manifest["weights"]["streams"]), default=0)


def feed(manifest: Mapping[str, Any], items: Items, frames: int, *, load: bool = True) -> Items:
    """Give what the pipe takes for a number of frames; ``load``: the memories' contents first.

    After the packets of the last frame every streamed layer has made all its results, so another
    call may follow without loading.
    """
    weights = manifest["weights"]
    first = int(weights["loaded_items"])
    parts = [items[:first]] if load else []
    parts += _turns(weights, items, frames)
    return np.concatenate(parts) if parts else items[:0]


def _turns(weights: Mapping[str, Any], items: Items, frames: int) -> list[Items]:
    """Give the packets of every turn: of frame ``t - late`` of each layer in turn t."""
    streams: Sequence[Mapping[str, Any]] = weights["streams"]
    packed = [_packets(stream, number, weights, items) for number, stream in enumerate(streams)]
    if not streams:
        return []
    turns = frames + max(int(stream["late"]) for stream in streams)
    found: list[Items] = []
    mixed: dict[tuple[int, ...], Items] = {}
    for turn in range(turns):
        taking = tuple(
            number
            for number, stream in enumerate(streams)
            if 0 <= turn - int(stream["late"]) < frames
        )
        if not taking:  # fewer frames than turns to wait for
            continue
        if taking not in mixed:
            mixed[taking] = _mixed([packed[number] for number in taking])
        found.append(mixed[taking])
    return found


def _mixed(packed: Sequence[Items]) -> Items:
    """Mix packets (count, size) of several layers evenly: each is due in its share of the turn."""
    due = np.concatenate([(np.arange(len(part)) + 0.5) / len(part) for part in packed])
    return np.concatenate(packed)[np.argsort(due, kind="stable")].ravel()


def _packets(
    stream: Mapping[str, Any], number: int, weights: Mapping[str, Any], items: Items
) -> Items:
    """Give the packets of one frame of a layer, (count, size)."""
    size, held = int(weights["packet_items"]), int(stream["packet_words"])
    words, per_word = int(stream["words"]), int(stream["items_per_word"])
    first = int(stream["first_item"])
    count = -(-words // held)
    packets = np.zeros((count, size), np.dtype("<u8"))
    payload = np.zeros((count * held, per_word), np.dtype("<u8"))
    payload[:words] = items[first : first + words * per_word].reshape(words, per_word)
    packets[:, 1 : 1 + held * per_word] = payload.reshape(count, -1)
    filled = np.minimum(held, words - held * np.arange(count, dtype=np.uint64)) * per_word
    header = number | per_word << HEADER_FIELD
    packets[:, 0] = header | filled.astype(np.uint64) << np.uint64(2 * HEADER_FIELD)
    return packets
