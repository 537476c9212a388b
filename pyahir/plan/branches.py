"""How many words must wait in front of a join, so that its branches never wait for each other.

Where a value is read by two branches, the one with more layers takes in more before it gives
anything: rows in its line buffers, and all that its pipes let it be ahead. The other branch has to
hold as much, or nobody could go on: a pipe in front of the join does. In: a plan. Out: for every
join and operand the pixels, of the join's feature map, that the pipe holds.

A branch that has taken n elements of the fork has given at least ``n - held`` elements to the join
(in units of the join's map); so with ``held`` of the other branch as room no state is a deadlock.

Layers whose weights are streamed give nothing of a frame before they have all of it, and the order
of the weights keeps each some frames behind the one before: the other branch holds those frames,
and one that comes in meanwhile.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import networkx as nx

from pyahir.plan.layers import LayerKind
from pyahir.plan.plan import Plan, PlannedLayer
from pyahir.plan.rooms import line_buffer_rooms
from pyahir.plan.streaming import LATE

__all__ = ["join_rooms", "stream_graph"]

STAGES = 150  # cycles that a word needs at most through the processes of one layer, without waiting


def stream_graph(plan: Plan) -> nx.DiGraph[str]:
    """Give the layers as nodes, by the value that they make, and the streams as edges."""
    graph: nx.DiGraph[str] = nx.DiGraph()
    for planned in plan.layers:
        for source in planned.layer.sources:
            graph.add_edge(source, planned.layer.value)
    return graph


def join_rooms(plan: Plan) -> Mapping[tuple[str, int], int]:
    """Give the pixels to hold in front of each operand of each join, by its value and number."""
    graph = stream_graph(plan)
    layers = {planned.layer.value: planned for planned in plan.layers}
    start = plan.graph.inputs[0].name
    forks = {name for name in graph if graph.out_degree(name) > 1}
    held: dict[tuple[str, int], int] = {}
    dominators = nx.immediate_dominators(graph, start) if forks else {}
    for planned in plan.layers:
        if planned.layer.kind != LayerKind.JOIN:
            continue
        fork = dominators[planned.layer.value]
        amounts = [
            _held(graph, layers, fork, source, planned, plan.cycles_per_frame)
            for source in planned.layer.sources
        ]
        for number in range(len(amounts)):
            others = (other for place, other in enumerate(amounts) if place != number)
            held[planned.layer.value, number] = max(others, default=0)
    return held


def _held(
    graph: nx.DiGraph[str],
    layers: Mapping[str, PlannedLayer],
    fork: str,
    source: str,
    join: PlannedLayer,
    cycles: int,
) -> int:
    """Add up what the layers between a fork and a join take in before they give anything."""
    if source == fork:
        return 0
    behind: set[str] = set(nx.descendants(graph, fork))  # pyright: ignore[reportUnknownMemberType]
    before: set[str] = set(nx.ancestors(graph, source))  # pyright: ignore[reportUnknownMemberType]
    inside = behind & {*before, source}
    area = join.layer.pixels
    total = 0.0
    for value in inside:
        layer = layers[value]
        scale = area / math.prod(layer.layer.x.spatial)
        total += scale * _layer_pixels(layer, cycles) + area * STAGES / cycles
    streamed = sum(layers[value].streamed for value in inside)
    return math.ceil(total) + (area * (LATE * streamed + 1) if streamed else 0)


def _layer_pixels(planned: PlannedLayer, cycles: int) -> int:
    """Give the input pixels that a layer can hold: rows of its line buffer, and those in pipes."""
    sweep = planned.sweep
    if sweep is None:
        return 2 + planned.group
    rooms = line_buffer_rooms(sweep, cycles // planned.passes)
    rows = (sweep.window.span[0] - 1) * sweep.padded_width + sweep.window.span[1]
    pipes = -(-(rooms.before + rooms.behind + sweep.row_gap) // sweep.words)
    return rows + pipes + planned.group + 2
