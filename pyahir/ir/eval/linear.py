"""Fully connected layer: one matrix product; bits are counted for few images and many weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyahir.ir.eval.bits import BitProduct, Packed, pack, packable, ternary
from pyahir.ir.eval.core import Buffers, Context, Kernel, Plane, carrier, evaluates
from pyahir.ir.eval.pairs import paired
from pyahir.ir.ops import Linear
from pyahir.ir.ranges import magnitude_bound, numbers
from pyahir.ir.types import Array, Bipolar

__all__ = ["linear"]

# Measured with AVX-512, one thread, against OpenBLAS: a matrix of 512x512 (1 MiB of float32) is
# multiplied faster as bits by up to 8 columns, one of 1024x784 by up to 16.
LEAST_WEIGHTS = 1 << 18
MOST_COLUMNS = 16


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

    product = paired(kernel, context.operands[0], weight)
    if matrix.size < LEAST_WEIGHTS or not packable(context.operands[0], weight):
        return product
    return _counted(product, context, weight)


def _counted(product: Kernel, context: Context, weight: Array) -> Kernel:
    """Count bits for small batches, use ``product`` for others."""
    length, most = weight.shape[1], min(MOST_COLUMNS, weight.size >> 15)
    rows = pack(weight, zeros=not isinstance(context.operands[1].element, Bipolar))
    columns = Packed(_transposed(rows.negative), _transposed(rows.nonzero))
    zeros = not isinstance(context.operands[0].element, Bipolar)
    bits = BitProduct()

    def kernel(x: Plane) -> Plane:
        if x.shape[1] > most or not ternary(x):
            return product(x)
        images = pack(np.ascontiguousarray(x.T), zeros=zeros)
        return np.ascontiguousarray(bits(images, columns, length).T)

    return kernel


def _transposed(words: Any) -> Any:
    return None if words is None else np.ascontiguousarray(words.T)
