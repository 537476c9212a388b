"""Bounds the operators in a row between two registers of a pipelined loop.

In: the operations of a loop body and a number of levels. Out: operations with the same values, in
which a statement that is deeper is cut: parts of it become registered statements before it. An
operator is one level; conversions, slices and concatenations are wires and none. Sums of many
terms become balanced trees. Not cut: what depends on itself from one iteration to the next, as
its interval would grow, but for those parts of it that do not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import networkx as nx

from pyahir.backends.aa import ast as aa
from pyahir.backends.aa.typing_rules import Typed
from pyahir.backends.vhdl.tree import Action, Operation, Tree, Variable, leaves

__all__ = ["cut"]

_WIRES = (aa.Cast, aa.BitCast, aa.Slice, aa.Concat, aa.BitMap)


def cut(
    operations: Sequence[Operation],
    following: Sequence[tuple[Variable, Tree]],
    condition: Tree,
    levels: int,
) -> list[Operation]:
    """Cut all statements that are deeper than ``levels``."""
    cutter = _Cutter(levels, _recurrent(operations, following, condition))
    for operation in operations:
        cutter.add(operation)
    for position, operation in enumerate(cutter.done):
        operation.position = position
    return cutter.done


def _recurrent(
    operations: Sequence[Operation],
    following: Sequence[tuple[Variable, Tree]],
    condition: Tree,
) -> set[Variable]:
    """Find the variables that depend on themselves, and those that the next iteration waits for."""
    graph: nx.DiGraph[Variable] = nx.DiGraph()
    for operation in operations:
        if operation.target is not None:
            graph.add_node(operation.target)
            graph.add_edges_from((leaf, operation.target) for leaf in operation.reads())
    found = {variable for variable, _ in following}
    for tree in (condition, *(tree for _, tree in following)):
        for leaf in leaves(tree):
            found.add(leaf)
            if leaf in graph:
                found |= nx.ancestors(graph, leaf)  # pyright: ignore[reportUnknownMemberType] (networkx is partly typed)
    parts: Iterable[set[Variable]] = nx.strongly_connected_components(graph)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] (networkx is partly typed)
    for part in parts:
        if len(part) > 1 or any(graph.has_edge(variable, variable) for variable in part):
            found |= part
    return found


@dataclass(slots=True)
class _Cutter:
    """Rebuilds the operations; ``depth`` counts the levels between a register and a value."""

    levels: int
    recurrent: set[Variable]
    done: list[Operation] = field(default_factory=list[Operation])
    made: set[Variable] = field(default_factory=set[Variable])
    depth: dict[Variable, int] = field(default_factory=dict[Variable, int])

    def add(self, operation: Operation) -> None:
        """Add a statement, cut if need be."""
        target = operation.target
        tight = target is not None and target in self.recurrent
        if not tight:
            self._take_previous(operation)
        if operation.value is not None:
            operation.value = self._fitting(_balanced(operation.value), operation, tight=tight)
        if operation.index is not None:
            operation.index = self._fitting(_balanced(operation.index), operation, tight=tight)
        if target is not None and operation.action is Action.VOLATILE:
            assert operation.value is not None
            self.depth[target] = self._depth(operation.value)
        self._append(operation)

    def _append(self, operation: Operation) -> None:
        self.done.append(operation)
        if operation.target is not None:
            self.made.add(operation.target)

    def _take_previous(self, operation: Operation) -> None:
        """Name values of the iteration before, so that only the name is bound to its stage."""
        trees = [tree for tree in (operation.value, operation.index) if tree is not None]
        if all(self._depth(tree) <= self.levels for tree in trees):
            return
        table: dict[Variable, Tree] = {}
        for leaf in (leaf for tree in trees for leaf in leaves(tree)):
            if leaf.maker is None or leaf in self.made or leaf in table:
                continue
            tree = Tree(Typed(aa.Name(leaf.name), leaf.type), (), leaf)
            made = Variable(f"{leaf.name}_before", leaf.type)
            made.maker = Operation(Action.VOLATILE, operation.loc, made, tree)
            self._append(made.maker)
            table[leaf] = Tree(Typed(aa.Name(made.name), leaf.type), (), made)
        operation.substitute(table)

    def _depth(self, tree: Tree) -> int:
        if tree.variable is not None:
            return self.depth.get(tree.variable, 0)
        inner = max((self._depth(part) for part in tree.operands), default=0)
        return inner + _own_level(tree)

    def _fitting(self, tree: Tree, user: Operation, *, tight: bool) -> Tree:
        """Give an expression of at most ``levels``, with registers inside where it is deeper."""
        if tree.variable is not None or not tree.operands:
            return tree
        parts = tuple(self._fitting(part, user, tight=tight) for part in tree.operands)
        tree = replace(tree, operands=parts)
        if self._depth(tree) <= self.levels:
            return tree
        return replace(tree, operands=tuple(self._kept(p, user, tight=tight) for p in parts))

    def _kept(self, tree: Tree, user: Operation, *, tight: bool) -> Tree:
        """Put a part of an expression that fills its levels into a register before it."""
        bound = tight and any(leaf in self.recurrent for leaf in leaves(tree))
        if self._depth(tree) < self.levels or bound:
            return tree
        stem = "part" if user.target is None else f"{user.target.name}_part"
        made = Variable(stem, tree.type)
        operation = Operation(Action.REGISTER, user.loc, made, tree)
        made.maker = operation
        self._append(operation)
        return Tree(Typed(aa.Name(stem), tree.type), (), made)


def _own_level(tree: Tree) -> int:
    return 0 if isinstance(tree.typed.node, _WIRES) or not tree.operands else 1


def _balanced(tree: Tree) -> Tree:
    """Turn sums of many terms and choices of many cases into operators of few operands."""
    if tree.variable is not None or not tree.operands:
        return tree
    parts = [_balanced(part) for part in tree.operands]
    match tree.typed.node:
        case aa.Reduce(op):
            while len(parts) > 1:
                pairs = zip(parts[::2], parts[1::2], strict=False)
                rest = parts[-1:] if len(parts) % 2 else []
                parts = [_pair(aa.BinaryOp(op.value), left, right) for left, right in pairs] + rest
            return parts[0]
        case aa.PriorityMux():
            result = parts.pop()
            pairs = list(zip(parts[::2], parts[1::2], strict=True))
            for test, value in reversed(pairs):
                node = aa.Mux(test.typed.node, value.typed.node, result.typed.node)
                inner = (test, value, result)
                result = Tree(Typed(node, tree.type, tuple(p.typed for p in inner)), inner)
            return result
        case _:
            return replace(tree, operands=tuple(parts))


def _pair(op: aa.BinaryOp, left: Tree, right: Tree) -> Tree:
    node = aa.Binary(op, left.typed.node, right.typed.node)
    return Tree(Typed(node, left.type, (left.typed, right.typed)), (left, right))
