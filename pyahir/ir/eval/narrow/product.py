"""Convolution and linear layer: products of bytes, summed in int32 by NumKong.

NumKong chooses its kernel for the machine: AMX, VNNI, AVX2, NEON, SVE, or plain C. Sums of bytes in
int32 are exact in any order, even where a partial sum wraps around: the whole one fits.

A carried activation is ``x - zero_point`` but for a constant, so its sum is the wanted one but for
that constant times the sum of the weights: one number a channel, added at the end. Padding is the
zero point.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numkong
import numpy as np

from pyahir.ir.eval.core import Plane
from pyahir.ir.eval.narrow.form import Kernel, Site, carried_offset, carried_type, narrow, tiled
from pyahir.ir.eval.narrow.patches import gathered
from pyahir.ir.eval.narrow.window import padded
from pyahir.ir.ops import Conv2d, Linear
from pyahir.ir.ranges import magnitude_bound, numbers
from pyahir.ir.types import Array

__all__ = ["accelerated", "conv2d", "linear", "multiply_rows"]

BLOCK = 1 << 19  # bytes of windows of one product: a part of a level-2 cache

Product = Callable[[Plane, Plane], None]


def accelerated() -> bool:
    """Tell whether NumKong has vector instructions here: its plain C is slower than float BLAS."""
    return any(name != "serial" for name, here in numkong.get_capabilities().items() if here)


def multiply_rows(weight: Array) -> Product:
    """Give the product of rows (R, K) of int8 and this weight (O, K), written to (R, O) of int32.

    The rows may overlap or leave gaps; within a row the numbers lie side by side.
    """
    packed = numkong.dots_pack(np.ascontiguousarray(weight, np.int8))

    def run(rows: Plane, result: Plane) -> None:
        numkong.dots_packed(rows, packed, out=numkong.from_dlpack(result))

    return run


@narrow(Linear)
def linear(op: Linear, site: Site) -> Kernel | None:
    """Multiply (N, I) by (I, O)."""
    del op
    if (weight := _bytes(site)) is None:
        return None
    product, correct = multiply_rows(weight), _correction(site, weight)
    outputs = len(weight)

    def kernel(x: Plane) -> Plane:
        sums = site.sums((len(x), outputs))
        product(x, sums)
        correct(sums)
        return site.settled(sums)

    return kernel


@narrow(Conv2d)
def conv2d(op: Conv2d, site: Site) -> Kernel | None:
    """Multiply the patches (N*OH*OW, KH*KW*I) by (KH*KW*I, O), group by group."""
    if (weight := _bytes(site)) is None:
        return None
    rows = np.ascontiguousarray(weight.transpose(0, 2, 3, 1))
    correct = _correction(site, weight)
    x_type, spatial = site.operands[0], site.node.type.spatial
    fill = x_type.zero_point - carried_offset(x_type.element)
    if op.groups == 1:
        multiply = _whole(op, rows, site)
    elif rows.shape[-1] == 1 and op.groups == len(rows):
        multiply = _depthwise(op, rows, site)
    else:
        multiply = _grouped(op, rows, site)

    def kernel(x: Plane) -> Plane:
        x = padded(x, op, site.scratch("padded"), fill)
        sums = site.sums((len(x), *spatial, len(rows)))
        multiply(x, sums)
        correct(sums)
        return site.settled(sums)

    return kernel


def _whole(op: Conv2d, rows: Array, site: Site) -> Product:
    """One product for all channels, of as many images at a time as the cache holds windows of."""
    product = multiply_rows(rows.reshape(len(rows), -1))
    spatial, channels = site.node.type.spatial, slice(0, rows.shape[-1])
    step = max(1, BLOCK // (math.prod(spatial) * rows[0].size))

    def run(x: Plane, sums: Plane) -> None:
        for at in range(0, len(x), step):
            part = x[at : at + step]
            windows = gathered(part, op, spatial, channels, site.scratch("windows"))
            product(windows, sums[at : at + step].reshape(len(windows), -1))

    return run


def _grouped(op: Conv2d, rows: Array, site: Site) -> Product:
    """A product for every group of channels."""
    outputs, depth = len(rows) // op.groups, rows.shape[-1]
    groups = np.split(rows.reshape(len(rows), -1), op.groups)
    products = [multiply_rows(group) for group in groups]
    spatial = site.node.type.spatial

    def run(x: Plane, sums: Plane) -> None:
        part = site.scratch("part").array((*sums.shape[:-1], outputs), np.int32)
        for group, product in enumerate(products):
            channels = slice(group * depth, (group + 1) * depth)
            windows = gathered(x, op, spatial, channels, site.scratch("windows"))
            product(windows, part.reshape(-1, outputs))
            sums[..., group * outputs : (group + 1) * outputs] = part

    return run


def _depthwise(op: Conv2d, rows: Array, site: Site) -> Product:
    """One channel in, one out: tap by tap."""
    taps = rows[..., 0].transpose(1, 2, 0).astype(np.int32)  # (KH, KW, C)
    (sh, sw), (dh, dw) = op.stride, op.dilation

    def run(x: Plane, sums: Plane) -> None:
        term = site.scratch("part").array(sums.shape, np.int32)
        _, height, width, _ = sums.shape
        sums[...] = 0
        for i, j in np.ndindex(taps.shape[:2]):
            lines = slice(i * dh, i * dh + sh * (height - 1) + 1, sh)
            pixels = slice(j * dw, j * dw + sw * (width - 1) + 1, sw)
            np.multiply(x[:, lines, pixels], taps[i, j], out=term)
            sums += term

    return run


def _bytes(site: Site) -> Array | None:
    """Give the weights where they, their inputs and their sums are as narrow as this module's."""
    x = site.operands[0]
    weight = numbers(site.constant(1), site.operands[1].element)
    if carried_type(x.element) is not np.int8 or carried_type(site.node.type.element) is None:
        return None
    if weight.min() < -128 or weight.max() > 127 or magnitude_bound(x, weight) >= 1 << 31:
        return None
    return weight.astype(np.int8)


def _correction(site: Site, weight: Array) -> Callable[[Plane], None]:
    """Give the step from sums over carried activations to sums over ``x - zero_point``."""
    x = site.operands[0]
    constant = carried_offset(x.element) - x.zero_point
    sums = weight.reshape(len(weight), -1).sum(axis=1, dtype=np.int64) * constant
    row = tiled(sums.astype(np.int32), site.node.type.shape)  # modulo 2**32, as the sums

    def add(result: Plane) -> None:
        lines = result.reshape(-1, row.size)
        lines += row

    return add if constant else lambda result: None
