"""QONNX in plain NumPy, float64, node by node: what the golden model is compared with.

Written apart from ``pyahir.frontend.onnx.reference``; convolutions are sums over windows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import helper, numpy_helper


def evaluate(model: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    """Give every value of the file for a batch."""
    values = {
        item.name: numpy_helper.to_array(item).astype(np.float64)
        for item in model.graph.initializer
    }
    values["image"] = x.astype(np.float64)
    for node in model.graph.node:
        attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
        operands = [values[name] for name in node.input]
        values[node.output[0]] = RULES[node.op_type](attributes, *operands)
    return values


def _quant(a: Any, x: Any, scale: Any, zero_point: Any, width: Any) -> Any:
    bits = int(width)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if a["signed"] else (0, 2**bits - 1)
    if a["narrow"]:
        low, high = (low + 1, high) if a["signed"] else (low, high - 1)
    return (np.clip(np.round(x / scale + zero_point), low, high) - zero_point) * scale


def _channels(x: Any, part: Any) -> Any:
    return part.reshape(1, -1, *(1,) * (x.ndim - 2))


def _batch_norm(a: Any, x: Any, *parts: Any) -> Any:
    gamma, beta, mean, variance = (_channels(x, part) for part in parts)
    return gamma * (x - mean) / np.sqrt(variance + a["epsilon"]) + beta


def _multi_threshold(a: Any, x: Any, thresholds: Any) -> Any:
    rows = np.broadcast_to(thresholds, (x.shape[1], thresholds.shape[1]))
    count = sum(x >= _channels(x, rows[:, i]) for i in range(rows.shape[1]))
    return a.get("out_scale", 1.0) * count + a.get("out_bias", 0.0)


def _windows(x: Any, kernel: Any, stride: Any) -> Any:
    view = np.lib.stride_tricks.sliding_window_view(x, tuple(kernel), axis=(2, 3))
    return view[:, :, :: stride[0], :: stride[1]]


def _conv(a: Any, x: Any, weight: Any, bias: Any = 0.0) -> Any:
    top, left, bottom, right = a.get("pads", (0, 0, 0, 0))
    x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    windows = _windows(x, weight.shape[2:], a.get("strides", (1, 1)))
    result = np.einsum("ncyxij,ocij->noyx", windows, weight)
    return result + np.reshape(bias, (1, -1, 1, 1))


def _gemm(a: Any, x: Any, weight: Any, bias: Any = 0.0) -> Any:
    return x @ (weight.T if a.get("transB", 0) else weight) + bias


RULES: dict[str, Any] = {
    "Quant": _quant,
    "BipolarQuant": lambda a, x, scale: np.where(x >= 0, scale, -scale),
    "MultiThreshold": _multi_threshold,
    "BatchNormalization": _batch_norm,
    "Conv": _conv,
    "Gemm": _gemm,
    "MatMul": lambda a, x, y: x @ y,
    "Mul": lambda a, x, y: x * y,
    "Div": lambda a, x, y: x / y,
    "Add": lambda a, x, y: x + y,
    "Sub": lambda a, x, y: x - y,
    "Relu": lambda a, x: np.maximum(x, 0),
    "MaxPool": lambda a, x: _windows(x, a["kernel_shape"], a["strides"]).max(axis=(4, 5)),
    "Transpose": lambda a, x: x.transpose(a["perm"]),
    "Flatten": lambda a, x: x.reshape(len(x), -1),
}
