"""Places the statements of a loop in pipeline stages, as early as their operands allow.

In: operations in textual order, and the order of their accesses. Out: a stage for each, and for
each variable the stage where its value is first there; a registered value, a pipe read and a load
are there one stage after their statement. A load is issued as late as its first use allows, so
that the address is delayed and not the word. A read of the previous iteration's value stands in
the stage that defines it; where that cannot be, the stages between the two are a zone that holds
one iteration at a time, as are those between two uses of one pipe or storage.
Not here: registers that carry values between stages (``loop``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pyahir.backends.vhdl.order import Order
from pyahir.backends.vhdl.tree import Action, Operation, Variable

__all__ = ["Schedule", "Zone", "schedule"]

_MOST_PASSES = 200
Pair = tuple[Operation, Operation, int]


@dataclass(frozen=True, slots=True)
class Zone:
    """The stages from ``first`` to ``last``, which hold one iteration at a time."""

    first: int
    last: int
    reason: str

    @property
    def interval(self) -> int:
        """Cycles from one iteration to the next."""
        return self.last - self.first + 1


@dataclass(slots=True)
class Schedule:
    """The operations with their stages."""

    operations: list[Operation]
    order: Order = field(default_factory=Order)
    late: dict[Operation, int] = field(default_factory=dict[Operation, int])
    earliest: dict[Operation, int] = field(default_factory=dict[Operation, int])
    paths: dict[Operation, dict[Operation, int]] = field(
        default_factory=dict[Operation, "dict[Operation, int]"]
    )
    near: list[Pair] = field(default_factory=list[Pair])

    def is_previous(self, user: Operation, variable: Variable) -> bool:
        """Whether ``user`` stands above the definition of ``variable``, or is it."""
        maker = variable.maker
        return maker is not None and maker.position >= user.position

    def place(self) -> None:
        """Give stages, with every recurrence in as few stages as possible."""
        if self._aligned():
            return
        if self.order.together:
            self.order.separate()
            self.paths.clear()
            if self._aligned():
                return
        self.near.clear()
        self.earliest = dict(self.late)
        self._place_all()
        while self._align():
            self._place_all()

    def zones(self) -> Iterator[Zone]:
        """Yield the zones, when all statements have their stages."""
        for before, after, slack in self.order.crossing:
            if after.stage > before.stage + slack:
                name = before.named_item().name
                both = [_line(part) for part in (before, after)]
                reason = f"lines {' and '.join(both)} use '{name}' one after the other"
                yield Zone(before.stage, after.stage, reason)
        for operation, variable, maker in self._recurrences():
            if operation.stage < maker.stage:
                reason = f"line {_line(operation)} needs '{variable.name}' of the iteration before"
                yield Zone(operation.stage, maker.stage, reason)

    def _aligned(self) -> bool:
        """Move statements to later stages until no recurrence is longer than it must be."""
        self.earliest = dict(self.late)
        self.near = [(b, a, max(d, self._path(b, a))) for b, a, d in self.order.near]
        for operation, _, maker in self._recurrences():
            self.near.append((operation, maker, self._path(operation, maker)))
        for _ in range(_MOST_PASSES):
            self._place_all()
            if not self._align():
                return True
        return False

    def _path(self, first: Operation, last: Operation) -> int:
        """The fewest stages from one statement to another, 0 if the second does not need it."""
        if first is last:
            return 0
        if first not in self.paths:
            stages = {first: 0}
            for operation in self.operations:
                found = [
                    stages[before] + distance
                    for before, distance in self._needs(operation)
                    if before in stages
                ]
                if found and operation is not first:
                    stages[operation] = max(found)
            self.paths[first] = stages
        return self.paths[first].get(last, 0)

    def _needs(self, operation: Operation) -> Iterator[tuple[Operation, int]]:
        for variable in operation.reads():
            maker = variable.maker
            if maker is not None and not self.is_previous(operation, variable):
                yield maker, int(maker.action is not Action.VOLATILE)
        yield from self.order.after.get(operation, ())

    def _recurrences(self) -> Iterator[tuple[Operation, Variable, Operation]]:
        for operation in self.operations:
            for variable in operation.reads():
                maker = variable.maker
                if maker is not None and self.is_previous(operation, variable):
                    yield operation, variable, maker

    def _place_all(self) -> None:
        for operation in self.operations:
            self._place_one(operation)

    def _place_one(self, operation: Operation) -> None:
        stage = self.earliest.get(operation, 0)
        for variable in operation.reads():
            if not variable.outer and not self.is_previous(operation, variable):
                stage = max(stage, variable.stage)
        for before, distance in self.order.after.get(operation, ()):
            stage = max(stage, before.stage + distance)
        operation.stage = stage
        if operation.target is not None:
            operation.target.stage = stage + (operation.action is not Action.VOLATILE)

    def _align(self) -> bool:
        """Move a definition to the stage of a reader above it, and what should be near nearer."""
        changed = False

        def raise_to(operation: Operation, stage: int) -> None:
            nonlocal changed
            if operation.stage < stage:
                self.earliest[operation] = max(stage, self.earliest.get(operation, 0))
                changed = True

        for operation, _, maker in self._recurrences():
            raise_to(maker, operation.stage)
        for before, after, distance in self.near:
            raise_to(before, after.stage - distance)
        for first, second in self.order.together:
            raise_to(first, second.stage)
            raise_to(second, first.stage)
        return changed

    def delay_loads(self) -> bool:
        """Ask for later loads; tell whether there are any."""
        first_use: dict[Variable, int] = {}
        for operation in self.operations:
            for variable in operation.reads():
                known = first_use.get(variable, operation.stage)
                first_use[variable] = min(known, operation.stage)
        moved = False
        for operation in self.operations:
            if operation.action is Action.LOAD and operation.target is not None:
                wanted = first_use.get(operation.target, 0) - 1
                if wanted > operation.stage:
                    self.late[operation] = wanted
                    moved = True
        return moved


def _line(operation: Operation) -> str:
    return "?" if operation.loc is None else str(operation.loc.line)


def schedule(operations: Sequence[Operation], order: Order) -> Schedule:
    """Place all operations of a loop."""
    result = Schedule(list(operations), order)
    result.place()
    if result.delay_loads():
        result.place()
    return result
