"""What a node of QONNX quantizes to: ``Quant``, ``BipolarQuant`` and ``MultiThreshold``, checked.

In: a node and its constant operands. Out: widths, levels, scales. What is refused says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pyahir.frontend.onnx.model import Item, OnnxModel
from pyahir.ir.types import Array

__all__ = ["WIDEST", "Quantizer", "Steps", "bipolar_scale", "multi_threshold", "quantizer"]

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
WIDEST = 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Quantizer:
    """``clamp(round_half_even(x / scale), least, greatest) * scale``."""

    width: int
    signed: bool
    least: int
    greatest: int
    scale: Float64

    def codes(self, real: Array) -> Int64:
        """Quantize as the source does: a division in float32, rounded half to even."""
        ratio = real.astype(np.float32) / self.scale.astype(np.float32)
        return np.clip(np.rint(ratio), self.least, self.greatest).astype(np.int64)

    @property
    def stored_width(self) -> int:
        """The bits of a signed integer that holds every level."""
        return self.width if self.signed else self.width + 1


def quantizer(model: OnnxModel, item: Item, operands: list[Any]) -> Quantizer:
    """Read a ``Quant``; ``operands`` are scale, zero point and bit width."""
    if any(operand is None for operand in operands) or len(operands) != 3:
        raise model.refuse(item, "its scale, zero point and bit width have to be constants")
    scale, zero_point, bits = operands
    mode = str(item.attributes.get("rounding_mode", "ROUND")).upper()
    if mode not in ("ROUND", "HALF_EVEN"):
        raise model.refuse(item, f"rounding_mode is {mode}; accepted: ROUND (half to even)")
    if np.any(zero_point):
        raise model.refuse(item, "its zero point is not 0; accepted is 0")
    if bits.size != 1 or float(bits.item()) != int(bits.item()):
        raise model.refuse(item, f"its bit width is {bits.tolist()}; accepted is one whole number")
    signed, narrow = bool(item.attributes.get("signed", 1)), int(item.attributes.get("narrow", 0))
    width, least_width = int(bits.item()), 2 if signed else 1
    if not least_width <= width <= WIDEST:
        raise model.refuse(
            item,
            f"its bit width is {width}; accepted: {least_width} to {WIDEST} for a "
            f"{'signed' if signed else 'unsigned'} quantizer (BipolarQuant is one signed bit)",
        )
    high = (1 << (width - 1)) - 1 if signed else (1 << width) - 1 - narrow
    low = -(1 << (width - 1)) + narrow if signed else 0
    return Quantizer(
        width=width, signed=signed, least=low, greatest=high, scale=_positive(model, item, scale)
    )


def bipolar_scale(model: OnnxModel, item: Item, scale: Any) -> Float64:
    """Give the scale of a ``BipolarQuant``."""
    if scale is None:
        raise model.refuse(item, "its scale has to be a constant")
    return _positive(model, item, scale)


def _positive(model: OnnxModel, item: Item, scale: Any) -> Float64:
    if not np.isfinite(scale).all() or (scale <= 0).any():
        raise model.refuse(item, "its scale is not positive; accepted are positive numbers")
    return np.asarray(scale, np.float64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Steps:
    """A ``MultiThreshold``: real steps (C, n) or (1, n); ``least`` is the level below them."""

    steps: Float64
    bipolar: bool
    least: int
    scale: float

    @property
    def width(self) -> int:
        """The bits of a signed integer that holds every level; 1 for a bipolar result."""
        if self.bipolar:
            return 1
        greatest = self.least + self.steps.shape[1]
        return max(2, 1 + greatest.bit_length(), 1 + (-self.least - 1).bit_length())


def multi_threshold(model: OnnxModel, item: Item, thresholds: Any) -> Steps:
    """Read a ``MultiThreshold``: ``out_scale * #{i : x >= T[c, i]} + out_bias``."""
    if thresholds is None or thresholds.ndim != 2:
        raise model.refuse(item, "its thresholds have to be constants of shape (C, n)")
    if item.attributes.get("data_layout", "NCHW") not in ("NCHW", "NC"):
        raise model.refuse(
            item, f"data_layout is {item.attributes['data_layout']}; accepted: NCHW, NC"
        )
    steps = thresholds.astype(np.float64)
    if not np.isfinite(steps).all() or (np.diff(steps, axis=1) < 0).any():
        raise model.refuse(item, "its thresholds do not ascend, or are not finite")
    scale, bias = (
        float(item.attributes.get(name, plain))
        for name, plain in (("out_scale", 1), ("out_bias", 0))
    )
    if scale <= 0:
        raise model.refuse(item, f"out_scale is {scale:g}; accepted are positive numbers")
    if steps.shape[1] == 1 and scale == -2 * bias:
        return Steps(steps=steps, bipolar=True, least=0, scale=scale / 2)
    if bias / scale != round(bias / scale):
        raise model.refuse(
            item,
            f"out_bias {bias:g} is no multiple of out_scale {scale:g}, so 0 is no level; "
            "accepted are multiples, and one threshold with out_bias = -out_scale / 2",
        )
    return Steps(steps=steps, bipolar=False, least=round(bias / scale), scale=scale)
