"""Reads operands and attributes of calls: pairs, paddings, arrays; packed parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pyahir.frontend.calls import Call, Padded, Raw, Real, Unsupported, Value
from pyahir.frontend.context import ImportContext
from pyahir.ir.ops.window import Padding, Pair
from pyahir.ir.types import Array

__all__ = [
    "Packed",
    "array",
    "decomposed_operand",
    "padded_operand",
    "pair",
    "real_operand",
    "rewrap",
    "symmetric",
    "unpack",
    "value",
]


def pair(given: int | Sequence[int], default: Pair | None = None) -> Pair:
    """Give height and width of an attribute that is a number, a list of one or two, or empty."""
    if isinstance(given, int):
        return given, given
    if not given and default is not None:
        return default
    return (given[0], given[0]) if len(given) == 1 else (given[0], given[1])


def symmetric(given: int | Sequence[int]) -> Padding:
    height, width = pair(given)
    return height, height, width, width


def value(call: Call, name: str) -> Value:
    """Give an operand that has to be a value of the graph as it is."""
    state = call[name]
    if isinstance(state, Value):
        return state
    if isinstance(state, Raw):
        raise Unsupported(
            f"{call.op} reads the float input before it is quantized; quantize the input first, "
            "and let the host prepare it"
        )
    if isinstance(state, Real):
        raise Unsupported(
            f"{call.op} computes in float after a dequantize; end the model at the dequantize"
        )
    if isinstance(state, Padded):
        raise Unsupported(f"padding with zeros before {call.op}; it is supported before conv2d")
    raise Unsupported(f"{call.op} computes in float: its operand has not been quantized")


def real_operand(ctx: ImportContext, call: Call, name: str) -> Value:
    """Give a graph value, also behind a dequantize: for operations that only pick among values."""
    state = call[name]
    return state.value if isinstance(state, Real) else value(call, name)


def decomposed_operand(ctx: ImportContext, call: Call, name: str) -> Value:
    """Give a graph value, behind a dequantize only where PT2E puts one before each operation."""
    return real_operand(ctx, call, name) if ctx.engine == "pt2e" else value(call, name)


def rewrap(ctx: ImportContext, call: Call, name: str, result: Value) -> Value | Real:
    """Give ``result`` the form, integer or dequantized, that the operand had."""
    return Real(value=result) if isinstance(call[name], Real) else result


def padded_operand(ctx: ImportContext, call: Call, name: str) -> tuple[Value, Padding]:
    state = call[name]
    if isinstance(state, Padded):
        return state.value, state.padding
    return real_operand(ctx, call, name), (0, 0, 0, 0)


def array(call: Call, name: str) -> npt.NDArray[np.float32]:
    """Give a constant float operand as an array; NaN and infinity are refused."""
    given = call[name]
    if not isinstance(given, torch.Tensor):
        raise Unsupported(f"{call.op}: its {name} is not a constant of the model")
    data = given.detach().to(torch.float32).contiguous().numpy()
    if not np.isfinite(data).all():
        raise Unsupported(f"the {name} holds NaN or infinity; train or save the model again")
    return data


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """The parameters of a quantized layer: int8 weights, double scales of shape (O,), the bias."""

    weight: Array
    scales: npt.NDArray[np.float64]
    zero_points: npt.NDArray[np.int64]
    bias: npt.NDArray[np.float32]
    per_tensor: bool


def unpack(packed: Any) -> Packed:
    """Read torch's packed parameters, whatever engine packed them."""
    quantized = torch.ops.quantized
    is_linear = "Linear" in packed._type().qualified_name()
    weight, bias = quantized.linear_unpack(packed) if is_linear else quantized.conv2d_unpack(packed)
    out = weight.shape[0]
    per_tensor = weight.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric)
    if per_tensor:
        scales = np.full(out, weight.q_scale(), np.float64)
        zero_points = np.full(out, weight.q_zero_point(), np.int64)
    else:
        scales = weight.q_per_channel_scales().double().numpy()
        zero_points = weight.q_per_channel_zero_points().long().numpy()
    reals = np.zeros(out, np.float32) if bias is None else bias.detach().float().numpy()
    return Packed(
        weight=np.ascontiguousarray(weight.int_repr().numpy()),
        scales=scales,
        zero_points=zero_points,
        bias=reals,
        per_tensor=per_tensor,
    )
