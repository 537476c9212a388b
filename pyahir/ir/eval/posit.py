"""Layers in real numbers of fixed order, and the rounding to posits: ``ir.ops.posit`` defines them.

A plane of posits is int8 (codes as signed integers), one of binary32 or binary16 numbers float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from pyahir.ir.eval.core import Buffers, Context, Join, Kernel, Plane, evaluates
from pyahir.ir.eval.quire import join, multiply, odd, plan_limbs, widen
from pyahir.ir.eval.window import padded, tap
from pyahir.ir.ops import Encode, RealAdd, RealAvgPool2d, RealConv2d, RealLinear, WindowOp
from pyahir.ir.ops.posit import LANES
from pyahir.ir.posit import NAR, decode, encode_odd, encoding_table
from pyahir.ir.ranges import quire_add_bound, quire_bound, quire_weight
from pyahir.ir.types import Array, Posit, PowerOfTwo, TensorType

__all__ = [
    "encode",
    "ordered_sum",
    "real_add",
    "real_avg_pool2d",
    "real_conv2d",
    "real_linear",
    "to_binary16",
]

Real = npt.NDArray[np.float32]
Rounding = Callable[[Real], None]
Arrange = Callable[[Plane], Plane]
Product = Callable[[Plane, Arrange], Plane]
BLOCK = 1 << 18  # bytes that the 16 partial sums of a block take: they stay in a level-2 cache


def _keep(x: Real) -> None:
    """Leave binary32 as it is."""
    del x


def to_binary16(x: Real) -> None:
    """Round binary32 numbers in place to binary16, to nearest even.

    Adding and subtracting 1.5 * 2**(e + 13), e the exponent of the number or -14, rounds at bit
    2**(e - 10); multiplying by 2**112 makes infinities of what binary16 cannot hold. A product of
    two binary16 numbers is exact in binary32, and a sum rounded to binary32 first has bits enough
    (24 >= 2 * 11 + 2) that the second rounding is as if it were the only one.
    """
    bits = x.view(np.uint32) & np.uint32(0x7F800000)
    np.clip(bits, np.uint32((127 - 14) << 23), np.uint32((127 + 17) << 23), out=bits)
    bits += np.uint32((13 << 23) + (1 << 22))
    magic = bits.view(np.float32)
    x += magic
    x -= magic
    x *= np.float32(2.0**112)
    x *= np.float32(2.0**-112)


def _rounding(arith: str) -> Rounding:
    return to_binary16 if arith == "f16" else _keep


def ordered_sum(weight: Real | None, patches: Real, rounding: Rounding) -> Real:
    """Sum ``weight[o, t] * patches[t, m]`` over t in the order of ``ir.ops.posit``; (O, M).

    Without a weight ``patches`` is (T, O, M) and holds the products.
    """
    taps, columns = patches.shape[0], patches.shape[-1]
    outputs = patches.shape[1] if weight is None else len(weight)
    result = np.empty((outputs, columns), np.float32)
    step = max(16, BLOCK // (4 * LANES * outputs))
    for first in range(0, columns, step):
        part = patches[..., first : first + step]
        shape = (outputs, part.shape[-1])
        sums, term = np.zeros((LANES, *shape), np.float32), np.empty(shape, np.float32)
        for t in range(taps):
            if weight is None:
                np.copyto(term, part[t])
            else:
                np.multiply(weight[:, t : t + 1], part[t], out=term)
                rounding(term)
            lane = sums[t % LANES]
            lane += term
            rounding(lane)
        while len(sums) > 1:
            sums = sums[0::2] + sums[1::2]
            rounding(sums)
        result[:, first : first + step] = sums[0]
    return result


def _decoder(kind: TensorType, arith: str) -> Callable[[Plane], Real]:
    """Give the function from a carried plane to the operands of the arithmetic."""
    if not isinstance(kind.element, Posit):
        return lambda x: x
    table = _real(np.arange(256, dtype=np.uint8), kind, arith)
    return lambda x: np.take(table, x.view(np.uint8))


def _real(array: Array, kind: TensorType, arith: str) -> Real:
    """Give stored numbers as binary32 or binary16 numbers, in float32."""
    if not isinstance(kind.element, Posit):
        return array.astype(np.float32)
    dtype = np.float16 if arith == "f16" else np.float32
    return decode(array.astype(np.uint8), kind.element.es, dtype).astype(np.float32)


def _patches(x: Plane, op: WindowOp, groups: int, size: tuple[int, int], buffers: Buffers) -> Plane:
    """Give (G, KW, C/G, KH, OH, OW, N): the taps of every window in the order of the op."""
    x = padded(x, op, buffers, 0.0)
    channels, batch = x.shape[0] // groups, x.shape[-1]
    kh, kw = op.kernel_size
    patches = buffers.get("patches", (groups, kw, channels, kh, *size, batch), x.dtype)
    for i in range(kh):
        for j in range(kw):
            part = tap(x, op, i, j, *size)
            patches[:, j, :, i] = part.reshape(groups, channels, *size, batch)
    return patches


def _quiet(kernel: Kernel) -> Kernel:
    """Let a kernel make infinities and NaN without a word: its arithmetic has them."""

    def run(x: Plane) -> Plane:
        with np.errstate(all="ignore"):
            return kernel(x)

    return run


def _ordered(weight: Array) -> Array:
    """Bring a weight (O, C, KH, KW) into the order of the taps: (O, KW * C * KH)."""
    return np.ascontiguousarray(weight.transpose(0, 3, 1, 2)).reshape(weight.shape[0], -1)


@evaluates(RealConv2d)
def real_conv2d(op: RealConv2d, context: Context) -> Kernel:
    """Multiply per group (O/g, T) by (T, OH*OW*N)."""
    out, groups, size = len(context.constant(1)), op.groups, context.node.type.spatial
    product = _product(op, context, _ordered(context.constant(1)), groups)
    buffers = Buffers()

    def arrange(x: Plane) -> Plane:
        patches = _patches(x, op, groups, size, buffers)
        return patches.reshape(groups, -1, size[0] * size[1] * x.shape[-1])

    def kernel(x: Plane) -> Plane:
        sums = product(x, arrange)
        return sums.reshape(*sums.shape[:-2], out, *size, x.shape[-1])

    return _quiet(kernel)


@evaluates(RealLinear)
def real_linear(op: RealLinear, context: Context) -> Kernel:
    """Multiply (O, T) by (T, N), both in the order (h, w, c)."""
    weight = context.constant(1)
    index = np.arange(weight.shape[1], dtype=np.int64).reshape(-1, *op.spatial)
    order = np.moveaxis(index, 0, -1).ravel()
    product = _product(op, context, np.ascontiguousarray(weight[:, order]), 1)
    return _quiet(lambda x: product(x, lambda plane: plane[order][None]))


def _product(op: RealConv2d | RealLinear, context: Context, rows: Array, groups: int) -> Product:
    """Give the function from a carried plane to sums (O, M) or (2, O, M), bias added.

    ``rows`` is the weight as it is stored, (O, T); the function takes besides the plane the one
    that arranges decoded numbers as columns (G, T, M).
    """
    x, weight = context.operands[:2]
    bias = context.constant(2)
    outputs = len(rows)
    if op.arith == "quire":
        return _quire(op, context, rows, groups)
    rounding, read = _rounding(op.arith), _decoder(x, op.arith)
    matrix = _real(rows, weight, op.arith).reshape(groups, outputs // groups, -1)
    term = bias.astype(np.float32).reshape(-1, 1)

    def product(x: Plane, arrange: Arrange) -> Plane:
        columns = arrange(read(x))
        sums = [ordered_sum(matrix[g], columns[g], rounding) for g in range(groups)]
        result = np.concatenate(sums) if groups > 1 else sums[0]
        result += term
        rounding(result)
        return result

    return product


def _quire(op: RealConv2d | RealLinear, context: Context, rows: Array, groups: int) -> Product:
    x, weight = context.operands[:2]
    assert isinstance(x.element, Posit)
    integers, bias = quire_weight(rows, weight.element), context.constant(2).astype(np.int64)
    limbs = plan_limbs(x.element.es, integers, quire_bound(op, x, integers, bias))
    outputs = len(rows)
    matrices = [item.reshape(groups, outputs // groups, -1) for item in limbs.weights]
    term = bias.reshape(-1, 1)

    def matmul(limb: int, columns: Plane) -> Plane:
        return np.matmul(matrices[limb], columns).reshape(outputs, -1)

    return lambda x, arrange: multiply(limbs, x, arrange, matmul, term)


@evaluates(RealAvgPool2d)
def real_avg_pool2d(op: RealAvgPool2d, context: Context) -> Kernel:
    """Sum the taps of every channel as its own group, then multiply once."""
    x, size = context.operands[0], context.node.type.spatial
    channels, buffers = x.channels, Buffers()

    def columns(plane: Plane) -> Plane:
        patches = _patches(plane, op, channels, size, buffers)
        return patches.reshape(channels, op.taps, -1)

    def shaped(sums: Plane) -> Plane:
        return sums.reshape(
            *sums.shape[:-2], channels, *size, sums.shape[-1] // (size[0] * size[1])
        )

    if op.arith == "quire":
        assert isinstance(x.element, Posit)
        factor, bound = op.integer_factor()[0], quire_bound(op, x, None, None)
        limbs = plan_limbs(x.element.es, np.ones((1, op.taps), np.int64), bound)
        zero = np.zeros((1, 1), np.int64)

        def exact(plane: Plane) -> Plane:
            sums = multiply(limbs, plane, columns, lambda _, part: part.sum(axis=1), zero)
            return shaped(widen(sums, factor))

        return _quiet(exact)
    rounding, read, factor = _rounding(op.arith), _decoder(x, op.arith), np.float32(op.factor())

    def kernel(plane: Plane) -> Plane:
        terms = np.ascontiguousarray(columns(read(plane)).transpose(1, 0, 2))
        result = ordered_sum(None, terms, rounding)
        result *= factor
        rounding(result)
        return shaped(result)

    return _quiet(kernel)


@evaluates(RealAdd)
def real_add(op: RealAdd, context: Context) -> Join:
    """Bring both operands to one scale by a table of 256 numbers each, then add."""
    kinds = context.operands
    if op.arith == "quire":
        return join(*_shifts(kinds), quire_add_bound(*kinds))
    rounding = _rounding(op.arith)
    first, second = (_scaled_decoder(kind, context.node.type, op.arith) for kind in kinds)

    def kernel(x: Plane, y: Plane) -> Plane:
        with np.errstate(all="ignore"):
            total = first(x) + second(y)
            rounding(total)
        return total

    return kernel


def _shifts(kinds: tuple[TensorType, ...]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Give es and left shift of both operands of an exact sum."""
    exponents = [_exponent(kind) for kind in kinds]
    first, second = (
        (kind.element.es, exponent - min(exponents))
        for kind, exponent in zip(kinds, exponents, strict=True)
        if isinstance(kind.element, Posit)
    )
    return first, second


def _scaled_decoder(kind: TensorType, result: TensorType, arith: str) -> Callable[[Plane], Real]:
    """Give the function from a carried plane to its numbers in units of ``result``."""
    if not isinstance(kind.element, Posit):
        return lambda x: x
    exact = decode(np.arange(256, dtype=np.uint8), kind.element.es, np.float64)
    dtype = np.float16 if arith == "f16" else np.float32
    with np.errstate(over="ignore", under="ignore"):
        scaled = np.ldexp(exact, _exponent(kind) - _exponent(result)).astype(dtype)
    table = scaled.astype(np.float32) + np.float32(0)  # -0 becomes +0
    return lambda x: np.take(table, x.view(np.uint8))


def _exponent(kind: TensorType) -> int:
    assert isinstance(kind.quantization, PowerOfTwo)
    return kind.quantization.exponent


@evaluates(Encode)
def encode(op: Encode, context: Context) -> Kernel:
    """Look every sum up in a table of 65,536 roundings."""
    acc = context.operands[0]
    assert isinstance(acc.quantization, PowerOfTwo)
    table = encoding_table(op.es, acc.quantization.exponent - op.exponent)
    if op.relu:
        table = np.where((table > NAR), 0, table).astype(np.uint8)
    codes: npt.NDArray[Any] = table.view(np.int8)
    return lambda x: encode_odd(odd(x), codes)
