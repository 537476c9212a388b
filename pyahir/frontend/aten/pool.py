"""Pooling. An average of codes is an exact sum and a requantize by the rule of the kernel.

Which kernel torch 2.13 runs depends on engine and memory format, not only on the operation. The
vector widths are those of a CPU with AVX-512, whatever this machine has: a graph must not depend
on where it was imported. They matter only for ties at an odd zero point.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pyahir.frontend.aten.operands import decomposed_operand, pair, real_operand, rewrap, symmetric
from pyahir.frontend.aten.registry import imports
from pyahir.frontend.calls import Call, Pending, State, Unsupported, Value
from pyahir.frontend.context import ImportContext, target
from pyahir.ir.ops import AvgPool2d, MaxPool2d, SumPool2d
from pyahir.ir.ops.window import Padding, Pair, output_size
from pyahir.ir.types import Float32, Layout
from pyahir.quant.rules import AveragePool, PoolForm, RawAverage, SourceRule

__all__ = ["adaptive_avg_pool2d", "avg_pool2d", "max_pool2d", "mean"]

AVERAGE_LANES = 16  # channels that avg_pool2d handles at once with AVX-512
ADAPTIVE_LANES = 8  # and adaptive_avg_pool2d, with AVX2 as well


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    kernel_size: Pair
    stride: Pair
    padding: Padding = (0, 0, 0, 0)
    divisor: int


def _require_map(ctx: ImportContext, call: Call, x: Value) -> Pair:
    kind = ctx.type(x)
    if kind.layout is Layout.NC:
        raise Unsupported(f"{call.op} of a vector; it takes a feature map")
    return kind.spatial


def _check_growth(ctx: ImportContext, call: Call, x: Value, size: Pair) -> None:
    grows = size == (1, 1) and call.shape[2:] != (1, 1)
    if grows and ctx.type(x).channels > 1 and ctx.engine in ("fbgemm", "qnnpack"):
        raise Unsupported(
            f"{call.op} from 1x1 to {_text(call.shape[2:])}: the kernel of torch 2.13 scrambles "
            "the channels; leave this pooling out"
        )


def _check_size(call: Call, size: Pair, window: MaxPool2d | _Window) -> None:
    """Refuse a ceil_mode that adds a window."""
    p, k, s = window.padding, window.kernel_size, window.stride
    d = window.dilation if isinstance(window, MaxPool2d) else (1, 1)
    floor = (
        output_size(size[0], k[0], s[0], p[0], p[1], d[0]),
        output_size(size[1], k[1], s[1], p[2], p[3], d[1]),
    )
    if floor != call.shape[2:]:
        raise Unsupported(
            f"ceil_mode adds windows that hang over the edge ({_text(floor)} becomes "
            f"{_text(call.shape[2:])}); use ceil_mode=False, or pad"
        )


def _text(size: Sequence[int]) -> str:
    return "x".join(map(str, size))


@imports("aten::max_pool2d")
def max_pool2d(ctx: ImportContext, call: Call) -> State:
    x = real_operand(ctx, call, "self")
    size, kernel = _require_map(ctx, call, x), pair(call["kernel_size"])
    op = MaxPool2d(
        kernel_size=kernel,
        stride=pair(call["stride"], kernel),
        padding=symmetric(call["padding"]),
        dilation=pair(call["dilation"]),
    )
    _check_size(call, size, op)
    _check_growth(ctx, call, x, size)
    if ctx.engine == "qnnpack" and max(op.padding) and max(op.dilation) > 1:
        raise Unsupported(
            "max_pool2d with dilation and padding: the qnnpack kernel of torch 2.13 gives wrong "
            "values; use dilation without padding, or quantized_engine='fbgemm'"
        )
    return rewrap(ctx, call, "self", ctx.emit(call, op, x))


@imports("aten::avg_pool2d")
def avg_pool2d(ctx: ImportContext, call: Call) -> State:
    x = decomposed_operand(ctx, call, "self")
    size, kernel = _require_map(ctx, call, x), pair(call["kernel_size"])
    taps, override = kernel[0] * kernel[1], call["divisor_override"]
    padding = symmetric(call["padding"])
    plain_qnnpack = ctx.engine == "qnnpack" and not call["ceil_mode"]
    if max(padding) and not (call["count_include_pad"] or override or plain_qnnpack):
        raise Unsupported(
            "avg_pool2d with padding and count_include_pad=False divides each window by another "
            "number; use count_include_pad=True, or padding=0"
        )
    window = _Window(
        kernel_size=kernel,
        stride=pair(call["stride"], kernel),
        padding=padding,
        divisor=taps if plain_qnnpack else override or taps,
    )
    _check_size(call, size, window)
    _check_growth(ctx, call, x, size)
    if plain_qnnpack:
        return _quantized(ctx, call, x, window, _qnnpack_rule(ctx, x, taps))
    inverse = np.float32(1) / np.float32(window.divisor)
    lanes = AVERAGE_LANES if call.channels_last else 0
    return _average(ctx, call, x, window, _fbgemm_rule(ctx, x, inverse, lanes, PoolForm.AFTER))


def _average(ctx: ImportContext, call: Call, x: Value, window: _Window, rule: SourceRule) -> State:
    """Add the average in the form of the model: float, PT2E, or codes by ``rule``."""
    geometry = {
        "kernel_size": window.kernel_size,
        "stride": window.stride,
        "padding": window.padding,
    }
    kind = ctx.type(x)
    if isinstance(kind.element, Float32):
        if window.divisor != window.kernel_size[0] * window.kernel_size[1]:
            raise Unsupported(f"divisor_override={window.divisor}; leave it out")
        return ctx.emit(call, AvgPool2d(**geometry), x)
    if ctx.engine == "pt2e":
        factor = np.full(kind.channels, np.float64(np.float32(x.scale)) / window.divisor)
        bias = np.zeros(kind.channels, np.float32)
        op = SumPool2d(**geometry, acc_width=1)
        return Pending(call=call, op=op, x=x, weight=None, factor=factor, bias=bias)
    return _quantized(ctx, call, x, window, rule)


def _quantized(
    ctx: ImportContext, call: Call, x: Value, window: _Window, rule: SourceRule
) -> State:
    op = SumPool2d(
        kernel_size=window.kernel_size,
        stride=window.stride,
        padding=window.padding,
        acc_width=1,
    )
    aim = target(x.scale, ctx.type(x).zero_point, relu=False)
    return ctx.integer_layer(call, op, x, None, rule, aim, x.scale)


def _fbgemm_rule(
    ctx: ImportContext, x: Value, factor: np.float32, lanes: int, form: PoolForm
) -> AveragePool:
    """Give whole groups of ``lanes`` channels ``form``; the rest is computed one by one."""
    kind = ctx.type(x)
    whole = kind.channels // lanes * lanes if lanes else 0
    forms = (form,) * whole + (PoolForm.BEFORE,) * (kind.channels - whole)
    return AveragePool(factor=factor, zero_point=kind.zero_point, forms=forms)


def _qnnpack_rule(ctx: ImportContext, x: Value, taps: int) -> AveragePool:
    kind, scale = ctx.type(x), np.float32(x.scale)
    factor = scale / (scale * np.float32(taps))
    forms = (PoolForm.AFTER,) * kind.channels
    return AveragePool(factor=factor, zero_point=kind.zero_point, forms=forms)


@imports("aten::adaptive_avg_pool2d", "aten::_adaptive_avg_pool2d")
def adaptive_avg_pool2d(ctx: ImportContext, call: Call) -> State:
    x = decomposed_operand(ctx, call, "self")
    size, (high, wide) = _require_map(ctx, call, x), (call.shape[2], call.shape[3])
    if size[0] % high or size[1] % wide:
        raise Unsupported(
            f"adaptive_avg_pool2d from {_text(size)} to {high}x{wide}: windows of different "
            "sizes; the output size has to divide the input's"
        )
    kernel = (size[0] // high, size[1] // wide)
    if kernel == (1, 1):
        return call["self"]
    window = _Window(kernel_size=kernel, stride=kernel, divisor=kernel[0] * kernel[1])
    return _average(ctx, call, x, window, _adaptive_rule(ctx, call, x, window))


def _adaptive_rule(ctx: ImportContext, call: Call, x: Value, window: _Window) -> SourceRule:
    one, count = np.float32(1), window.divisor
    if ctx.engine == "qnnpack":
        return _qnnpack_rule(ctx, x, count)
    if call.channels_last:
        inverse = one / (one / (one / np.float32(count)))
        return _fbgemm_rule(ctx, x, inverse, ADAPTIVE_LANES, PoolForm.FUSED)
    high, wide = (np.float32(item) for item in window.kernel_size)
    kind = ctx.type(x)
    return RawAverage(
        factor=one / high / wide,
        zero_point=kind.zero_point,
        count=count,
        channels=kind.channels,
    )


@imports("aten::mean")
def mean(ctx: ImportContext, call: Call) -> State:
    """The mean over height and width: a global average; without ``keepdim`` a vector, in float."""
    x = decomposed_operand(ctx, call, "self")
    size = _require_map(ctx, call, x)
    axes = sorted(axis % 4 for axis in call["dim"] or range(4))
    integers = not isinstance(ctx.type(x).element, Float32) and ctx.engine != "pt2e"
    vector = not call["keepdim"]
    if axes != [2, 3] or integers or (vector and ctx.engine == "pt2e"):
        raise Unsupported(
            "aten::mean is supported on float models over height and width; use "
            "nn.AdaptiveAvgPool2d(1)"
        )
    window = _Window(kernel_size=size, stride=size, divisor=size[0] * size[1])
    if not vector:
        inverse = np.float32(1 / window.divisor)
        return _average(ctx, call, x, window, _fbgemm_rule(ctx, x, inverse, 0, PoolForm.AFTER))
    op = AvgPool2d(kernel_size=size, stride=size)
    return ctx.flat_average(call, op, x)
