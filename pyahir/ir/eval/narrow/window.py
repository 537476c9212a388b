"""Padding of a carried feature map (N, H, W, C), and its pooling."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pyahir.ir.eval.core import Plane
from pyahir.ir.eval.narrow.form import Kernel, Memory, Site, carried_offset, carried_type, narrow
from pyahir.ir.eval.window import Combine, along
from pyahir.ir.ops import MaxPool2d, SumPool2d, WindowOp

__all__ = ["max_pool2d", "padded", "sum_pool2d"]


def padded(x: Plane, op: WindowOp, memory: Memory, fill: int) -> Plane:
    """Surround ``x`` with ``fill``."""
    top, bottom, left, right = op.padding
    if not any(op.padding):
        return x
    count, height, width, channels = x.shape
    result = memory.array((count, height + top + bottom, width + left + right, channels), x.dtype)
    result[:, :top] = result[:, top + height :] = fill
    result[:, :, :left] = result[:, :, left + width :] = fill
    result[:, top : top + height, left : left + width] = x
    return result


@narrow(MaxPool2d)
def max_pool2d(op: MaxPool2d, site: Site) -> Kernel | None:
    """Take the greatest; padding is the least number that is carried."""
    dtype = carried_type(site.node.type.element)
    assert dtype is not None
    fill = int(np.iinfo(dtype).min)

    def room(shape: tuple[int, ...]) -> Plane:
        return site.out.array(shape, dtype)

    def kernel(x: Plane) -> Plane:
        return _reduce(op, x, site, np.maximum, fill, room)

    return kernel


@narrow(SumPool2d)
def sum_pool2d(op: SumPool2d, site: Site) -> Kernel | None:
    """Sum what is carried, and add what it lacks to ``x - zero_point``."""
    x_type = site.operands[0]
    offset = carried_offset(x_type.element)
    constant = offset - x_type.zero_point
    taps = op.kernel_size[0] * op.kernel_size[1]
    if carried_type(x_type.element) is not np.int8 or taps << 8 >= 1 << 31:
        return None

    def kernel(x: Plane) -> Plane:
        sums = _reduce(op, x, site, np.add, -constant, site.sums)
        if constant:
            sums += np.int32(taps * constant)
        return site.settled(sums)

    return kernel


def _reduce(
    op: WindowOp,
    x: Plane,
    site: Site,
    combine: Combine,
    fill: int,
    room: Callable[[tuple[int, ...]], Plane],
) -> Plane:
    x = padded(x, op, site.scratch("padded"), fill)
    count, _, wide, channels = x.shape
    height, width = site.node.type.spatial
    result = room((count, height, width, channels))
    rows = site.scratch("rows").array((count, height, wide, channels), result.dtype)
    along(x, rows, 1, op.kernel_size[0], op.stride[0], op.dilation[0], combine)
    along(rows, result, 2, op.kernel_size[1], op.stride[1], op.dilation[1], combine)
    return result
