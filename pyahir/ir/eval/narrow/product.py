"""Convolution and linear layer: products of bytes, summed in int32 by NumKong.

NumKong chooses its kernel for the machine: AMX, VNNI, AVX2, NEON, SVE, or plain C. Sums of bytes in
int32 are exact in any order, even where a partial sum wraps around: the whole one fits.

A carried activation is ``x - zero_point`` but for a constant, so its sum is the wanted one but for
that constant times the sum of the weights: one number a channel, added at the end. Padding is the
zero point.
"""

from __future__ import annotations

from collections.abc import Callable

import numkong
import numpy as np
from numpy.lib.stride_tricks import as_strided

from pyahir.ir.eval.core import Plane
from pyahir.ir.eval.narrow.form import Kernel, Site, carried_offset, carried_type, narrow, tiled
from pyahir.ir.eval.narrow.window import padded
from pyahir.ir.ops import Conv2d, Linear
from pyahir.ir.ranges import magnitude_bound, numbers
from pyahir.ir.types import Array

__all__ = ["accelerated", "conv2d", "linear", "multiply_rows"]

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
    out, per_group, kh, kw = weight.shape
    rows = np.ascontiguousarray(weight.transpose(0, 2, 3, 1))
    correct = _correction(site, weight)
    height, width = site.node.type.spatial
    (sh, sw), (dh, dw) = op.stride, op.dilation
    x_type = site.operands[0]
    fill = x_type.zero_point - carried_offset(x_type.element)
    if op.groups == 1:
        multiply = _whole(rows.reshape(out, -1), site)
    elif per_group == 1 and op.groups == out:
        multiply = _depthwise(rows, site)
    else:
        multiply = _grouped(rows, op.groups, site)

    def kernel(x: Plane) -> Plane:
        count, _, _, channels = x.shape
        x = padded(x, op, site.scratch("padded"), fill)
        a, b, c, d = x.strides
        shape = (count, height, width, kh, kw, channels)
        windows = as_strided(x, shape, (a, b * sh, c * sw, b * dh, c * dw, d), writeable=False)
        sums = site.sums((count, height, width, out))
        multiply(windows, sums)
        correct(sums)
        return site.settled(sums)

    return kernel


def _whole(rows: Array, site: Site) -> Product:
    """One product for all channels."""
    product = multiply_rows(rows)
    outputs, taps = rows.shape

    def run(windows: Plane, result: Plane) -> None:
        patches = windows
        if not windows.flags.c_contiguous:
            patches = site.scratch("patches").array(windows.shape, np.int8)
            np.copyto(patches, windows)
        product(patches.reshape(-1, taps), result.reshape(-1, outputs))

    return run


def _grouped(rows: Array, groups: int, site: Site) -> Product:
    """A product for every group of channels."""
    outputs, per_group = rows.shape[0] // groups, rows.shape[-1]
    taps = rows[0].size
    products = [
        multiply_rows(rows[g * outputs : (g + 1) * outputs].reshape(outputs, taps))
        for g in range(groups)
    ]

    def run(windows: Plane, result: Plane) -> None:
        patches = site.scratch("patches").array((*windows.shape[:-1], per_group), np.int8)
        part = site.scratch("part").array((*result.shape[:-1], outputs), np.int32)
        for g, product in enumerate(products):
            np.copyto(patches, windows[..., g * per_group : (g + 1) * per_group])
            product(patches.reshape(-1, taps), part.reshape(-1, outputs))
            result[..., g * outputs : (g + 1) * outputs] = part

    return run


def _depthwise(rows: Array, site: Site) -> Product:
    """One channel in, one out: tap by tap."""
    wide = rows[..., 0].transpose(1, 2, 0).astype(np.int32)  # (KH, KW, C)

    def run(windows: Plane, result: Plane) -> None:
        term = site.scratch("part").array(result.shape, np.int32)
        result[...] = 0
        for i, line in enumerate(wide):
            for j, taps in enumerate(line):
                np.multiply(windows[..., i, j, :], taps, out=term)
                result += term

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
