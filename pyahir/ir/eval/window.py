"""Padding and taps of moving windows over carried feature maps, (C, H, W, N) or (N, H, W, C)."""

from __future__ import annotations

from collections.abc import Callable

from pyahir.ir.eval.core import Buffers, Plane
from pyahir.ir.ops import WindowOp

__all__ = ["Combine", "along", "padded", "tap"]

Combine = Callable[..., Plane]  # a ufunc of two arguments


def padded(x: Plane, op: WindowOp, buffers: Buffers, fill: float) -> Plane:
    """Surround ``x`` with ``fill``, in a kept buffer whose border is written once."""
    top, bottom, left, right = op.padding
    if not any(op.padding):
        return x
    channels, height, width, batch = x.shape
    shape = (channels, height + top + bottom, width + left + right, batch)
    buffer = buffers.get("padded", shape, x.dtype, fill)
    buffer[:, top : top + height, left : left + width] = x
    return buffer


def tap(x: Plane, op: WindowOp, i: int, j: int, height: int, width: int) -> Plane:
    """Give, as a view, element (i, j) of every one of the ``height`` x ``width`` windows."""
    (sh, sw), (dh, dw) = op.stride, op.dilation
    rows = slice(i * dh, i * dh + sh * (height - 1) + 1, sh)
    columns = slice(j * dw, j * dw + sw * (width - 1) + 1, sw)
    return x[:, rows, columns]


def along(
    x: Plane, out: Plane, axis: int, taps: int, stride: int, dilation: int, combine: Combine
) -> None:
    """Combine the taps of a window along one axis of ``x`` into ``out``."""

    def part(k: int) -> Plane:
        first = k * dilation
        cut = slice(first, first + stride * (out.shape[axis] - 1) + 1, stride)
        return x[(slice(None),) * axis + (cut,)]

    if taps == 1:
        out[...] = part(0)
        return
    combine(part(0), part(1), out=out, dtype=out.dtype)
    for k in range(2, taps):
        combine(out, part(k), out=out)
