"""Every op once more, from its definition: loops over elements and Python integers.

Nothing is shared with ``pyahir.ir.eval``. Values are (N, ...) in the type's layout; integers come
and go as plain codes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product

import numpy as np

from pyahir.ir.ops import (
    Add,
    AvgPool2d,
    BatchNorm,
    Clamp,
    Conv2d,
    Encode,
    Flatten,
    Linear,
    MaxPool2d,
    MultiThreshold,
    Op,
    QuantizedAdd,
    RealAdd,
    RealAvgPool2d,
    RealConv2d,
    RealLinear,
    Recode,
    Relu,
    Requantize,
    SumPool2d,
    WindowOp,
)
from pyahir.ir.types import Array, Bipolar, Layout, Posit, PowerOfTwo, TensorType
from tests.ir import slow_posit


def _window(
    op: WindowOp, x: TensorType, result: TensorType
) -> Iterator[tuple[int, int, list[tuple[int, int, int, int]]]]:
    """Give every output position with its taps inside the map: (kh, kw, row, column)."""
    height, width = x.spatial
    for i, j in product(*map(range, result.spatial)):
        taps: list[tuple[int, int, int, int]] = []
        for kh, kw in product(*map(range, op.kernel_size)):
            row = i * op.stride[0] + kh * op.dilation[0] - op.padding[0]
            column = j * op.stride[1] + kw * op.dilation[1] - op.padding[2]
            if 0 <= row < height and 0 <= column < width:
                taps.append((kh, kw, row, column))
        yield i, j, taps


def _at(array: Array, layout: Layout, channel: int, row: int, column: int) -> Array:
    """Give one element of every image of the batch, as a view."""
    if layout is Layout.NCHW:
        return array[:, channel, row, column]
    return array[:, row, column, channel]


def _empty(batch: Array, result: TensorType) -> Array:
    dtype = np.float64 if batch.dtype.kind == "f" else np.int64
    return np.zeros((len(batch), *result.shape[1:]), dtype)


def _numbers(codes: Array, kind: TensorType | None = None) -> Array:
    """Give what codes stand for. Weights (no ``kind``) are unsigned only where they are bits."""
    bipolar = codes.dtype == np.uint8 if kind is None else isinstance(kind.element, Bipolar)
    if bipolar:
        return np.where(codes == 1, 1, -1)
    zero_point = 0 if kind is None else kind.zero_point
    return codes - zero_point if zero_point else codes


def conv2d(
    op: Conv2d, x: TensorType, batch: Array, constants: tuple[Array, ...], result: TensorType
) -> Array:
    weight = _numbers(constants[0]).astype(np.float64 if batch.dtype.kind == "f" else np.int64)
    batch = _numbers(batch, x)
    out = _empty(batch, result)
    per_group = weight.shape[1]
    for o in range(len(weight)):
        first = o // (len(weight) // op.groups) * per_group
        for i, j, taps in _window(op, x, result):
            total = _at(out, result.layout, o, i, j)
            for (kh, kw, row, column), c in product(taps, range(per_group)):
                value = _at(batch, x.layout, first + c, row, column)
                total += value * weight[o, c, kh, kw]
            if len(constants) > 1:
                total += float(constants[1][o])
    return out


def linear(
    op: Linear, x: TensorType, batch: Array, constants: tuple[Array, ...], result: TensorType
) -> Array:
    del op
    out = _empty(batch, result)
    for n, o in product(range(len(batch)), range(len(constants[0]))):
        row = _numbers(constants[0][o]).tolist()
        values = _numbers(batch[n], x).tolist()
        out[n, o] = sum(value * weight for value, weight in zip(values, row, strict=True))
        if len(constants) > 1:
            out[n, o] += float(constants[1][o])
    return out


def batch_norm(
    op: BatchNorm, x: TensorType, batch: Array, constants: tuple[Array, ...], result: TensorType
) -> Array:
    del x, result
    out = batch.astype(np.float64)
    for c in range(batch.shape[1]):
        weight, bias, mean, variance = (float(item[c]) for item in constants)
        out[:, c] = (out[:, c] - mean) / (variance + op.eps) ** 0.5 * weight + bias
    return out


def relu(
    op: Relu, x: TensorType, batch: Array, constants: tuple[Array, ...], result: TensorType
) -> Array:
    del op, constants, result
    if isinstance(x.quantization, PowerOfTwo):
        return slow_posit.relu(x, batch)
    return np.where(batch < x.zero_point, x.zero_point, batch)


def clamp(
    op: Clamp, x: TensorType, batch: Array, constants: tuple[Array, ...], result: TensorType
) -> Array:
    del constants, result
    if isinstance(x.element, Posit):
        ordered = np.where(batch >= 128, batch.astype(np.int64) - 256, batch)
        limited = np.array([min(max(code, op.minimum), op.maximum) for code in ordered.ravel()])
        return np.where(ordered == -128, 128, limited.reshape(batch.shape) % 256)
    return np.where(batch < op.minimum, op.minimum, np.where(batch > op.maximum, op.maximum, batch))


def pool(
    op: WindowOp, x: TensorType, batch: Array, constants: tuple[Array, ...], result: TensorType
) -> Array:
    del constants
    out = _empty(batch, result)
    for c in range(x.channels):
        for i, j, taps in _window(op, x, result):
            values = [_at(batch, x.layout, c, row, column) for _, _, row, column in taps]
            place = _at(out, result.layout, c, i, j)
            if isinstance(op, MaxPool2d) and isinstance(x.element, Posit):
                place[:] = (
                    np.max([(value.astype(np.int64) + 128) % 256 for value in values], axis=0) + 128
                ) % 256
            elif isinstance(op, MaxPool2d):
                place[:] = np.max(values, axis=0)
            else:
                place[:] = sum(value - x.zero_point for value in values)
    if isinstance(op, AvgPool2d):
        out /= op.kernel_size[0] * op.kernel_size[1]
    return out


def flatten(
    op: Flatten, x: TensorType, batch: Array, constants: tuple[Array, ...], result: TensorType
) -> Array:
    del op, constants
    out = np.zeros((len(batch), *result.shape[1:]), batch.dtype)
    places = product(range(x.channels), range(x.spatial[0]), range(x.spatial[1]))
    for position, (c, i, j) in enumerate(places):
        value = batch[:, c] if x.layout is Layout.NC else _at(batch, x.layout, c, i, j)
        out[:, position] = value
    return out


def requantize(
    op: Requantize, x: TensorType, batch: Array, constants: tuple[Array, ...], result: TensorType
) -> Array:
    del result
    multiplier, offset, exceptions = (item.tolist() for item in constants)
    table = {(channel, acc): delta for channel, acc, delta in exceptions}
    out = np.zeros(batch.shape, np.int64)
    for place, acc in np.ndenumerate(batch):
        channel = place[x.layout.channel_axis]
        scaled = int(acc) * multiplier[channel] + offset[channel]
        code = scaled >> op.shift
        if op.tie_bits:
            behind = scaled - (code << op.shift)  # the bits behind the point
            tie = behind < 1 << (op.shift - op.tie_bits)
            code -= tie and code % 2 != op.tie_parity
        code = min(max(code, op.quant_min), op.quant_max)
        out[place] = code + table.get((channel, int(acc)), 0)
    return out


def recode(
    op: Recode, x: TensorType, batch: Array, constants: tuple[Array, ...], result: TensorType
) -> Array:
    del op, x, result
    table = constants[0].tolist()
    return np.array([table[code] for code in batch.ravel().tolist()]).reshape(batch.shape)


def multi_threshold(
    op: MultiThreshold,
    x: TensorType,
    batch: Array,
    constants: tuple[Array, ...],
    result: TensorType,
) -> Array:
    del result
    rows = constants[0].tolist()
    out = np.zeros(batch.shape, np.int64)
    for place, acc in np.ndenumerate(batch):
        row = rows[place[x.layout.channel_axis] if len(rows) > 1 else 0]
        out[place] = op.base + sum(step < int(acc) for step in row)
    return out


def add(
    op: Add,
    kinds: tuple[TensorType, ...],
    batches: tuple[Array, Array],
    constants: tuple[Array, ...],
    result: TensorType,
) -> Array:
    return batches[0] + batches[1]


def quantized_add(
    op: QuantizedAdd,
    kinds: tuple[TensorType, ...],
    batches: tuple[Array, Array],
    constants: tuple[Array, ...],
    result: TensorType,
) -> Array:
    table = {(a, b): delta for a, b, delta in constants[0].tolist()}
    codes: list[int] = []
    for a, b in zip(*(batch.ravel().tolist() for batch in batches), strict=True):
        total = a * op.multipliers[0] + b * op.multipliers[1] + op.offset
        if op.away and total < op.zero_point * 2**op.shift + 2**op.shift // 2:
            total -= 1
        code, rest = divmod(total, 2**op.shift)
        if op.tie_bits and rest < 2 ** (op.shift - op.tie_bits) and code % 2 != op.tie_parity:
            code -= 1
        codes.append(min(max(code, op.quant_min), op.quant_max) + table.get((a, b), 0))
    return np.array(codes).reshape(batches[0].shape)


RULES: dict[type[Op], Callable[..., Array]] = {
    Add: add,
    QuantizedAdd: quantized_add,
    RealAdd: slow_posit.real_add,
    Conv2d: conv2d,
    Linear: linear,
    BatchNorm: batch_norm,
    Relu: relu,
    Clamp: clamp,
    MaxPool2d: pool,
    AvgPool2d: pool,
    SumPool2d: pool,
    Flatten: flatten,
    Requantize: requantize,
    RealConv2d: slow_posit.real_conv2d,
    RealLinear: slow_posit.real_linear,
    RealAvgPool2d: slow_posit.real_avg_pool2d,
    Encode: slow_posit.encode,
    Recode: recode,
    MultiThreshold: multi_threshold,
}
