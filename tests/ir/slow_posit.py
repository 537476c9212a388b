"""The layers of ``ir.ops.posit`` once more, from their docstrings: loops and scalar arithmetic.

Posits are decoded by ``tests.ir.posit_oracle``. binary32 and binary16 are NumPy's own types, one
vector over the images at a time; a quire is Python's integers. Nothing of ``pyahir.ir.eval``.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np

from pyahir.ir.ops import Encode, RealAdd, RealAvgPool2d, RealConv2d, RealLinear
from pyahir.ir.types import Array, Int, Posit, PowerOfTwo, TensorType
from tests.ir import posit_oracle as oracle

DTYPES = {"f32": np.float32, "f16": np.float16}
Row = list[Any]  # one number for each image of the batch


def operand(codes: Array, element: object, arith: str) -> Array:
    """Give stored numbers as the arithmetic takes them; None is NaR in a quire."""
    if arith == "quire":
        if not isinstance(element, Posit):
            return codes.astype(object)
        unit = 1 << (6 << element.es)
        exact = [oracle.decode(int(code), element.es) for code in codes.ravel()]
        whole = [None if x is None else int(x * unit) for x in exact]
    elif isinstance(element, Posit):
        with np.errstate(over="ignore"):
            exact = [oracle.decode(int(code), element.es) for code in codes.ravel()]
            whole = [DTYPES[arith](np.nan if x is None else float(x)) for x in exact]
    else:
        return codes
    result = np.empty(codes.size, object if arith == "quire" else DTYPES[arith])
    result[:] = whole
    return result.reshape(codes.shape)


def total(terms: list[Row], bias: Any, arith: str, width: int) -> Row:
    """Sum the products of the taps, in their order, and the bias."""
    count = len(terms[0])
    if arith == "quire":
        nar = -(1 << (width - 1))
        return [
            nar if any(row[n] is None for row in terms) else sum(row[n] for row in terms) + bias
            for n in range(count)
        ]
    zero = np.zeros(count, DTYPES[arith])
    terms = [*terms, *[zero] * (-len(terms) % 16)]
    lanes = [zero] * 16
    for t, term in enumerate(terms):
        lanes[t % 16] = lanes[t % 16] + term
    while len(lanes) > 1:
        lanes = [lanes[i] + lanes[i + 1] for i in range(0, len(lanes), 2)]
    return lanes[0] if bias is None else list(lanes[0] + bias)


def times(x: Row, weight: Any, arith: str) -> Row:
    if arith == "quire":
        return [None if item is None else item * weight for item in x]
    return x * weight


def _dtype(op: RealConv2d | RealLinear | RealAvgPool2d | RealAdd) -> Any:
    return object if op.arith == "quire" else DTYPES[op.arith]


def _weight(codes: Array, x: TensorType, arith: str) -> Array:
    return operand(codes, x.element if codes.dtype == np.uint8 else Int(16), arith)


def _bias(array: Array) -> Array:
    """Give integers as Python's, which have no width."""
    return array.astype(object) if array.dtype.kind == "i" else array


def real_conv2d(
    op: RealConv2d, x: TensorType, batch: Array, constants: tuple[Array, ...], result: TensorType
) -> Array:
    weight, bias = _weight(constants[0], x, op.arith), _bias(constants[1])
    values = operand(batch, x.element, op.arith)
    out = np.zeros((len(batch), *result.shape[1:]), _dtype(op))
    outputs, per_group, kh, kw = weight.shape
    (height, width), zero = x.spatial, [_zero(op.arith)] * len(batch)
    with np.errstate(all="ignore"):
        for o, (i, j) in product(range(outputs), product(*map(range, result.spatial))):
            first = o // (outputs // op.groups) * per_group
            terms: list[Row] = []
            for b, c, a in product(range(kw), range(per_group), range(kh)):
                row = i * op.stride[0] + a * op.dilation[0] - op.padding[0]
                column = j * op.stride[1] + b * op.dilation[1] - op.padding[2]
                inside = 0 <= row < height and 0 <= column < width
                taken = values[:, row, column, first + c] if inside else None
                term = zero if taken is None else times(taken, weight[o, c, a, b], op.arith)
                terms.append(term)
            out[:, i, j, o] = total(terms, bias[o], op.arith, op.acc_width)
    return out


def real_add(
    op: RealAdd,
    kinds: tuple[TensorType, ...],
    batches: tuple[Array, Array],
    constants: tuple[Array, ...],
    result: TensorType,
) -> Array:
    scales = [kind.quantization for kind in kinds]
    exponents = [scale.exponent for scale in scales if isinstance(scale, PowerOfTwo)]
    unit = min(exponents) if op.arith == "quire" else max(exponents)
    terms: list[list[Any]] = []
    for batch, kind, exponent in zip(batches, kinds, exponents, strict=True):
        terms.append([_scaled(code, kind, exponent - unit, op.arith) for code in batch.ravel()])
    nar = -(1 << (op.acc_width - 1)) if op.arith == "quire" else 0
    out = np.empty(batches[0].size, _dtype(op))
    with np.errstate(all="ignore"):
        sums = [nar if a is None or b is None else a + b for a, b in zip(*terms, strict=True)]
    out[:] = sums
    return out.reshape(batches[0].shape)


def _scaled(code: Any, kind: TensorType, shift: int, arith: str) -> Any:
    """Give a stored number times ``2**shift``; None is NaR in a quire."""
    if not isinstance(kind.element, Posit):
        return code
    exact = oracle.decode(int(code), kind.element.es)
    if arith == "quire":
        return (
            None
            if exact is None
            else int(exact * Fraction(2) ** shift * (1 << (6 << kind.element.es)))
        )
    with np.errstate(over="ignore"):
        return DTYPES[arith](np.nan if exact is None else float(exact * Fraction(2) ** shift))


def _zero(arith: str) -> Any:
    return 0 if arith == "quire" else DTYPES[arith](0)


def real_linear(
    op: RealLinear, x: TensorType, batch: Array, constants: tuple[Array, ...], result: TensorType
) -> Array:
    weight, bias = _weight(constants[0], x, op.arith), _bias(constants[1])
    values = operand(batch, x.element, op.arith)
    out = np.zeros((len(batch), *result.shape[1:]), _dtype(op))
    height, width = op.spatial
    channels = values.shape[1] // (height * width)
    with np.errstate(all="ignore"):
        for o in range(len(weight)):
            terms: list[Row] = []
            for h, w, c in product(range(height), range(width), range(channels)):
                i = (c * height + h) * width + w
                terms.append(times(values[:, i], weight[o, i], op.arith))
            out[:, o] = total(terms, bias[o], op.arith, op.acc_width)
    return out


def real_avg_pool2d(
    op: RealAvgPool2d, x: TensorType, batch: Array, constants: tuple[Array, ...], result: TensorType
) -> Array:
    del constants
    values = operand(batch, x.element, op.arith)
    out = np.zeros((len(batch), *result.shape[1:]), _dtype(op))
    taps = op.kernel_size[0] * op.kernel_size[1]
    (height, width), zero = x.spatial, [_zero(op.arith)] * len(batch)
    factor: Any = Fraction(float(np.float32(1 / taps))).numerator
    if op.arith != "quire":
        factor = DTYPES[op.arith](1 / taps)
    nar = -(1 << (op.acc_width - 1)) if op.arith == "quire" else None
    with np.errstate(all="ignore"):
        for c, (i, j) in product(range(x.channels), product(*map(range, result.spatial))):
            terms: list[Row] = []
            for b, a in product(range(op.kernel_size[1]), range(op.kernel_size[0])):
                row = i * op.stride[0] + a * op.dilation[0] - op.padding[0]
                column = j * op.stride[1] + b * op.dilation[1] - op.padding[2]
                inside = 0 <= row < height and 0 <= column < width
                terms.append(values[:, row, column, c] if inside else zero)
            bias = 0 if op.arith == "quire" else None
            sums = total(terms, bias, op.arith, op.acc_width)
            out[:, i, j, c] = [item if item == nar else item * factor for item in sums]
    return out


def encode(
    op: Encode, x: TensorType, batch: Array, constants: tuple[Array, ...], result: TensorType
) -> Array:
    del constants, result
    assert isinstance(x.quantization, PowerOfTwo)
    factor = Fraction(2) ** (x.quantization.exponent - op.exponent)
    nar = x.element.min if isinstance(x.element, Int) else None
    codes: list[int] = []
    for item in batch.ravel().tolist():
        exact = None if item == nar else oracle.exact(item)
        code = oracle.encode(None if exact is None else exact * factor, op.es)
        codes.append(0 if op.relu and code > oracle.NAR else code)
    return np.array(codes, np.uint8).reshape(batch.shape)


def relu(x: TensorType, batch: Array) -> Array:
    """ReLU on stored posits or floats."""
    if isinstance(x.element, Posit):
        return np.where(batch > oracle.NAR, 0, batch).astype(np.uint8)
    return np.where(batch <= 0, batch.dtype.type(0), batch)
