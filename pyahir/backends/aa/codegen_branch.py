"""Aa branch blocks as Python source: jumps between numbered segments.

In: the body of a branch block and the coder of its module. Out: lines in that coder: the plain
statements where nothing jumps, else a loop over segments. Phis are assigned on the way into their
merge, all at once. Not here: any other statement (``codegen``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pyahir.backends.aa import ast as aa

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pyahir.backends.aa.scopes import Scope

__all__ = ["BranchCoder", "Owner"]


class Owner(Protocol):
    """What a branch block needs of the coder of its module."""

    def line(self, text: str) -> None:
        """Write a line at the current depth."""
        ...

    def indent(self, change: int) -> None:
        """Move the depth of the following lines."""
        ...

    def fresh(self, prefix: str) -> str:
        """Return a new local name."""
        ...

    def condition(self, expr: aa.Expr, scope: Scope) -> str:
        """Code the condition of a jump."""
        ...

    def statement(self, statement: aa.Statement, scope: Scope) -> None:
        """Code a statement without jumps."""
        ...

    def move_phis(self, phis: Sequence[aa.Phi], entry: str | aa.Entry, scope: Scope) -> None:
        """Assign all phis of a merge for one way in."""
        ...

    def choices(self, statement: aa.Switch, scope: Scope) -> Iterator[tuple[str, int]]:
        """Yield the condition text of each case."""
        ...

    def no_case(self, statement: aa.Switch) -> str:
        """Return the statement for a value that no case accepts."""
        ...


class BranchCoder:
    """Codes a branch block: straight where it has no jumps, else as numbered segments."""

    def __init__(self, owner: Owner, scope: Scope) -> None:
        self.owner = owner
        self.scope = scope
        self.segments: list[list[aa.Statement | _Jump]] = []
        self.starts: dict[int, int] = {}
        self.targets: dict[str, aa.Merge] = {}

    def code(self, body: Sequence[aa.Statement]) -> None:
        if not _jumps(body):
            for statement in body:
                self.owner.statement(statement, self.scope)
            return
        self.targets = _merges(body)
        self.segments = [[]]
        self._flatten(body, 0, None)
        self._emit()

    def _flatten(self, body: Sequence[aa.Statement], current: int, after: int | None) -> None:
        """Cut a body into segments; the last one goes on at segment ``after`` (None: the end)."""
        for position, statement in enumerate(body):
            rest = body[position + 1 :]
            match statement:
                case aa.Merge():
                    following = self._segment(statement)
                    self.segments[current].append(
                        _Jump((("", following, statement, aa.Entry.ENTRY),))
                    )
                    current = following
                case aa.Place(label):
                    merge = self.targets[label]
                    start = self._segment(merge)
                    self.segments[current].append(_Jump((("", start, merge, label),)))
                    if not rest:
                        return
                    # Only a merge further down leads to what follows.
                    current = self._new()
                case aa.If() | aa.Switch() if _jumps((statement,)):
                    following = self._new() if rest or after is None else after
                    self._choose(statement, current, following)
                    if not rest and after is not None:
                        return
                    current = following
                case _:
                    self.segments[current].append(statement)
        if after is not None:
            self.segments[current].append(_Jump((("", after, None, ""),)))

    def _choose(self, statement: aa.If | aa.Switch, current: int, following: int) -> None:
        if isinstance(statement, aa.If):
            bodies = [statement.then_body, statement.else_body]
        else:
            bodies = [*(case.body for case in statement.cases), statement.default]
        arms = tuple(("", self._new(), None, "") for _ in bodies)
        self.segments[current].append(_Jump(arms, statement))
        for arm, body in zip(arms, bodies, strict=True):
            self._flatten(body, arm[1], following)

    def _new(self) -> int:
        self.segments.append([])
        return len(self.segments) - 1

    def _segment(self, merge: aa.Merge) -> int:
        known = self.starts.get(id(merge))
        if known is None:
            known = self.starts[id(merge)] = self._new()
        return known

    def _emit(self) -> None:
        owner = self.owner
        place = owner.fresh("pc")
        owner.line(f"{place} = 0")
        owner.line("while True:")
        owner.indent(1)
        for number, segment in enumerate(self.segments):
            owner.line(f"{'elif' if number else 'if'} {place} == {number}:")
            owner.indent(1)
            for statement in segment:
                if isinstance(statement, _Jump):
                    self._jump(statement, place)
                else:
                    owner.statement(statement, self.scope)
            if not segment or not isinstance(segment[-1], _Jump):
                owner.line("break")
            owner.indent(-1)
        owner.indent(-1)

    def _jump(self, jump: _Jump, place: str) -> None:
        owner, choice = self.owner, jump.choice
        if choice is None:
            _, target, merge, entry = jump.arms[0]
            if merge is not None:
                owner.move_phis(merge.phis, entry, self.scope)
                if entry is not aa.Entry.ENTRY:
                    owner.line("yield TICK")
            owner.line(f"{place} = {target}")
        elif isinstance(choice, aa.If):
            condition = owner.condition(choice.condition, self.scope)
            owner.line(f"{place} = {jump.arms[0][1]} if {condition} else {jump.arms[1][1]}")
        else:
            for condition, position in list(owner.choices(choice, self.scope)):
                word = "elif" if position else "if"
                owner.line(f"{word} {condition}: {place} = {jump.arms[position][1]}")
            default = f"{place} = {jump.arms[-1][1]}" if choice.default else owner.no_case(choice)
            owner.line(f"else: {default}")


@dataclass(frozen=True, slots=True, eq=False)
class _Jump:
    """The end of a segment: where to go, through which merge entry, by which choice."""

    arms: tuple[tuple[str, int, aa.Merge | None, str | aa.Entry], ...]
    choice: aa.If | aa.Switch | None = None


def _jumps(body: Sequence[aa.Statement]) -> bool:
    for statement in body:
        match statement:
            case aa.Merge() | aa.Place():
                return True
            case aa.If():
                if _jumps(statement.then_body) or _jumps(statement.else_body):
                    return True
            case aa.Switch():
                bodies = (*(case.body for case in statement.cases), statement.default)
                if any(_jumps(arm) for arm in bodies):
                    return True
            case _:
                pass
    return False


def _merges(body: Sequence[aa.Statement]) -> dict[str, aa.Merge]:
    """Map each place's label to the merge that names it, within one branch block."""
    found: dict[str, aa.Merge] = {}
    for statement in body:
        match statement:
            case aa.Merge():
                found |= {entry: statement for entry in statement.entries if isinstance(entry, str)}
            case aa.If():
                found |= _merges(statement.then_body) | _merges(statement.else_body)
            case aa.Switch():
                for case in statement.cases:
                    found |= _merges(case.body)
                found |= _merges(statement.default)
            case _:
                pass
    return found
