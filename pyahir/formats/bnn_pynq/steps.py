"""Thresholds as the hardware compares them, and as integers of a sum of products.

The hardware's accumulator is not always that sum (``Accumulator``), and synapses of padding add to
it. In: thresholds (neurons, T) of either kind. Out: those of the other; both fire at the same sums.
"""

from __future__ import annotations

import numpy as np

from pyahir.errors import ImportModelError
from pyahir.formats.bnn_pynq.topology import Accumulator
from pyahir.formats.bnn_pynq.words import Thresholds, Weights

__all__ = ["LIMITS", "popcounts", "to_steps", "to_stored"]

LIMITS = {
    Accumulator.POPCOUNT: 1 << 15,
    Accumulator.SIGNED: 1 << 15,
    Accumulator.FIXED: 1 << 23,  # 24 bits, 8 of them behind the point
}
UNITS = 2  # of a stored threshold in one of a sum of pixels


def _offset(kind: Accumulator, padding: Weights) -> Thresholds:
    """Give what the padding, (neurons, synapses), adds to the hardware's accumulator.

    Its input bit is 0: it counts where the weight bit is 0 too, and else is -1 times the weight.
    """
    if kind is Accumulator.POPCOUNT:
        return (padding < 0).sum(axis=1, dtype=np.int64)[:, None]
    return -padding.sum(axis=1, dtype=np.int64)[:, None]


def to_steps(
    kind: Accumulator, stored: Thresholds, fan_in: int, padding: Weights, where: str
) -> Thresholds:
    """Give thresholds of the sum over ``fan_in`` real synapses, ascending."""
    limit = LIMITS[kind]
    outside = np.argwhere((stored < -limit) | (stored >= limit))
    if len(outside):
        neuron, index = outside[0].tolist()
        raise ImportModelError(
            f"{where}: threshold {index} of neuron {neuron} is {stored[neuron, index]}; accepted "
            f"is {-limit} to {limit - 1}"
        )
    steps = stored - _offset(kind, padding)
    if kind is Accumulator.POPCOUNT:
        steps = 2 * steps - fan_in
    elif kind is Accumulator.FIXED:
        steps = steps // UNITS
    return np.sort(steps, axis=1)


def to_stored(
    kind: Accumulator, steps: Thresholds, fan_in: int, padding: Weights, bound: int, where: str
) -> Thresholds:
    """Give thresholds as the hardware stores them; no sum exceeds ``bound`` in magnitude.

    A threshold that no sum crosses is moved to the end of the hardware's range.
    """
    steps = np.clip(steps, -bound - 1, bound)
    stored = steps
    if kind is Accumulator.POPCOUNT:
        stored = (steps + fan_in) // 2
    elif kind is Accumulator.FIXED:
        stored = steps * UNITS
    stored = stored + _offset(kind, padding)
    limit = LIMITS[kind]
    if stored.min(initial=0) < -limit or stored.max(initial=0) >= limit:
        raise ImportModelError(
            f"{where}: thresholds from {stored.min()} to {stored.max()}; the hardware's hold "
            f"{-limit} to {limit - 1}"
        )
    return stored


def popcounts(sums: Thresholds, fan_in: int) -> Thresholds:
    """Give the scores of XNOR hardware: the synapses that agree, out of sums of -1 and +1."""
    return (sums + fan_in) // 2
