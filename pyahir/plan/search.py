"""Which folding each layer gets: the exact optimum for a chain under a budget or a target.

The words in which a layer sends its channels are the words in which the next receives them, so
layers are not independent; but once a limit on the cycles is set, the fewest multipliers are found
by dynamic programming over the widths of the streams that are still to be read. More cycles never
need more multipliers, so the least limit that a budget allows is found by bisection: no plan made
of these processes has fewer cycles a frame with as many multipliers. Among equals the one with the
fewest requantizers wins, then the one with the fewest windows sent whole.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pyahir.errors import PlanError
from pyahir.ir.graph import Graph
from pyahir.ir.ops.posit import LANES
from pyahir.plan.cost import memory_bits, stream_saving, weight_bits
from pyahir.plan.folding import (
    DEFAULT_MULTIPLIERS,
    Folding,
    check,
    check_streamed,
    divisors,
    may_stream,
)
from pyahir.plan.grouping import layers_of
from pyahir.plan.layers import Layer, LayerKind
from pyahir.plan.plan import Plan, PlannedLayer, planned_layer

__all__ = ["Options", "Planner", "make_plan"]

NO_FOLDING = Folding(pe=1, simd=1)
LEAST_TILES = 4  # of streamed weights: two of them are in the chip at a time
INPUT_BITS = 64  # a word of the input, where its width may be chosen
_WHOLE = Folding(pe=1, simd=1, whole=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the user asked for: a target, and foldings by layer name.

    The target is a budget of ``multipliers``; or, where ``cycles`` is given, the most clock cycles
    a frame, reached with the fewest multipliers; or, where ``memory`` is given, a number of bits,
    within which the fewest cycles are reached.

    The weights of the layers ``streamed`` come from outside for every frame; where
    ``weight_memory`` is given, so many more of them that the others take no more bits than that.
    """

    multipliers: int = DEFAULT_MULTIPLIERS
    cycles: int | None = None
    memory: int | None = None
    foldings: Mapping[str, Folding] = field(default_factory=dict[str, Folding])
    streamed: frozenset[str] = frozenset()
    weight_memory: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Choice:
    """A way to make one layer; ``lanes_out`` is the width of the stream that it sends."""

    folding: Folding
    multipliers: int
    lanes_out: int

    def rank(self) -> tuple[int, int, bool, int, int]:
        folding = self.folding
        requantizers, whole = folding.requantizers or 0, bool(folding.whole)
        return self.multipliers, requantizers, whole, folding.pe, folding.simd


_Widths = tuple[tuple[str, int], ...]  # of streams: the value that each carries, and its lanes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Partial:
    """The best plan of the layers so far that ends in streams of certain widths."""

    multipliers: int = 0
    requantizers: int = 0
    whole: int = 0
    lanes: int = 1
    foldings: tuple[Folding, ...] = ()

    def rank(self) -> tuple[int, int, int, int, tuple[tuple[int, int], ...]]:
        sizes = tuple((folding.pe, folding.simd) for folding in self.foldings)
        return self.multipliers, self.requantizers, self.whole, self.lanes, sizes

    def extended(self, choice: _Choice) -> _Partial:
        folding = choice.folding
        return _Partial(
            multipliers=self.multipliers + choice.multipliers,
            requantizers=self.requantizers + (folding.requantizers or 0),
            whole=self.whole + bool(folding.whole),
            lanes=self.lanes,
            foldings=(*self.foldings, folding),
        )


class Planner:
    """Plans of one graph; what was found for a limit on the cycles is kept."""

    def __init__(
        self,
        graph: Graph,
        foldings: Mapping[str, Folding] | None = None,
        streamed: Collection[str] = (),
    ) -> None:
        self.graph = graph
        self.layers = layers_of(graph)
        self.foldings = dict(foldings or {})
        matvecs = {layer.name: layer for layer in self.layers if layer.kind == LayerKind.MATVEC}
        for name, folding in self.foldings.items():
            check(name, folding, matvecs)
        self.streamed = {name for name, folding in self.foldings.items() if folding.streamed}
        for name in streamed:
            if name not in matvecs:
                raise PlanError(
                    f"streamed weights of {name!r}: no such layer; accepted: {', '.join(matvecs)}"
                )
            check_streamed(matvecs[name])
            self.streamed.add(name)
        self.lanes = _input_lanes(self.layers)
        self._found: dict[int, Plan | None] = {}
        self._read_last = {
            name: place for place, layer in enumerate(self.layers) for name in layer.sources
        }

    def within_cycles(self, limit: int) -> Plan | None:
        """Give the plan with the fewest multipliers that needs at most ``limit`` cycles a frame."""
        if limit < 1:
            return None
        if limit not in self._found:
            best = self._search(limit)
            plan = None if best is None else self._plan(best)
            arrives = plan is not None and plan.packets.items <= limit
            self._found[limit] = plan if arrives else None
        return self._found[limit]

    def within_multipliers(self, budget: int) -> Plan:
        """Give the plan with the fewest cycles a frame that has at most ``budget`` multipliers."""
        slowest = self.slowest()
        if slowest.multipliers > budget:
            if not self.foldings:
                raise PlanError(
                    f"--multipliers {budget}: the network needs at least {slowest.multipliers}; "
                    f"the nearest feasible number is {slowest.multipliers}"
                )
            budget = slowest.multipliers
        low, best = 0, slowest
        while best.cycles_per_frame - low > 1:
            middle = (low + best.cycles_per_frame) // 2
            found = self.within_cycles(middle)
            if found is not None and found.multipliers <= budget:
                best = found
            else:
                low = middle
        return best

    def slowest(self) -> Plan:
        """Give the plan with the fewest multipliers of all."""
        limit = sum(max(1, layer.pixels * layer.inputs * layer.outputs) for layer in self.layers)
        limit += sum(layer.x.size * 64 for layer in self.layers)
        found = self.within_cycles(limit)
        while found is None:
            limit *= 2
            found = self.within_cycles(limit)
        return found

    def fastest(self) -> Plan:
        """Give the plan with the fewest cycles a frame that any number of multipliers reaches."""
        most = sum(
            layer.inputs * layer.outputs for layer in self.layers if layer.kind == LayerKind.MATVEC
        )
        return self.within_multipliers(most)

    def front(self) -> Iterator[Plan]:
        """Give every best plan, from the fewest multipliers on: fewer cycles for more of them."""
        plan: Plan | None = self.slowest()
        while plan is not None:
            following = self.within_cycles(plan.cycles_per_frame - 1)
            if following is None or following.multipliers > plan.multipliers:
                yield plan
            plan = following

    def _plan(self, best: _Partial) -> Plan:
        """Put the layers one behind the other; what comes gradually is used as it comes."""
        planned: list[PlannedLayer] = []
        source = self.graph.inputs[0].name
        widths, gradual = {source: best.lanes}, {source: True}
        for layer, folding in zip(self.layers, best.foldings, strict=True):
            first = layer.sources[0]
            placed = planned_layer(layer, widths[first], folding)
            comes = True
            if layer.kind == LayerKind.MATVEC and layer.window is None:
                turned = gradual[first] and placed.input_folds > 1 and placed.output_folds > 1
                turned &= not layer.floats
                placed = replace(placed, input_major=turned)
                comes = placed.output_folds > 1 and not turned
            gradual[layer.value] = comes
            planned.append(placed)
            widths[layer.value] = placed.lanes_out
        return Plan(graph=self.graph, input_lanes=best.lanes, layers=tuple(planned))

    def _search(self, limit: int) -> _Partial | None:
        """Find the fewest multipliers with which no layer takes more than ``limit`` cycles.

        A state is the width of every stream that a later layer reads.
        """
        source, size = self.graph.inputs[0].name, self.layers[0].x.size
        states: dict[_Widths, _Partial] = {
            ((source, lanes),): _Partial(lanes=lanes)
            for lanes in self.lanes
            if size // lanes <= limit
        }
        choices: dict[Hashable, list[_Choice]] = {}
        for place, layer in enumerate(self.layers):
            following: dict[_Widths, _Partial] = {}
            streamed, fixed = layer.name in self.streamed, self.foldings.get(layer.name)
            for state, partial in states.items():
                known_widths = dict(state)
                read = tuple(known_widths[name] for name in layer.sources)
                alike = (layer.geometry, streamed, fixed, read)
                if alike not in choices:
                    choices[alike] = self._best(layer, read, limit)
                kept = [item for item in state if self._read_last[item[0]] > place]
                for choice in choices[alike]:
                    key = (*kept, (layer.value, choice.lanes_out))
                    known = following.get(key)
                    multipliers = partial.multipliers + choice.multipliers
                    if known is not None and known.multipliers < multipliers:
                        continue
                    extended = partial.extended(choice)
                    if known is None or extended.rank() < known.rank():
                        following[key] = extended
            states = following
        return min(states.values(), key=_Partial.rank, default=None)

    def _best(self, layer: Layer, widths: tuple[int, ...], limit: int) -> list[_Choice]:
        """Give, for each width of the stream that a layer may send, its best arrangement."""
        found: dict[int, _Choice] = {}
        for width in dict.fromkeys(widths) if layer.kind == LayerKind.JOIN else widths[:1]:
            for choice in self._choices(layer, width, limit):
                known = found.get(choice.lanes_out)
                if known is None or choice.rank() < known.rank():
                    found[choice.lanes_out] = choice
        return list(found.values())

    def _choices(self, layer: Layer, width: int, limit: int) -> Iterator[_Choice]:
        """Give, for each way to arrange a layer, its fewest multipliers within the limit."""
        if layer.kind == LayerKind.JOIN:
            folding = Folding(pe=1, simd=1, requantizers=width)
            if layer.x.size // width <= limit:
                yield _Choice(folding=folding, multipliers=0, lanes_out=width)
            return
        if layer.kind != LayerKind.MATVEC:
            placed = planned_layer(layer, width, NO_FOLDING)
            if placed.cycles <= limit:
                yield _Choice(folding=NO_FOLDING, multipliers=0, lanes_out=placed.lanes_out)
            return
        fixed = self.foldings.get(layer.name)
        streamed = layer.name in self.streamed
        for pe in self._channels(layer, streamed=streamed):
            arrangements = [False, True] if fixed is None or fixed.whole is None else [fixed.whole]
            for whole in arrangements:
                start = Folding(pe=pe, simd=1, whole=whole, streamed=streamed)
                simd = _least_simd(layer, width, limit, start, fixed)
                if simd is None:
                    continue
                folding = replace(start, simd=simd)
                yield from _requantized(layer, limit, folding, fixed)
                if not whole and not planned_layer(layer, width, _WHOLE).folding.whole:
                    break  # this layer's windows are never sent whole

    def _channels(self, layer: Layer, *, streamed: bool) -> Sequence[int]:
        """Give the numbers of output channels that a layer may make at a time.

        Weights that are streamed in few tiles would take as much memory as if they stayed.
        """
        fixed = self.foldings.get(layer.name)
        if fixed is not None:
            return (fixed.pe,)
        found = divisors(layer.outputs)
        if not streamed or layer.pixels == 1:
            return found
        tiles = min(LEAST_TILES, layer.outputs)
        return [pe for pe in found if layer.outputs // pe >= tiles]


def _input_lanes(layers: tuple[Layer, ...]) -> tuple[int, ...]:
    """Give the numbers of elements that a word of the input may have.

    A pixel where a window comes first. Where none does the order of the elements is all that
    counts: up to 64 bits, as far as the limit on the cycles asks for it.
    """
    source = layers[0].x
    first = next((layer for layer in layers if layer.kind != LayerKind.ELEMENTWISE), layers[0])
    if first.window is not None or (len(source.shape) == 4 and first.kind != LayerKind.MATVEC):
        return (source.channels,)
    most = max(1, INPUT_BITS // source.element.width)
    return tuple(lanes for lanes in divisors(source.size) if lanes <= most)


def _least_simd(
    layer: Layer, width: int, limit: int, start: Folding, fixed: Folding | None
) -> int | None:
    """Find the least number of inputs at a time with which the limit is kept."""
    candidates = [fixed.simd] if fixed is not None else _simds(layer, start.pe, limit)
    if layer.floats:
        candidates = [1]
    for simd in candidates:
        folding = Folding(pe=start.pe, simd=simd, whole=start.whole, streamed=start.streamed)
        placed = planned_layer(layer, width, folding)
        if placed.cycles <= limit:
            return simd
        hopeless = -(-layer.pixels * layer.inputs // placed.arriving_lanes) > limit
        windows = placed.sweep
        if hopeless or (
            windows is not None and max(windows.line_cycles, windows.column_cycles) > limit
        ):
            return None
    return None


def _simds(layer: Layer, pe: int, limit: int) -> Iterator[int]:
    """Give ``simd`` in ascending order, from the least that can keep the limit."""
    least = -(-layer.pixels * layer.inputs * (layer.outputs // pe) // limit)
    if pe == layer.outputs:
        yield from range(least, layer.inputs + 1)
        return
    simd = least
    while simd <= layer.inputs:
        folds = -(-layer.inputs // simd)
        yield -(-layer.inputs // folds)
        if folds == 1:
            return
        simd = -(-layer.inputs // (folds - 1))


def _requantized(
    layer: Layer, limit: int, folding: Folding, fixed: Folding | None
) -> Iterator[_Choice]:
    """Give a folding with every number of requantizers that keeps the limit."""
    numbers: tuple[int, ...] = divisors(folding.pe)
    if fixed is not None and fixed.requantizers is not None:
        numbers = (fixed.requantizers,)
    for number in numbers:
        chosen = Folding(
            pe=folding.pe,
            simd=folding.simd,
            requantizers=number,
            whole=folding.whole,
            streamed=folding.streamed,
        )
        parts = LANES if layer.floats else 1
        if layer.pixels * (layer.outputs // number) * parts <= limit:
            yield _Choice(folding=chosen, multipliers=folding.multipliers, lanes_out=number)


def make_plan(graph: Graph, options: Options) -> Plan:
    """Group, fold and lay out; raises ``PlanError`` for a request that cannot be followed."""
    planner = Planner(graph, options.foldings, options.streamed)
    plan = _targeted(planner, options)
    if options.weight_memory is None:
        return plan
    return _within_weight_memory(plan, options)


def _targeted(planner: Planner, options: Options) -> Plan:
    """Give the plan that the target asks for."""
    if options.memory is not None:
        return _within_memory(planner, options.memory)
    if options.cycles is None:
        return planner.within_multipliers(options.multipliers)
    found = planner.within_cycles(options.cycles)
    if found is not None:
        return found
    fastest = planner.fastest()
    raise PlanError(
        f"--cycles {options.cycles}: the network needs at least {fastest.cycles_per_frame:,} a "
        f"frame, with {fastest.multipliers:,} multipliers; the nearest feasible number is "
        f"{fastest.cycles_per_frame}"
    )


def _within_memory(planner: Planner, bits: int) -> Plan:
    """Take the fastest of the plans with the fewest multipliers that has so little memory."""
    best: Plan | None = None
    least: int | None = None
    for plan in planner.front():
        found = memory_bits(plan)
        least = found if least is None else min(least, found)
        if found <= bits:
            best = plan
    if best is None:
        raise PlanError(
            f"--memory {bits}: the network needs at least {least:,} bits; "
            f"the nearest feasible number is {least}"
        )
    return best


def _within_weight_memory(plan: Plan, options: Options) -> Plan:
    """Stream the weights of more layers, those that save the most first, until the others fit.

    Layers whose folding says that they are not streamed stay on the chip, and those whose feature
    maps would take more room than their weights do.
    """
    assert options.weight_memory is not None
    streamed = set(options.streamed)
    kept = {name for name, folding in options.foldings.items() if folding.streamed is False}
    saving = {item.name: stream_saving(item) for item in plan.layers if may_stream(item.layer)}
    left = [name for name in saving if saving[name] > 0 and name not in {*kept, *streamed}]
    left.sort(key=lambda name: -saving[name])
    while (found := sum(map(weight_bits, plan.layers))) > options.weight_memory:
        if not left:
            raise PlanError(
                f"--weight-memory {options.weight_memory}: with all layers streamed for which that "
                f"saves memory, weights and their feature maps take {found:,} bits; the nearest "
                f"feasible number is {found}"
            )
        excess = found - options.weight_memory
        while left and excess > 0:  # as many at a time as would do if nothing else changed
            streamed.add(left[0])
            excess -= saving[left.pop(0)]
        plan = _targeted(Planner(plan.graph, options.foldings, streamed), options)
    return plan
