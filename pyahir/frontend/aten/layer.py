"""What conv2d and linear share: the source's rule, the accumulator, the requantize."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pyahir.frontend.aten.operands import Packed, array
from pyahir.frontend.calls import Call, Pending, QuantizedWeight, State, Unsupported, Value
from pyahir.frontend.context import ImportContext, target
from pyahir.ir.ops import Conv2d, Linear
from pyahir.quant.rules import Fbgemm, Qnnpack, SourceRule

__all__ = ["packed_layer", "pending_layer"]


def packed_layer(
    ctx: ImportContext,
    call: Call,
    op: Conv2d | Linear,
    x: Value,
    packed: Packed,
    scale: float,
    zero_point: int,
) -> State:
    """Add a layer of TorchScript: exact sums, then the rule of the engine that runs it."""
    if packed.zero_points.any():
        raise Unsupported("weights with a zero point other than 0; use a symmetric weight observer")
    real = np.float32(scale)
    products = np.float32(x.scale) * packed.scales.astype(np.float32)
    rule: SourceRule
    if ctx.engine == "fbgemm":
        rule = Fbgemm(
            act_times_weight=products,
            bias=packed.bias,
            scale=real,
            zero_point=zero_point,
            per_tensor=packed.per_tensor,
        )
    else:
        bias = _qnnpack_bias(packed.bias, products, x.scale * packed.scales)
        rule = Qnnpack(act_times_weight=products, bias=bias, scale=real, zero_point=zero_point)
    aim = target(scale, zero_point, relu=call.op.endswith("_relu"))
    return ctx.integer_layer(call, op, x, packed.weight, rule, aim, scale)


def _qnnpack_bias(
    bias: npt.NDArray[np.float32],
    products: npt.NDArray[np.float32],
    exact: npt.NDArray[np.float64],
) -> npt.NDArray[np.float32]:
    """Give the bias for which the rule's ``rne(bias * (1 / aw))`` is qnnpack's.

    qnnpack divides by the *double* product rounded to float32. That is ``aw`` when both scales are
    float32 numbers, as observers make them; otherwise the integer bias is put back in place.
    """
    rounded = exact.astype(np.float32)
    if np.array_equal(rounded, products):
        return bias
    one = np.float32(1)
    return (np.rint(bias * (one / rounded)) * products).astype(np.float32)


def pending_layer(
    ctx: ImportContext, call: Call, op: Conv2d | Linear, x: Value, weight: QuantizedWeight
) -> State:
    """Describe a layer of PT2E, that waits for its quantize."""
    out = len(weight.codes)
    bias = np.zeros(out, np.float32) if call["bias"] is None else array(call, "bias")
    factor = np.float64(np.float32(x.scale)) * weight.scales.astype(np.float64)
    return Pending(call=call, op=op, x=x, weight=weight.codes, factor=factor, bias=bias)
