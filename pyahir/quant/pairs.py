"""From a source's rule for ``a + b`` to integers and exceptions, equal for every pair of codes.

In: an ``AddRule`` and the clamp of the result. Out: ``PairFit``, the attributes and the exceptions
of a ``QuantizedAdd``. All 65,536 pairs are compared, so that equality is a proof. QNNPACK's rule is
a formula of integers and is taken as it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pyahir.errors import PyahirError
from pyahir.ir.eval.quant import pair_codes
from pyahir.ir.ops import QuantizedAdd
from pyahir.ir.types import Affine
from pyahir.quant.add_rules import AddRule, QnnpackAdd
from pyahir.quant.requantize import deepest

__all__ = ["PairFit", "ScaleError", "fit_pairs", "own_pairs"]

Int64 = npt.NDArray[np.int64]
MULTIPLIER_BITS = 24  # one multiplier of an FPGA takes them, beside a code
MOST_SHIFT = 50
MOST_RATIO = 2.0**30
TIE_BITS = 12
A = np.arange(256, dtype=np.int64)[:, None]
B = np.arange(256, dtype=np.int64)[None, :]
FAR = np.int64(1) << 60


class ScaleError(PyahirError):
    """The scales of a sum are so far apart that it has no integer form.

    Cause: a result calibrated on data that never reached it. Example: ``a sum whose operands have
    the scales 0.5 and 1 and the result 1e-12``. Fix: calibrate again on images of the task.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class PairFit:
    """A ``QuantizedAdd`` and its exceptions, shape (E, 3)."""

    op: QuantizedAdd
    exceptions: Int64


def fit_pairs(rule: AddRule, quant_min: int, quant_max: int) -> PairFit:
    """Choose the integers that leave the fewest exceptions; the result equals ``rule``."""
    expected = np.clip(rule(A, B), quant_min, quant_max)
    plain = _plain(rule.operands, rule.result, quant_min, quant_max)
    found = [_with_exceptions(op, expected) for op in _forms(rule, plain, expected)]
    return min(found, key=lambda item: len(item.exceptions))


def own_pairs(
    operands: tuple[Affine, Affine], result: Affine, quant_min: int, quant_max: int
) -> PairFit:
    """Give pyahir's own rule: the exact sum by multipliers of 24 bits, rounded half up."""
    op = _plain(operands, result, quant_min, quant_max)
    return PairFit(op=op, exceptions=np.zeros((0, 3), np.int64))


def _plain(
    operands: tuple[Affine, Affine], result: Affine, quant_min: int, quant_max: int
) -> QuantizedAdd:
    ratios = [kind.scale / result.scale for kind in operands]
    if max(ratios) > MOST_RATIO:
        raise ScaleError(
            f"a sum whose operands have the scales {operands[0].scale:.6g} and "
            f"{operands[1].scale:.6g} and the result {result.scale:.6g}; calibrate again"
        )
    shift = MULTIPLIER_BITS - math.frexp(max(ratios))[1]
    shift = max(0, min(shift, MOST_SHIFT))
    first, second = (round(math.ldexp(ratio, shift)) for ratio in ratios)
    zeros = operands[0].zero_point * first + operands[1].zero_point * second
    return QuantizedAdd(
        multipliers=(first, second),
        offset=(result.zero_point << shift) + (1 << shift >> 1) - zeros,
        shift=shift,
        quant_min=quant_min,
        quant_max=quant_max,
        scale=result.scale,
        zero_point=result.zero_point,
    )


def _forms(rule: AddRule, plain: QuantizedAdd, expected: Int64) -> Iterator[QuantizedAdd]:
    """Give the forms to try; the simplest first, for of equals the first is taken."""
    if isinstance(rule, QnnpackAdd):
        yield _literal(rule, plain)
        return
    yield replace(plain, offset=_best_offset(plain, expected))
    for bits in (plain.shift, min(TIE_BITS, plain.shift)):
        if not bits:
            continue
        middle = 1 << (plain.shift - bits) >> 1  # a tie is in the middle of its window
        for parity in (0, 1):
            yield replace(plain, offset=plain.offset + middle, tie_bits=bits, tie_parity=parity)


def _literal(rule: QnnpackAdd, plain: QuantizedAdd) -> QuantizedAdd:
    first, second, shift = rule.integers()
    za, zb = (kind.zero_point for kind in rule.operands)
    offset = (rule.result.zero_point << shift) + (1 << shift >> 1) - za * first - zb * second
    return replace(plain, multipliers=(first, second), shift=shift, offset=offset, away=True)


def _best_offset(op: QuantizedAdd, expected: Int64) -> int:
    """Give the offset that the most pairs agree with.

    A pair with the sum u and the code k needs it in ``[k * 2**S - u, (k + 1) * 2**S - 1 - u]``; at
    the clamps one side is open.
    """
    sums = A * op.multipliers[0] + B * op.multipliers[1]
    low, high = (expected << op.shift) - sums, ((expected + 1) << op.shift) - 1 - sums
    low = np.where(expected <= op.quant_min, -FAR, low)
    high = np.where(expected >= op.quant_max, FAR, high)
    best, _ = deepest(np.sort(low.ravel())[None], np.sort(high.ravel())[None])
    return int(np.clip(best[0], op.offset - (1 << op.shift), op.offset + (1 << op.shift)))


def _with_exceptions(op: QuantizedAdd, expected: Int64) -> PairFit:
    none = np.zeros((0, 3), np.int64)
    change = expected - pair_codes(op, none)
    a, b = np.nonzero(change)
    return PairFit(op=op, exceptions=np.stack([a, b, change[a, b]], axis=1).astype(np.int64))
