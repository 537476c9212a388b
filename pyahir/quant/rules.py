"""How a source rounds: the float rules by which frameworks turn an accumulator into a code.

Each rule is a function of the *exact* integer accumulator ``sum (x - zx) * w``, without bias, and
is monotone in it, so that its step points define it (``quant.requantize``). Measured on torch
2.13.0 (CPU). All arithmetic is float32, round half to even, unless it says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["AveragePool", "Exact", "Fbgemm", "Qnnpack", "SourceRule"]

Int64 = npt.NDArray[np.int64]
Float32s = npt.NDArray[np.float32]


class SourceRule(Protocol):
    """A monotone map from accumulators (C, n) to unclamped codes (C, n)."""

    @property
    def channels(self) -> int: ...

    def slope(self) -> npt.NDArray[np.float64]:
        """Give the codes per accumulator unit, shape (C,): where a linear fit starts."""
        ...

    def __call__(self, acc: Int64) -> Int64: ...


def _rne(values: Float32s) -> Int64:
    return np.rint(values).astype(np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fbgemm:
    """``rne((float(acc) + bias / aw) * (aw / so)) + zp``; the bias stays float.

    ``act_times_weight`` is ``sx * sw`` per channel, ``bias`` real, both float32 of shape (C,).
    """

    act_times_weight: Float32s
    bias: Float32s
    scale: np.float32
    zero_point: int

    @property
    def channels(self) -> int:
        return len(self.bias)

    def slope(self) -> npt.NDArray[np.float64]:
        return (self.act_times_weight / self.scale).astype(np.float64)

    def __call__(self, acc: Int64) -> Int64:
        shift = (self.bias / self.act_times_weight)[:, None]
        factor = (self.act_times_weight / self.scale)[:, None]
        return _rne((acc.astype(np.float32) + shift) * factor) + self.zero_point


@dataclass(frozen=True, slots=True, kw_only=True)
class Qnnpack:
    """``rne(float(acc + bq) * (aw * (1 / so))) + zp`` with ``bq = rne(bias * (1 / aw))``."""

    act_times_weight: Float32s
    bias: Float32s
    scale: np.float32
    zero_point: int

    @property
    def channels(self) -> int:
        return len(self.bias)

    def slope(self) -> npt.NDArray[np.float64]:
        return (self.act_times_weight * (np.float32(1) / self.scale)).astype(np.float64)

    def __call__(self, acc: Int64) -> Int64:
        one = np.float32(1)
        bias = _rne(self.bias * (one / self.act_times_weight))[:, None]
        factor = (self.act_times_weight * (one / self.scale))[:, None]
        return _rne((acc + bias).astype(np.float32) * factor) + self.zero_point


@dataclass(frozen=True, slots=True, kw_only=True)
class AveragePool:
    """A sum of ``x - zp`` divided by the window, by the float formula that ``divide`` gives."""

    channels: int
    taps: int
    divide: Callable[[Int64], Int64]

    def slope(self) -> npt.NDArray[np.float64]:
        return np.full(self.channels, 1.0 / self.taps)

    def __call__(self, acc: Int64) -> Int64:
        return self.divide(acc)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exact:
    """pyahir's own rule: integer bias, the real ratio, round half to even of the exact product.

    ``real`` is ``sx * sw / so`` in float64, ``bias`` the int64 bias in accumulator units. The
    multiplier that ``quant.requantize.own_multiplier`` makes of it is odd, so that no tie occurs.
    """

    real: npt.NDArray[np.float64]
    bias: Int64
    zero_point: int

    @property
    def channels(self) -> int:
        return len(self.bias)

    def slope(self) -> npt.NDArray[np.float64]:
        return self.real

    def __call__(self, acc: Int64) -> Int64:
        product = (acc + self.bias[:, None]).astype(np.float64) * self.real[:, None]
        return np.rint(product).astype(np.int64) + self.zero_point
