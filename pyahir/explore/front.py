"""Points of the front: found part by part of the range of cycles, merged, numbered.

In: a ``Job`` (graph, foldings, range of multipliers). Out: ``Point``s. A part of the range needs
nothing of the others, so parts are the unit of work; who works on them is decided in ``workers``.
The parts are the same however many work on them, and so are the results.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from pyahir.errors import PlanError
from pyahir.ir.graph import Graph
from pyahir.plan.cost import cost
from pyahir.plan.folding import Folding
from pyahir.plan.layers import LayerKind
from pyahir.plan.plan import Plan
from pyahir.plan.search import Planner

__all__ = ["Front", "Job", "Part", "Point", "Range", "best_of", "parts", "spread", "walk"]

PARTS = 16  # enough to share among workers; each costs one search that is thrown away


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers of multipliers that are of interest, both ends among them."""

    low: int = 0
    high: int | None = None

    def above(self, multipliers: int) -> bool:
        return self.high is not None and multipliers > self.high


@dataclass(frozen=True, slots=True)
class Part:
    """Plans that need more than ``above`` and at most ``most`` cycles a frame."""

    above: int
    most: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What every worker needs to know."""

    graph: Graph
    foldings: Mapping[str, Folding] = field(default_factory=dict[str, Folding])
    between: Range = field(default_factory=Range)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One plan, small enough to be sent between processes."""

    multipliers: int
    cycles: int
    adders: int
    requantizers: int
    memory_bits: int
    ram_blocks: int
    foldings: Mapping[str, Folding]

    @property
    def goals(self) -> tuple[int, int, int]:
        """Give what is to be small."""
        return self.cycles, self.multipliers, self.memory_bits


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """All points that none beats in all of cycles, multipliers and memory; number 1 is first."""

    name: str
    macs: int
    points: tuple[Point, ...]

    def best_in(self, point: Point) -> str:
        """Tell of what no other point that is as fast has as little."""
        as_fast = [
            other
            for other in self.points
            if other.cycles <= point.cycles and other.goals != point.goals
        ]
        fewest = all(other.multipliers > point.multipliers for other in as_fast)
        least = all(other.memory_bits > point.memory_bits for other in as_fast)
        match fewest, least:
            case True, True:
                return "both"
            case True, False:
                return "multipliers"
            case False, True:
                return "memory"
            case _:
                return "together"

    def utilization(self, point: Point) -> float:
        """Give the share of multiplications that the network asks for."""
        return self.macs / (point.multipliers * point.cycles) if self.macs else 0.0

    def bound_distance(self, point: Point) -> float:
        """Give how many times more cycles it takes than if all multipliers were always busy."""
        return point.multipliers * point.cycles / self.macs if self.macs else 1.0

    def numbered(self, number: int) -> Point:
        """Give the point with a number, from 1 on."""
        if not 1 <= number <= len(self.points):
            raise PlanError(
                f"--compile {number}: no plan has this number; accepted: 1 to {len(self.points)}"
            )
        return self.points[number - 1]


def parts(planner: Planner) -> tuple[Part, ...]:
    """Cut the range of cycles so that each part spans the same factor; the last ends at 0."""
    most = planner.slowest().cycles_per_frame
    least = max(math.prod(layer.x.spatial) for layer in planner.layers)  # a pixel takes a cycle
    least = max(1, min(least, most))
    ends = [round(most * (least / most) ** (index / PARTS)) for index in range(PARTS)] + [0]
    return tuple(Part(above, end) for end, above in pairwise(ends) if end > above)


def walk(planner: Planner, between: Range, part: Part) -> list[Point]:
    """Give the best plan for every number of cycles in a part, from the slowest on."""
    fastest = planner.within_cycles(part.above + 1)
    if fastest is not None and fastest.multipliers < between.low:
        return []
    return [
        _point(plan) for plan in _walk(planner, between, part) if plan.multipliers >= between.low
    ]


def _walk(planner: Planner, between: Range, part: Part) -> Iterator[Plan]:
    limit = part.most
    while limit > part.above:
        plan = planner.within_cycles(limit)
        if plan is None or plan.cycles_per_frame <= part.above or between.above(plan.multipliers):
            return
        yield plan
        limit = plan.cycles_per_frame - 1


def _point(plan: Plan) -> Point:
    costs = [cost(planned, plan.cycles_per_frame) for planned in plan.layers]
    return Point(
        multipliers=plan.multipliers,
        cycles=plan.cycles_per_frame,
        adders=sum(item.adders for item in costs),
        requantizers=sum(item.requantizers for item in costs),
        memory_bits=sum(item.memory_bits for item in costs),
        ram_blocks=sum(item.ram_blocks for item in costs),
        foldings={
            planned.name: planned.folding
            for planned in plan.layers
            if planned.layer.kind == LayerKind.MATVEC
        },
    )


def best_of(points: Iterable[Point]) -> tuple[Point, ...]:
    """Leave out the points that another one beats or equals; few multipliers come first."""
    kept: list[Point] = []
    for point in sorted(points, key=lambda item: item.goals):
        if not any(_at_most(other, point) for other in kept):
            kept.append(point)
    return tuple(sorted(kept, key=lambda item: (item.multipliers, item.cycles)))


def _at_most(left: Point, right: Point) -> bool:
    return all(a <= b for a, b in zip(left.goals, right.goals, strict=True))


def spread(points: Sequence[Point], most: int) -> list[int]:
    """Choose at most ``most`` indices, both ends among them, even in the logarithm of multipliers.

    Each place on the even scale takes the nearest point that is left.
    """
    if len(points) <= most:
        return list(range(len(points)))
    scale = [math.log(max(1, point.multipliers)) for point in points]
    chosen = {0, len(points) - 1}
    for step in range(1, most - 1):
        wanted = scale[0] + (scale[-1] - scale[0]) * step / (most - 1)
        left = (index for index in range(len(points)) if index not in chosen)
        chosen.add(min(left, key=lambda index: (abs(scale[index] - wanted), index)))
    return sorted(chosen)
