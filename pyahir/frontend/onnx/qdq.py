"""A chain of ONNX nodes between QuantizeLinear and DequantizeLinear as a QUANTIZED graph.

In: the nodes that depend on the input, and the constants. Out: the graph, and where the file has
the values that the graph has. Codes of int8 become uint8, 128 greater. A layer waits for the
quantizer of its result; a pooling in between is moved behind it, which changes no code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pyahir.errors import ImportModelError
from pyahir.frontend.context import activation_type
from pyahir.frontend.onnx.constants import Levels, State
from pyahir.frontend.onnx.model import Item, OnnxModel
from pyahir.frontend.onnx.weights import bias_terms, layer_levels
from pyahir.frontend.onnx.windows import Window, window
from pyahir.ir.builder import GraphBuilder
from pyahir.ir.graph import Graph, Loc, Stage, legal_name
from pyahir.ir.ops import Clamp, Conv2d, Flatten, InferError, Linear, MaxPool2d, Relu, SumPool2d
from pyahir.ir.types import Affine, Array
from pyahir.ir.verify import verify
from pyahir.quant.integer import Target, add_accumulator, requantize_by_rule
from pyahir.quant.rules import AveragePool, OnnxDivision, PoolForm, SourceRule

__all__ = ["Found", "QdqGraph", "qdq_graph"]

ACCEPTED = (
    "QuantizeLinear, DequantizeLinear, Clip, Conv, Gemm, MatMul, Add, Relu, MaxPool, AveragePool, "
    "GlobalAveragePool, Flatten, Reshape, Identity, Dropout"
)
SIGNED = 128  # what is added to an int8 code


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Where the file has a value: its name, and how real numbers there become codes."""

    value: str
    scale: float
    zero_point: int
    shift: int

    def codes(self, values: Array) -> Array:
        if values.dtype.kind == "f":
            steps = np.rint(values.astype(np.float32) / np.float32(self.scale)) + self.zero_point
            return np.clip(steps, 0, 255).astype(np.uint8)
        return (values.astype(np.int16) + self.shift).astype(np.uint8)


@dataclass(frozen=True, slots=True, kw_only=True)
class QdqGraph:
    """``note`` tells where a float32 evaluation of the file may give another code."""

    graph: Graph
    sources: Mapping[str, Found]
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scale:
    """A quantizer: codes of the file are ``shift`` less than ours."""

    quantization: Affine
    shift: int
    least: int = 0
    greatest: int = 255


@dataclass(slots=True, kw_only=True)
class _Pending:
    """A layer without its quantizer yet; ``behind`` adds the poolings that wait with it."""

    item: Item
    op: Conv2d | Linear | SumPool2d
    weight: npt.NDArray[np.int8] | None
    unit: npt.NDArray[np.float64]
    bias: npt.NDArray[np.float32]
    relu: bool = False
    behind: list[tuple[Item, MaxPool2d | Flatten]] = field(
        default_factory=list[tuple[Item, MaxPool2d | Flatten]]
    )


def qdq_graph(
    model: OnnxModel, name: str, nodes: list[Item], known: Mapping[str, State]
) -> QdqGraph:
    """Read the chain."""
    return _Reader(model, name, nodes, known).run()


class _Reader:
    """Follows the value ``at``; ``name`` is that of its codes in the graph, once there are any."""

    def __init__(
        self, model: OnnxModel, name: str, nodes: list[Item], known: Mapping[str, State]
    ) -> None:
        self.model, self.nodes, self.known = model, nodes, known
        self.builder = GraphBuilder(name, Stage.QUANTIZED)
        self.at, self.name = model.input, ""
        self.scale: _Scale | None = None
        self.next: _Scale | None = None  # between QuantizeLinear and DequantizeLinear
        self.pending: _Pending | None = None
        self.sources: dict[str, Found] = {}
        self.ties: list[str] = []

    def run(self) -> QdqGraph:
        for item in self.nodes:
            if [name for name in item.inputs if name and name not in self.known] != [self.at]:
                raise self.model.refuse(
                    item, "joins or branches the values; accepted is a plain chain of layers"
                )
            try:
                self._node(item)
            except InferError as error:
                raise self.model.refuse(item, str(error)) from None
            self.at = item.outputs[0]
        if self.next is not None:
            self._materialise(self.at)
        if self.pending is not None or not self.name:
            place = self.pending.item if self.pending is not None else self.nodes[-1]
            raise self.model.refuse(
                place,
                "its result stays real; accepted is a QuantizeLinear behind every layer, "
                "the last one too",
            )
        if self.at != self.model.output:
            raise ImportModelError(f"{self.model.origin}: the output is not the end of the chain")
        graph = verify(self.builder.finish([self.name]), after="import")
        note = ""
        if self.ties:
            note = (
                f"{', '.join(self.ties)}: an average on a tie is rounded half to even, where a "
                "float32 evaluation may give the other code"
            )
        return QdqGraph(graph=graph, sources=self.sources, note=note)

    def _node(self, item: Item) -> None:
        if item.op in ("Identity", "Dropout"):
            return
        if item.op == "QuantizeLinear":
            self._quantize(item)
            return
        if item.op == "DequantizeLinear":
            self._dequantize(item)
            return
        if self.next is not None:
            self._clip(item)
            return
        rules: dict[str, Callable[[Item], None]] = {
            "Conv": self._weights,
            "Gemm": self._weights,
            "MatMul": self._weights,
            "Add": self._add,
            "Relu": self._relu,
            "MaxPool": self._max_pool,
            "AveragePool": self._average,
            "GlobalAveragePool": self._average,
            "Flatten": self._flatten,
            "Reshape": self._flatten,
        }
        if item.op not in rules or item.custom:
            raise self.model.refuse(item, f"has no 8-bit form; accepted: {ACCEPTED}")
        if not self.name:
            raise self.model.refuse(
                item,
                "takes the input as real numbers; accepted is an input that is quantized first",
            )
        rules[item.op](item)

    # quantizers -------------------------------------------------------------------------------

    def _read_scale(self, item: Item) -> _Scale:
        scale = self.known.get(item.inputs[1])
        zero = self.known.get(item.inputs[2]) if len(item.inputs) > 2 else np.zeros((), np.uint8)
        if not isinstance(scale, np.ndarray) or not isinstance(zero, np.ndarray):
            raise self.model.refuse(item, "its scale and zero point have to be constants")
        if scale.size != 1 or not float(scale.item()) > 0 or not math.isfinite(scale.item()):
            raise self.model.refuse(
                item, "its scale is not one positive number; accepted is one for an activation"
            )
        if zero.dtype not in (np.uint8, np.int8):
            raise self.model.refuse(
                item, f"its codes are {zero.dtype}; accepted are uint8 and int8"
            )
        shift = SIGNED if zero.dtype == np.int8 else 0
        return _Scale(
            quantization=Affine(scale=float(scale.item()), zero_point=int(zero.item()) + shift),
            shift=shift,
        )

    def _quantize(self, item: Item) -> None:
        if self.next is not None:
            raise self.model.refuse(item, "quantizes codes; accepted is DequantizeLinear first")
        self.next = self._read_scale(item)

    def _clip(self, item: Item) -> None:
        """Narrow the codes, as exporters write a quantizer of fewer levels."""
        assert self.next is not None
        if item.op != "Clip":
            raise self.model.refuse(
                item, "stands between QuantizeLinear and DequantizeLinear; accepted there is Clip"
            )
        limits = [self.next.least, self.next.greatest]
        for position in (1, 2):
            limit = self.known.get(item.inputs[position]) if len(item.inputs) > position else None
            if isinstance(limit, np.ndarray):
                limits[position - 1] = int(limit.item()) + self.next.shift
        self.next = replace(
            self.next,
            least=max(limits[0], self.next.least),
            greatest=min(limits[1], self.next.greatest),
        )

    def _dequantize(self, item: Item) -> None:
        scale = self._read_scale(item)
        if self.next is None:
            raise self.model.refuse(item, "dequantizes what QuantizeLinear has not made")
        if scale.quantization != self.next.quantization or scale.shift != self.next.shift:
            raise self.model.refuse(item, "has another scale than the QuantizeLinear before it")
        self._materialise(item.inputs[0])

    def _materialise(self, value: str) -> None:
        """Make the codes that the file has as ``value``."""
        assert self.next is not None
        made, self.next = self.next, None
        if not self.name:
            self._input(made, value)
        elif self.pending is not None:
            self._requantize(self.pending, made, value)
            self.pending = None
        else:
            assert self.scale is not None
            if (made.quantization, made.shift) != (self.scale.quantization, self.scale.shift):
                raise self.model.refuse(
                    self._maker(value),
                    "quantizes codes to another scale with no layer between; accepted is one scale",
                )
            self._clamp(made, value)
        self.scale = made

    def _maker(self, value: str) -> Item:
        return next(item for item in self.nodes if value in item.outputs)

    def _input(self, made: _Scale, value: str) -> None:
        kind = activation_type(self.model.shape, made.quantization)
        self.name = self.builder.input("x", kind)
        self._source(self.name, value, made)
        self._clamp(made, value)

    def _clamp(self, made: _Scale, value: str) -> None:
        if (made.least, made.greatest) != (0, 255):
            op = Clamp(minimum=made.least, maximum=made.greatest)
            self._emit(self._maker(value), op, made)

    def _source(self, name: str, value: str, made: _Scale) -> None:
        affine = made.quantization
        self.sources[name] = Found(
            value=value, scale=affine.scale, zero_point=affine.zero_point, shift=made.shift
        )

    def _emit(self, item: Item, op: Any, made: _Scale) -> None:
        self.name = self.builder.node(legal_name(item.path), op, [self.name], Loc(path=item.path))
        self._source(self.name, item.outputs[0], made)

    # layers -----------------------------------------------------------------------------------

    def _real(self, item: Item) -> _Scale:
        """Give the scale of the dequantized operand."""
        if self.pending is not None or self.scale is None:
            place = self.pending.item.name if self.pending else "the input"
            raise self.model.refuse(item, f"no QuantizeLinear stands between it and {place}")
        return self.scale

    def _weights(self, item: Item) -> None:
        scale, kind = self._real(item), self.builder.types[self.name]
        levels = layer_levels(self.model, item, self.known, self.at)
        outputs = len(levels.values)
        op: Conv2d | Linear = Linear(acc_width=1)
        if item.op == "Conv":
            found = window(self.model, item, levels.values.shape[2:], kind.spatial)
            op = Conv2d(
                kernel_size=found.kernel_size,
                stride=found.stride,
                padding=found.padding,
                dilation=found.dilation,
                groups=int(item.attributes.get("group", 1)),
                acc_width=1,
            )
        unit = float(np.float32(scale.quantization.scale)) * levels.scale
        self.pending = _Pending(
            item=item,
            op=op,
            weight=levels.values.astype(np.int8),
            unit=np.broadcast_to(unit, outputs).astype(np.float64),
            bias=bias_terms(self.model, item, self.known, outputs),
        )

    def _add(self, item: Item) -> None:
        layer = self.pending
        if layer is None or layer.relu or layer.behind or layer.weight is None:
            raise self.model.refuse(item, "is no bias; accepted is one directly behind a layer")
        term = self.known[item.inputs[1 if item.inputs[0] == self.at else 0]]
        real = np.asarray(term.values * term.scale if isinstance(term, Levels) else term)
        if real.size not in (1, len(layer.bias)) or (
            isinstance(layer.op, Conv2d) and real.shape[-3:] != (len(layer.bias), 1, 1)
        ):
            raise self.model.refuse(
                item, f"its constant has the shape {real.shape}; accepted is one number a channel"
            )
        terms = real.reshape(-1).astype(np.float32)
        layer.bias = layer.bias + terms

    def _relu(self, item: Item) -> None:
        if self.pending is None:
            self._emit(item, Relu(), self._real(item))
        elif self.pending.weight is None:
            raise self.model.refuse(item, "rectifies an average; accepted is it behind a layer")
        else:
            self.pending.relu = True

    def _max_pool(self, item: Item) -> None:
        kind = self.builder.types[self.name]
        size = self._size(item) if self.pending is not None else kind.spatial
        found = window(self.model, item, tuple(item.attributes.get("kernel_shape", ())), size)
        self._move(item, MaxPool2d(**_geometry(found)))

    def _size(self, item: Item) -> tuple[int, ...]:
        """Give height and width of the layer that waits."""
        assert self.pending is not None
        if any(isinstance(op, Flatten) for _, op in self.pending.behind) or isinstance(
            self.pending.op, Linear
        ):
            raise self.model.refuse(item, "pools a vector")
        size = self.pending.op.output_spatial(self.builder.types[self.name])
        for _, op in self.pending.behind:
            assert isinstance(op, MaxPool2d)
            size = Window(
                kernel_size=op.kernel_size,
                stride=op.stride,
                padding=op.padding,
                dilation=op.dilation,
            ).output(size)
        return size

    def _flatten(self, item: Item) -> None:
        if item.op == "Flatten":
            plain = int(item.attributes.get("axis", 1)) == 1
        else:
            wanted = self.known[item.inputs[1]]
            assert isinstance(wanted, np.ndarray)
            plain = len(wanted) == 2 and int(wanted[0]) in (0, 1, -1)
        if not plain:
            raise self.model.refuse(item, "changes the shape; accepted is a flattening to NxI")
        self._move(item, Flatten())

    def _move(self, item: Item, op: MaxPool2d | Flatten) -> None:
        if self.pending is not None:
            self.pending.behind.append((item, op))
        else:
            self._emit(item, op, self._real(item))

    def _average(self, item: Item) -> None:
        scale, kind = self._real(item), self.builder.types[self.name]
        found = Window(kernel_size=kind.spatial)
        if item.op == "AveragePool":
            kernel = tuple(item.attributes.get("kernel_shape", ()))
            found = window(self.model, item, kernel, kind.spatial)
        if any(found.padding) and not item.attributes.get("count_include_pad", 0):
            raise self.model.refuse(
                item, "leaves padding out of the average; accepted is count_include_pad=1"
            )
        taps = found.kernel_size[0] * found.kernel_size[1]
        self.pending = _Pending(
            item=item,
            op=SumPool2d(**_geometry(found), acc_width=1),
            weight=None,
            unit=np.full(kind.channels, float(np.float32(scale.quantization.scale)) / taps),
            bias=np.zeros(kind.channels, np.float32),
        )

    def _requantize(self, layer: _Pending, made: _Scale, value: str) -> None:
        name, loc = legal_name(layer.item.path), Loc(path=layer.item.path)
        acc = add_accumulator(self.builder, name, layer.op, self.name, layer.weight, loc)
        affine = made.quantization
        least = max(made.least, affine.zero_point) if layer.relu else made.least
        target = Target(quantization=affine, quant_min=least, quant_max=made.greatest)
        rule: SourceRule = OnnxDivision(
            act_times_weight=layer.unit,
            bias=layer.bias,
            scale=np.float32(affine.scale),
            zero_point=affine.zero_point,
        )
        same = self.scale is not None and self.scale.quantization.scale == affine.scale
        if isinstance(layer.op, SumPool2d) and same and (least, made.greatest) == (0, 255):
            taps = layer.op.kernel_size[0] * layer.op.kernel_size[1]
            if taps % 2 == 0 and math.frexp(affine.scale)[0] != 0.5:
                self.ties.append(layer.item.path)
            forms = (PoolForm.AFTER,) * len(layer.bias)
            rule = AveragePool(
                factor=np.float32(1 / taps), zero_point=affine.zero_point, forms=forms
            )
        self.name = requantize_by_rule(self.builder, name, acc, rule, target, loc)
        if not layer.behind:
            self._source(self.name, value, made)
        for item, op in layer.behind:
            self._emit(item, op, made)
            del self.sources[self.name]
        if layer.behind:
            self._source(self.name, value, made)


def _geometry(found: Window) -> dict[str, Any]:
    return {
        "kernel_size": found.kernel_size,
        "stride": found.stride,
        "padding": found.padding,
        "dilation": found.dilation,
    }
