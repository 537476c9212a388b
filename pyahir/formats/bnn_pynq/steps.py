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

    A threshold beyond what the hardware stores, which no sum crosses, is moved to its end.
    """
    offset = _offset(kind, padding)
    stored = _in_units(kind, steps, fan_in) + offset
    limit = LIMITS[kind]
    if stored.min(initial=0) >= -limit and stored.max(initial=0) < limit:
        return stored
    reached = _in_units(kind, np.array([-bound, bound]), fan_in) + offset
    if reached.min() <= -limit or reached.max() >= limit:
        raise ImportModelError(
            f"{where}: thresholds from {stored.min()} to {stored.max()} for sums from {-bound} to "
            f"{bound}; the hardware's thresholds hold {-limit} to {limit - 1}"
        )
    return np.clip(stored, -limit, limit - 1)


def _in_units(kind: Accumulator, steps: Thresholds, fan_in: int) -> Thresholds:
    """Give integers of the sum in the units of the hardware's accumulator."""
    if kind is Accumulator.POPCOUNT:
        return (steps + fan_in) // 2
    return steps * UNITS if kind is Accumulator.FIXED else steps


def popcounts(sums: Thresholds, fan_in: int) -> Thresholds:
    """Give the scores of XNOR hardware: the synapses that agree, out of sums of -1 and +1."""
    return (sums + fan_in) // 2
