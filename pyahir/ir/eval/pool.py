"""Pooling, one axis after the other: maximum and sum are associative."""

from __future__ import annotations

import numpy as np

from pyahir.ir.eval.core import Buffers, Context, Kernel, Plane, carrier, evaluates
from pyahir.ir.eval.window import Combine, along, padded
from pyahir.ir.ops import AvgPool2d, MaxPool2d, SumPool2d, WindowOp
from pyahir.ir.types import Posit

__all__ = ["avg_pool2d", "max_pool2d", "sum_pool2d"]


def _reduce(
    op: WindowOp, x: Plane, combine: Combine, fill: float, buffers: Buffers, size: tuple[int, int]
) -> Plane:
    x = padded(x, op, buffers, fill)
    channels, _, wide, batch = x.shape
    rows = buffers.get("rows", (channels, size[0], wide, batch), x.dtype)
    result = buffers.get("result", (channels, *size, batch), x.dtype)
    along(x, rows, 1, op.kernel_size[0], op.stride[0], op.dilation[0], combine)
    along(rows, result, 2, op.kernel_size[1], op.stride[1], op.dilation[1], combine)
    return result


@evaluates(MaxPool2d)
def max_pool2d(op: MaxPool2d, context: Context) -> Kernel:
    buffers, size = Buffers(), context.node.type.spatial
    fill = -128.0 if isinstance(context.operands[0].element, Posit) else -np.inf  # or NaR's code
    if isinstance(context.operands[0].element, Posit):
        return lambda x: _reduce(op, x, np.maximum, fill, buffers, size)

    def largest(x: Plane) -> Plane:
        found = _reduce(op, x, np.maximum, fill, buffers, size)
        found += np.float32(0)  # -0 becomes +0: which of them NumPy takes depends on the machine
        return found

    return largest


@evaluates(SumPool2d)
def sum_pool2d(op: SumPool2d, context: Context) -> Kernel:
    taps = op.kernel_size[0] * op.kernel_size[1]
    dtype = carrier(taps << 8, context.node.name)
    buffers, size = Buffers(), context.node.type.spatial
    return lambda x: _reduce(op, x.astype(dtype, copy=False), np.add, 0.0, buffers, size)


@evaluates(AvgPool2d)
def avg_pool2d(op: AvgPool2d, context: Context) -> Kernel:
    taps = np.float32(op.kernel_size[0] * op.kernel_size[1])
    buffers, size = Buffers(), context.node.type.spatial
    return lambda x: _reduce(op, x, np.add, 0.0, buffers, size) / taps
