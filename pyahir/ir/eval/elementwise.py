"""Batch norm, ReLU, clamp."""

from __future__ import annotations

import numpy as np

from pyahir.ir.eval.core import Context, Kernel, evaluates
from pyahir.ir.ops import BatchNorm, Clamp, Relu

__all__ = ["batch_norm", "clamp", "relu"]


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
    del op, context
    return lambda x: np.maximum(x, np.float32(0))


@evaluates(Clamp)
def clamp(op: Clamp, context: Context) -> Kernel:
    zero = context.operands[0].zero_point
    low, high = np.float32(op.minimum - zero), np.float32(op.maximum - zero)
    return lambda x: np.minimum(np.maximum(x, low), high)
