"""One layer of a plan as a network of its own: the same words, folding and order, nothing else.

In: a plan and the name of one of its layers. Out: a ``Plan`` of a graph that begins with the stream
in front of that layer, with both in front of a join. Not here: what is fed to it and compared
(``pyahir.layerwise``).
"""

from __future__ import annotations

from dataclasses import replace

from pyahir.errors import PlanError
from pyahir.ir.graph import Graph, Input, Node
from pyahir.ir.ops import Flatten
from pyahir.ir.types import TensorType
from pyahir.ir.verify import verify
from pyahir.plan.grouping import layers_of
from pyahir.plan.layers import Layer, LayerKind
from pyahir.plan.plan import Plan, PlannedLayer

__all__ = ["single_layer"]


def single_layer(plan: Plan, name: str) -> Plan:
    """Give the plan of one layer; its graph's inputs are named like the values that feed the layer.

    Nothing is chosen again: the layer has the folding, the order and the words, arriving ones
    included, that it has in ``plan``. A layer that reads a flattened feature map begins with the
    map, as its stream comes in the map's order. A join has two inputs, in the order of its
    operands; one, where it adds a value to itself. Only pipes are sized anew, for frames as fast as
    this layer takes them. Raises ``PlanError`` for a name that is no layer's.
    """
    names = [planned.name for planned in plan.layers]
    if name not in names:
        raise PlanError(f"layer {name!r}: no such layer; accepted: {', '.join(names)}")
    planned = plan.layers[names.index(name)]
    graph = _cut(plan.graph, planned.layer)
    (layer,) = layers_of(graph, inputs=len(graph.inputs))
    lanes = dict(zip((item.name for item in plan.graph.inputs), plan.input_lanes, strict=True))
    lanes |= {item.layer.value: item.lanes_out for item in plan.layers}
    alone: PlannedLayer = replace(planned, layer=layer)
    coming = tuple(lanes[item.name] for item in graph.inputs)
    return Plan(graph=graph, input_lanes=coming, layers=(alone,))


def _cut(graph: Graph, layer: Layer) -> Graph:
    """Give the nodes of a layer as a graph, and the flattening in front of it where there is one.

    An elementwise layer or a join behind a flattening works on the map: so do its streams.
    """
    nodes = [graph.node_map()[name] for name in layer.nodes]
    types, count = graph.types(), len(layer.sources)
    read, constants = nodes[0].inputs[:count], nodes[0].inputs[count:]
    kinds = {source: types[value] for source, value in zip(layer.sources, read, strict=True)}
    first = replace(nodes[0], inputs=(*layer.sources, *constants))
    nodes = [first, *nodes[1:]]
    flatten = _flatten_before(graph, layer) if layer.vector_order is not None else None
    if flatten is not None:
        feature_map = types[flatten.inputs[0]]
        kinds = {source: _unflattened(kind, feature_map) for source, kind in kinds.items()}
        if layer.kind in (LayerKind.ELEMENTWISE, LayerKind.JOIN):
            nodes = [replace(node, type=_unflattened(node.type, feature_map)) for node in nodes]
        else:
            first = replace(first, inputs=(flatten.name, *constants))
            nodes = [replace(flatten, inputs=layer.sources, type=layer.x), first, *nodes[1:]]
    cut = graph.update(
        name=f"{graph.name}_{layer.name}",
        inputs=tuple(Input(name=source, type=kind) for source, kind in kinds.items()),
        nodes=tuple(nodes),
        outputs=(nodes[-1].name,),
    )
    return verify(cut.with_used_constants(), after="single_layer")


def _flatten_before(graph: Graph, layer: Layer) -> Node | None:
    """Find the flattening whose order the stream in front of a layer has."""
    nodes = graph.node_map()
    node: Node | None = nodes[layer.nodes[0]]
    while node is not None and not isinstance(node.op, Flatten):
        node = nodes.get(node.inputs[0])
    return node


def _unflattened(kind: TensorType, feature_map: TensorType) -> TensorType:
    """Give a vector the shape of the map that was flattened; element and scale are its own."""
    return replace(kind, shape=feature_map.shape, layout=feature_map.layout)
