"""Fully connected layers: float, packed (TorchScript) and dequantized (PT2E)."""

from __future__ import annotations

import numpy as np

from pyahir.frontend.aten.layer import packed_layer, pending_layer
from pyahir.frontend.aten.operands import array, real_operand, unpack, value
from pyahir.frontend.aten.registry import imports
from pyahir.frontend.calls import Call, QuantizedWeight, State, Unsupported
from pyahir.frontend.context import ImportContext
from pyahir.ir.ops import Linear

__all__ = ["linear", "quantized_linear"]


@imports("aten::linear")
def linear(ctx: ImportContext, call: Call) -> State:
    """Float, or between a dequantize and a quantize: then ``Pending`` until the quantize."""
    x = real_operand(ctx, call, "input")
    weight = call["weight"]
    if isinstance(weight, QuantizedWeight):
        return pending_layer(ctx, call, Linear(), x, weight)
    if ctx.engine != "float":
        raise Unsupported(f"{call.op} computes in float: its weight is not quantized")
    data = array(call, "weight")
    bias = np.zeros(len(data), np.float32) if call["bias"] is None else array(call, "bias")
    return ctx.emit(call, Linear(), x, ("weight", data), ("bias", bias))


@imports("quantized::linear", "quantized::linear_relu")
def quantized_linear(ctx: ImportContext, call: Call) -> State:
    x, parts = value(call, "X"), unpack(call["W_prepack"])
    scale, zero_point = call["Y_scale_i"], call["Y_zero_point_i"]
    return packed_layer(ctx, call, Linear(acc_width=1), x, parts, scale, zero_point)
