"""Addition, batch norm, ReLU, clamp."""

from __future__ import annotations

import numpy as np

from pyahir.ir.eval.core import Context, Join, Kernel, evaluates
from pyahir.ir.ops import Add, BatchNorm, Clamp, Relu
from pyahir.ir.types import Int, Posit

__all__ = ["add", "batch_norm", "clamp", "relu"]

LEAST = np.int8(-128)  # NaR as a signed code


@evaluates(Add)
def add(op: Add, context: Context) -> Join:
    del op, context
    return np.add


@evaluates(BatchNorm)
def batch_norm(op: BatchNorm, context: Context) -> Kernel:
    weight, bias, mean, variance = (context.constant(i).astype(np.float64) for i in range(1, 5))
    scale = weight / np.sqrt(variance + op.eps)
    shift = bias - mean * scale
    axes = (-1,) + (1,) * (len(context.node.type.shape) - 1)
    factor, term = (part.astype(np.float32).reshape(axes) for part in (scale, shift))
    return lambda x: x * factor + term


@evaluates(Relu)
def relu(op: Relu, context: Context) -> Kernel:
    del op
    match context.operands[0].element:
        case Posit():
            return lambda x: np.where(x == LEAST, x, np.maximum(x, np.int8(0)))
        case Int():
            return lambda x: np.maximum(x, np.float32(0))
        case _:
            return lambda x: np.maximum(x, np.float32(0)) + np.float32(0)  # -0 becomes +0


@evaluates(Clamp)
def clamp(op: Clamp, context: Context) -> Kernel:
    kind = context.operands[0]
    if isinstance(kind.element, Posit):
        least, most = np.int8(op.minimum), np.int8(op.maximum)
        return lambda x: np.where(x == LEAST, x, np.minimum(np.maximum(x, least), most))
    zero = kind.zero_point
    low, high = np.float32(op.minimum - zero), np.float32(op.maximum - zero)
    zero = np.float32(0)  # -0 becomes +0
    return lambda x: np.minimum(np.maximum(x, low), high) + zero
