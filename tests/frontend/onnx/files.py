"""ONNX files made by hand: nodes in a row, initializers, one input and one output."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

QONNX = "qonnx.custom_op.general"
FINN = "finn.custom_op.general"
BREVITAS = "onnx.brevitas"
CUSTOM = ("Quant", "BipolarQuant", "MultiThreshold", "Trunc")


class Writer:
    """Appends nodes; each takes the value before it as its first operand."""

    def __init__(self, shape: Sequence[int | str], *, domain: str = QONNX, opset: int = 21) -> None:
        self.shape, self.domain, self.opset = shape, domain, opset
        self.nodes: list[Any] = []
        self.stored: list[Any] = []
        self.at = "image"

    def constant(self, array: Any) -> str:
        name = f"c{len(self.stored)}"
        self.stored.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def node(self, op: str, *operands: Any, name: str | None = None, **attributes: Any) -> str:
        """Append a node that reads the chain; arrays become initializers, strings are values."""
        self.at = self.aside(op, self.at, *operands, name=name, **attributes)
        return self.at

    def aside(self, op: str, *operands: Any, name: str | None = None, **attributes: Any) -> str:
        """Append a node beside the chain, as quantizers of weights are."""
        inputs = [item if isinstance(item, str) else self.constant(item) for item in operands]
        output = f"v{len(self.nodes)}"
        domain = self.domain if op in CUSTOM else ""
        label = name if name is not None else f"/{op.lower()}{len(self.nodes)}/{op}"
        self.nodes.append(
            helper.make_node(op, inputs, [output], name=label, domain=domain, **attributes)
        )
        return output

    def model(self) -> Any:
        float32 = onnx.TensorProto.FLOAT
        graph = helper.make_graph(
            self.nodes,
            "net",
            [helper.make_tensor_value_info("image", float32, list(self.shape))],
            [helper.make_tensor_value_info(self.at, float32, ["N", "C"])],
            self.stored,
        )
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid(self.domain, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10)

    def save(self, path: Path) -> Path:
        onnx.save(self.model(), path)
        return path


def real(*numbers: float) -> np.ndarray:
    """A float32 scalar, or a vector of several numbers."""
    return np.array(numbers[0] if len(numbers) == 1 else numbers, np.float32)


def quant(writer: Writer, width: int, scale: float = 1.0, **attributes: Any) -> str:
    """Append a ``Quant`` with zero point 0."""
    attributes = {"signed": 1, "narrow": 0, "rounding_mode": "ROUND", **attributes}
    return writer.node("Quant", real(scale), real(0), real(width), **attributes)


def quantized(writer: Writer, weight: np.ndarray, width: int, scale: Any = 1.0) -> str:
    """Append a ``Quant`` of a weight, narrow; or a ``BipolarQuant`` for one bit."""
    scales = np.asarray(scale, np.float32)
    weight = weight.astype(np.float32)
    if width == 1:
        return writer.aside("BipolarQuant", weight, scales)
    return writer.aside(
        "Quant", weight, scales, real(0), real(width), signed=1, narrow=1, rounding_mode="ROUND"
    )


def linear_quantizer(
    writer: Writer, scale: float, zero_point: int, dtype: Any = np.uint8, clip: Any = None
) -> str:
    """Append QuantizeLinear, a Clip where ``clip`` is (least, greatest), DequantizeLinear."""
    parts = real(scale), np.array(zero_point, dtype)
    writer.node("QuantizeLinear", *parts)
    if clip is not None:
        writer.node("Clip", np.array(clip[0], dtype), np.array(clip[1], dtype))
    return writer.node("DequantizeLinear", *parts)
