"""Few-bit ops: a table for pixels, comparisons for accumulators."""

from __future__ import annotations

import numpy as np

from pyahir.ir.eval.core import Buffers, Context, Kernel, Plane, evaluates
from pyahir.ir.ops import MultiThreshold, Recode
from pyahir.ir.ranges import numbers
from pyahir.ir.types import Array, Int

__all__ = ["multi_threshold", "recode"]

FEW = 8  # thresholds that are faster compared one by one than searched
EXACT = 1 << 53  # no carried accumulator reaches it


@evaluates(Recode)
def recode(op: Recode, context: Context) -> Kernel:
    del op
    zero = context.operands[0].zero_point
    stored = numbers(context.constant(1), context.node.type.element).astype(np.float32)
    table = np.roll(stored, -zero)  # a carried pixel is x - zero_point; negative ones wrap
    buffers = Buffers()

    def kernel(x: Plane) -> Plane:
        index = x.astype(np.int16)
        out = buffers.get("out", x.shape, np.float32)
        return np.take(table, index, out=out, mode="wrap")

    return kernel


@evaluates(MultiThreshold)
def multi_threshold(op: MultiThreshold, context: Context) -> Kernel:
    thresholds = _comparable(context)
    count = thresholds.shape[1]
    rows = np.broadcast_to(thresholds, (context.node.type.channels, count))
    if count > FEW:
        return _searched(rows, op.base)
    steps = [np.ascontiguousarray(rows[:, i]) for i in range(count)]
    # One bit is -1 or +1: twice the count, from -1.
    unit, base = (2.0, -1.0) if op.width == 1 else (1.0, float(op.base))
    buffers = Buffers()

    def kernel(acc: Plane) -> Plane:
        axes = (-1,) + (1,) * (acc.ndim - 1)
        out = buffers.get("out", acc.shape, np.float32)
        np.greater(acc, steps[0].reshape(axes), out=out)
        for step in steps[1:]:
            out += acc > step.reshape(axes)
        if unit != 1.0:
            out *= np.float32(unit)
        out += np.float32(base)
        return out

    return kernel


def _searched(rows: Array, base: int) -> Kernel:
    def kernel(acc: Plane) -> Plane:
        out = np.empty(acc.shape, np.float32)
        for channel, row in enumerate(rows):
            out[channel] = np.searchsorted(row, acc[channel], side="left") + base
        return out

    return kernel


def _comparable(context: Context) -> Array:
    """Give thresholds as floats that compare with every accumulator as the integers do.

    Beyond the accumulator's range the least that never fires, or always, takes their place.
    """
    element = context.operands[0].element
    assert isinstance(element, Int)
    low, high = max(element.min - 1, -EXACT), min(element.max, EXACT)
    dtype = np.float32 if high < 1 << 24 else np.float64
    exact = context.constant(1).astype(object)
    return np.minimum(np.maximum(exact, low), high).astype(dtype)
