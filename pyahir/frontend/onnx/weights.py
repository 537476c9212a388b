"""The integer weights of a Conv, MatMul or Gemm node, and its bias.

In: a node and the constants. Out: ``Levels`` of shape (O, I) or (O, I, KH, KW), with one scale, or
one per output channel.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from pyahir.frontend.onnx.constants import Levels, State
from pyahir.frontend.onnx.model import Item, OnnxModel

__all__ = ["bias_terms", "layer_levels"]


def layer_levels(model: OnnxModel, item: Item, known: Mapping[str, State], x: str) -> Levels:
    """Give the weights of ``item``, whose other operand is ``x``."""
    if item.inputs[0] != x:
        raise model.refuse(item, "has the weights first; accepted are they second")
    found = known[item.inputs[1]]
    if not isinstance(found, Levels):
        found = _whole(model, item, found)
    if item.attributes.get("transA", 0) or float(item.attributes.get("alpha", 1.0)) != 1.0:
        raise model.refuse(item, "has transA or an alpha; accepted is x times weights")
    values = found.values
    rank = 4 if item.op == "Conv" else 2
    if values.ndim != rank:
        raise model.refuse(item, f"its weights have {values.ndim} axes; accepted: {rank}")
    scale = np.broadcast_to(np.asarray(found.scale, np.float64), values.shape)
    if item.op == "MatMul" or (item.op == "Gemm" and not item.attributes.get("transB", 0)):
        values, scale = values.T, scale.T
    rows = scale.reshape(len(values), -1)
    if (rows != rows[:, :1]).any():
        raise model.refuse(item, "has scales other than one per output channel")
    scales = rows[:1, 0] if found.scale.size == 1 else rows[:, 0]
    width = found.width if found.signed or found.width == 1 else found.width + 1
    if width > 8:
        raise model.refuse(item, f"its weights need {width} signed bits; accepted: 1 to 8")
    return Levels(values=np.ascontiguousarray(values), scale=scales.copy(), width=width)


def bias_terms(
    model: OnnxModel, item: Item, known: Mapping[str, State], outputs: int
) -> npt.NDArray[np.float32]:
    """Give the third operand as float32 of shape (O,); zeros without one."""
    if len(item.inputs) < 3 or not item.inputs[2]:
        return np.zeros(outputs, np.float32)
    found = known[item.inputs[2]]
    real = found
    if isinstance(found, Levels):
        real = found.values.astype(np.float32) * found.scale.astype(np.float32)
    terms = np.asarray(real, np.float32) * np.float32(item.attributes.get("beta", 1.0))
    if terms.size not in (1, outputs):
        raise model.refuse(
            item, f"its bias has the shape {terms.shape}; accepted is one number a channel"
        )
    return np.broadcast_to(terms.reshape(-1), outputs).astype(np.float32)


def _whole(model: OnnxModel, item: Item, real: npt.NDArray[Any]) -> Levels:
    """Give real weights that are whole numbers already, as FINN's transformations leave them."""
    values = np.rint(real)
    if (values != real).any() or np.abs(values).max() > 127:
        raise model.refuse(
            item,
            "its weights are real numbers; accepted are weights behind Quant, BipolarQuant or "
            "DequantizeLinear, and whole numbers",
        )
    integers = values.astype(np.int64)
    if (np.abs(integers) == 1).all():
        return Levels(values=integers, scale=np.ones(1), width=1)
    width = 1 + max(int(integers.max()).bit_length(), int(-integers.min() - 1).bit_length())
    return Levels(values=integers, scale=np.ones(1), width=max(2, width))
