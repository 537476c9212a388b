"""Places the statements of a loop in pipeline stages, as early as their operands allow.

In: operations in textual order. Out: a stage for each, and for each variable the stage where its
value is first there; a registered value, a pipe read and a load are there one stage after their
statement. A load is issued as late as its first use allows, so that the address is delayed and
not the word. A read of the previous iteration's value stands in the stage that defines it; where
that cannot be, the next iteration starts only when the value has been made.
Not here: registers that carry values between stages (``loop``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pyahir.backends.vhdl.tree import Action, Operation, Variable

__all__ = ["Schedule", "schedule"]

_MOST_PASSES = 200


@dataclass(slots=True)
class Schedule:
    """The operations with their stages; the next iteration starts when ``hold`` has fired."""

    operations: list[Operation]
    late: dict[Operation, int] = field(default_factory=dict[Operation, int])
    earliest: dict[Operation, int] = field(default_factory=dict[Operation, int])
    hold: int = 0
    notes: list[str] = field(default_factory=list[str])

    def is_previous(self, user: Operation, variable: Variable) -> bool:
        """Whether ``user`` stands above the definition of ``variable``, or is it."""
        maker = variable.maker
        return maker is not None and maker.position >= user.position

    def place(self) -> None:
        """Give stages, with every recurrence inside one stage where that is possible."""
        self.earliest = dict(self.late)
        for _ in range(_MOST_PASSES):
            self._place_all()
            if not self._align(users=True):
                return
        self.earliest = dict(self.late)
        self._place_all()
        while self._align(users=False):
            self._place_all()
        self._hold()

    def _hold(self) -> None:
        """Let an iteration start only when the values it needs of the one before are made."""
        self.notes.clear()
        for operation, variable, maker in self._recurrences():
            if operation.stage < maker.stage:
                where = "" if operation.loc is None else f"line {operation.loc.line} "
                self.notes.append(
                    f"a new iteration only every {maker.stage + 1} cycles: {where}needs "
                    f"'{variable.name}' of the iteration before"
                )
                self.hold = max(self.hold, maker.stage)

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
        operation.stage = stage
        if operation.target is not None:
            operation.target.stage = stage + (operation.action is not Action.VOLATILE)

    def _align(self, *, users: bool) -> bool:
        """Move a definition, and with ``users`` its reader, to the later one's stage."""
        changed = False
        for operation, _, maker in self._recurrences():
            stage = max(maker.stage, operation.stage)
            for part in (maker, operation) if users else (maker,):
                if part.stage < stage:
                    self.earliest[part] = stage
                    changed = True
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


def schedule(operations: Sequence[Operation]) -> Schedule:
    """Place all operations of a loop."""
    result = Schedule(list(operations))
    result.place()
    if result.delay_loads():
        result.place()
    return result
