"""Which folding each layer gets: the exact optimum for a chain under a budget of multipliers.

The words in which a layer sends its channels (``pe``) are the words in which the next receives
them, so layers are not independent; but once a limit on the cycles is set, the fewest multipliers
are found by dynamic programming over the width of the stream. More cycles never need more
multipliers, so the least limit that the budget allows is found by bisection: no plan made of these
processes has fewer cycles a frame with as many multipliers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pyahir.errors import PlanError
from pyahir.ir.graph import Graph
from pyahir.plan.folding import DEFAULT_MULTIPLIERS, Folding, check, options
from pyahir.plan.layers import Layer, LayerKind, layers_of
from pyahir.plan.plan import Plan, PlannedLayer, planned_layer

__all__ = ["Options", "make_plan"]

NO_FOLDING = Folding(pe=1, simd=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the user asked for: a budget of multipliers, and foldings by layer name."""

    multipliers: int = DEFAULT_MULTIPLIERS
    foldings: Mapping[str, Folding] = field(default_factory=dict[str, Folding])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Choice:
    folding: Folding
    multipliers: int
    cycles: int
    lanes_out: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Partial:
    """The best plan of the layers so far that ends in a stream of one width."""

    multipliers: int
    requantizers: int
    foldings: tuple[Folding, ...]

    def rank(self) -> tuple[int, int, tuple[tuple[int, int], ...]]:
        sizes = tuple((folding.pe, folding.simd) for folding in self.foldings)
        return self.multipliers, self.requantizers, sizes


def make_plan(graph: Graph, options: Options) -> Plan:
    """Group, fold and lay out; raises ``PlanError`` for a request that cannot be followed."""
    layers = layers_of(graph)
    matvecs = {layer.name: layer for layer in layers if layer.kind == LayerKind.MATVEC}
    for name, folding in options.foldings.items():
        check(name, folding, matvecs)
    source = graph.inputs[0].type
    lanes = source.channels if len(source.shape) == 4 else 1
    tables = _tables(layers, lanes, options)
    foldings = _search(tables, lanes, options.multipliers, fixed=len(options.foldings))
    planned: list[PlannedLayer] = []
    width = lanes
    for layer, folding in zip(layers, foldings, strict=True):
        planned.append(planned_layer(layer, width, folding))
        width = planned[-1].lanes_out
    return Plan(graph=graph, input_lanes=lanes, layers=tuple(planned))


Table = dict[int, list[_Choice]]  # by the width of the arriving stream


def _tables(layers: tuple[Layer, ...], lanes: int, wanted: Options) -> list[Table]:
    """List, per layer and width of its input stream, every choice with what it costs."""
    tables: list[Table] = []
    widths = {lanes}
    for layer in layers:
        found = [NO_FOLDING]
        if layer.kind == LayerKind.MATVEC:
            fixed = wanted.foldings.get(layer.name)
            found = [fixed] if fixed else options(layer)
        table: Table = {}
        for width in sorted(widths):
            placed = [planned_layer(layer, width, folding) for folding in found]
            table[width] = [
                _Choice(
                    folding=item.folding,
                    multipliers=item.multipliers,
                    cycles=item.cycles,
                    lanes_out=item.lanes_out,
                )
                for item in placed
            ]
        tables.append(table)
        widths = {choice.lanes_out for row in table.values() for choice in row}
    return tables


def _search(tables: list[Table], lanes: int, budget: int, *, fixed: int) -> tuple[Folding, ...]:
    limits = sorted({item.cycles for table in tables for row in table.values() for item in row})
    slowest = _fewest(tables, lanes, limits[-1])
    assert slowest is not None, "with no limit on the cycles every plan is feasible"
    if slowest.multipliers > budget and not fixed:
        raise PlanError(
            f"--multipliers {budget}: the network needs at least {slowest.multipliers}; "
            f"the nearest feasible number is {slowest.multipliers}"
        )
    budget = max(budget, slowest.multipliers)
    low, high, best = -1, len(limits) - 1, slowest
    while high - low > 1:
        middle = (low + high) // 2
        found = _fewest(tables, lanes, limits[middle])
        if found is not None and found.multipliers <= budget:
            high, best = middle, found
        else:
            low = middle
    return best.foldings


def _fewest(tables: list[Table], lanes: int, limit: int) -> _Partial | None:
    """Find the fewest multipliers with which no layer takes more than ``limit`` cycles."""
    states = {lanes: _Partial(multipliers=0, requantizers=0, foldings=())}
    for table in tables:
        following: dict[int, _Partial] = {}
        for width, partial in states.items():
            for choice in table[width]:
                if choice.cycles > limit:
                    continue
                extended = _Partial(
                    multipliers=partial.multipliers + choice.multipliers,
                    requantizers=partial.requantizers + choice.folding.pe,
                    foldings=(*partial.foldings, choice.folding),
                )
                known = following.get(choice.lanes_out)
                if known is None or extended.rank() < known.rank():
                    following[choice.lanes_out] = extended
        states = following
    return min(states.values(), key=_Partial.rank, default=None)
