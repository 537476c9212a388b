"""Requantize: the exact integer rule, and a float form of it that recomputes what is in doubt.

And the sum of two activations: a table of the codes of all pairs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pyahir.ir.eval.core import Buffers, Context, Join, Kernel, Plane, evaluates
from pyahir.ir.ops import QuantizedAdd, Requantize
from pyahir.ir.types import Array, Int

__all__ = [
    "CODES",
    "ExactRequantize",
    "exception_reach",
    "pair_codes",
    "quantized_add",
    "requantize",
]

CODES = 256

Int64 = npt.NDArray[np.int64]


class ExactRequantize:
    """The definition, in int64: ``clamp((acc * M + B) >> shift, quant_min, quant_max) + d``."""

    def __init__(self, op: Requantize, multiplier: Array, offset: Array, exceptions: Array) -> None:
        self.op = op
        self.multiplier = multiplier.astype(np.int64)
        self.offset = offset.astype(np.int64)
        table = exceptions.astype(np.int64)
        self._keys = self._key(table[:, 0], table[:, 1])
        self._deltas = table[:, 2]

    @staticmethod
    def _key(channel: Int64, acc: Int64) -> Int64:
        return (channel << 40) + acc  # |acc| < 2**39 keeps the order of (channel, acc)

    def __call__(self, acc: Int64, channel: Int64) -> Int64:
        """Give the code of each accumulator; ``acc`` and ``channel`` are flat arrays."""
        scaled = acc * self.multiplier[channel] + self.offset[channel]
        shifted = scaled >> self.op.shift
        if self.op.tie_bits:
            behind = (scaled >> (self.op.shift - self.op.tie_bits)) & ((1 << self.op.tie_bits) - 1)
            shifted -= (behind == 0) & ((shifted & 1) != self.op.tie_parity)
        code = np.clip(shifted, self.op.quant_min, self.op.quant_max)
        if self._keys.size:
            key = self._key(channel, acc)
            place = np.minimum(np.searchsorted(self._keys, key), self._keys.size - 1)
            code += np.where(self._keys[place] == key, self._deltas[place], 0)
        return code


@evaluates(Requantize)
def requantize(op: Requantize, context: Context) -> Kernel:
    """Make the fast kernel, or the exact one where the fast one would be in doubt too often."""
    parts = [context.constant(position) for position in (1, 2, 3)]
    exact = ExactRequantize(op, *parts)
    acc = context.operands[0].element
    assert isinstance(acc, Int)
    bound = max(-acc.min, acc.max)
    dtype = np.float32 if bound < 1 << 24 else np.float64
    form = _FloatForm(exact, parts[2], bound, dtype)
    return form.kernel if form.margin < 0.2 and not op.tie_bits else _exact_kernel(exact)


def _exact_kernel(exact: ExactRequantize) -> Kernel:
    zero = exact.op.zero_point

    def kernel(acc: Plane) -> Plane:
        rows = acc.reshape(acc.shape[0], -1).astype(np.int64)
        channel = np.broadcast_to(np.arange(rows.shape[0])[:, None], rows.shape)
        code = exact(rows.ravel(), channel.ravel()) - zero
        return code.astype(np.float32).reshape(acc.shape)

    return kernel


class _FloatForm:
    """``floor(acc * m + b)`` in floating point, right wherever it is not near an integer.

    Let t be the exact ``(acc * M + B) / 2**shift``. The kernel computes ``t + margin`` with an
    error of at most ``error``; where the fraction of that is ``2 * margin`` or more, t lies
    between two integers, ``error`` and more away from both, so the floor is right; every other
    accumulator, and every exception (``margin`` reaches the farthest), is done again in int64.
    """

    def __init__(self, exact: ExactRequantize, exceptions: Array, bound: int, dtype: Any) -> None:
        op = exact.op
        self.exact, self.dtype = exact, dtype
        unit = 2.0**-op.shift
        factor = exact.multiplier * unit
        term = exact.offset * unit - op.zero_point
        epsilon = float(np.finfo(dtype).eps)
        largest = np.abs(factor) * bound + np.abs(term) + 2.0
        error = 4.0 * epsilon * float(largest.max())
        self.margin = 2.0 * error + exception_reach(exact, exceptions)
        self.factor = factor.astype(dtype)[:, None]
        self.term = (term + self.margin).astype(dtype)[:, None]
        self.low = dtype(op.quant_min - op.zero_point + 0.5)
        self.high = dtype(op.quant_max - op.zero_point + 0.5)
        self.doubt = dtype(2.0 * self.margin)
        self.buffers = Buffers()

    def kernel(self, acc: Plane) -> Plane:
        rows = acc.reshape(acc.shape[0], -1)
        scaled = self.buffers.get("scaled", rows.shape, self.dtype)
        np.multiply(rows, self.factor, out=scaled)
        scaled += self.term
        np.minimum(scaled, self.high, out=scaled)
        np.maximum(scaled, self.low, out=scaled)
        code = self.buffers.get("code", rows.shape, self.dtype)
        np.floor(scaled, out=code)
        np.subtract(scaled, code, out=scaled)
        doubtful = np.flatnonzero(scaled < self.doubt)
        if doubtful.size:
            channel = doubtful // rows.shape[1]
            again = self.exact(rows.ravel()[doubtful].astype(np.int64), channel)
            code.reshape(-1)[doubtful] = again - self.exact.op.zero_point
        return code.astype(np.float32, copy=False).reshape(acc.shape)


def exception_reach(exact: ExactRequantize, exceptions: Array) -> float:
    """Give the distance of the farthest exception from the step that it moves; 1 is too far.

    That is so where the clamp of the kernel would hide the step: half a code beyond the limits.
    """
    if not len(exceptions):
        return 0.0
    channel, acc, _ = exceptions.astype(np.int64).T
    scaled = acc * exact.multiplier[channel] + exact.offset[channel]
    half = 1 << exact.op.shift >> 1
    lowest = (exact.op.quant_min << exact.op.shift) + half
    highest = (exact.op.quant_max << exact.op.shift) + half
    if np.any((scaled <= lowest) | (scaled >= highest)):
        return 1.0
    fraction = (scaled & ((1 << exact.op.shift) - 1)) * 2.0**-exact.op.shift
    return float(np.minimum(fraction, 1.0 - fraction).max())


def pair_codes(op: QuantizedAdd, exceptions: Array) -> Int64:
    """Give the code of every pair, (256, 256), by the definition in int64."""
    a = np.arange(CODES, dtype=np.int64)[:, None]
    b = np.arange(CODES, dtype=np.int64)[None, :]
    scaled = a * op.multipliers[0] + b * op.multipliers[1] + op.offset
    if op.away:
        scaled -= scaled < (op.zero_point << op.shift) + (1 << op.shift >> 1)
    shifted = scaled >> op.shift
    if op.tie_bits:
        behind = (scaled >> (op.shift - op.tie_bits)) & ((1 << op.tie_bits) - 1)
        shifted -= (behind == 0) & ((shifted & 1) != op.tie_parity)
    code = np.clip(shifted, op.quant_min, op.quant_max)
    rows = exceptions.astype(np.int64)
    code[rows[:, 0], rows[:, 1]] += rows[:, 2]
    return code


@evaluates(QuantizedAdd)
def quantized_add(op: QuantizedAdd, context: Context) -> Join:
    """Look the pair up: its two codes are the index, exact in float32."""
    codes = pair_codes(op, context.constant(2)).ravel() - op.zero_point
    table = codes.astype(np.float32)
    a, b = context.operands[:2]
    offset = np.float32(CODES * a.zero_point + b.zero_point)
    buffers = Buffers()

    def kernel(x: Plane, y: Plane) -> Plane:
        place = buffers.get("place", x.shape, np.float32)
        np.multiply(x, np.float32(CODES), out=place)
        place += y
        place += offset
        index = buffers.get("index", x.shape, np.intp)
        np.copyto(index, place, casting="unsafe")
        result = buffers.get("result", x.shape, np.float32)
        return np.take(table, index, out=result, mode="clip")  # "raise" would copy

    return kernel
