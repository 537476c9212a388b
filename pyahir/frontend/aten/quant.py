"""Quantize and dequantize: of TorchScript, and of PT2E (``quantized_decomposed``)."""

from __future__ import annotations

import numpy as np
import torch

from pyahir.frontend.aten.join import finish_sum
from pyahir.frontend.aten.operands import array
from pyahir.frontend.aten.registry import imports
from pyahir.frontend.calls import (
    Call,
    Pending,
    PendingSum,
    QuantizedWeight,
    Raw,
    Real,
    State,
    Unsupported,
    Value,
)
from pyahir.frontend.context import ImportContext, activation_type, target, without_layer
from pyahir.ir.ops import Flatten
from pyahir.ir.types import Affine
from pyahir.quant.rules import Decomposed

__all__ = ["dequantize", "quantize"]

INT8_SHIFT = 128  # int8 activations travel as uint8: code + 128, zero point + 128


def _admit(ctx: ImportContext, call: Call, scale: float, zero_point: int) -> Value:
    """Make the model's input: the codes that the host computes."""
    quantization = Affine(scale=float(np.float32(scale)), zero_point=zero_point)
    return ctx.input(call, activation_type(call.shape[1:], quantization), scale)


def _again(ctx: ImportContext, x: Real, scale: float, zero_point: int) -> Value:
    """Quantize what was dequantized: nothing happens when scale and zero point are the same."""
    if (x.value.scale, ctx.type(x.value).zero_point) == (scale, zero_point):
        return x.value
    raise Unsupported(
        f"a change of scale from {x.value.scale} to {scale} without a layer between; share the "
        "quantization of the two"
    )


@imports("aten::quantize_per_tensor")
def quantize_per_tensor(ctx: ImportContext, call: Call) -> State:
    x, scale, zero_point = call["self"], float(call["scale"]), int(call["zero_point"])
    if call["dtype"] not in (13, torch.quint8):
        raise Unsupported("activations of a type other than quint8; use quint8")
    if isinstance(x, Raw):
        return _admit(ctx, call, scale, zero_point)
    if isinstance(x, Real):
        return _again(ctx, x, scale, zero_point)
    raise Unsupported(f"{call.op} in the middle of the model: only the input is quantized")


@imports("aten::dequantize")
def dequantize(ctx: ImportContext, call: Call) -> State:
    x = call["self"]
    return Real(value=x) if isinstance(x, Value) else x


def _shift(call: Call) -> int:
    """Give what brings the codes of a PT2E activation to uint8; refuse other ranges."""
    limits = (call["quant_min"], call["quant_max"])
    if call["dtype"] is torch.uint8 and limits == (0, 255):
        return 0
    if call["dtype"] is torch.int8 and limits == (-128, 127):
        return INT8_SHIFT
    raise Unsupported(
        f"activations of {call['dtype']} from {limits[0]} to {limits[1]}; use uint8 0..255 "
        "or int8 -128..127"
    )


@imports("quantized_decomposed::quantize_per_tensor")
def quantize(ctx: ImportContext, call: Call) -> State:
    """End a layer; between equal scales it changes nothing."""
    scale, zero_point = float(call["scale"]), int(call["zero_point"]) + _shift(call)
    x = call["input"]
    if isinstance(x, Raw):
        return _admit(ctx, call, scale, zero_point)
    if isinstance(x, Pending):
        return _layer(ctx, call, x, scale, zero_point)
    if isinstance(x, PendingSum):
        return finish_sum(ctx, call, x, scale, zero_point)
    if isinstance(x, Real):
        return _again(ctx, x, scale, zero_point)
    raise Unsupported(f"{call.op} of something that is no activation")


def _layer(ctx: ImportContext, call: Call, x: Pending, scale: float, zero_point: int) -> Value:
    inverse = np.float32(1.0 / scale)
    rule = Decomposed(
        act_times_weight=x.factor, bias=x.bias, inverse=inverse, zero_point=zero_point
    )
    owner = Call(
        op=x.call.op,
        arguments=x.call.arguments,
        shape=call.shape,
        loc=x.call.loc,
        layer=x.call.layer,
        source=x.call.source if x.flatten else call.source,
    )
    aim = target(scale, zero_point, x.relu)
    made = ctx.integer_layer(owner, x.op, x.x, x.weight, rule, aim, scale)
    if x.flatten is None:
        return made
    flat = ctx.emit(without_layer(x.flatten), Flatten(), made)
    ctx.sources[flat.name] = call.source
    del ctx.sources[made.name]  # torch never has these codes: it flattens before it quantizes
    return flat


@imports("quantized_decomposed::dequantize_per_tensor")
def dequantize_decomposed(ctx: ImportContext, call: Call) -> State:
    x = call["input"]
    if isinstance(x, torch.Tensor):
        return _weight(call, x, np.full(len(x), call["scale"], np.float32), call["zero_point"])
    if not isinstance(x, Value):
        raise Unsupported(f"{call.op} of something that was not quantized")
    zero_point = int(call["zero_point"]) + _shift(call)
    if (x.scale, ctx.type(x).zero_point) != (float(call["scale"]), zero_point):
        raise Unsupported(f"{call.op} with a scale or zero point other than the quantize's")
    return Real(value=x)


@imports("quantized_decomposed::dequantize_per_channel")
def dequantize_per_channel(ctx: ImportContext, call: Call) -> State:
    x = call["input"]
    if not isinstance(x, torch.Tensor):
        raise Unsupported("activations quantized per channel; use one scale per tensor")
    if call["axis"] != 0:
        raise Unsupported(f"weights quantized along axis {call['axis']}; use axis 0, the outputs")
    return _weight(call, x, array(call, "scales"), call["zero_points"])


def _weight(
    call: Call, codes: torch.Tensor, scales: np.ndarray, zero_points: torch.Tensor | int | None
) -> QuantizedWeight:
    if codes.dtype is not torch.int8:
        raise Unsupported(f"weights of {codes.dtype}; use int8")
    if zero_points is not None and np.any(np.asarray(zero_points)):
        raise Unsupported("weights with a zero point other than 0; use a symmetric weight observer")
    if not (np.isfinite(scales).all() and (scales > 0).all()):
        raise Unsupported("the weight scales hold 0, NaN or infinity; calibrate the model again")
    return QuantizedWeight(codes=codes.contiguous().numpy(), scales=scales)
