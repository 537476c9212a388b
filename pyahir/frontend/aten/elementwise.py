"""ReLU, clamps and batch norm."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from pyahir.frontend.aten.operands import array, decomposed_operand, real_operand, rewrap, value
from pyahir.frontend.aten.registry import imports
from pyahir.frontend.calls import Call, Pending, PendingSum, State, Unsupported, Value
from pyahir.frontend.context import ImportContext
from pyahir.ir.ops import BatchNorm, Clamp, Relu
from pyahir.ir.types import Float32, Layout

__all__ = ["batch_norm", "clamp", "hardtanh", "relu", "relu6"]

LARGEST = float(np.finfo(np.float32).max)


@imports("aten::relu", "aten::relu_")
def relu(ctx: ImportContext, call: Call) -> State:
    x = call["self"]
    if isinstance(x, Pending | PendingSum):
        return replace(x, relu=True)
    result = ctx.emit(call, Relu(), real_operand(ctx, call, "self"))
    return rewrap(ctx, call, "self", result)


@imports("aten::relu6", "aten::relu6_")
def relu6(ctx: ImportContext, call: Call) -> State:
    return _clamp(ctx, call, "self", 0.0, 6.0)


@imports("quantized::relu6")
def quantized_relu6(ctx: ImportContext, call: Call) -> State:
    return _clamp(ctx, call, "qx", 0.0, 6.0)


@imports("aten::hardtanh", "aten::hardtanh_")
def hardtanh(ctx: ImportContext, call: Call) -> State:
    return _clamp(ctx, call, "self", call["min_val"], call["max_val"])


@imports("aten::clamp", "aten::clamp_", "quantized::clamp")
def clamp(ctx: ImportContext, call: Call) -> State:
    operand = "qx" if call.op.startswith("quantized") else "self"
    return _clamp(ctx, call, operand, call["min"], call["max"])


def _clamp(
    ctx: ImportContext, call: Call, operand: str, low: float | None, high: float | None
) -> State:
    if isinstance(low, torch.Tensor) or isinstance(high, torch.Tensor):
        raise Unsupported(f"{call.op} with tensors as limits; use numbers")
    least, most = (-LARGEST if low is None else low), (LARGEST if high is None else high)
    if isinstance(call[operand], Pending | PendingSum):
        raise Unsupported(f"{call.op} on a result that is not quantized yet; quantize it first")
    x = decomposed_operand(ctx, call, operand)
    if isinstance(ctx.type(x).element, Float32):
        return ctx.emit(call, Clamp(minimum=float(least), maximum=float(most)), x)
    _check_engine(ctx, call, x)
    codes = _codes(ctx, x, (least, most))
    result = ctx.emit(call, Clamp(minimum=codes[0], maximum=codes[1]), x)
    return rewrap(ctx, call, operand, result)


def _check_engine(ctx: ImportContext, call: Call, x: Value) -> None:
    kind = ctx.type(x)
    many = kind.channels > 1 and kind.spatial != (1, 1)
    if ctx.engine == "qnnpack" and kind.layout is Layout.NHWC and many:
        raise Unsupported(
            f"{call.op} on a feature map: the qnnpack kernel of torch 2.13 scrambles its pixels, "
            "so there is nothing to be equal to; use ReLU, or quantized_engine='fbgemm'"
        )


def _codes(ctx: ImportContext, x: Value, limits: tuple[float, float]) -> list[int]:
    """Quantize the limits as torch does: with the scale and zero point of ``x``."""
    zero_point = ctx.type(x).zero_point
    if ctx.engine == "pt2e":
        inverse = np.float64(np.float32(1.0 / x.scale))
        codes = [int(np.clip(np.rint(item * inverse) + zero_point, 0, 255)) for item in limits]
        return codes
    real = torch.tensor(limits, dtype=torch.float32)
    return torch.quantize_per_tensor(real, x.scale, zero_point, torch.quint8).int_repr().tolist()


@imports("aten::_native_batch_norm_legit_no_training")
def batch_norm(ctx: ImportContext, call: Call) -> State:
    x = value(call, "input")
    names = ("weight", "bias", "running_mean", "running_var")
    channels = ctx.type(x).channels
    parts = {name: array(call, name) for name in names if call[name] is not None}
    parts.setdefault("weight", np.ones(channels, np.float32))
    parts.setdefault("bias", np.zeros(channels, np.float32))
    constants = [(tail, parts[name]) for name, tail in zip(names, _TAILS, strict=True)]
    return ctx.emit(call, BatchNorm(eps=float(call["eps"])), x, *constants)


_TAILS = ("weight", "bias", "mean", "variance")
