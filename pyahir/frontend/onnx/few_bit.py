"""A chain of QONNX nodes as a ``FewBitNetwork``: sums, affine maps, quantizers, pools.

In: the nodes that depend on the input, and the constants. Out: the network, and where the file has
the values that the graph has. A layer is open from its weights to its quantizer; what stands
between is one ``AffineMap``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from pyahir.errors import ImportModelError
from pyahir.frontend.onnx.affine import AffineMap
from pyahir.frontend.onnx.constants import Levels, State
from pyahir.frontend.onnx.layers import Chain, OpenLayer, finished, recoded
from pyahir.frontend.onnx.model import Item, OnnxModel
from pyahir.frontend.onnx.quantizers import bipolar_scale, multi_threshold, quantizer
from pyahir.frontend.onnx.weights import bias_terms, layer_levels
from pyahir.frontend.onnx.windows import Window, window
from pyahir.ir.graph import legal_name, unique_name
from pyahir.quant.few_bit import Activation, FewBitNetwork, Pixels, Pool
from pyahir.quant.thresholds import BatchNorm

__all__ = ["few_bit_network"]

Float64 = npt.NDArray[np.float64]
ACCEPTED = (
    "Conv, MatMul, Gemm, Add, Sub, Mul, Div, BatchNormalization, Quant, BipolarQuant, "
    "MultiThreshold, MaxPool, Relu, Flatten, Reshape, Transpose, Identity, Dropout"
)


def few_bit_network(
    model: OnnxModel, name: str, nodes: list[Item], known: Mapping[str, State]
) -> Chain:
    """Read the chain."""
    return _Reader(model, name, nodes, known).run()


class _Reader:
    """Follows the value ``at`` from node to node; ``shape`` is its shape without the batch."""

    def __init__(
        self, model: OnnxModel, name: str, nodes: list[Item], known: Mapping[str, State]
    ) -> None:
        self.model, self.name, self.nodes, self.known = model, name, nodes, known
        self.at, self.shape = model.input, model.shape
        self.last = False  # whether the channels are the last axis, behind a Transpose
        self.order: tuple[int, ...] = ()  # (H, W, C) of a vector in that order
        self.factor, self.term = Fraction(1), Fraction(0)
        self.pixels: Pixels | None = None
        self.input_path, self.recoded = "", ""
        self.layers: list[OpenLayer] = []
        self.activations: dict[str, str] = {}
        self.pools: dict[str, str] = {}
        self.paths: dict[str, object] = {}

    def run(self) -> Chain:
        for item in self.nodes:
            data = [name for name in item.inputs if name and name not in self.known]
            if data != [self.at]:
                raise self.model.refuse(
                    item, "joins or branches the values; accepted is a plain chain of layers"
                )
            self._node(item)
            self.at = item.outputs[0]
        if self.pixels is None or not self.layers:
            raise ImportModelError(
                f"{self.model.origin}: holds no quantized layer; accepted are chains that begin "
                "with a quantizer of the input"
            )
        if self.at != self.model.output:
            raise ImportModelError(f"{self.model.origin}: the output is not the end of the chain")
        if self.layers[-1].activation is not None:
            raise self.model.refuse(
                self.layers[-1].item, "the last layer is quantized; accepted are its real scores"
            )
        return self._chain()

    def _node(self, item: Item) -> None:
        match item.op:
            case "Identity" | "Dropout":
                pass
            case "Mul" | "Div" | "Add" | "Sub":
                self._arithmetic(item)
            case "BatchNormalization":
                self._batch_norm(item)
            case "Quant" | "BipolarQuant" | "MultiThreshold" if item.custom:
                self._quantizer(item)
            case "Conv" | "MatMul" | "Gemm":
                self._weights(item)
            case "MaxPool":
                self._pool(item)
            case "Relu":
                self._relu(item)
            case "Flatten" | "Reshape" | "Transpose":
                self._layout(item)
            case _:
                raise self.model.refuse(item, f"has no few-bit form; accepted: {ACCEPTED}")

    # real numbers -----------------------------------------------------------------------------

    def _real(self, item: Item, name: str, axes: tuple[int, ...] = ()) -> Float64:
        """Give a constant of an affine map: one number, or one a channel; ``axes`` are behind."""
        found = self.known[name]
        if isinstance(found, Levels):
            real = found.values * found.scale
        else:
            real = np.asarray(found, np.float64)
        full = (1,) * (len(self.shape) + 1 - real.ndim - len(axes)) + real.shape + axes
        channels = self.shape[0]
        plain = len(full) == len(self.shape) + 1 and math.prod(full) in (1, full[1])
        if not plain or full[1] not in (1, channels) or self.last:
            raise self.model.refuse(
                item,
                f"its constant has the shape {real.shape}; accepted is one number, or one for each "
                f"of the {channels} channels",
            )
        return real.reshape(-1)

    def _arithmetic(self, item: Item) -> None:
        first = item.inputs[0] == self.at
        if item.op == "Div" and not first:
            raise self.model.refuse(item, "divides by the value; accepted is a constant divisor")
        real = self._real(item, item.inputs[1 if first else 0])
        match item.op:
            case "Mul":
                self._affine(item, real, None)
            case "Div":
                if (real == 0).any():
                    raise self.model.refuse(item, "divides by 0")
                self._affine(item, real, None, divide=True)
            case "Add":
                self._affine(item, None, real)
            case _:
                if not first:
                    self._affine(item, np.full(1, -1.0), None)
                self._affine(item, None, real if not first else -real)

    def _affine(
        self, item: Item, factor: Float64 | None, term: Float64 | None, *, divide: bool = False
    ) -> None:
        if self.pixels is None:
            part = factor if factor is not None else term
            assert part is not None
            if part.size > 1 and np.unique(part).size > 1:
                raise self.model.refuse(
                    item, "maps the input's channels differently; accepted is one number for all"
                )
            number = Fraction(float(part[0]))
            if factor is None:
                self.term += number
            else:
                number = 1 / number if divide else number
                self.factor, self.term = self.factor * number, self.term * number
            return
        layer = self._layer(item)
        if factor is not None:
            layer.map = layer.map.times(1 / factor if divide else factor)
        if term is not None:
            layer.map = layer.map.plus(term)

    def _layer(self, item: Item) -> OpenLayer:
        """Give the layer that is open: weights were read and no quantizer yet."""
        if not self.layers or self.layers[-1].activation is not None:
            raise self.model.refuse(
                item, "stands between a quantizer and the next weights; accepted is it behind them"
            )
        layer = self.layers[-1]
        if layer.relu:
            raise self.model.refuse(item, "stands between Relu and the quantizer")
        return layer

    def _batch_norm(self, item: Item) -> None:
        layer = self._layer(item)
        axes = (1,) * (len(self.shape) - 1)
        parts = [self._real(item, name, axes) for name in item.inputs[1:5]]
        if (parts[3] < 0).any():
            raise self.model.refuse(item, "has a negative variance")
        layer.map = layer.map.then(
            BatchNorm(
                gamma=parts[0],
                beta=parts[1],
                mean=parts[2],
                variance=parts[3],
                eps=float(item.attributes.get("epsilon", 1e-5)),
            )
        )

    def _relu(self, item: Item) -> None:
        self._layer(item).relu = True

    # quantizers -------------------------------------------------------------------------------

    def _quantizer(self, item: Item) -> None:
        activation = self._activation(item)
        if self.pixels is None:
            self._recode(item, activation)
            return
        layer = self._layer_to_quantize(item)
        if layer.relu:
            activation = self._rectified(item, activation)
        if layer.rising is not None and (np.sign(layer.map.gamma) * layer.rising < 0).any():
            raise self.model.refuse(
                item,
                "max pooling stands before a negative factor: there the greatest sum gives the "
                "least activation; accepted is it behind the quantizer",
            )
        layer.activation = activation
        layer.norm = layer.map.norm(len(layer.levels))
        self.activations[layer.path] = item.outputs[0]

    def _layer_to_quantize(self, item: Item) -> OpenLayer:
        if not self.layers or self.layers[-1].activation is not None:
            raise self.model.refuse(item, "a second quantizer with no weights before it")
        return self.layers[-1]

    def _activation(self, item: Item) -> Activation:
        operands = [self.known.get(name) for name in item.inputs[1:]]
        for operand in operands:
            if isinstance(operand, Levels):
                raise self.model.refuse(item, "its parameters are quantized; accepted are numbers")
        if item.op == "BipolarQuant":
            scale = bipolar_scale(self.model, item, operands[0])
            return Activation(width=1, scale=self._one(item, scale))
        if item.op == "MultiThreshold":
            steps = multi_threshold(self.model, item, operands[0])
            return Activation(
                width=steps.width,
                scale=steps.scale,
                least=steps.least,
                greatest=steps.least + steps.steps.shape[1],
                steps=steps.steps,
            )
        found = quantizer(self.model, item, operands)
        return Activation(
            width=found.stored_width,
            scale=self._one(item, found.scale),
            least=found.least,
            greatest=found.greatest,
        )

    def _one(self, item: Item, scale: Float64) -> float:
        if np.unique(scale).size != 1:
            raise self.model.refuse(
                item, "its scale differs from channel to channel; accepted is one for an activation"
            )
        return float(scale.flat[0])

    def _rectified(self, item: Item, activation: Activation) -> Activation:
        """Begin the levels at 0: negative numbers were 0 before the quantizer."""
        if activation.least is None or activation.steps is not None:
            raise self.model.refuse(item, "stands behind Relu; accepted there is Quant")
        return replace(activation, least=max(activation.least, 0))

    def _recode(self, item: Item, activation: Activation) -> None:
        """Quantize the 256 pixels, exactly; the image is in [0, 1]."""
        if activation.steps is not None and len(activation.steps) > 1:
            raise self.model.refuse(item, "has thresholds per channel; the input takes one row")
        self.pixels = recoded(activation, self.factor, self.term)
        self.input_path, self.recoded = self._path(item), item.outputs[0]

    # layers -----------------------------------------------------------------------------------

    def _path(self, item: Item) -> str:
        """Give the path of a node; a number makes the second of one name another."""
        name = unique_name(legal_name(item.path), self.paths)
        path = item.path if name == legal_name(item.path) else name
        self.paths[name] = None
        return path

    def _weights(self, item: Item) -> None:
        if self.pixels is None:
            raise self.model.refuse(
                item,
                "takes the input as real numbers; accepted is an input that is quantized first",
            )
        if self.layers and self.layers[-1].activation is None:
            raise self.model.refuse(
                item, f"no quantizer stands between it and {self.layers[-1].item.name}"
            )
        levels = layer_levels(self.model, item, self.known, self.at)
        values, geometry = levels.values, Window()
        if item.op == "Conv":
            geometry = self._window(item, values.shape)
        else:
            values = self._columns(item, values)
        layer = OpenLayer(
            item=item,
            path=self._path(item),
            levels=values.astype(np.int8),
            width=levels.width,
            map=AffineMap(scale=levels.scale),
            stride=geometry.stride,
            padding=geometry.padding,
            value=item.outputs[0],
        )
        self.layers.append(layer)
        if item.op == "Conv":
            self.shape = (len(values), *geometry.output(self.shape[1:]))
        else:
            self.shape = (len(values),)
        terms = bias_terms(self.model, item, self.known, len(values)).astype(np.float64)
        layer.map = layer.map.plus(terms if terms.any() else np.zeros(1))
        layer.term = terms

    def _window(self, item: Item, shape: tuple[int, ...]) -> Window:
        found = window(self.model, item, shape[2:], self.shape[1:])
        assert self.pixels is not None
        before = self.layers[-1].activation if self.layers else None
        width = self.pixels.width if before is None else before.width
        if any(found.padding) and width == 1:
            raise self.model.refuse(
                item, "pads an activation of one bit, which has no 0; accepted is no padding"
            )
        if int(item.attributes.get("group", 1)) != 1 or found.dilation != (1, 1):
            raise self.model.refuse(item, "has groups or a dilation; accepted is a plain one")
        if len(self.shape) != 3 or shape[1] != self.shape[0] or self.last:
            raise self.model.refuse(
                item, f"its weights have the shape {shape} for {self.shape}; accepted is NCHW"
            )
        return found

    def _columns(self, item: Item, values: Any) -> Any:
        """Check the inputs of a fully connected layer; bring H, W, C into the order C, H, W."""
        inputs = math.prod(self.shape)
        if self.last or values.shape[1] != inputs:
            raise self.model.refuse(
                item, f"its weights take {values.shape[1]} inputs of {self.shape}; flatten first"
            )
        if not self.order:
            return values
        h, w, c = self.order
        self.order = ()
        return values.reshape(-1, h, w, c).transpose(0, 3, 1, 2).reshape(len(values), -1)

    # movement ---------------------------------------------------------------------------------

    def _pool(self, item: Item) -> None:
        if not self.layers or self.pixels is None:
            raise self.model.refuse(item, "stands before the first weights")
        layer, kernel = self.layers[-1], item.attributes.get("kernel_shape", ())
        found = window(self.model, item, tuple(kernel), self.shape[1:])
        if any(found.padding) or found.dilation != (1, 1) or self.last:
            raise self.model.refuse(item, "has padding or a dilation; accepted is a plain pooling")
        if layer.pool is not None:
            raise self.model.refuse(item, f"a second pooling behind {layer.item.name}")
        moved = layer.activation is None
        layer.pool = Pool(
            path=self._path(item),
            kernel_size=found.kernel_size,
            stride=found.stride,
            first=moved and not layer.map.begun and not layer.relu,
            moved=moved and (layer.map.begun or layer.relu),
        )
        if layer.pool.moved:
            layer.rising = np.sign(layer.map.gamma)
        self.pools[layer.pool.path] = item.outputs[0]
        self.shape = (self.shape[0], *found.output(self.shape[1:]))

    def _layout(self, item: Item) -> None:
        if item.op == "Transpose":
            self._transpose(item)
            return
        sizes = (*self.shape[1:], self.shape[0]) if self.last else self.shape
        inputs = math.prod(self.shape)
        target = self._target(item, inputs)
        if target == (inputs,):
            if self.last and self.shape[1:] != (1, 1):
                self.order = sizes
            self.shape, self.last = (inputs,), False
        elif target != sizes:
            raise self.model.refuse(
                item, f"makes {target} of {sizes}; accepted is a flattening to Nx{inputs}"
            )

    def _target(self, item: Item, inputs: int) -> tuple[int, ...]:
        if item.op == "Flatten":
            if int(item.attributes.get("axis", 1)) != 1:
                raise self.model.refuse(item, "flattens from an axis other than 1")
            return (inputs,)
        wanted = self.known[item.inputs[1]]
        assert isinstance(wanted, np.ndarray)
        sizes = [int(size) for size in wanted]
        if sizes[0] not in (0, 1, -1):
            raise self.model.refuse(item, f"makes {sizes}; accepted is the batch first")
        rest = sizes[1:]
        if -1 in rest:
            known = math.prod(size for size in rest if size != -1)
            rest[rest.index(-1)] = inputs // known if known else 0
        return tuple(rest)

    def _transpose(self, item: Item) -> None:
        order = tuple(item.attributes.get("perm", ()))
        if len(self.shape) == 3 and order == ((0, 3, 1, 2) if self.last else (0, 2, 3, 1)):
            if self._open():
                raise self.model.refuse(item, "stands before the quantizer; accepted is it behind")
            self.last = not self.last
        elif order != tuple(range(len(self.shape) + 1)):
            raise self.model.refuse(
                item, f"has perm {order}; accepted is NCHW to NHWC behind a quantizer, and back"
            )

    def _open(self) -> bool:
        return bool(self.layers) and self.layers[-1].activation is None

    # result -----------------------------------------------------------------------------------

    def _chain(self) -> Chain:
        last = self.layers[-1]
        if last.relu or last.pool is not None:
            raise self.model.refuse(last.item, "the scores are rectified or pooled; take them out")
        if not last.map.uniform:
            raise self.model.refuse(
                last.item,
                "the classes have a scale or bias each, so the sums are no scores that compare; "
                "accepted is one map for all",
            )
        if last.map.begun:
            last.norm = last.map.norm(1)
        layers = [finished(layer) for layer in self.layers]
        shape = self.model.shape if len(self.model.shape) == 3 else (self.model.shape[0], 1, 1)
        network = FewBitNetwork(
            name=self.name,
            input_shape=shape,
            input_path=self.input_path,
            input_width=0,
            layers=tuple(layers),
            pixels=self.pixels,
        )
        return Chain(
            network=network,
            recoded=self.recoded,
            activations=self.activations,
            pools=self.pools,
            scores=last.value,
            term=float(last.term[0]),
        )
