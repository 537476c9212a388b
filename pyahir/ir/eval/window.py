"""Padding and taps of a moving window over a carried feature map (C, H, W, N)."""

from __future__ import annotations

from pyahir.ir.eval.core import Buffers, Plane
from pyahir.ir.ops import WindowOp

__all__ = ["padded", "tap"]


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
