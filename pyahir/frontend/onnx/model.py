"""Reads an ONNX file: one input, one output, nodes in order, initializers as NumPy arrays.

In: a path. Out: ``OnnxModel``. Not here: what the nodes mean. A file refers to other files only in
its own folder, which the package ``onnx`` checks; no code of a file runs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pyahir.errors import ImportModelError
from pyahir.frontend.onnx.package import require
from pyahir.ir.types import Array

__all__ = ["QUANTIZERS", "Item", "OnnxModel", "read"]

# The domains in which QONNX, FINN and older Brevitas have their operators.
QUANTIZERS = ("qonnx.custom_op.general", "finn.custom_op.general", "onnx.brevitas")
STANDARD = ("", "ai.onnx")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One node. ``inputs`` has "" where an optional one is left out."""

    name: str
    op: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    proto: Any = field(repr=False, compare=False)

    @property
    def custom(self) -> bool:
        return self.domain in QUANTIZERS

    @property
    def path(self) -> str:
        """The module that the node comes from, as torch's exporter writes it; else its name.

        ``/features.2/MatMul`` and ``/features.4/act_quant/export_handler/Quant`` are
        ``features.2`` and ``features.4``.
        """
        parts = [part for part in self.name.split("/") if part]
        if len(parts) < 2:
            return self.name or self.outputs[0]
        for handler in ("act_quant", "weight_quant", "bias_quant"):
            if handler in parts[1:]:
                return "/".join(parts[: parts.index(handler)])
        return "/".join(parts[:-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxModel:
    """A file: ``shape`` is that of its input without the batch; ``batched``: any batch will do."""

    origin: str
    proto: Any = field(repr=False)
    nodes: tuple[Item, ...]
    constants: Mapping[str, Array]
    input: str
    shape: tuple[int, ...]
    batched: bool
    output: str

    def refuse(self, item: Item, message: str) -> ImportModelError:
        kind = f"{item.domain}.{item.op}" if item.domain not in STANDARD else item.op
        return ImportModelError(
            f"{self.origin} ({item.name or item.outputs[0]}, {kind}): {message}"
        )


def read(path: str | os.PathLike[str], input_shape: tuple[int, ...] | None = None) -> OnnxModel:
    """Read a file; ``input_shape`` is what an input of unknown size has, without the batch."""
    origin = os.fspath(path)
    require(origin)
    import onnx
    from google.protobuf.message import DecodeError

    try:
        proto = onnx.load(origin)
        onnx.checker.check_model(proto)
    except (DecodeError, onnx.checker.ValidationError, OSError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ImportModelError(
            f"{origin}: cannot be read as an ONNX model: {reason}; export it again"
        ) from None
    graph = proto.graph
    constants = {item.name: onnx.numpy_helper.to_array(item) for item in graph.initializer}
    inputs = [item for item in graph.input if item.name not in constants]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise ImportModelError(
            f"{origin}: the model has {len(inputs)} inputs and {len(graph.output)} outputs; "
            "accepted is one of each"
        )
    shape, batched = _input(origin, inputs[0], input_shape)
    nodes = tuple(
        Item(
            name=node.name,
            op=node.op_type,
            domain=node.domain,
            inputs=tuple(node.input),
            outputs=tuple(node.output),
            attributes={
                item.name: _plain(onnx.helper.get_attribute_value(item)) for item in node.attribute
            },
            proto=node,
        )
        for node in graph.node
    )
    return OnnxModel(
        origin=origin,
        proto=proto,
        nodes=nodes,
        constants=constants,
        input=inputs[0].name,
        shape=shape,
        batched=batched,
        output=graph.output[0].name,
    )


def _plain(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _input(origin: str, item: Any, wanted: tuple[int, ...] | None) -> tuple[tuple[int, ...], bool]:
    from onnx import TensorProto

    tensor = item.type.tensor_type
    if tensor.elem_type != TensorProto.FLOAT:
        kind = TensorProto.DataType.Name(tensor.elem_type)
        raise ImportModelError(f"{origin}: the input {item.name!r} is {kind}; accepted is FLOAT")
    sizes = [axis.dim_value if axis.HasField("dim_value") else 0 for axis in tensor.shape.dim]
    if len(sizes) not in (2, 4):
        raise ImportModelError(
            f"{origin}: the input {item.name!r} has {len(sizes)} axes; a model takes NxCxHxW or NxI"
        )
    batched = sizes[0] == 0
    if not batched and sizes[0] != 1:
        raise ImportModelError(
            f"{origin}: exported for a fixed batch of {sizes[0]}; export it with a batch of 1"
        )
    if wanted is not None and (
        len(wanted) != len(sizes) - 1
        or any(size not in (0, want) for size, want in zip(sizes[1:], wanted, strict=True))
    ):
        raise ImportModelError(
            f"{origin}: the model takes an input of shape {_text(sizes[1:])}, not {_text(wanted)}"
        )
    shape = wanted or tuple(sizes[1:])
    if not all(shape):
        raise ImportModelError(
            f"{origin}: the input has the shape {_text(shape)}; give its size: --input-shape C,H,W"
        )
    return tuple(shape), batched


def _text(sizes: Any) -> str:
    return "x".join(str(size or "?") for size in sizes)
