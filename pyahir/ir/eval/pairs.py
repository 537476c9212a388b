"""Two images in one: sums of few-bit numbers are so short that a float32 holds two of them.

A kernel that is linear in its images gives, for ``x0 + K * x1``, the sums ``S0 + K * S1``. Where K
is a power of two greater than twice every ``|S|``, the two come apart again: ``S1`` is the quotient
by K rounded to the nearest integer, ``S0`` what is left. The products are done once for both.
"""

from __future__ import annotations

import numpy as np

from pyahir.ir.eval.core import Buffers, Kernel, Plane
from pyahir.ir.types import Array, Bipolar, Int, PowerOfTwo, TensorType

__all__ = ["paired"]

WIDEST = 4  # bits of an input that may be short enough
EXACT = 1 << 24  # float32 holds every integer below


def paired(kernel: Kernel, x: TensorType, weight: Array) -> Kernel:
    """Give ``kernel``, which sums ``x`` times ``weight``, on two images at a time where it can.

    Whether it can is decided by the numbers of each batch: by the greatest of them.
    """
    if not _short(x):
        return kernel
    rows = np.abs(weight.reshape(weight.shape[0], -1).astype(np.int64)).sum(axis=1)
    most = int(rows.max())
    buffers = Buffers()

    def run(x: Plane) -> Plane:
        count = x.shape[-1]
        bound = most * int(max(x.max(), -x.min()))
        unit = 1 << (2 * bound).bit_length()
        if count < 2 or bound * (1 + unit) >= EXACT:
            return kernel(x)
        half, rest = count - count // 2, count // 2
        pair = buffers.get("pair", (*x.shape[:-1], half), np.float32)
        pair[...] = x[..., :half]
        pair[..., :rest] += np.float32(unit) * x[..., half:]
        sums = kernel(pair)
        upper = buffers.get("upper", sums.shape, np.float32)
        np.multiply(sums, np.float32(1 / unit), out=upper)
        np.rint(upper, out=upper)
        result = buffers.get("result", (*sums.shape[:-1], count), np.float32)
        result[..., half:] = upper[..., :rest]
        upper *= np.float32(unit)
        np.subtract(sums, upper, out=result[..., :half])
        return result

    return run


def _short(x: TensorType) -> bool:
    if isinstance(x.element, Int) and isinstance(x.quantization, PowerOfTwo):
        return x.element.width <= WIDEST
    return isinstance(x.element, Bipolar)
