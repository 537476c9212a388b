"""Rules about previous values in a pipelined loop: names that are read above their definition.

In: a loop and its scope. Out: errors in the scopes' report. The tools give most of these values
rightly; the rules name the uses that they refuse, that they read an iteration or more late, or
whose first value is not 0. They hold for text that pyahir is about to write.
Not here: any other rule about statements (``statement_rules``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyahir.backends.aa import ast as aa
from pyahir.backends.aa.scopes import Kind
from pyahir.backends.aa.traverse import nodes, uses

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyahir.backends.aa.scopes import ProgramScope, Scope, Symbol

__all__ = ["check_previous_values"]


def check_previous_values(loop: aa.DoPipeline, scope: Scope, program: ProgramScope) -> None:
    """Note the previous values of a loop that the tools get wrong."""
    _PreviousRules(program).check(loop, scope)


class _PreviousRules:
    def __init__(self, program: ProgramScope) -> None:
        self.program = program
        self.add = program.report.add

    def check(self, loop: aa.DoPipeline, scope: Scope) -> None:
        """Find previous values that the tools refuse, read late or begin with another value."""
        later: dict[Symbol, aa.Statement] = {}
        for statement in reversed(loop.body):
            used = [use for use in uses(statement, scope) if use.symbol is not None]
            for use in used:
                if use.write and use.symbol is not None and use.symbol.kind is Kind.VARIABLE:
                    later[use.symbol] = statement
            self._check_late_guard(statement, scope, later)
            self._check_late_arguments(statement, scope, later)
            for use in used:
                origin = None if use.write or use.symbol is None else later.get(use.symbol)
                name = use.node.name
                if isinstance(origin, aa.Assign | aa.Call) and origin.volatile:
                    self.add(
                        use.node.loc,
                        f"'{name}' is volatile and defined further down: the tools refuse its "
                        f"previous value; make it a registered variable",
                    )
                elif isinstance(origin, aa.Call) and self._deterministic(origin):
                    self.add(
                        use.node.loc,
                        f"the previous value of '{name}', a result of '{origin.module}', is not 0 "
                        f"at first; copy the result to a variable",
                    )

    def _check_late_guard(
        self, statement: aa.Statement, scope: Scope, later: Mapping[Symbol, aa.Statement]
    ) -> None:
        guard = getattr(statement, "guard", None)
        if not isinstance(guard, aa.Guard):
            return
        if scope.find(guard.name) in later:
            self.add(
                statement.loc,
                f"guard '{guard.name}' is defined further down: the tools may take it an "
                f"iteration late; copy it to a variable above",
            )
        if isinstance(statement, aa.Call) and self._deterministic(statement):
            self.add(
                statement.loc,
                f"guarded call of '{statement.module}': its results are not 0 at first; "
                f"guard what uses them",
            )

    def _check_late_arguments(
        self, statement: aa.Statement, scope: Scope, later: Mapping[Symbol, aa.Statement]
    ) -> None:
        calls = [node for node in nodes(statement) if isinstance(node, aa.Call | aa.CallExpr)]
        for node in calls:
            callee = self._callee(node)
            if callee is None or callee.role is aa.ModuleRole.VOLATILE:
                continue
            for argument in node.arguments:
                if isinstance(argument, aa.Name) and scope.find(argument.name) in later:
                    self.add(
                        argument.loc or node.loc,
                        f"argument '{argument.name}' is defined further down: the tools read it "
                        f"iterations late; copy it to a variable above",
                    )

    def _deterministic(self, call: aa.Call) -> bool:
        callee = self._callee(call)
        return callee is not None and callee.deterministic

    def _callee(self, node: aa.Call | aa.CallExpr) -> aa.Module | None:
        symbol = self.program.root.symbols.get(node.module)
        origin = None if symbol is None else symbol.origin
        return origin if isinstance(origin, aa.Module) else None
