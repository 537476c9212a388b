"""How a source rounds: the float rules by which frameworks turn an accumulator into a code.

Each rule is a function of the *exact* integer accumulator ``sum (x - zx) * w``, without bias, and
is monotone in it, so that its step points define it (``quant.requantize``). Measured on torch
2.13.0 (CPU). All arithmetic is float32, round half to even, unless it says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pyahir.ir.eval.boundary import fused_multiply_add

__all__ = [
    "AveragePool",
    "Decomposed",
    "Exact",
    "Fbgemm",
    "OnnxDivision",
    "PoolForm",
    "Qnnpack",
    "RawAverage",
    "SourceRule",
]

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


def _rne(values: npt.NDArray[np.floating[Any]]) -> Int64:
    return np.rint(values).astype(np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fbgemm:
    """``rne((float(acc) + bias / aw) * (aw / so)) + zp``; the bias stays float.

    ``act_times_weight`` is ``sx * sw`` per channel, ``bias`` real, both float32 of shape (C,).
    ``per_tensor``: with one weight scale for the layer the kernel computes the bracket as
    ``fma(bias, 1 / aw, float(acc))``.
    """

    act_times_weight: Float32s
    bias: Float32s
    scale: np.float32
    zero_point: int
    per_tensor: bool = False

    @property
    def channels(self) -> int:
        return len(self.bias)

    def slope(self) -> npt.NDArray[np.float64]:
        return (self.act_times_weight / self.scale).astype(np.float64)

    def __call__(self, acc: Int64) -> Int64:
        factor = (self.act_times_weight / self.scale)[:, None]
        real = acc.astype(np.float32)
        if self.per_tensor:
            inverse = (np.float32(1) / self.act_times_weight)[:, None]
            biased = fused_multiply_add(self.bias[:, None], inverse, real)
        else:
            biased = real + (self.bias / self.act_times_weight)[:, None]
        return _rne(biased * factor) + self.zero_point


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


class PoolForm(Enum):
    """Where an average adds the zero point: three kernels of torch do it in three ways."""

    AFTER = "rne(acc * f) + zp"
    BEFORE = "rne(acc * f + zp)"
    FUSED = "rne(fma(acc, f, zp))"


@dataclass(frozen=True, slots=True, kw_only=True)
class AveragePool:
    """A sum of ``x - zp`` times ``factor`` (about 1 / window), one form per channel."""

    factor: np.float32
    zero_point: int
    forms: tuple[PoolForm, ...]

    @property
    def channels(self) -> int:
        return len(self.forms)

    def slope(self) -> npt.NDArray[np.float64]:
        return np.full(self.channels, float(self.factor))

    def __call__(self, acc: Int64) -> Int64:
        real = acc.astype(np.float32)
        zero = np.float32(self.zero_point)
        after = _rne(real * self.factor) + self.zero_point
        before = _rne(real * self.factor + zero)
        fused = _rne(fused_multiply_add(real, self.factor, zero))
        is_after = np.array([form is PoolForm.AFTER for form in self.forms])[:, None]
        is_fused = np.array([form is PoolForm.FUSED for form in self.forms])[:, None]
        return np.where(is_after, after, np.where(is_fused, fused, before))


@dataclass(frozen=True, slots=True, kw_only=True)
class Exact:
    """pyahir's own rule: integer bias, the real ratio, round half to even of the exact product.

    ``real`` is ``sx * sw / so`` in float64, ``bias`` the int64 bias in accumulator units. The
    multiplier that ``quant.requantize.own_fit`` makes of it is odd, so that no tie occurs.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Decomposed:
    """``rne((acc * aw + bias) * inverse) + zp``, evaluated in float64: PT2E's reference semantics.

    torch computes the bracket with float32 kernels that differ from machine to machine; this is
    the real result that they approximate, so codes within 1e-4 of a tie may differ by one.
    """

    act_times_weight: npt.NDArray[np.float64]
    bias: Float32s
    inverse: np.float32
    zero_point: int

    @property
    def channels(self) -> int:
        return len(self.bias)

    def slope(self) -> npt.NDArray[np.float64]:
        return self.act_times_weight * float(self.inverse)

    def __call__(self, acc: Int64) -> Int64:
        product = acc.astype(np.float64) * self.act_times_weight[:, None]
        real = (product + self.bias.astype(np.float64)[:, None]) * float(self.inverse)
        return np.rint(real).astype(np.int64) + self.zero_point


@dataclass(frozen=True, slots=True, kw_only=True)
class RawAverage:
    """``rne(float(sum of codes) * factor)``: torch's adaptive average of an NCHW tensor.

    The accumulator is the sum of ``x - zp`` over ``count`` codes: the sum is ``acc + count * zp``.
    """

    factor: np.float32
    zero_point: int
    count: int
    channels: int

    def slope(self) -> npt.NDArray[np.float64]:
        return np.full(self.channels, float(self.factor))

    def __call__(self, acc: Int64) -> Int64:
        return _rne((acc + self.count * self.zero_point).astype(np.float32) * self.factor)


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxDivision:
    """``rne(f32(acc * aw + bias) / scale) + zp``: DequantizeLinear, a layer, QuantizeLinear.

    QuantizeLinear divides in float32 and rounds half to even. What it divides is the layer's exact
    real result, rounded once to float32: ONNX leaves the order of a layer's sum open, so a float32
    evaluation may be some roundings away and, beside a tie, give the other code.
    ``act_times_weight`` is the product of the two float32 scales in float64, shape (C,).
    """

    act_times_weight: npt.NDArray[np.float64]
    bias: Float32s
    scale: np.float32
    zero_point: int

    @property
    def channels(self) -> int:
        return len(self.bias)

    def slope(self) -> npt.NDArray[np.float64]:
        return self.act_times_weight / float(self.scale)

    def __call__(self, acc: Int64) -> Int64:
        product = acc.astype(np.float64) * self.act_times_weight[:, None]
        real = (product + self.bias.astype(np.float64)[:, None]).astype(np.float32)
        return _rne(real / self.scale) + self.zero_point
