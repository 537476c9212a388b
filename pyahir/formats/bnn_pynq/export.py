"""A few-bit graph to the parameters of BNN-PYNQ hardware: padded, folded by the topology.

In: a QUANTIZED graph of pixels, few-bit layers and thresholds, and a topology with its shape. Out:
``Parameters`` that compute the same. Refused with a reason: what that hardware cannot do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pyahir.errors import ImportModelError
from pyahir.formats.bnn_pynq.folder import LayerParameters, Parameters
from pyahir.formats.bnn_pynq.graph import bit_table, pixel_table
from pyahir.formats.bnn_pynq.steps import LIMITS, to_stored
from pyahir.formats.bnn_pynq.topology import Accumulator, Topology
from pyahir.formats.bnn_pynq.words import Thresholds, Weights
from pyahir.ir.graph import Graph, Node, Stage
from pyahir.ir.ops import Conv2d, Flatten, Linear, MaxPool2d, MultiThreshold, Recode
from pyahir.ir.ranges import accumulator_bounds, numbers
from pyahir.ir.types import Array, Layout

__all__ = ["export_graph"]


@dataclass(slots=True)
class _Stack:
    """A layer of the graph, with what follows it."""

    sum: Node
    steps: Node | None = None
    pools: list[Node] = field(default_factory=list[Node])


def export_graph(
    graph: Graph,
    topology: Topology,
    classes: Sequence[str],
    *,
    last_threshold: int | None = None,
) -> Parameters:
    """Give the parameters of ``topology``'s hardware that compute what ``graph`` does.

    ``last_threshold`` serves a last layer that has thresholds in the hardware and none in the
    graph: the bit of a class is set where its sum is greater.
    """
    where = f"{graph.name} as {topology.name}"
    if graph.stage is not Stage.QUANTIZED:
        raise ImportModelError(f"{where}: the graph is not quantized; few-bit networks only")
    head, stacks = _stacks(graph, where)
    _check_input(graph, head, topology, where)
    if len(stacks) != len(topology.layers):
        raise ImportModelError(
            f"{where}: {len(stacks)} layers; the hardware has {len(topology.layers)}"
        )
    layers = tuple(
        _Exporter(graph, topology, index, stack, f"{where}: layer {index} ({stack.sum.name})").run(
            last_threshold
        )
        for index, stack in enumerate(stacks)
    )
    rows = stacks[-1].sum.type.channels
    if len(classes) != rows or not all(name.strip() for name in classes):
        raise ImportModelError(f"{where}: {len(classes)} names for {rows} classes")
    return Parameters(layers=layers, class_text="\n".join(classes).encode())


def _stacks(graph: Graph, where: str) -> tuple[Node | None, list[_Stack]]:
    """Split the chain of nodes into its recoding of pixels and its layers."""
    head: Node | None = None
    stacks: list[_Stack] = []
    value = graph.inputs[0].name
    for node in graph.nodes:
        if node.inputs[0] != value:
            raise ImportModelError(
                f"{where}: {node.name} does not read {value}: no chain of layers"
            )
        value = node.name
        match node.op:
            case Recode() if head is None and not stacks:
                head = node
            case Conv2d() | Linear():
                stacks.append(_Stack(node))
            case MultiThreshold() if stacks and stacks[-1].steps is None and not stacks[-1].pools:
                stacks[-1].steps = node
            case MaxPool2d() if stacks:
                stacks[-1].pools.append(node)
            case Flatten():
                pass
            case _:
                raise ImportModelError(
                    f"{where}: {node.name} is {node.op.mnemonic()}, which the hardware has not in "
                    "this place; it has conv2d, linear, multi_threshold, then max_pool2d"
                )
    return head, stacks


def _check_input(graph: Graph, head: Node | None, topology: Topology, where: str) -> None:
    channels, height, width = topology.image
    found = graph.inputs[0].type
    fits = found.size == channels * height * width
    if found.layout is Layout.NHWC:
        fits = found.shape[1:] == (height, width, channels)
    if not fits:
        raise ImportModelError(
            f"{where}: an image of shape {found.shape[1:]}; the hardware takes "
            f"{(height, width, channels)}"
        )
    fixed = topology.accumulator(0) is Accumulator.FIXED
    bits, table = (8, pixel_table()) if fixed else (1, bit_table())
    if head is None:
        raise ImportModelError(f"{where}: the graph does not begin with pixels, but with {found}")
    assert isinstance(head.op, Recode)
    if head.op.width != bits:
        raise ImportModelError(
            f"{where}: {head.op.width} bits of the pixels come in; the hardware takes {bits}"
        )
    given = graph.constant_map()[head.inputs[1]].array
    other = np.flatnonzero(given != table)
    if len(other):
        pixel = int(other[0])
        raise ImportModelError(
            f"{where}: pixel {pixel} becomes {int(given[pixel])}, in the hardware "
            f"{int(table[pixel])}"
        )


class _Exporter:
    """Makes the parameters of one layer."""

    def __init__(
        self, graph: Graph, topology: Topology, index: int, stack: _Stack, where: str
    ) -> None:
        self.graph, self.topology, self.stack, self.where = graph, topology, stack, where
        self.index, self.layer = index, topology.layers[index]
        self.constants = graph.constant_map()

    def refuse(self, reason: str) -> ImportModelError:
        return ImportModelError(f"{self.where}: {reason}")

    def run(self, last_threshold: int | None) -> LayerParameters:
        self._check_pools()
        node, layer = self.stack.sum, self.layer
        stored = self.constants[node.inputs[1]]
        weights = numbers(stored.array, stored.type.element)
        x = self.graph.types()[node.inputs[0]]
        low, high = accumulator_bounds(node.op, x, weights)
        bound = int(max(-low.min(), high.max()))
        rows = self._rows(weights)
        least, most = (-1, 1) if layer.weight_width == 1 else self._range()
        if (
            rows.min() < least
            or rows.max() > most
            or (layer.weight_width == 1 and (rows == 0).any())
        ):
            raise self.refuse(f"weights {rows.min()} to {rows.max()} do not fit {self._bits()}")
        filler = 1 if layer.weight_width == 1 else 0
        padded = np.full((layer.outputs, layer.synapses), filler, np.int8)
        padded[: len(rows), : rows.shape[1]] = rows
        if not layer.thresholds:
            if self.stack.steps is not None:
                raise self.refuse("has thresholds; the hardware's last layer has none")
            return LayerParameters(
                weights=padded, thresholds=np.zeros((layer.outputs, 0), np.int64)
            )
        steps = self._steps(len(rows), last_threshold)
        kind = self.topology.accumulator(self.index)
        padding = padded[: len(rows), rows.shape[1] :]
        thresholds = np.full((layer.outputs, layer.thresholds), LIMITS[kind] - 1, np.int64)
        thresholds[: len(rows)] = to_stored(kind, steps, rows.shape[1], padding, bound, self.where)
        return LayerParameters(weights=padded, thresholds=thresholds)

    def _bits(self) -> str:
        return f"{self.layer.weight_width} bit" + "s" * (self.layer.weight_width > 1)

    def _range(self) -> tuple[int, int]:
        half = 1 << (self.layer.weight_width - 1)
        return -half, half - 1

    def _rows(self, weights: Array) -> Weights:
        """Bring weights into rows of neurons with the synapses in the order of the stream."""
        op, layer = self.stack.sum.op, self.layer
        real = self.topology.real_inputs(self.index)
        last = self.index + 1 == len(self.topology.layers)
        outputs = len(weights)
        if not (outputs == layer.outputs or (last and outputs < layer.outputs)):
            raise self.refuse(f"{outputs} outputs; the hardware has {layer.outputs}")
        kernel = (layer.kernel_size,) * 2
        if isinstance(op, Conv2d):
            plain = Conv2d(kernel_size=op.kernel_size, acc_width=op.acc_width)
            if not layer.kernel_size or op != plain or weights.shape[1:] != (real, *kernel):
                raise self.refuse(
                    f"{op} on {weights.shape[1]} channels; the hardware has "
                    f"{self._shape()}, stride 1, without padding"
                )
            return weights.transpose(0, 2, 3, 1).reshape(outputs, -1).astype(np.int8)
        if layer.kernel_size or weights.shape[1] != real:
            raise self.refuse(f"{weights.shape[1]} inputs; the hardware has {self._shape()}")
        spatial = self._spatial()
        if spatial > 1:
            channels = weights.reshape(outputs, real // spatial, spatial)
            weights = channels.swapaxes(1, 2).reshape(outputs, real)
        return weights.astype(np.int8)

    def _shape(self) -> str:
        layer, real = self.layer, self.topology.real_inputs(self.index)
        if layer.kernel_size:
            return f"{layer.kernel_size}x{layer.kernel_size} windows of {layer.inputs} channels"
        return f"{real} inputs"

    def _spatial(self) -> int:
        """Count the places of the feature map that this layer takes as a vector."""
        if not self.index:
            return self.topology.image[1] * self.topology.image[2]
        before = self.topology.layers[self.index - 1]
        return before.out_dim**2 if before.kernel_size else 1

    def _steps(self, outputs: int, last_threshold: int | None) -> Thresholds:
        layer, node = self.layer, self.stack.steps
        if node is None:
            if self.index + 1 < len(self.topology.layers) or last_threshold is None:
                raise self.refuse(
                    "has no thresholds; the hardware has. For a last layer --last-threshold says "
                    "above which sum the bit of a class is set"
                )
            return np.full((outputs, 1), last_threshold, np.int64)
        op = node.op
        assert isinstance(op, MultiThreshold)
        table = self.constants[node.inputs[1]].array.astype(np.int64)
        base = 0 if layer.activation_width == 1 else layer.base
        if (op.width, op.base, table.shape[1]) != (layer.activation_width, base, layer.thresholds):
            raise self.refuse(
                f"{table.shape[1]} thresholds from {op.base} to {op.width} bits; the hardware has "
                f"{layer.thresholds} from {base} to {layer.activation_width} bits"
            )
        return np.broadcast_to(table, (outputs, layer.thresholds))

    def _check_pools(self) -> None:
        expected = self.topology.pooling(self.index)
        ops = [node.op for node in self.stack.pools]
        wanted = [MaxPool2d(kernel_size=(2, 2), stride=(2, 2))] if expected == 2 else []
        if ops != wanted:
            found = ", ".join(map(str, ops)) or "no pooling"
            raise self.refuse(f"{found} follows; in the hardware {wanted or 'none'}")
