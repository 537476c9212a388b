"""Where two branches join: additions in float, of codes (TorchScript) and of PT2E."""

from __future__ import annotations

import numpy as np

from pyahir.frontend.aten.operands import value
from pyahir.frontend.aten.registry import imports
from pyahir.frontend.calls import Call, Pending, PendingSum, Real, State, Unsupported, Value
from pyahir.frontend.context import ImportContext, target
from pyahir.ir.ops import Add
from pyahir.ir.types import Affine
from pyahir.quant.add_rules import AddRule, DecomposedAdd, FbgemmAdd, QnnpackAdd

__all__ = ["GROUP", "add", "finish_sum", "quantized_add"]

GROUP = 128  # elements that fbgemm's kernel adds at once


@imports("aten::add", "aten::add_")
def add(ctx: ImportContext, call: Call) -> State:
    """Add two branches of one shape, in float or between a dequantize and a quantize."""
    if call["alpha"] != 1:
        raise Unsupported(f"{call.op} with alpha={call['alpha']}; multiply before, or use 1")
    if ctx.engine == "pt2e":
        return PendingSum(call=call, a=_real(call, "self"), b=_real(call, "other"))
    return ctx.float_join(call, Add(), _branch(call, "self"), _branch(call, "other"))


def _branch(call: Call, name: str) -> Value:
    if not isinstance(call[name], State):
        raise Unsupported(
            f"{call.op} of a constant; two branches of the model are added: put a constant into "
            "the bias of a layer"
        )
    return value(call, name)


def _real(call: Call, name: str) -> Value:
    """Give what was dequantized before the addition."""
    state = call[name]
    if isinstance(state, Real):
        return state.value
    if isinstance(state, Pending | PendingSum):
        raise Unsupported(
            f"{call.op} reads a layer whose result stays float: the quantizer has joined the two; "
            "let it annotate the inputs of the addition, or export the float model and let pyahir "
            "quantize it (--calibrate data.npz)"
        )
    return _branch(call, name)


def _affine(ctx: ImportContext, x: Value) -> Affine:
    found = ctx.type(x).quantization
    assert isinstance(found, Affine)
    return found


@imports("quantized::add", "quantized::add_relu")
def quantized_add(ctx: ImportContext, call: Call) -> State:
    """Add codes by the rule of the engine that runs the model."""
    a, b, scale = value(call, "qa"), value(call, "qb"), float(call["scale"])
    aim = target(scale, int(call["zero_point"]), relu=call.op.endswith("_relu"))
    operands = (_affine(ctx, a), _affine(ctx, b))
    rule: AddRule
    if ctx.engine == "qnnpack":
        rule = QnnpackAdd(operands=operands, result=aim.quantization)
        if not rule.accepted:  # torch itself fails when it runs; a walk on other values may not
            raise Unsupported(f"{call.op}: the scales are too far apart for the qnnpack kernel")
    else:
        rule = FbgemmAdd(operands=operands, result=aim.quantization, single=call.mixed)
        _note_rest(ctx, call, a)
    return ctx.integer_join(call, a, b, rule, aim, scale)


def _note_rest(ctx: ImportContext, call: Call, x: Value) -> None:
    if call.mixed or ctx.type(x).size % GROUP == 0:
        return
    ctx.notes.append(
        f"{call.loc.path or call.op}: torch's fbgemm kernel adds the last {GROUP - 1} elements of "
        "a tensor, or fewer, by another rule; at ties they may differ from the graph"
    )


def finish_sum(
    ctx: ImportContext, call: Call, x: PendingSum, scale: float, zero_point: int
) -> Value:
    """Add the sum of PT2E that ``call``, a quantize, ends."""
    aim = target(scale, zero_point, x.relu)
    rule = DecomposedAdd(
        operands=(_affine(ctx, x.a), _affine(ctx, x.b)),
        result=aim.quantization,
        inverse=np.float32(1.0 / scale),
    )
    owner = Call(
        op=x.call.op,
        arguments=x.call.arguments,
        shape=call.shape,
        loc=x.call.loc,
        layer=x.call.layer,
        source=call.source,
    )
    return ctx.integer_join(owner, x.a, x.b, rule, aim, scale)
