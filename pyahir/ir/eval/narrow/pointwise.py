"""ReLU, clamp, flatten, and the ops of few-bit networks: comparisons of carried integers."""

from __future__ import annotations

import math

import numpy as np

from pyahir.ir.eval.core import Plane
from pyahir.ir.eval.narrow.form import Kernel, Site, carried_offset, carried_type, narrow, tiled
from pyahir.ir.ops import Clamp, Flatten, MultiThreshold, Recode, Relu
from pyahir.ir.ranges import numbers
from pyahir.ir.types import Array, Bipolar, Int

__all__ = ["clamp", "flatten", "multi_threshold", "recode", "relu"]

FEW = 20  # thresholds that are faster compared one by one than searched
FEW_STEPS = 8  # steps of a table that are faster compared than looked up


@narrow(Relu)
def relu(op: Relu, site: Site) -> Kernel | None:
    """Take the zero point as the least."""
    del op
    return _limited(site, site.node.type.zero_point, None)


@narrow(Clamp)
def clamp(op: Clamp, site: Site) -> Kernel | None:
    """Limit codes."""
    return _limited(site, int(op.minimum), int(op.maximum))


def _limited(site: Site, minimum: int, maximum: int | None) -> Kernel | None:
    element = site.node.type.element
    if not isinstance(element, Int):
        return None
    if minimum > element.max or (maximum is not None and maximum < element.min):
        return None
    dtype, lack = carried_type(element), carried_offset(element)
    assert dtype is not None
    low = dtype(max(minimum, element.min) - lack)
    high = None if maximum is None else dtype(min(maximum, element.max) - lack)

    def kernel(x: Plane) -> Plane:
        result = site.out.array(x.shape, dtype)
        if high is None:
            return np.maximum(x, low, out=result)
        return np.clip(x, low, high, out=result)

    return kernel


@narrow(Flatten)
def flatten(op: Flatten, site: Site) -> Kernel | None:
    """Bring channels in front, as torch has them."""
    del op
    dtype = carried_type(site.node.type.element)

    def kernel(x: Plane) -> Plane:
        count, *spatial, channels = x.shape
        result = site.out.array((count, channels, math.prod(spatial)), dtype)
        result[...] = x.reshape(count, -1, channels).transpose(0, 2, 1)
        return result.reshape(count, -1)

    return kernel


@narrow(Recode)
def recode(op: Recode, site: Site) -> Kernel | None:
    """Compare pixels where the table has few steps, else look them up."""
    del op
    stored = numbers(site.constant(1), site.node.type.element).astype(np.int64)
    if carried_type(site.node.type.element) is not np.int8:
        return None
    if stored.min() < -128 or stored.max() > 127:
        return None
    table = stored.astype(np.int8)  # in the order of codes, which is that of carried numbers
    steps = np.flatnonzero(np.diff(stored))
    if len(steps) <= FEW_STEPS:
        levels = [(np.int8(at - 128), np.int8(stored[at + 1] - stored[at])) for at in steps]
        return _counted(site, levels, table[0])
    by_byte = np.roll(table, 128).tobytes()

    def kernel(x: Plane) -> Plane:
        result = site.out.array(x.shape, np.int8)
        result.reshape(-1)[...] = np.frombuffer(x.tobytes().translate(by_byte), np.int8)
        return result

    return kernel


def _counted(site: Site, levels: list[tuple[np.int8, np.int8]], base: np.int8) -> Kernel:
    """Add for every level that a number is above what the level is worth."""

    def kernel(x: Plane) -> Plane:
        result = site.out.array(x.shape, np.int8)
        above = site.scratch("above").array(x.shape, np.bool_)
        result[...] = base
        for level, worth in levels:
            np.greater(x, level, out=above)
            result += above.view(np.int8) * worth
        return result

    return kernel


@narrow(MultiThreshold)
def multi_threshold(op: MultiThreshold, site: Site) -> Kernel | None:
    """Count the thresholds below each accumulator; one bit is -1 or +1."""
    x = site.operands[0]
    if not isinstance(x.element, Int) or x.element.width >= 32 or x.zero_point:
        return None
    if carried_type(site.node.type.element) is not np.int8 or carried_offset(x.element):
        return None
    exact = site.constant(1).astype(object)
    always, never = x.element.min - 1, x.element.max
    limited = np.minimum(np.maximum(exact, always), never).astype(np.int32)
    rows = np.broadcast_to(limited, (x.channels, limited.shape[1]))
    lines = [tiled(np.ascontiguousarray(row), site.node.type.shape) for row in rows.T]
    if isinstance(site.node.type.element, Bipolar):
        return _signs(site, lines[0])
    if len(lines) > FEW:
        return _searched(site, rows, op.base)

    def kernel(acc: Plane) -> Plane:
        wide = acc.reshape(-1, lines[0].size)
        result = site.out.array(acc.shape, np.int8)
        count = result.reshape(wide.shape)
        above = site.scratch("above").array(wide.shape, np.bool_)
        np.greater(wide, lines[0], out=count.view(np.bool_))
        for line in lines[1:]:
            np.greater(wide, line, out=above)
            count += above.view(np.int8)
        count += np.int8(op.base)
        return result

    return kernel


def _signs(site: Site, line: Array) -> Kernel:
    def kernel(acc: Plane) -> Plane:
        wide = acc.reshape(-1, line.size)
        result = site.out.array(acc.shape, np.int8)
        sign = result.reshape(wide.shape)
        np.greater(wide, line, out=sign.view(np.bool_))
        sign *= np.int8(2)
        sign -= np.int8(1)
        return result

    return kernel


def _searched(site: Site, rows: Array, base: int) -> Kernel:
    def kernel(acc: Plane) -> Plane:
        result = site.out.array(acc.shape, np.int8)
        for channel, row in enumerate(rows):
            result[..., channel] = np.searchsorted(row, acc[..., channel], side="left") + base
        return result

    return kernel
