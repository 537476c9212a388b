"""Random layers for requantization: bounds of accumulators and float rules, at realistic scales."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pyahir.ir.ops import Linear
from pyahir.ir.ranges import accumulator_bounds
from pyahir.quant.rules import Fbgemm, Qnnpack, SourceRule
from tests.op_cases import u8

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Layer:
    name: str
    rule: SourceRule
    low: Int64
    high: Int64


def layer(form: str, seed: int, *, taps: int = 100, channels: int = 4) -> Layer:
    """Make a layer whose accumulators span 10^5 to 10^6 values a channel; some steps clamp."""
    rng = np.random.default_rng(seed)
    weight = np.clip(np.rint(rng.normal(0, 40, (channels, taps))), -127, 127).astype(np.int8)
    low, high = accumulator_bounds(Linear(), u8(1, taps, zero_point=int(seed) * 29 % 256), weight)
    per_channel = form == "fbgemm"
    weight_scale = rng.uniform(0.001, 0.01, channels if per_channel else 1)
    unit = np.resize((rng.uniform(0.005, 0.05) * weight_scale).astype(np.float32), channels)
    deviation = float(np.sqrt((weight.astype(float) ** 2).sum(axis=1).mean()))
    scale = np.float32(unit.mean() * deviation * rng.uniform(1, 4))
    bias = rng.normal(0, 30 * float(scale), channels).astype(np.float32)
    zero_point = int(rng.integers(0, 200))
    rule: SourceRule
    if form == "qnnpack":
        rule = Qnnpack(act_times_weight=unit, bias=bias, scale=scale, zero_point=zero_point)
    else:
        rule = Fbgemm(
            act_times_weight=unit,
            bias=bias,
            scale=scale,
            zero_point=zero_point,
            per_tensor=not per_channel,
        )
    return Layer(name=f"{form}-{seed}", rule=rule, low=low, high=high)


LAYERS = tuple(
    layer(form, seed) for form in ("fbgemm", "fbgemm-per-tensor", "qnnpack") for seed in range(4)
)


def every_accumulator(low: Int64, high: Int64, margin: int = 0) -> Int64:
    """Give the whole range of all channels as rows (C, n); the shorter ones go on beyond."""
    count = int((high - low).max()) + 1 + 2 * margin
    return low[:, None] - margin + np.arange(count)[None, :]
