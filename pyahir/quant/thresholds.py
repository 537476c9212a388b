"""Batch norm and a few-bit activation as integer thresholds on the accumulator.

In: the numbers of a batch norm, the steps of a quantizer, what an accumulator's 1 is worth. Out:
integer thresholds, which neurons are negated, and the accumulators that lie on a step. Pure
functions, no graph (``quant.few_bit`` builds it).

The rule, as FINN's synthesizer has it. With ``d = 1 / sqrt(variance + eps)`` and a the real sum,

    BN(a) = gamma * (a - mean) * d + beta > s   <=>   a > mean + (s - beta) / (gamma * d) = T

for gamma > 0, and a < T for gamma < 0: there the weights of the neuron are negated and T with them,
so that every neuron compares with ``>``. A sum is ``unit`` times an integer accumulator, so T is
divided by ``unit`` and rounded down: an integer is greater than T where it is greater than
floor(T). (Rounding up where gamma < 0, as FINN's synthesizer does, is wrong by one level.)
gamma = 0 makes a constant neuron.

On a tie, BN(a) = s, the strict rule takes the lower level. ``ties`` may take the upper: then the
threshold is ceil(T) - 1, which differs from floor(T) only where T is an integer.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

__all__ = [
    "ALWAYS",
    "NEVER",
    "TIES",
    "BatchNorm",
    "Thresholds",
    "Tie",
    "activation_steps",
    "find_ties",
    "fold_thresholds",
]

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

NEVER = (1 << 31) - 1  # a threshold that no accumulator exceeds
ALWAYS = -(1 << 31)  # a threshold that every accumulator exceeds
TIES = ("low", "high", "even")
DOUBT = 1e-6  # a threshold in float64 this near to an integer is decided in exact arithmetic
FLOAT32_DOUBT = 2.0**-21  # relative: more than the roundings of a batch norm in float32


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BatchNorm:
    """``gamma * (a - mean) / sqrt(variance + eps) + beta`` per channel, numbers of shape (C,)."""

    gamma: Float64
    beta: Float64
    mean: Float64
    variance: Float64
    eps: float

    @property
    def deviation(self) -> Float64:
        return np.sqrt(self.variance + self.eps)

    def __call__(self, real: Float64) -> Float64:
        """Normalize sums (..., C) in float64."""
        return (real - self.mean) / self.deviation * self.gamma + self.beta


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Thresholds:
    """``base + #{i: values[c, i] < acc}`` after the neurons of ``negated`` have been negated."""

    values: Int64
    negated: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tie:
    """An accumulator (of the negated neuron, where it is) on a step, or beside it.

    ``exact``: the real batch norm gives the step itself. Otherwise the two are nearer than float32
    can tell, so a float network may round to either level.
    """

    channel: int
    step: int
    accumulator: int
    exact: bool


def activation_steps(width: int) -> tuple[Float64, int]:
    """Give the steps of a signed activation of ``width`` bits and its least level.

    One bit has the step 0 between -1 and +1; two bits have -1/2 and +1/2 between -1, 0 and 1.
    """
    if width == 1:
        return np.zeros(1), 0
    most = (1 << (width - 1)) - 1
    return np.arange(-most, most, dtype=np.float64) + np.float64(0.5), -most


def fold_thresholds(
    norm: BatchNorm,
    steps: Float64,
    unit: Float64 | float,
    ties: str = "low",
    *,
    levels_from: int = 0,
) -> Thresholds:
    """Fold a batch norm and the quantizer that follows it into integer thresholds (C, n).

    ``steps`` are those of every channel, (n,), or of each, (C, n), ascending. ``unit`` is what an
    accumulator of 1 is worth, a positive number or one per channel. ``ties``:
    ``low`` is the strict rule, ``high`` takes the upper level, ``even`` the even one of the two
    levels, as rounding half to even does; the first step leads from ``levels_from`` to the next.
    """
    assert ties in TIES, ties
    units = np.broadcast_to(np.asarray(unit, np.float64), norm.gamma.shape)
    assert (units > 0).all(), "a unit is positive"
    rows = _per_channel(steps, len(norm.gamma))
    up = np.array([_takes_upper(ties, levels_from + i) for i in range(rows.shape[1])])
    negated = norm.gamma < 0
    values = np.empty(rows.shape, np.int64)
    live = norm.gamma != 0
    constant = norm.beta[~live, None]
    on = np.where(up, constant >= rows[~live], constant > rows[~live])
    values[~live] = np.where(on, ALWAYS, NEVER)
    for channel in np.flatnonzero(live).tolist():
        exact = _Exact.of(norm, channel, float(units[channel]))
        row = rows[channel]
        for i, (estimate, step) in enumerate(
            zip(_estimates(norm, channel, row, float(units[channel])), row, strict=True)
        ):
            values[channel, i] = exact.threshold(float(estimate), float(step), upper=bool(up[i]))
    return Thresholds(values=values, negated=negated)


def find_ties(
    norm: BatchNorm,
    steps: Float64,
    unit: Float64 | float,
    low: Int64,
    high: Int64,
    stride: int = 1,
) -> tuple[Tie, ...]:
    """List the accumulators, ``low`` to ``high`` per channel in strides, that lie on a step.

    A stride of 2 is that of sums of +-1: they have the parity of their ends.
    """
    units = np.broadcast_to(np.asarray(unit, np.float64), norm.gamma.shape)
    rows = _per_channel(steps, len(norm.gamma))
    found: list[Tie] = []
    for channel in np.flatnonzero(norm.gamma).tolist():
        worth = float(units[channel])
        exact = _Exact.of(norm, channel, worth)
        least = int(low[channel])
        scale = max(abs(norm.mean[channel]), abs(norm.beta[channel]) * _per_beta(norm, channel))
        for i, estimate in enumerate(_estimates(norm, channel, rows[channel], worth).tolist()):
            if not least - 1 <= estimate <= high[channel] + 1:
                continue
            acc = least + stride * round((estimate - least) / stride)
            reach = FLOAT32_DOUBT * (scale / worth + abs(estimate) + 1.0)
            if least <= acc <= high[channel] and abs(acc - estimate) <= reach:
                tie = exact.compare(acc, float(rows[channel, i])) == 0
                found.append(Tie(channel=channel, step=i, accumulator=acc, exact=tie))
    return tuple(found)


def _per_channel(steps: Float64, channels: int) -> Float64:
    return np.broadcast_to(steps, (channels, steps.shape[-1]))


def _takes_upper(ties: str, level: int) -> bool:
    """Tell where a tie between ``level`` and the next goes."""
    return ties == "high" or (ties == "even" and level % 2 != 0)


def _per_beta(norm: BatchNorm, channel: int) -> float:
    """Give how far a batch norm's sum moves where its result moves by 1."""
    return abs(float(norm.deviation[channel] / norm.gamma[channel]))


def _estimates(norm: BatchNorm, channel: int, steps: Float64, unit: float) -> Float64:
    """Give T / unit in float64, of the negated neuron where gamma < 0."""
    per_step = norm.deviation[channel] / norm.gamma[channel]
    real = norm.mean[channel] + (steps - norm.beta[channel]) * per_step
    return np.sign(norm.gamma[channel]) * real / unit


@dataclass(frozen=True, slots=True, kw_only=True)
class _Exact:
    """One neuron in rational numbers: a step is compared by squares, so there is no root."""

    sign: int
    gamma: Fraction
    beta: Fraction
    mean: Fraction
    variance: Fraction
    unit: Fraction

    @staticmethod
    def of(norm: BatchNorm, channel: int, unit: float) -> _Exact:
        gamma = float(norm.gamma[channel])
        return _Exact(
            sign=-1 if gamma < 0 else 1,
            gamma=abs(Fraction(gamma)),
            beta=Fraction(float(norm.beta[channel])),
            mean=Fraction(float(norm.mean[channel])),
            variance=Fraction(float(norm.variance[channel])) + Fraction(norm.eps),
            unit=Fraction(unit),
        )

    def compare(self, acc: int, step: float) -> int:
        """Give the sign of ``BN(acc) - step``, ``acc`` that of the negated neuron."""
        # sign * (a - mean) against (step - beta) / |gamma| * sqrt(variance)
        left = acc * self.unit - self.sign * self.mean
        right = (Fraction(step) - self.beta) / self.gamma
        square = _signed_square(left) - _signed_square(right) * self.variance
        return (square > 0) - (square < 0)

    def threshold(self, estimate: float, step: float, *, upper: bool) -> int:
        """Give the greatest integer that stays below the step; a tie counts as above if asked."""
        if not ALWAYS < estimate < NEVER:
            return ALWAYS if estimate < 0 else NEVER
        near = round(estimate)
        if abs(estimate - near) > DOUBT * max(1.0, abs(estimate)):
            return int(np.floor(estimate))
        acc = near - 1
        while self._below(acc + 1, step, upper):
            acc += 1
        while not self._below(acc, step, upper):
            acc -= 1
        return acc

    def _below(self, acc: int, step: float, upper: bool) -> bool:
        sign = self.compare(acc, step)
        return sign < 0 or (sign == 0 and not upper)


def _signed_square(number: Fraction) -> Fraction:
    return number * abs(number)
