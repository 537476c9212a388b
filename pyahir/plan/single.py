"""One layer of a plan as a network of its own: the same words, folding and order, nothing else.

In: a plan and the name of one of its layers. Out: a ``Plan`` of a graph that begins with the stream
in front of that layer. Not here: what is fed to it and compared (``pyahir.layerwise``).
"""

from __future__ import annotations

from dataclasses import replace

from pyahir.errors import PlanError
from pyahir.ir.graph import Graph, Input, Node
from pyahir.ir.ops import Flatten
from pyahir.ir.types import TensorType
from pyahir.ir.verify import verify
from pyahir.plan.layers import Layer, LayerKind, layers_of
from pyahir.plan.plan import Plan, PlannedLayer

__all__ = ["single_layer"]


def single_layer(plan: Plan, name: str) -> Plan:
    """Give the plan of one layer; its graph's input is named like the value that feeds the layer.

    Nothing is chosen again: the layer has the folding, the order and the words, arriving ones
    included, that it has in ``plan``. A layer that reads a flattened feature map begins with the
    map, as its stream comes in the map's order. Only pipes are sized anew, for frames as fast as
    this layer takes them. Raises ``PlanError`` for a name that is no layer's.
    """
    names = [planned.name for planned in plan.layers]
    if name not in names:
        raise PlanError(f"layer {name!r}: no such layer; accepted: {', '.join(names)}")
    place = names.index(name)
    planned = plan.layers[place]
    graph = _cut(plan.graph, planned.layer)
    (layer,) = layers_of(graph)
    lanes = plan.layers[place - 1].lanes_out if place else plan.input_lanes
    alone: PlannedLayer = replace(planned, layer=layer)
    return Plan(graph=graph, input_lanes=lanes, layers=(alone,))


def _cut(graph: Graph, layer: Layer) -> Graph:
    """Give the nodes of a layer as a graph, and the flattening in front of it where there is one.

    An elementwise layer behind a flattening works on the map: its stream is that of the map.
    """
    nodes = [graph.node_map()[name] for name in layer.nodes]
    source, kind = nodes[0].inputs[0], layer.x
    flatten = _flatten_before(graph, nodes[0]) if layer.vector_order is not None else None
    if flatten is not None:
        kind = _unflattened(kind, graph.types()[flatten.inputs[0]])
        source = flatten.inputs[0] if source == flatten.name else source
        if layer.kind == LayerKind.ELEMENTWISE:
            made = _unflattened(nodes[0].type, kind)
            nodes = [replace(nodes[0], inputs=(source, *nodes[0].inputs[1:]), type=made)]
        else:
            first = replace(nodes[0], inputs=(flatten.name, *nodes[0].inputs[1:]))
            nodes = [replace(flatten, inputs=(source,), type=layer.x), first, *nodes[1:]]
    cut = graph.update(
        name=f"{graph.name}_{layer.name}",
        inputs=(Input(name=source, type=kind),),
        nodes=tuple(nodes),
        outputs=(nodes[-1].name,),
    )
    return verify(cut.with_used_constants(), after="single_layer")


def _flatten_before(graph: Graph, node: Node) -> Node | None:
    """Find the flattening whose order the stream in front of a node has."""
    before = graph.nodes[: graph.nodes.index(node)]
    return next((item for item in reversed(before) if isinstance(item.op, Flatten)), None)


def _unflattened(kind: TensorType, feature_map: TensorType) -> TensorType:
    """Give a vector the shape of the map that was flattened; element and scale are its own."""
    return replace(kind, shape=feature_map.shape, layout=feature_map.layout)
