"""Turns statements into operations: names resolved, calls written in, fields of words cut out.

In: statements with their scope. Out: operations in textual order. In a loop body a copy
``v_d1 := v`` that only delays is the variable itself, because the schedule delays values by
itself, and a combinational extension, cut or renaming of a variable is written where it is used.
Outside loops (``sequential``) every statement stays what it is, and calls stay calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from pyahir.backends.aa import ast as aa
from pyahir.backends.aa import types as ty
from pyahir.backends.aa.scopes import Kind, ProgramScope, Scope, Symbol
from pyahir.backends.aa.traverse import uses
from pyahir.backends.aa.typing_rules import Typed, Typing, array_parts
from pyahir.backends.vhdl.addresses import flat_index
from pyahir.backends.vhdl.calls import (
    called,
    is_called_once,
    is_copied,
    is_quiet,
    is_stateless,
    is_straight,
)
from pyahir.backends.vhdl.tree import (
    Action,
    Operation,
    Tree,
    Variable,
    is_part_of_variable,
    scalar,
    slice_tree,
    unsupported,
)

__all__ = ["Flattener"]

Environment = dict[Symbol, Variable]


@dataclass(slots=True)
class Flattener:
    """Collects the operations of one body; ``environment`` knows the names made outside.

    ``exported`` are names that others read: each stays a variable of its own.
    """

    scopes: ProgramScope
    typing: Typing
    environment: Environment
    sequential: bool = False
    exported: frozenset[Symbol] = frozenset()
    operations: list[Operation] = field(default_factory=list[Operation])
    inlined: dict[Variable, Tree] = field(default_factory=dict[Variable, Tree])
    flags: dict[Variable, Variable] = field(default_factory=dict[Variable, Variable])
    kept: set[Variable] = field(default_factory=set[Variable])
    prefix: str = ""
    read: set[Variable] = field(default_factory=set[Variable])
    current: Operation | None = None

    def body(self, statements: Sequence[aa.Statement], scope: Scope) -> None:
        """Add all statements of a loop body."""
        self._declare(statements, scope)
        for statement in statements:
            self.statement(statement, scope)

    def expression(self, typed: Typed, guard: Variable | None = None) -> Tree:
        """Resolve an expression outside a statement; what it reads is read before."""
        self.current = Operation(Action.REGISTER, typed.node.loc, guard=guard)
        tree = self.tree(typed)
        self.current = None
        return tree

    def _declare(self, statements: Iterable[aa.Statement], scope: Scope) -> None:
        """Make the variables of a body; a pure copy becomes another name of its source.

        Not a copy that is read above its definition: there it has the value of the iteration
        before, while its source may already have that of this one.
        """
        early: set[Symbol | None] = set()
        for statement in statements:
            early.update(use.symbol for use in uses(statement, scope) if not use.write)
            for target in _targets(statement):
                if not isinstance(target, aa.Name):
                    continue
                symbol = scope.find(target.name)
                if symbol is None or symbol.kind not in (Kind.VARIABLE, Kind.OUTPUT):
                    continue
                if symbol in self.environment:
                    continue
                own = symbol in early or symbol in self.exported
                source = None if own else self._copied(statement, scope)
                variable = source or self._variable(symbol, statement)
                self.environment[symbol] = variable
                if symbol in self.exported:
                    self.kept.add(variable)

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
            case aa.Split():
                self._split(statement, scope)
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
        if target is not None and not target.outer:
            target.maker = operation
            in_place = not self.sequential and not early and target not in self.kept
            if (
                operation.action is Action.VOLATILE
                and in_place
                and is_part_of_variable(operation.value)
            ):
                assert value is not None
                self.inlined[target] = value
                return
        self.read.update(operation.reads())
        self.operations.append(operation)

    def _assign(self, statement: aa.Assign, scope: Scope) -> None:
        copied = self._copied(statement, scope)
        operation, expected = self._destination(statement.target, statement, scope)
        if operation.target is not None and operation.target is copied:
            return
        self.current = operation
        typed = self.typing.typed(statement.value, scope, expected)
        if not self._access(operation, typed):
            operation.value = self.tree(typed)
        self._finish(operation, statement.target, scope)

    def _finish(self, operation: Operation, target: aa.Target, scope: Scope) -> None:
        """Add a statement whose value is known; the index of its target is read after that."""
        self.current = operation
        if operation.action is Action.STORE:
            operation.index = self._index(self.typing.typed(target, scope, None))
        self.add(operation)
        self.current = None

    def _destination(
        self, target: aa.Target, statement: aa.Assign | aa.Call | aa.Split, scope: Scope
    ) -> tuple[Operation, ty.Type]:
        """Begin the operation that gives a target its value; tell the type of the value."""
        symbol = self._symbol(target, scope, statement)
        operation = Operation(Action.REGISTER, statement.loc)
        variable = self.environment.get(symbol)
        if variable is not None:
            operation.target = variable
            expected: ty.Type = variable.type
        else:
            operation.item = symbol
            pipe = symbol.kind is Kind.PIPE
            if not pipe and symbol.kind is not Kind.STORAGE:
                unsupported(statement.loc, f"the target '{symbol.name}'")
            operation.action = Action.WRITE if pipe else Action.STORE
            expected = array_parts(symbol.type or ty.UInt(1))[1]
            scalar(expected, statement.loc, f"'{symbol.name}'")
        if statement.volatile:
            if operation.target is None:
                unsupported(statement.loc, "a volatile write")
            operation.action = Action.VOLATILE
        elif not self.sequential:
            self._guard(operation, statement, scope)
        return operation, expected

    def _symbol(
        self, target: aa.Target, scope: Scope, statement: aa.Assign | aa.Call | aa.Split
    ) -> Symbol:
        base = target.base if isinstance(target, aa.Index) else target
        symbol: Symbol | None = None
        if isinstance(base, aa.Name):
            symbol = scope.find(base.name)
        elif isinstance(base, aa.PathName):
            symbol = scope.find_path(base)
        if symbol is None or symbol.kind in (Kind.CONSTANT, Kind.INPUT):
            unsupported(statement.loc, "a target that is not a name in this scope")
        return symbol

    def _guard(
        self, operation: Operation, statement: aa.Assign | aa.Call | aa.Split, scope: Scope
    ) -> None:
        if statement.guard is None:
            return
        symbol = scope.find(statement.guard.name)
        variable = None if symbol is None else self.environment.get(symbol)
        if variable is None:
            unsupported(statement.loc, f"the guard '{statement.guard.name}'")
        operation.inverted = statement.guard.inverted
        tree = self.inlined.get(variable)
        operation.guard = variable if tree is None else self._named(variable, tree, statement.loc)

    def _named(self, variable: Variable, tree: Tree, loc: aa.Loc | None) -> Variable:
        """Give a guard that is written in place a signal of its own."""
        if variable not in self.flags:
            made = Variable(variable.name, variable.type)
            operation = Operation(Action.VOLATILE, loc, made, tree, position=len(self.operations))
            made.maker = operation
            self.operations.append(operation)
            self.flags[variable] = made
        return self.flags[variable]

    def _access(self, operation: Operation, typed: Typed) -> bool:
        """Turn a statement whose right side is a pipe or an element into a read or load."""
        symbol = typed.symbol
        if symbol is None or symbol.kind not in (Kind.PIPE, Kind.STORAGE):
            return False
        if operation.action is Action.VOLATILE:
            unsupported(operation.loc, f"'{symbol.name}' in a volatile statement")
        if operation.action is not Action.REGISTER:
            return False
        operation.item = symbol
        operation.action = Action.READ if symbol.kind is Kind.PIPE else Action.LOAD
        if operation.action is Action.LOAD:
            operation.index = self._index(typed)
        return True

    def _fetched(self, typed: Typed, symbol: Symbol) -> Tree:
        """Give a pipe or an element inside an expression a statement of its own before it."""
        node = typed.node
        scalar(typed.type, node.loc, f"'{symbol.name}'")
        user = self.current
        if user is None or user.action is Action.VOLATILE:
            unsupported(node.loc, f"'{symbol.name}' in a volatile statement")
        action = Action.READ if symbol.kind is Kind.PIPE else Action.LOAD
        operation = Operation(action, node.loc, item=symbol)
        operation.target = Variable(f"{self.prefix}{symbol.name}_word", typed.type)
        operation.guard, operation.inverted = user.guard, user.inverted
        if action is Action.LOAD:
            operation.index = self._index(typed)
        self.add(operation)
        return Tree(typed, (), operation.target)

    def _index(self, typed: Typed) -> Tree:
        return flat_index(typed, [self.tree(operand) for operand in typed.operands])

    def _split(self, statement: aa.Split, scope: Scope) -> None:
        """Cut a word; the first target gets the highest bits."""
        widths = [self.scopes.size(width, statement.loc) for width in statement.widths]
        place = sum(widths)
        word: Tree | None = None
        for target, width in zip(statement.targets, widths, strict=True):
            place -= width
            operation, _ = self._destination(target, statement, scope)
            self.current = operation
            if word is None:
                word = self.tree(self.typing.typed(statement.source, scope, None))
            operation.value = slice_tree(word, place + width - 1, place)
            self._finish(operation, target, scope)

    # Calls

    def _call(self, statement: aa.Call, scope: Scope) -> None:
        module = self._callee(statement)
        self.current = Operation(Action.REGISTER, statement.loc)
        if not self.sequential:
            self._guard(self.current, statement, scope)
        arguments = self.typing.arguments(statement, module.name, statement.arguments, scope)
        trees = tuple(self.tree(typed) for typed in arguments)
        destinations = [self._destination(name, statement, scope)[0] for name in statement.results]
        outputs = self.scopes.modules[module.name].symbols
        results: list[Variable] = []
        for declared, operation in zip(module.outputs, destinations, strict=True):
            direct = operation.target is not None and operation.guard is None
            type_ = outputs[declared.name].type or ty.Void()
            fresh = Variable(f"{self.prefix}{module.name}_{declared.name}", type_)
            results.append(operation.target if direct and operation.target else fresh)
        self._enter(module, trees, tuple(results), statement)
        for name, operation, result in zip(statement.results, destinations, results, strict=True):
            if operation.target is not result:
                operation.value = self._of(result)
                self._finish(operation, name, scope)

    def _of(self, variable: Variable) -> Tree:
        known = self.inlined.get(variable)
        return known or Tree(Typed(aa.Name(variable.name), variable.type), (), variable)

    def _called(self, typed: Typed, node: aa.CallExpr) -> Tree:
        """Do a call inside an expression before it."""
        module = self._callee(node)
        user = self.current
        if user is None:
            unsupported(node.loc, f"a call of '{node.module}' here")
        trees = tuple(self.tree(part) for part in typed.operands)
        if not self.sequential and user.guard is not None and not is_quiet(module, self.scopes):
            unsupported(node.loc, f"a guarded call of '{module.name}'")
        result = Variable(f"{self.prefix}{module.name}_result", typed.type)
        self._enter(module, trees, (result,), node)
        self.current = user
        return self._of(result)

    def _callee(self, node: aa.Call | aa.CallExpr) -> aa.Module:
        module = called(node, self.scopes)
        if module is None or module.body is None:
            unsupported(node.loc, f"a call of '{node.module}', which has no body,")
        if self.sequential:
            return module
        own = is_copied(module) or is_called_once(module, self.scopes)
        straight = is_straight(module, self.scopes)
        if not straight or not (own or is_stateless(module, self.scopes)):
            unsupported(
                node.loc,
                f"in a loop a call of '{module.name}', which has jumps or loops or remembers "
                f"values from call to call,",
            )
        guard = getattr(node, "guard", None)
        if guard is not None and not is_quiet(module, self.scopes):
            unsupported(node.loc, f"a guarded call of '{module.name}', which has effects,")
        return module

    def _enter(
        self,
        module: aa.Module,
        arguments: tuple[Tree, ...],
        results: tuple[Variable, ...],
        node: aa.Call | aa.CallExpr,
    ) -> None:
        """Add a call, or in a loop the statements of the module."""
        if self.sequential:
            symbol = self.scopes.root.symbols[module.name]
            self.add(
                Operation(Action.CALL, node.loc, item=symbol, arguments=arguments, results=results)
            )
            return
        inner, outer = self.scopes.modules[module.name], self.environment
        spliced: Environment = {}
        stem = f"{results[0].name}_" if results else f"{module.name}_"
        for declared, tree in zip(module.inputs, arguments, strict=True):
            variable = Variable(stem + declared.name, tree.type)
            spliced[inner.symbols[declared.name]] = variable
            self.add(Operation(Action.VOLATILE, node.loc, variable, tree))
        for declared, result in zip(module.outputs, results, strict=True):
            spliced[inner.symbols[declared.name]] = result
        prefix, exported = self.prefix, self.exported
        self.prefix, self.environment, self.exported = stem, spliced, frozenset()
        self.body(module.body or (), inner)
        self.prefix, self.environment, self.exported = prefix, outer, exported

    # Expressions

    def tree(self, typed: Typed) -> Tree:
        """Resolve the names of an expression."""
        symbol = typed.symbol
        if symbol is not None:
            return self._leaf(typed, symbol)
        if isinstance(typed.node, aa.CallExpr):
            return self._called(typed, typed.node)
        return Tree(typed, tuple(self.tree(part) for part in typed.operands))

    def _leaf(self, typed: Typed, symbol: Symbol) -> Tree:
        variable = self.environment.get(symbol)
        if variable is not None and not isinstance(typed.node, aa.Index):
            return self.inlined.get(variable, Tree(typed, (), variable))
        if symbol.kind is Kind.CONSTANT and isinstance(symbol.origin, aa.Constant):
            return Tree(self.typing.typed(symbol.origin.value, symbol.scope, typed.type))
        if symbol.kind in (Kind.PIPE, Kind.STORAGE):
            return self._fetched(typed, symbol)
        what = f"the {symbol.kind.value} '{symbol.name}' inside an expression"
        unsupported(typed.node.loc, what)


def _targets(statement: aa.Statement) -> Sequence[aa.Target]:
    match statement:
        case aa.Assign(target):
            return (target,)
        case aa.Call():
            return statement.results
        case aa.Split():
            return statement.targets
        case _:
            return ()
