"""Convolution: the window patches as a matrix, times the weights.

Where the whole sum is too long for float32, its taps are cut into blocks whose sums are not: each
is a product in float32, and float64 adds the blocks. Both are exact.
"""

from __future__ import annotations

import numpy as np

from pyahir.ir.eval.core import Buffers, Context, Kernel, Plane, carrier, evaluates
from pyahir.ir.eval.pairs import paired
from pyahir.ir.eval.window import padded, tap
from pyahir.ir.ops import Conv2d
from pyahir.ir.ranges import centered_range, magnitude_bound, numbers
from pyahir.ir.types import Array, TensorType

__all__ = ["conv2d"]

EXACT = 1 << 24  # float32 holds every integer below
MOST_BLOCKS = 8


@evaluates(Conv2d)
def conv2d(op: Conv2d, context: Context) -> Kernel:
    """Multiply (groups, O/g, KH*KW*I/g) by (groups, KH*KW*I/g, OH*OW*N)."""
    weight = numbers(context.constant(1), context.operands[1].element)
    out, per_group, kh, kw = weight.shape
    groups = op.groups
    rows = weight.transpose(0, 2, 3, 1).reshape(groups, out // groups, -1)
    blocks = [slice(0, rows.shape[-1])]
    total: type[np.float32] | type[np.float64] = np.float32
    if context.integers:
        total = carrier(magnitude_bound(context.operands[0], weight), context.node.name)
        blocks = _blocks(context.operands[0], rows)
    dtype = np.float32 if blocks else total
    blocks = blocks or [slice(0, rows.shape[-1])]
    matrices = [np.ascontiguousarray(rows[..., block], dtype) for block in blocks]
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
        multiply(matrices[0], columns[:, blocks[0]], result)
        if len(blocks) > 1:
            part, result = result, buffers.get("total", size, total)
            np.copyto(result, part)
            for matrix, block in zip(matrices[1:], blocks[1:], strict=True):
                multiply(matrix, columns[:, block], part)
                result += part
        flat = result.reshape(out, -1)
        if bias is not None:
            flat += bias
        return result.reshape(out, height, width, batch)

    return paired(kernel, context.operands[0], weight)


def multiply(matrix: Plane, columns: Plane, out: Plane) -> None:
    """Multiply (G, O, T) by (G, T, M); one group goes to BLAS as a plain matrix."""
    if len(matrix) == 1:
        np.matmul(matrix[0], columns[0], out=out[0])
    else:
        np.matmul(matrix, columns, out=out)


def _blocks(x: TensorType, rows: Array) -> list[slice]:
    """Cut the taps (G, O, T) so that no sum within a block reaches 2**24, in any order.

    Empty where that cannot be, or takes so many blocks that one product in float64 is faster.
    """
    low, high = centered_range(x)
    reach = np.abs(rows.astype(np.int64)).reshape(-1, rows.shape[-1]) * max(-low, high)
    sums = np.concatenate([np.zeros((len(reach), 1), np.int64), reach.cumsum(axis=1)], axis=1)
    blocks: list[slice] = []
    first, taps = 0, rows.shape[-1]
    while first < taps:
        longest = (sums[:, first:] - sums[:, first : first + 1]).max(axis=0)  # it ascends
        last = first + int(np.searchsorted(longest, EXACT)) - 1
        if last == first or len(blocks) == MOST_BLOCKS:
            return []
        blocks.append(slice(first, last))
        first = last
    return blocks
