"""Leaves out the statements of a loop whose values nobody uses.

In: operations and the values that are used outside them. Out: those that are needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pyahir.backends.vhdl.tree import Action, Operation, Variable

__all__ = ["used"]


def used(operations: Sequence[Operation], kept: Iterable[Variable]) -> list[Operation]:
    """Leave out values that nobody uses; reads, writes and stores stay."""
    by_target: Mapping[Variable, Operation] = {
        operation.target: operation for operation in operations if operation.target is not None
    }
    effects = (Action.READ, Action.WRITE, Action.STORE)
    work = [operation for operation in operations if operation.action in effects]
    work += [by_target[variable] for variable in kept if variable in by_target]
    found = set(work)
    while work:
        for variable in work.pop().reads():
            maker = by_target.get(variable)
            if maker is not None and maker not in found:
                found.add(maker)
                work.append(maker)
    return [operation for operation in operations if operation in found]
