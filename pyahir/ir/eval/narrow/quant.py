"""Requantize and the sum of two activations, narrow.

The step from accumulator to code is done in float32 wherever float32 cannot be wrong about it, and
again, by the definition in int64, everywhere else: ``Stepper``.
"""

from __future__ import annotations

import numpy as np

from pyahir.ir.eval.core import Plane
from pyahir.ir.eval.narrow.form import Kernel, Site, carried_offset, narrow, tiled
from pyahir.ir.eval.quant import CODES, ExactRequantize, exception_reach, pair_codes
from pyahir.ir.ops import QuantizedAdd, Requantize
from pyahir.ir.types import Array, Int

__all__ = ["quantized_add", "requantize"]

MOST_DOUBT = 0.2  # of all accumulators: beyond, the definition alone is faster


@narrow(Requantize)
def requantize(op: Requantize, site: Site) -> Kernel | None:
    """Make the fast kernel, or the exact one where the fast one would be in doubt too often."""
    if carried_offset(site.operands[0].element) or op.width > 8:
        return None
    multiplier, offset, exceptions = (site.constant(position) for position in (1, 2, 3))
    exact = ExactRequantize(op, multiplier, offset, exceptions)
    if not _within(exact, exceptions, site.node.type.element):
        return None
    steps = _Steps(exact, exceptions, site)
    return steps.kernel if steps.margin < MOST_DOUBT and not op.tie_bits else steps.exactly


def _within(exact: ExactRequantize, exceptions: Array, element: object) -> bool:
    """Tell whether the exceptions stay in the range of the codes: a byte could not show it."""
    assert isinstance(element, Int)
    rows = exceptions.astype(np.int64)
    codes = exact(rows[:, 1], rows[:, 0])
    return not codes.size or bool(codes.min() >= element.min and codes.max() <= element.max)


class _Steps:
    """``floor(acc * m + b)`` in float32, right wherever it is not near an integer.

    Let t be the exact ``(acc * M + B) / 2**shift``, less what a carried code lacks, and b the part
    of it that is not ``acc * m``. Rounding acc, m, b, the product and the sum to float32 moves the
    result by less than ``4 * eps * (|t| + |b|)``. Within a code of the limits, |t| is at most
    ``span``: there the error is at most ``error``. Farther out the result is on the same side of
    the limit as t, since it moves by less than the distance grows. So where the fraction of the
    computed ``t + margin`` is ``2 * margin`` or more, t lies between two integers and the floor is
    right; every other accumulator, and every exception (``margin`` reaches the farthest), is done
    again in int64.
    """

    def __init__(self, exact: ExactRequantize, exceptions: Array, site: Site) -> None:
        op = exact.op
        self.exact, self.site = exact, site
        self.lack = carried_offset(site.node.type.element)
        unit = 2.0**-op.shift
        term = exact.offset * unit - self.lack
        low, high = op.quant_min - self.lack, op.quant_max - self.lack
        span = max(-low, high, 0) + 2.0
        error = 4.0 * float(np.finfo(np.float32).eps) * (span + float(np.abs(term).max()))
        self.margin = 2.0 * error + exception_reach(exact, exceptions)
        shape = site.node.type.shape
        self.factor = tiled((exact.multiplier * unit).astype(np.float32), shape)
        self.term = tiled((term + self.margin).astype(np.float32), shape)
        self.low, self.high = np.float32(low + 0.5), np.float32(high + 0.5)
        self.doubt = np.float32(2.0 * self.margin)
        self.channels = exact.multiplier.size

    def kernel(self, acc: Plane) -> Plane:
        lines = acc.reshape(-1, self.factor.size)
        scaled = self.site.scratch("scaled").array(lines.shape, np.float32)
        floor = self.site.scratch("floor").array(lines.shape, np.float32)
        doubtful = self.site.scratch("doubtful").array(lines.shape, np.bool_)
        np.copyto(scaled, lines, casting="unsafe")
        scaled *= self.factor
        scaled += self.term
        np.clip(scaled, self.low, self.high, out=scaled)
        np.floor(scaled, out=floor)
        code = self.site.out.array(acc.shape, np.int8)
        np.copyto(code.reshape(lines.shape), floor, casting="unsafe")
        scaled -= floor
        np.less(scaled, self.doubt, out=doubtful)
        places = np.flatnonzero(doubtful)
        if places.size:
            again = self.exact(acc.reshape(-1)[places].astype(np.int64), places % self.channels)
            code.reshape(-1)[places] = again - self.lack
        return code

    def exactly(self, acc: Plane) -> Plane:
        flat = acc.reshape(-1).astype(np.int64)
        channel = np.broadcast_to(np.arange(self.channels), acc.shape).reshape(-1)
        code = self.site.out.array(acc.shape, np.int8)
        code.reshape(-1)[...] = self.exact(flat, channel) - self.lack
        return code


@narrow(QuantizedAdd)
def quantized_add(op: QuantizedAdd, site: Site) -> Kernel | None:
    """Look the pair up: its two carried codes are the index."""
    codes = pair_codes(op, site.constant(2))
    if codes.min() < 0 or codes.max() >= CODES:
        return None
    wrapped = np.arange(CODES) ^ 128  # of a carried code, read as a byte without sign
    table = (codes[np.ix_(wrapped, wrapped)].ravel() - 128).astype(np.int8)

    def kernel(x: Plane, y: Plane) -> Plane:
        pair = site.scratch("pair").array(x.shape, np.uint16)
        np.copyto(pair, x.view(np.uint8))
        pair <<= 8
        pair |= y.view(np.uint8)
        place = site.scratch("place").array(x.shape, np.intp)
        np.copyto(place, pair)
        code = site.out.array(x.shape, np.int8)
        return np.take(table, place, out=code, mode="clip")  # "raise" would copy

    return kernel
