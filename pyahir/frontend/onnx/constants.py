"""Computes what depends on parameters only; quantized parameters stay integers with a scale.

In: the nodes of a file. Out: which of them are left, and the constants by name: real arrays, or
``Levels`` where a quantizer made them. Standard operators are computed by the reference evaluator
of the package ``onnx``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pyahir.frontend.onnx.model import Item, OnnxModel
from pyahir.frontend.onnx.quantizers import Quantizer, bipolar_scale, quantizer
from pyahir.ir.types import Array

__all__ = ["Levels", "State", "fold"]

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
MOVED = ("Identity", "Transpose", "Reshape", "Flatten", "Unsqueeze", "Squeeze")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Levels:
    """Integers, each worth ``scale``, which broadcasts against them; ``width`` 1 is -1 and +1."""

    values: Int64
    scale: Float64
    width: int
    signed: bool = True

    def moved(self, values: Int64, scale: Float64) -> Levels:
        return replace(self, values=values, scale=scale)


State = Array | Levels


def fold(model: OnnxModel) -> tuple[list[Item], dict[str, State]]:
    """Give the nodes that depend on the input, and every constant."""
    known: dict[str, State] = dict(model.constants)
    left: list[Item] = []
    for item in model.nodes:
        operands = [known.get(name) for name in item.inputs if name]
        if any(operand is None for operand in operands):
            left.append(item)
            continue
        results = _folded(model, item, [_required(operand) for operand in operands])
        known.update(zip(item.outputs, results, strict=True))
    return left, known


def _required(operand: State | None) -> State:
    assert operand is not None
    return operand


def _folded(model: OnnxModel, item: Item, operands: list[State]) -> list[State]:
    if item.custom or item.op == "DequantizeLinear":
        if not all(isinstance(operand, np.ndarray) for operand in operands):
            raise model.refuse(item, "quantizes a parameter that is quantized already")
        return [_levels(model, item, operands)]
    if isinstance(operands[0], Levels):
        return [_moved(model, item, operands)]
    if any(isinstance(operand, Levels) for operand in operands):
        raise model.refuse(
            item, f"computes with quantized parameters; accepted: {', '.join(MOVED)}"
        )
    return _evaluated(model, item, operands)


def _evaluated(model: OnnxModel, item: Item, operands: list[Any]) -> list[State]:
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    names = [name for name in item.inputs if name]
    graph = helper.make_graph(
        [item.proto],
        "constant",
        [helper.make_empty_tensor_value_info(name) for name in names],
        [helper.make_empty_tensor_value_info(name) for name in item.outputs],
    )
    single = helper.make_model(graph, opset_imports=model.proto.opset_import)
    feeds = dict(zip(names, operands, strict=True))
    try:
        return list(ReferenceEvaluator(single).run(None, feeds))  # type: ignore[arg-type]  # arrays
    except (NotImplementedError, RuntimeError, ValueError, TypeError, KeyError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise model.refuse(item, f"its constant operands cannot be computed: {reason}") from None


def _levels(model: OnnxModel, item: Item, operands: list[Any]) -> Levels:
    real = operands[0]
    if item.op == "BipolarQuant":
        scale = bipolar_scale(model, item, operands[1])
        values = np.where(real >= 0, 1, -1)
        return Levels(values=values.astype(np.int64), scale=scale, width=1)
    if item.op == "DequantizeLinear":
        return _dequantized(model, item, operands)
    if item.op != "Quant":
        raise model.refuse(item, "has constant operands only; accepted: Quant, BipolarQuant")
    found: Quantizer = quantizer(model, item, operands[1:])
    values = found.codes(real)
    return Levels(values=values, scale=found.scale, width=found.width, signed=found.signed)


def _dequantized(model: OnnxModel, item: Item, operands: list[Any]) -> Levels:
    """Give the integers of a QDQ parameter; zero points must be 0 for weights and biases."""
    codes, scale, *zero = operands
    if zero and np.any(zero[0]):
        raise model.refuse(
            item, "the zero point of a weight is not 0; accepted are symmetric weights"
        )
    if item.attributes.get("block_size", 0):
        raise model.refuse(item, "has blocks; accepted is a scale per tensor or per channel")
    if scale.size > 1:
        axis = int(item.attributes.get("axis", 1)) % codes.ndim
        shape = [1] * codes.ndim
        shape[axis] = scale.size
        scale = scale.reshape(shape)
    return Levels(
        values=codes.astype(np.int64),
        scale=np.asarray(scale, np.float64),
        width=8 * codes.dtype.itemsize,
        signed=codes.dtype.kind == "i",
    )


def _moved(model: OnnxModel, item: Item, operands: list[State]) -> Levels:
    """Move the integers and, element for element, their scales."""
    levels = operands[0]
    assert isinstance(levels, Levels)
    if item.op not in MOVED:
        raise model.refuse(
            item, f"computes with quantized parameters; accepted: {', '.join(MOVED)}"
        )
    rest = operands[1:]
    (values,) = _evaluated(model, item, [levels.values, *rest])
    if levels.scale.size == 1:
        return levels.moved(np.asarray(values), levels.scale.reshape(()))
    wide = np.broadcast_to(levels.scale, levels.values.shape)
    (scale,) = _evaluated(model, item, [np.ascontiguousarray(wide), *rest])
    return levels.moved(np.asarray(values), np.asarray(scale))
