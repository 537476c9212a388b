"""Convolutions: float, packed (TorchScript) and dequantized (PT2E)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from pyahir.frontend.aten.layer import packed_layer, pending_layer
from pyahir.frontend.aten.operands import array, padded_operand, pair, symmetric, unpack, value
from pyahir.frontend.aten.registry import imports
from pyahir.frontend.calls import Call, Padded, QuantizedWeight, State, Unsupported
from pyahir.frontend.context import ImportContext
from pyahir.ir.ops import Conv2d
from pyahir.ir.ops.window import Padding, Pair
from pyahir.ir.types import Array

__all__ = ["conv2d", "quantized_conv2d"]

INT16_MAX = 32767


def _sum(first: Padding, second: Padding) -> Padding:
    top, bottom, left, right = (a + b for a, b in zip(first, second, strict=True))
    return top, bottom, left, right


def _padding(given: Any, kernel: Pair, dilation: Pair) -> Padding:
    """Read ``padding``, which may be 'valid' or 'same' (torch puts the odd one after)."""
    if given == "valid":
        return 0, 0, 0, 0
    if given != "same":
        return symmetric(given)
    height, width = (d * (k - 1) for k, d in zip(kernel, dilation, strict=True))
    return height // 2, height - height // 2, width // 2, width - width // 2


@imports("aten::conv2d")
def conv2d(ctx: ImportContext, call: Call) -> State:
    """Float, or between a dequantize and a quantize: then ``Pending`` until the quantize."""
    x, extra = padded_operand(ctx, call, "input")
    weight = call["weight"]
    shape = weight.codes.shape if isinstance(weight, QuantizedWeight) else weight.shape
    kernel, dilation = pair(shape[2:]), pair(call["dilation"])
    op = Conv2d(
        kernel_size=kernel,
        stride=pair(call["stride"]),
        padding=_sum(_padding(call["padding"], kernel, dilation), extra),
        dilation=dilation,
        groups=call["groups"],
    )
    if isinstance(weight, QuantizedWeight):
        return pending_layer(ctx, call, op, x, weight)
    if ctx.engine != "float":
        raise Unsupported(f"{call.op} computes in float: its weight is not quantized")
    data = array(call, "weight")
    bias = np.zeros(len(data), np.float32) if call["bias"] is None else array(call, "bias")
    return ctx.emit(call, op, x, ("weight", data), ("bias", bias))


@imports("quantized::conv2d", "quantized::conv2d_relu")
def quantized_conv2d(ctx: ImportContext, call: Call) -> State:
    given = call["qx"]
    extra = given.padding if isinstance(given, Padded) else (0, 0, 0, 0)
    x = given.value if isinstance(given, Padded) else value(call, "qx")
    packed = call["packed_weight"]
    read = torch.ops.quantized
    parts = unpack(packed)
    op = Conv2d(
        kernel_size=pair(parts.weight.shape[2:]),
        stride=pair(read.conv2d_stride(packed)),
        padding=_sum(symmetric(read.conv2d_padding(packed)), extra),
        dilation=pair(read.conv2d_dilation(packed)),
        groups=read.conv2d_groups(packed),
        acc_width=1,
    )
    _note_saturation(ctx, call, op, parts.weight)
    scale, zero_point = call["output_scale"], call["output_zero_point"]
    return packed_layer(ctx, call, op, x, parts, scale, zero_point)


def _note_saturation(ctx: ImportContext, call: Call, op: Conv2d, weight: Array) -> None:
    """Warn of fbgemm's depthwise kernels, which add two products in 16 bits that saturate."""
    depthwise = op.groups == len(weight) and weight.shape[1] == 1 and op.groups % 8 == 0
    if ctx.engine != "fbgemm" or not depthwise:
        return
    if 2 * 255 * int(np.abs(weight.astype(np.int64)).max()) > INT16_MAX:
        ctx.notes.append(
            f"{call.loc.path}: torch's fbgemm kernel for depthwise layers saturates in 16 bits "
            "when codes exceed 127; the graph does not, and then differs from it"
        )
