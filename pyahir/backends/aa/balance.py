"""Counts the stages of a pipelined loop and delays what is used later than it is made.

In: a ``Loop`` as the lowering writes it. Out: a ``DoPipeline`` in which every operand of a
statement arrives in the same stage, through copies ``v_dK := v $buffering K+1``, and whose depth
covers the whole pipeline: then one iteration starts in every cycle. Loads are issued as late as
their use allows, so that the index is delayed and not the word.

Stages, measured on AHIR-V2: pipe read and registered statement 1, load 4, combinational 0, call of
a deterministic operator as many as its longest path has registered statements.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import cast

from pyahir.backends.aa import ast
from pyahir.backends.aa.build import Loop

__all__ = ["Environment", "balance", "operator_latency"]

LOAD_STAGES = 4
DEPTHS = (7, 15, 31, 63, 127, 255)


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What a loop calls: the latency of each operator module."""

    latencies: Mapping[str, int] = field(default_factory=dict[str, int])


def names_in(node: object) -> Iterator[ast.Name]:
    """Walk an expression and give every name in it, from the dataclass fields."""
    if isinstance(node, ast.Name):
        yield node
    elif isinstance(node, tuple):
        for item in cast("tuple[object, ...]", node):
            yield from names_in(item)
    elif is_dataclass(node) and not isinstance(node, type):
        for item in fields(node):
            yield from names_in(getattr(node, item.name))


def rename(node: object, table: Mapping[str, str]) -> object:
    """Rebuild an expression with names replaced."""
    if isinstance(node, ast.Name):
        return replace(node, name=table.get(node.name, node.name))
    if isinstance(node, tuple):
        return tuple(rename(item, table) for item in cast("tuple[object, ...]", node))
    if is_dataclass(node) and not isinstance(node, type):
        changed = {
            item.name: rename(getattr(node, item.name), table)
            for item in fields(node)
            if item.name != "loc"
        }
        return replace(node, **changed)
    return node


def operator_latency(module: ast.Module) -> int:
    """Count the registered statements on the longest path of an operator."""
    stage: dict[str, int] = {item.name: 0 for item in module.inputs}
    for statement in module.body or ():
        assert isinstance(statement, ast.Assign)
        assert isinstance(statement.target, ast.Name)
        issue = max((stage.get(item.name, 0) for item in names_in(statement.value)), default=0)
        stage[statement.target.name] = issue + (not statement.volatile)
    return max(stage[item.name] for item in module.outputs)


def balance(loop: Loop, environment: Environment) -> ast.DoPipeline:
    """Make the balanced loop."""
    asap = _Schedule(loop, environment, {})
    asap.run()
    late = _Schedule(loop, environment, asap.late_loads())
    late.run()
    latency = max(late.stage.values(), default=0)
    depth = next((depth for depth in DEPTHS if depth > latency + 4), latency + 8)
    return ast.DoPipeline(
        phis=tuple(loop.phis),
        body=tuple(late.body),
        condition=loop.condition,
        depth=depth,
        buffering=2,
        full_rate=True,
    )


class _Schedule:
    """One pass over the body: the stage of every value, and the body with its copies."""

    def __init__(self, loop: Loop, environment: Environment, forced: Mapping[int, int]) -> None:
        self.loop = loop
        self.environment = environment
        self.forced = forced
        self.stage: dict[str, int] = {phi.target: 0 for phi in loop.phis}
        self.body: list[ast.Statement] = []
        self.copies: set[str] = set()
        self.used: dict[str, list[int]] = {}
        self.loads: dict[str, int] = {}

    def run(self) -> None:
        for position, statement in enumerate(self.loop.body):
            assert isinstance(statement, ast.Assign | ast.Call)
            operands = self._operands(statement)
            issue = max((self.stage[item] for item in operands), default=0)
            issue = max(issue, self.forced.get(position, 0))
            for item in operands:
                self.used.setdefault(item, []).append(issue)
            table = {
                item: self._delayed(item, issue - self.stage[item])
                for item in operands
                if self.stage[item] < issue
            }
            self.body.append(_renamed(statement, table))
            self._define(position, statement, issue)

    def late_loads(self) -> dict[int, int]:
        """Say at which stage each load may be issued without delaying a use of it."""
        return {
            position: max(0, min(self.used.get(target, [0])) - LOAD_STAGES)
            for target, position in self.loads.items()
        }

    def _operands(self, statement: ast.Assign | ast.Call) -> list[str]:
        """List the values of this iteration that a statement reads; others are of the last one."""
        read: list[ast.Name] = []
        if isinstance(statement, ast.Call):
            read += names_in(statement.arguments)
        else:
            read += names_in(statement.value)
            if isinstance(statement.target, ast.Index):
                read += names_in(statement.target.indices)
        found = [item.name for item in read]
        if statement.guard is not None:
            found.append(statement.guard.name)
        return [item for item in dict.fromkeys(found) if item in self.stage]

    def _delayed(self, value: str, stages: int) -> str:
        copy = f"{value}_d{stages}"
        if copy not in self.copies:
            self.copies.add(copy)
            self.body.append(ast.Assign(ast.Name(copy), ast.Name(value), buffering=stages + 1))
        return copy

    def _define(self, position: int, statement: ast.Assign | ast.Call, issue: int) -> None:
        if isinstance(statement, ast.Call):
            latency = self.environment.latencies[statement.module]
            self.stage |= {result.name: issue + latency for result in statement.results}
            return
        if not isinstance(statement.target, ast.Name):
            return
        target = statement.target.name
        value = statement.value
        if isinstance(value, ast.Index):
            self.loads[target] = position
            self.stage[target] = issue + LOAD_STAGES
        else:
            stages = self.loop.stages.get(target, 1)
            self.stage[target] = issue + (0 if statement.volatile else stages)


def _renamed(statement: ast.Assign | ast.Call, table: Mapping[str, str]) -> ast.Statement:
    if not table:
        return statement
    guard = statement.guard
    if guard is not None:
        guard = replace(guard, name=table.get(guard.name, guard.name))
    if isinstance(statement, ast.Call):
        return replace(statement, arguments=rename(statement.arguments, table), guard=guard)  # type: ignore[arg-type]  # same kinds of nodes
    target = statement.target
    if isinstance(target, ast.Index):
        target = replace(target, indices=rename(target.indices, table))  # type: ignore[arg-type]  # same kinds of nodes
    return replace(statement, target=target, value=rename(statement.value, table), guard=guard)  # type: ignore[arg-type]  # same kinds of nodes
