"""Turns the statements of a loop into operations: names resolved, operator calls spliced in.

In: a loop body with its scope. Out: operations in textual order. A copy ``v_d1 := v`` that only
delays is the variable itself here, because the schedule delays values by itself; a combinational
extension, cut or renaming of a variable is written where it is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pyahir.backends.aa import ast as aa
from pyahir.backends.aa import types as ty
from pyahir.backends.aa.scopes import Kind, ProgramScope, Scope, Symbol
from pyahir.backends.aa.traverse import uses
from pyahir.backends.aa.typing_rules import Typed, Typing, array_parts
from pyahir.backends.vhdl.tree import (
    Action,
    Operation,
    Tree,
    Variable,
    leaves,
    scalar,
    unsupported,
)

__all__ = ["Flattener", "used"]

Environment = dict[Symbol, Variable]


@dataclass(slots=True)
class Flattener:
    """Collects the operations of one body; ``environment`` knows the names made outside."""

    scopes: ProgramScope
    typing: Typing
    environment: Environment
    operations: list[Operation] = field(default_factory=list[Operation])
    inlined: dict[Variable, Tree] = field(default_factory=dict[Variable, Tree])
    prefix: str = ""
    read: set[Variable] = field(default_factory=set[Variable])
    current: Operation | None = None

    def body(self, statements: Sequence[aa.Statement], scope: Scope) -> None:
        """Add all statements of a loop body."""
        self._declare(statements, scope)
        for statement in statements:
            self.statement(statement, scope)

    def _declare(self, statements: Iterable[aa.Statement], scope: Scope) -> None:
        """Make the variables of a body; a pure copy becomes another name of its source.

        Not a copy that is read above its definition: there it has the value of the iteration
        before, while its source may already have that of this one.
        """
        early: set[Symbol | None] = set()
        for statement in statements:
            early.update(use.symbol for use in uses(statement, scope) if not use.write)
            targets: Sequence[aa.Target] = ()
            match statement:
                case aa.Assign(target):
                    targets = (target,)
                case aa.Call():
                    targets = statement.results
                case _:
                    pass
            for target in targets:
                if not isinstance(target, aa.Name):
                    continue
                symbol = scope.find(target.name)
                if symbol is None or symbol.kind not in (Kind.VARIABLE, Kind.OUTPUT):
                    continue
                if symbol in self.environment:
                    continue
                source = None if symbol in early else self._copied(statement, scope)
                self.environment[symbol] = source or self._variable(symbol, statement)

    def _copied(self, statement: aa.Statement, scope: Scope) -> Variable | None:
        match statement:
            case aa.Assign(aa.Name(), aa.Name(source)) if statement.guard is None:
                symbol = scope.find(source)
                if symbol is not None and symbol.kind in (Kind.VARIABLE, Kind.INPUT):
                    return self.environment.get(symbol)
            case _:
                pass
        return None

    def _variable(self, symbol: Symbol, statement: aa.Statement) -> Variable:
        type_ = self.typing.variable_type(symbol)
        if type_ is None:
            unsupported(statement.loc, f"the untyped variable '{symbol.name}'")
        kind = scalar(type_, statement.loc, f"a value '{symbol.name}'")
        return Variable(self.prefix + symbol.name, kind)

    # Statements

    def statement(self, statement: aa.Statement, scope: Scope) -> None:
        """Add one statement."""
        match statement:
            case aa.Assign():
                self._assign(statement, scope)
            case aa.Call():
                self._call(statement, scope)
            case aa.Null() | aa.Barrier() | aa.Trace() | aa.Sleep() | aa.Report():
                return
            case _:
                unsupported(statement.loc, f"{type(statement).__name__} in a pipelined body")

    def add(self, operation: Operation) -> None:
        """Append an operation, with what is written in place written in place."""
        operation.position = len(self.operations)
        operation.substitute(self.inlined)
        target, value = operation.target, operation.value
        early = target is not None and target in self.read
        if target is not None:
            target.maker = operation
            if operation.action is Action.VOLATILE and not early and _trivial(operation):
                assert value is not None
                self.inlined[target] = value
                return
        self.read.update(operation.reads())
        self.operations.append(operation)

    def _assign(self, statement: aa.Assign, scope: Scope) -> None:
        target = statement.target
        operation = Operation(Action.REGISTER, statement.loc)
        symbol = self._target(target, scope, statement)
        variable = self.environment.get(symbol)
        self._guard(operation, statement, scope)
        self.current = operation
        if variable is not None:
            if variable is self._copied(statement, scope):
                return
            operation.target = variable
            expected: ty.Type = variable.type
        elif symbol.kind is Kind.PIPE:
            operation.action, operation.item = Action.WRITE, symbol.name
            expected = scalar(symbol.type or ty.UInt(1), statement.loc, "a pipe")
        else:
            operation.action, operation.item = Action.STORE, symbol.name
            assert isinstance(target, aa.Index)
            operation.index = self._index(target, scope)
            expected = array_parts(symbol.type or ty.UInt(1))[1]
        if statement.volatile:
            if operation.target is None:
                unsupported(statement.loc, "a volatile write")
            operation.action, operation.guard = Action.VOLATILE, None
        typed = self.typing.typed(statement.value, scope, expected)
        if not self._access(operation, typed, scope):
            operation.value = self.tree(typed)
        self.add(operation)
        self.current = None

    def _target(self, target: aa.Target, scope: Scope, statement: aa.Assign) -> Symbol:
        base = target.base if isinstance(target, aa.Index) else target
        symbol = scope.find(base.name) if isinstance(base, aa.Name) else None
        if symbol is None:
            unsupported(statement.loc, "a target that is not a name in this scope")
        is_array = isinstance(symbol.type, ty.Array)
        if symbol.kind is Kind.STORAGE and not (is_array and isinstance(target, aa.Index)):
            unsupported(statement.loc, f"the scalar storage '{symbol.name}'")
        return symbol

    def _guard(self, operation: Operation, statement: aa.Assign, scope: Scope) -> None:
        if statement.guard is None:
            return
        symbol = scope.find(statement.guard.name)
        variable = None if symbol is None else self.environment.get(symbol)
        if variable is None or variable.width != 1:
            unsupported(statement.loc, f"the guard '{statement.guard.name}'")
        operation.inverted = statement.guard.inverted
        tree = self.inlined.get(variable)
        operation.guard = variable if tree is None else self._named(variable, tree, statement.loc)

    def _named(self, variable: Variable, tree: Tree, loc: aa.Loc | None) -> Variable:
        """Give a guard that is written in place a signal of its own."""
        made = Variable(variable.name, variable.type)
        operation = Operation(Action.VOLATILE, loc, made, tree, position=len(self.operations))
        made.maker = operation
        self.operations.append(operation)
        return made

    def _access(self, operation: Operation, typed: Typed, scope: Scope) -> bool:
        """Turn a statement whose right side is a pipe or an element into a read or load."""
        symbol, node = typed.symbol, typed.node
        if symbol is None or symbol.kind not in (Kind.PIPE, Kind.STORAGE):
            return False
        if operation.action is Action.VOLATILE:
            unsupported(operation.loc, f"'{symbol.name}' in a volatile statement")
        if operation.action is not Action.REGISTER:
            return False
        operation.item = symbol.name
        if symbol.kind is Kind.PIPE:
            operation.action = Action.READ
            return True
        if not isinstance(node, aa.Index):
            unsupported(operation.loc, f"the scalar storage '{symbol.name}'")
        operation.action = Action.LOAD
        operation.index = self._index(node, scope)
        return True

    def _fetched(self, typed: Typed, symbol: Symbol) -> Tree:
        """Give a pipe or an element inside an expression a statement of its own before it."""
        node = typed.node
        scalar(typed.type, node.loc, f"'{symbol.name}'")
        user = self.current
        if user is None or user.action is Action.VOLATILE:
            unsupported(node.loc, f"'{symbol.name}' in a volatile statement")
        operation = Operation(Action.READ, node.loc, item=symbol.name)
        operation.target = Variable(f"{self.prefix}{symbol.name}_word", typed.type)
        operation.guard, operation.inverted = user.guard, user.inverted
        if symbol.kind is Kind.STORAGE:
            if not isinstance(node, aa.Index) or len(node.indices) != 1:
                unsupported(node.loc, f"this use of the storage '{symbol.name}'")
            operation.action = Action.LOAD
            operation.index = self.tree(typed.operands[0])
        self.add(operation)
        return Tree(typed, (), operation.target)

    def _index(self, node: aa.Index, scope: Scope) -> Tree:
        if len(node.indices) != 1:
            unsupported(node.loc, "an index of several dimensions")
        typed = self.typing.typed(node, scope, None)
        return self.tree(typed.operands[0])

    # Calls

    def _call(self, statement: aa.Call, scope: Scope) -> None:
        symbol = self.scopes.root.symbols.get(statement.module)
        module = None if symbol is None else symbol.origin
        if not isinstance(module, aa.Module) or not _spliceable(module):
            unsupported(
                statement.loc,
                f"a call of '{statement.module}', which is no deterministic or volatile operator,",
            )
        if statement.guard is not None:
            unsupported(statement.loc, "a guarded call")
        arguments = self.typing.arguments(statement, module.name, statement.arguments, scope)
        inner = self.scopes.modules[module.name]
        results = [self._result(name, scope, statement) for name in statement.results]
        outer = self.environment
        spliced: Environment = {}
        stem = f"{results[0].name}_"
        for declared, typed in zip(module.inputs, arguments, strict=True):
            variable = Variable(stem + declared.name, typed.type)
            spliced[inner.symbols[declared.name]] = variable
            self.add(Operation(Action.VOLATILE, statement.loc, variable, self.tree(typed)))
        for declared, result in zip(module.outputs, results, strict=True):
            spliced[inner.symbols[declared.name]] = result
        prefix = self.prefix
        self.prefix, self.environment = stem, spliced
        self.body(module.body or (), inner)
        self.prefix, self.environment = prefix, outer

    def _result(self, name: aa.Name, scope: Scope, statement: aa.Call) -> Variable:
        symbol = scope.find(name.name)
        variable = None if symbol is None else self.environment.get(symbol)
        if variable is None:
            unsupported(statement.loc, f"a call's result in '{name.name}'")
        return variable

    # Expressions

    def tree(self, typed: Typed) -> Tree:
        """Resolve the names of an expression."""
        symbol = typed.symbol
        if symbol is not None:
            return self._leaf(typed, symbol)
        if isinstance(typed.node, aa.CallExpr):
            unsupported(typed.node.loc, f"a call of '{typed.node.module}' in an expression")
        return Tree(typed, tuple(self.tree(part) for part in typed.operands))

    def _leaf(self, typed: Typed, symbol: Symbol) -> Tree:
        variable = self.environment.get(symbol)
        if variable is not None and not isinstance(typed.node, aa.Index):
            return self.inlined.get(variable, Tree(typed, (), variable))
        if symbol.kind is Kind.CONSTANT and isinstance(symbol.origin, aa.Constant):
            value = self.typing.typed(symbol.origin.value, self.scopes.root, typed.type)
            return Tree(value)
        if symbol.kind in (Kind.PIPE, Kind.STORAGE):
            return self._fetched(typed, symbol)
        what = f"the {symbol.kind.value} '{symbol.name}' inside an expression"
        unsupported(typed.node.loc, what)


def _trivial(operation: Operation) -> bool:
    """Whether a combinational value is only a part or another type of one variable."""
    tree = operation.value
    while tree is not None and tree.variable is None:
        if not isinstance(tree.typed.node, aa.Cast | aa.BitCast | aa.Slice):
            return False
        if not tree.operands:
            return False
        tree = tree.operands[0]
    return tree is not None


def _spliceable(module: aa.Module) -> bool:
    if module.body is None or module.declarations:
        return False
    if module.role is aa.ModuleRole.VOLATILE:
        return True
    return module.role is aa.ModuleRole.OPERATOR and module.deterministic


def used(operations: Sequence[Operation], kept: Iterable[Tree]) -> list[Operation]:
    """Leave out values that nobody uses; reads, writes and stores stay."""
    wanted: set[Variable] = {variable for tree in kept for variable in leaves(tree)}
    by_target: Mapping[Variable, Operation] = {
        operation.target: operation for operation in operations if operation.target is not None
    }
    effects = (Action.READ, Action.WRITE, Action.STORE)
    work = [operation for operation in operations if operation.action in effects]
    work += [by_target[variable] for variable in wanted if variable in by_target]
    found = set(work)
    while work:
        for variable in work.pop().reads():
            maker = by_target.get(variable)
            if maker is not None and maker not in found:
                found.add(maker)
                work.append(maker)
    return [operation for operation in operations if operation in found]
