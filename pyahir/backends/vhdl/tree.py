"""Expressions and statements of one module, with calls spliced in and names resolved.

In: nothing but data. Out: ``Variable``, ``Tree`` and ``Operation``, which ``flatten`` makes,
``schedule`` places in stages and ``expr`` writes as VHDL. A variable is compared by identity.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from typing import NoReturn

from pyahir.backends.aa import ast as aa
from pyahir.backends.aa import types as ty
from pyahir.backends.aa.scopes import Symbol
from pyahir.backends.aa.typing_rules import Typed, scalar_width
from pyahir.errors import AaError

__all__ = [
    "Action",
    "Operation",
    "Tree",
    "Variable",
    "is_part_of_variable",
    "leaves",
    "number_tree",
    "scalar",
    "slice_tree",
    "unsupported",
]


class Action(Enum):
    """What a statement does."""

    VOLATILE = "volatile"
    REGISTER = "register"
    READ = "read"
    WRITE = "write"
    LOAD = "load"
    STORE = "store"
    CALL = "call"


@dataclass(slots=True, eq=False)
class Variable:
    """A value of each iteration; ``stage`` is where it is first available."""

    name: str
    type: ty.Type
    stage: int = 0
    maker: Operation | None = None
    outer: bool = False  # made outside the loop: the same in every stage

    @property
    def width(self) -> int:
        return scalar_width(self.type)


@dataclass(frozen=True, slots=True)
class Tree:
    """A typed expression; leaves are variables or constants."""

    typed: Typed
    operands: tuple[Tree, ...] = ()
    variable: Variable | None = None

    @property
    def type(self) -> ty.Type:
        return self.typed.type

    @property
    def width(self) -> int:
        return scalar_width(self.typed.type)


@dataclass(slots=True, eq=False)
class Operation:
    """One statement; ``item`` is the pipe, storage or module that it uses.

    ``arguments`` and ``results`` are those of a call.
    """

    action: Action
    loc: aa.Loc | None
    target: Variable | None = None
    value: Tree | None = None
    index: Tree | None = None
    item: Symbol | None = None
    arguments: tuple[Tree, ...] = ()
    results: tuple[Variable, ...] = ()
    guard: Variable | None = None
    inverted: bool = False
    stage: int = 0
    position: int = 0

    def reads(self) -> Iterator[Variable]:
        """The variables that the statement uses, the guard among them."""
        for tree in (self.value, self.index, *self.arguments):
            if tree is not None:
                yield from leaves(tree)
        if self.guard is not None:
            yield self.guard

    def substitute(self, table: dict[Variable, Tree]) -> None:
        """Replace variables by expressions."""
        self.value = None if self.value is None else substituted(self.value, table)
        self.index = None if self.index is None else substituted(self.index, table)
        self.arguments = tuple(substituted(tree, table) for tree in self.arguments)

    def named_item(self) -> Symbol:
        """The pipe, storage or module of a statement that has one."""
        assert self.item is not None
        return self.item


def leaves(tree: Tree) -> Iterator[Variable]:
    """The variables in an expression, in textual order."""
    if tree.variable is not None:
        yield tree.variable
    for operand in tree.operands:
        yield from leaves(operand)


def substituted(tree: Tree, table: dict[Variable, Tree]) -> Tree:
    """Rebuild an expression with variables replaced."""
    if tree.variable is not None:
        return table.get(tree.variable, tree)
    if not tree.operands:
        return tree
    return replace(tree, operands=tuple(substituted(part, table) for part in tree.operands))


def number_tree(value: int, type_: ty.Type) -> Tree:
    """Make a constant."""
    return Tree(Typed(aa.Literal(value), type_, number=value))


def slice_tree(tree: Tree, high: int, low: int) -> Tree:
    """Take bits of an expression as an unsigned number."""
    node = aa.Slice(tree.typed.node, high, low)
    return Tree(Typed(node, ty.UInt(high - low + 1), (tree.typed,), number=low), (tree,))


def is_part_of_variable(tree: Tree | None) -> bool:
    """Whether a value is only a part or another type of one variable."""
    while tree is not None and tree.variable is None:
        if not isinstance(tree.typed.node, aa.Cast | aa.BitCast | aa.Slice) or not tree.operands:
            return False
        tree = tree.operands[0]
    return tree is not None


def scalar(type_: ty.Type, loc: aa.Loc | None, what: str) -> ty.UInt | ty.Int:
    """Check that a type is an integer."""
    if not isinstance(type_, ty.UInt | ty.Int):
        unsupported(loc, f"{what} of a type that is not an integer")
    return type_


def unsupported(loc: aa.Loc | None, what: str) -> NoReturn:
    """Raise the error for Aa that has no VHDL here."""
    where = "" if loc is None else f"{loc}: "
    raise AaError(f"{where}{what} is not supported by the VHDL back end")
