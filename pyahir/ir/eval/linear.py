"""Fully connected layer: one matrix product."""

from __future__ import annotations

import numpy as np

from pyahir.ir.eval.core import Buffers, Context, Kernel, Plane, carrier, evaluates
from pyahir.ir.ops import Linear
from pyahir.ir.ranges import magnitude_bound, numbers

__all__ = ["linear"]


@evaluates(Linear)
def linear(op: Linear, context: Context) -> Kernel:
    """Multiply (O, I) by (I, N)."""
    del op
    weight = numbers(context.constant(1), context.operands[1].element)
    dtype: type[np.float32] | type[np.float64] = np.float32
    if context.integers:
        dtype = carrier(magnitude_bound(context.operands[0], weight), context.node.name)
    matrix = np.ascontiguousarray(weight, dtype)
    bias = None if context.integers else context.constant(2).astype(np.float32).reshape(-1, 1)
    buffers = Buffers()

    def kernel(x: Plane) -> Plane:
        result = buffers.get("result", (matrix.shape[0], x.shape[1]), dtype)
        np.matmul(matrix, x.astype(dtype, copy=False), out=result)
        if bias is not None:
            result += bias
        return result

    return kernel
