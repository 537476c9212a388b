"""From a source's float rule to integers ``(M, B, S)`` and exceptions, equal for every accumulator.

Both the float rule and ``(acc * M + B) >> S`` are monotone step functions of the accumulator, so
they are equal exactly where their step points are: step k is the least accumulator whose code is
k or more. ``fit`` finds the steps by bisection, chooses M and B so that as many as possible
coincide, and lists what is left: every accumulator whose code differs, with the difference.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pyahir.quant.rules import AveragePool, SourceRule

__all__ = ["Fit", "deepest", "fit", "fit_average", "integer_steps", "own_fit", "rule_steps"]

Int64 = npt.NDArray[np.int64]
MULTIPLIER_BITS = 31
AVERAGE_SHIFT = 24
CANDIDATES = 129


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Operands and attributes of a Requantize: shapes (C,), (C,) and (E, 3)."""

    multiplier: Int64
    offset: Int64
    shift: int
    exceptions: Int64
    tie_bits: int = 0
    tie_parity: int = 0


def rule_steps(rule: SourceRule, low: Int64, high: Int64, codes: Int64) -> Int64:
    """Find, per channel and code, the least accumulator in [low, high] that reaches the code.

    ``low`` and ``high`` have shape (C,), ``codes`` (K,); the result (C, K), ``high + 1`` where no
    accumulator reaches the code.
    """
    shape = (len(low), len(codes))
    below = np.broadcast_to(low[:, None] - 1, shape).copy()
    reached = np.broadcast_to(high[:, None] + 1, shape).copy()
    while np.any(reached - below > 1):
        middle = (below + reached) >> 1
        probe = np.clip(middle, low[:, None], high[:, None])
        passed = rule(probe) >= codes
        reached = np.where(passed, middle, reached)
        below = np.where(passed, below, middle)
    return np.clip(reached, low[:, None], high[:, None] + 1)


def integer_steps(
    multiplier: Int64, offset: Int64, shift: int, low: Int64, high: Int64, codes: Int64
) -> Int64:
    """Give the steps of ``(acc * M + B) >> shift`` in closed form, clipped like the rule's."""
    numerator = (codes[None, :] << shift) - offset[:, None]
    divisor = np.maximum(multiplier, 1)[:, None]
    steps = -((-numerator) // divisor)
    flat = np.where(numerator <= 0, low[:, None], high[:, None] + 1)
    steps = np.where(multiplier[:, None] == 0, flat, steps)
    return np.clip(steps, low[:, None], high[:, None] + 1)


def fit(rule: SourceRule, low: Int64, high: Int64, quant_min: int, quant_max: int) -> Fit:
    """Choose (M, B, S) for ``rule`` on accumulators ``low`` to ``high`` (shape (C,) each).

    The shift is one for the layer, the largest for which every M has at most 31 bits and
    ``acc * M + B`` at most 62.
    """
    codes = np.arange(quant_min + 1, quant_max + 1, dtype=np.int64)
    steps = rule_steps(rule, low, high, codes)
    slope = rule.slope()
    shift = _shift(slope, low, high)
    unit = 2.0**shift
    natural = np.maximum(1, np.rint(slope * unit)).astype(np.int64)
    multiplier = natural.copy()
    offset, missed = _best_offset(natural[:, None], steps, codes, shift, low, high)
    offset, missed = offset[:, 0], missed[:, 0]
    hard = np.flatnonzero(missed > 0)
    if hard.size:
        spread = _candidates(natural[hard], steps[hard], low[hard], high[hard])
        offsets, misses = _best_offset(spread, steps[hard], codes, shift, low[hard], high[hard])
        best = np.argmin(misses, axis=1)
        rows = np.arange(hard.size)
        better = misses[rows, best] < missed[hard]
        chosen = hard[better]
        multiplier[chosen] = spread[rows, best][better]
        offset[chosen] = offsets[rows, best][better]
    actual = integer_steps(multiplier, offset, shift, low, high, codes)
    return Fit(
        multiplier=multiplier,
        offset=offset,
        shift=shift,
        exceptions=_exceptions(steps, actual),
    )


def fit_average(rule: AveragePool, taps: int, low: int, high: int) -> Fit:
    """Choose the integers of an average over ``taps`` elements, all sums ``low`` to ``high`` tried.

    An even number of taps meets ties, which the float rules round to even: the fit has tie bits
    then, and one parity for the layer, the one that leaves the fewest exceptions.
    """
    shift = (taps - 1).bit_length() if taps & (taps - 1) == 0 else AVERAGE_SHIFT
    multiplier = -(-(1 << shift) // taps)
    tie_bits = 0 if taps % 2 else min(shift, (2 * taps).bit_length())
    offset = (rule.zero_point << shift) + (1 << shift >> 1)
    if tie_bits < shift:  # the quotient is rounded: put the ties in the middle of their window
        offset += (1 << (shift - tie_bits) >> 1) if tie_bits else 0
    sums = np.arange(low, high + 1, dtype=np.int64)
    expected = np.clip(rule(np.broadcast_to(sums, (rule.channels, len(sums)))), 0, 255)
    scaled = sums * multiplier + offset
    behind = (scaled >> (shift - tie_bits)) & ((1 << tie_bits) - 1)
    found: list[Fit] = []
    for parity in (0, 1) if tie_bits else (0,):
        code = scaled >> shift
        if tie_bits:
            code = code - ((behind == 0) & ((code & 1) != parity))
        change = expected - np.clip(code, 0, 255)
        channel, place = np.nonzero(change)
        found.append(
            Fit(
                multiplier=np.full(rule.channels, multiplier, np.int64),
                offset=np.full(rule.channels, offset, np.int64),
                shift=shift,
                exceptions=np.stack([channel, sums[place], change[channel, place]], axis=1),
                tie_bits=tie_bits,
                tie_parity=parity,
            )
        )
    return min(found, key=lambda item: len(item.exceptions))


def own_fit(real: npt.NDArray[np.float64], bias: Int64, zero_point: int, largest: int) -> Fit:
    """Give pyahir's own rule as integers: no exceptions, and no ties because every M is odd.

    ``largest`` bounds ``|acc + bias|``; a tie needs ``acc * M`` to be an odd multiple of
    ``2**(S-1)``, so with M odd it needs ``|acc| >= 2**(S-1)``, which ``S`` excludes.
    """
    bits = int(largest).bit_length()
    most = min(MULTIPLIER_BITS, 60 - bits)
    shift = int(most - 1 - np.floor(np.log2(real.max())))
    shift = max(1, min(shift, 60 - 8))
    multiplier = np.rint(real * 2.0**shift).astype(np.int64) | 1
    assert largest < 1 << (shift - 1), "an accumulator could tie; the scales are out of range"
    offset = bias * multiplier + (zero_point << shift) + (1 << (shift - 1))
    return Fit(
        multiplier=multiplier, offset=offset, shift=shift, exceptions=np.zeros((0, 3), np.int64)
    )


def _shift(slope: npt.NDArray[np.float64], low: Int64, high: Int64) -> int:
    bits = int(max(abs(int(low.min())), abs(int(high.max())), 1)).bit_length()
    multiplier_bits = min(MULTIPLIER_BITS, 60 - bits)
    shift = int(multiplier_bits - 1 - np.floor(np.log2(slope.max())))
    return max(0, min(shift, 50))


def _candidates(natural: Int64, steps: Int64, low: Int64, high: Int64) -> Int64:
    """Spread multipliers over the slopes that a line through the steps can have, shape (C, n)."""
    inside = (steps > low[:, None]) & (steps <= high[:, None])
    reach = np.where(inside, steps, 0).max(axis=1) - np.where(
        inside, steps, np.iinfo(np.int64).max >> 1
    ).min(axis=1)
    relative = 2.0 / np.maximum(reach, 8)
    spread = np.linspace(-1.0, 1.0, CANDIDATES)
    offsets = np.rint(natural[:, None] * (relative[:, None] * spread[None, :])).astype(np.int64)
    return np.maximum(1, natural[:, None] + offsets)


def _best_offset(
    multiplier: Int64, steps: Int64, codes: Int64, shift: int, low: Int64, high: Int64
) -> tuple[Int64, Int64]:
    """Choose, per candidate multiplier (C, n), the B that satisfies the most steps.

    Step t of code k holds for B in [k * 2**S - t * M, k * 2**S - 1 - (t - 1) * M]: the best B is
    where most of these intervals overlap. A step below ``low`` or above ``high`` bounds one side.
    """
    target = (codes << shift)[None, None, :]
    m = multiplier[:, :, None]
    t = steps[:, None, :]
    first = target - t * m
    last = target - 1 - (t - 1) * m
    far = np.int64(1) << 61
    never = t > high[:, None, None]
    always = t <= low[:, None, None]
    first = np.where(never, -far, first)
    last = np.where(always, far, last)
    first = np.sort(first, axis=-1)
    last = np.sort(last, axis=-1)
    return deepest(first, last)


def deepest(first: Int64, last: Int64) -> tuple[Int64, Int64]:
    """Find the point that most of the intervals contain; give it and how many do not.

    The middle of the deepest stretch, so that it does not depend on which interval bounds it.
    """
    count = first.shape[-1]
    if count == 0:
        zero = np.zeros(first.shape[:-1], np.int64)
        return zero, zero
    merged = np.concatenate([first, last], axis=-1)
    order = np.argsort(merged, axis=-1, kind="stable")  # equal: a start comes before an end
    change = np.where(order < count, 1, -1)
    depth = np.cumsum(change, axis=-1)
    best = np.argmax(depth, axis=-1)[..., None]
    points = np.take_along_axis(merged, order, axis=-1)
    begin = np.take_along_axis(points, best, axis=-1)
    end = np.take_along_axis(points, np.minimum(best + 1, 2 * count - 1), axis=-1)
    far = np.int64(1) << 60
    begin, end = np.maximum(begin, -far), np.minimum(end, far)
    middle = begin + ((end - begin) >> 1)
    missed = count - np.take_along_axis(depth, best, axis=-1)
    return middle[..., 0], missed[..., 0]


def _exceptions(expected: Int64, actual: Int64) -> Int64:
    """List (channel, acc, difference) for every accumulator between two steps that differ."""
    table: dict[tuple[int, int], int] = {}
    for channel, column in zip(*np.nonzero(expected != actual), strict=True):
        want, have = int(expected[channel, column]), int(actual[channel, column])
        sign = 1 if want < have else -1
        for acc in range(min(want, have), max(want, have)):
            key = (int(channel), acc)
            table[key] = table.get(key, 0) + sign
    rows = [(*key, delta) for key, delta in sorted(table.items()) if delta]
    return np.array(rows, dtype=np.int64).reshape(-1, 3)
