"""The order in which the statements of a loop may use one pipe or storage.

In: operations in textual order and the kinds of their items. Out: ``Order``: distances between
stages, statements that exclude each other and so share a stage, and pairs of statements between
which no other iteration may come: from the first to the second of them, a ``slack`` of stages
aside, the pipeline holds one iteration at a time.
Not here: the stages themselves (``schedule``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pyahir.backends.aa.scopes import Symbol
from pyahir.backends.vhdl.items import ItemKind, Side
from pyahir.backends.vhdl.tree import Operation

__all__ = ["Order", "ordered"]


@dataclass(slots=True)
class Order:
    """What ``schedule`` must respect; ``after`` gives for a statement those before it.

    ``near`` are pairs that should not be further apart than that many stages.
    """

    after: dict[Operation, list[tuple[Operation, int]]] = field(
        default_factory=dict[Operation, "list[tuple[Operation, int]]"]
    )
    together: list[tuple[Operation, Operation]] = field(
        default_factory=list["tuple[Operation, Operation]"]
    )
    crossing: list[tuple[Operation, Operation, int]] = field(
        default_factory=list["tuple[Operation, Operation, int]"]
    )

    near: list[tuple[Operation, Operation, int]] = field(
        default_factory=list["tuple[Operation, Operation, int]"]
    )

    def follow(self, before: Operation, after: Operation, distance: int) -> None:
        """Demand that ``after`` stands so many stages after ``before``."""
        self.after.setdefault(after, []).append((before, distance))

    def separate(self) -> None:
        """Give up sharing stages: statements that exclude each other stand one after the other."""
        for before, after in self.together:
            self.follow(before, after, 1)
        self.together.clear()


def ordered(operations: Sequence[Operation], kind: Callable[[Symbol], ItemKind]) -> Order:
    """Find the order of all uses of pipes and storages."""
    order = Order()
    users: dict[Symbol, list[Operation]] = {}
    for operation in operations:
        if operation.item is not None:
            users.setdefault(operation.item, []).append(operation)
    for symbol, found in users.items():
        for position, after in enumerate(found):
            for before in found[:position]:
                _pair(order, before, after, kind(symbol))
    return order


def _pair(order: Order, before: Operation, after: Operation, kind: ItemKind) -> None:
    """Order two uses of one item."""
    sides = Side.of(before.action), Side.of(after.action)
    same = sides[0] is sides[1]
    if same and sides[0] is Side.READ and kind is ItemKind.SIGNAL:
        return
    if same and _exclude(before, after) and kind is not ItemKind.MEMORY:
        order.together.append((before, after))
        order.crossing.append((before, after, 0))
        return
    if kind is ItemKind.FIFO and not same:
        order.follow(before, after, 1)
        return
    kept = kind in (ItemKind.MEMORY, ItemKind.SIGNAL)  # a read beside a write gets the old word
    old_word = kept and sides == (Side.READ, Side.WRITE)
    distance = 0 if old_word else 1
    order.follow(before, after, distance)
    order.near.append((before, after, distance))
    order.crossing.append((before, after, int(kept and sides == (Side.WRITE, Side.READ))))


def _exclude(first: Operation, second: Operation) -> bool:
    """Whether only one of two statements ever acts in an iteration."""
    return (
        first.guard is not None
        and first.guard is second.guard
        and first.inverted is not second.inverted
    )
