"""The windows of a convolution as rows, whose numbers lie side by side.

A piece that lies together in the feature map is copied as one element of so many bytes: NumPy's
loops over such elements cost far less than loops over their bytes.
"""

from __future__ import annotations

import numpy as np

from pyahir.ir.eval.core import Plane
from pyahir.ir.eval.narrow.form import Memory
from pyahir.ir.ops import Conv2d

__all__ = ["gathered"]

SHORT = 64  # bytes: the lines of windows of shorter pieces are copied one by one


def gathered(
    x: Plane, op: Conv2d, spatial: tuple[int, int], channels: slice, memory: Memory
) -> Plane:
    """Give the windows (N*OH*OW, KH*KW*I) of some channels of the padded ``x``.

    They are ``x`` itself where every window is one pixel of it.
    """
    (kh, kw), (sh, sw), (dh, dw) = op.kernel_size, op.stride, op.dilation
    count, depth = len(x), channels.stop - channels.start
    whole = depth == x.shape[-1]
    if whole and (kh, kw, sh, sw) == (1, 1, 1, 1):
        return x.reshape(-1, depth)
    image, line, pixel, _ = x.strides
    shape, strides = (count, *spatial), (image, line * sh, pixel * sw)
    rows = memory.array((count, *spatial, kh, kw, depth), np.int8)
    if whole and dw == 1:
        piece = np.dtype(("V", kw * depth))
        steps, inner = [i * dh * line for i in range(kh)], (kh, dh * line)
    else:
        piece = np.dtype(("V", depth))
        steps = [i * dh * line + j * dw * pixel for i in range(kh) for j in range(kw)]
        inner = None
    target = rows.reshape(-1).view(piece).reshape(*shape, -1)
    if inner is not None and piece.itemsize >= SHORT:
        taps, step = inner
        target[...] = np.ndarray((*shape, taps), piece, x, 0, (*strides, step))
    else:
        for place, offset in enumerate(steps):
            offset += channels.start
            target[..., place] = np.ndarray(shape, piece, x, offset, strides)
    return rows.reshape(-1, kh * kw * depth)
