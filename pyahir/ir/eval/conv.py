"""Convolution: the window patches as a matrix, times the weights."""

from __future__ import annotations

import numpy as np

from pyahir.ir.eval.core import Buffers, Context, Kernel, Plane, carrier, evaluates
from pyahir.ir.eval.window import padded, tap
from pyahir.ir.ops import Conv2d
from pyahir.ir.ranges import magnitude_bound, numbers

__all__ = ["conv2d"]


@evaluates(Conv2d)
def conv2d(op: Conv2d, context: Context) -> Kernel:
    """Multiply (groups, O/g, KH*KW*I/g) by (groups, KH*KW*I/g, OH*OW*N)."""
    weight = numbers(context.constant(1), context.operands[1].element)
    out, per_group, kh, kw = weight.shape
    groups = op.groups
    rows = weight.transpose(0, 2, 3, 1).reshape(groups, out // groups, -1)
    dtype: type[np.float32] | type[np.float64] = np.float32
    if context.integers:
        dtype = carrier(magnitude_bound(context.operands[0], weight), context.node.name)
    matrix = np.ascontiguousarray(rows, dtype)
    bias = None if context.integers else context.constant(2).astype(np.float32).reshape(-1, 1)
    height, width = context.node.type.spatial
    buffers = Buffers()

    def kernel(x: Plane) -> Plane:
        batch = x.shape[-1]
        x = padded(x, op, buffers, 0.0)
        shape = (groups, kh, kw, per_group, height, width, batch)
        if (kh, kw) == (1, 1) and op.stride == (1, 1) and x.dtype == dtype:
            patches = x.reshape(shape)
        else:
            patches = buffers.get("patches", shape, dtype)
            for i in range(kh):
                for j in range(kw):
                    part = tap(x, op, i, j, height, width)
                    patches[:, i, j] = part.reshape(groups, per_group, height, width, batch)
        columns = patches.reshape(groups, -1, height * width * batch)
        size = (groups, out // groups, columns.shape[-1])
        result = buffers.get("result", size, dtype)
        multiply(matrix, columns, result)
        flat = result.reshape(out, -1)
        if bias is not None:
            flat += bias
        return result.reshape(out, height, width, batch)

    return kernel


def multiply(matrix: Plane, columns: Plane, out: Plane) -> None:
    """Multiply (G, O, T) by (G, T, M); one group goes to BLAS as a plain matrix."""
    if len(matrix) == 1:
        np.matmul(matrix[0], columns[0], out=out[0])
    else:
        np.matmul(matrix, columns, out=out)
