"""Rules about the statements of one module: classes of modules, volatile, merges, loops, guards.

In: scopes and types of a program that ``verify`` has typed, and one module. Out: errors in the
scopes' report. Each rule is a trap or a restriction of the AHIR-V2 tools, or of our subset.
Not here: names, objects, types (``verify``, ``typing_rules``).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pyahir.backends.aa import ast as aa
from pyahir.backends.aa import types as ty
from pyahir.backends.aa.natural_types import scalar_width
from pyahir.backends.aa.previous_rules import check_previous_values
from pyahir.backends.aa.printer import expr_text, type_text
from pyahir.backends.aa.scopes import Kind
from pyahir.backends.aa.traverse import is_copied, nodes, scoped, uses

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyahir.backends.aa.scopes import ProgramScope, Scope, Symbol
    from pyahir.backends.aa.typing_rules import Typing

__all__ = ["StatementRules"]

_PLAIN_VALUES = (
    aa.Name,
    aa.PathName,
    aa.Literal,
    aa.FloatLiteral,
    aa.ParamLiteral,
    aa.Zero,
    aa.One,
)
_BRANCH_ONLY = (aa.If, aa.Switch, aa.Merge, aa.Place, aa.DoPipeline)
_HALF = ty.Float(5, 10)
_WIDEST_VOLATILE = 64
_CODERS = (aa.UnaryOp.DECODE, aa.UnaryOp.ENCODE)
_SHIFTS = (aa.BinaryOp.SHIFT_LEFT, aa.BinaryOp.SHIFT_RIGHT)


class StatementRules:
    """Checks one module."""

    def __init__(
        self, scopes: ProgramScope, typing: Typing, module: aa.Module, *, emitted: bool
    ) -> None:
        self.typing = typing
        self.module = module
        self.emitted = emitted
        self.program = scopes
        self.scope = scopes.modules[module.name]
        self.add = scopes.report.add

    def check(self) -> None:
        """Check the module's class, then each statement in its place."""
        module = self.module
        if module.kind is aa.ModuleKind.INLINE:
            self.add(module.loc, "inline modules are lost by the tools; accepted: macro")
        foreign = module.kind is aa.ModuleKind.FOREIGN
        if foreign != (module.body is None):
            found = "a body" if foreign else "no body"
            self.add(
                module.loc, f"found {found}; only a foreign module has none, and no other does"
            )
        if module.body is None:
            return
        self._check_class(module)
        self._check_outputs(module)
        self._check_body(module.body, self.scope, None)
        marks = {
            statement.mark
            for statement, _ in scoped(module.body, self.scope)
            if isinstance(statement, aa.Assign | aa.Call | aa.Split)
        }
        for statement, scope in scoped(module.body, self.scope):
            self._check_statement(statement, scope, marks)

    # Classes of modules

    def _check_class(self, module: aa.Module) -> None:
        pipeline = module.kind is aa.ModuleKind.PIPELINE
        operator = module.role is aa.ModuleRole.OPERATOR
        volatile = module.role is aa.ModuleRole.VOLATILE
        if operator:
            self._forbid_objects("an operator module", (Kind.PIPE, Kind.STORAGE))
            self._allow_calls(
                "an operator module", "operator, volatile or foreign", _copied_or_foreign
            )
        if volatile:
            self._forbid_objects("a volatile module", (Kind.PIPE, Kind.STORAGE))
            self._allow_statements("a volatile module", (aa.Assign, aa.Null, aa.Call))
        if module.deterministic:
            self._forbid_objects("a deterministic module", (Kind.PIPE, Kind.STORAGE))
            self._allow_calls("a deterministic module", "volatile or deterministic", _fixed_latency)
        if pipeline:
            allowed = (aa.Assign, aa.Call, aa.Split, aa.Null)
            self._allow_statements("a pipeline module", allowed)
            if not module.inputs or not module.outputs:
                self.add(module.loc, "a pipeline module needs at least one input and one output")
        if module.kind is aa.ModuleKind.MACRO:
            self._allow_statements("a macro module", (aa.Assign, aa.Call))
            if module.declarations:
                self.add(module.loc, "a macro module has declarations; accepted: none")

    def _forbid_objects(self, what: str, kinds: tuple[Kind, ...]) -> None:
        for statement, scope in scoped(self.module.body or (), self.scope):
            for use in uses(statement, scope):
                if use.symbol is not None and use.symbol.kind in kinds:
                    self.add(
                        use.node.loc,
                        f"{what} uses {use.symbol.kind.value} '{use.node.name}'; "
                        f"accepted: no pipes and no storages",
                    )

    def _allow_statements(self, what: str, allowed: tuple[type, ...]) -> None:
        for statement, _ in scoped(self.module.body or (), self.scope):
            if not isinstance(statement, allowed):
                names = ", ".join(kind.__name__ for kind in allowed)
                self.add(
                    statement.loc,
                    f"{what} holds {type(statement).__name__}; accepted: {names}",
                )

    def _allow_calls(self, what: str, accepted: str, allowed: object) -> None:
        assert callable(allowed)
        for statement, _ in scoped(self.module.body or (), self.scope):
            for node in nodes(statement):
                if isinstance(node, aa.Call | aa.CallExpr):
                    callee = self._callee(node)
                    if callee is not None and not allowed(callee):
                        self.add(
                            node.loc, f"{what} calls '{callee.name}'; accepted: {accepted} modules"
                        )

    def _callee(self, node: aa.Call | aa.CallExpr) -> aa.Module | None:
        symbol = self.program.root.symbols.get(node.module)
        origin = None if symbol is None else symbol.origin
        return origin if isinstance(origin, aa.Module) else None

    def _check_outputs(self, module: aa.Module) -> None:
        written: dict[str, int] = {argument.name: 0 for argument in module.outputs}
        for statement, scope in scoped(module.body or (), self.scope):
            for use in uses(statement, scope):
                if use.write and use.symbol is not None and use.symbol.kind is Kind.OUTPUT:
                    written[use.symbol.name] += 1
        for argument in module.outputs:
            count = written[argument.name]
            if count != 1:
                self.add(
                    argument.loc,
                    f"output '{argument.name}' is written {count} times; accepted: once",
                )

    # Where statements stand

    def _check_body(
        self, body: Sequence[aa.Statement], scope: Scope, kind: aa.BlockKind | None
    ) -> None:
        if not body:
            self.add(self.module.loc, "a body has no statement; accepted: one or more")
        for position, statement in enumerate(body):
            if isinstance(statement, _BRANCH_ONLY) and kind is not aa.BlockKind.BRANCH:
                self.add(
                    statement.loc,
                    f"{type(statement).__name__} stands outside a branch block; "
                    f"accepted: directly in one",
                )
            if isinstance(statement, aa.Join) and kind is not aa.BlockKind.FORK:
                self.add(
                    statement.loc, "Join stands outside a fork block; accepted: directly in one"
                )
            if position and kind is aa.BlockKind.BRANCH:
                self._check_reach(body[position - 1], statement)
            self._enter(statement, scope, kind)
        if kind is aa.BlockKind.FORK:
            self._check_joins(body)

    def _check_reach(self, before: aa.Statement, statement: aa.Statement) -> None:
        falls = not _ends_in_place((before,))
        if not isinstance(statement, aa.Merge):
            if not falls:
                self.add(statement.loc, "the statement is never reached: a place goes before it")
        elif falls and aa.Entry.ENTRY not in statement.entries:
            self.add(
                statement.loc, "the merge is entered from the statement before; add 'entry' to it"
            )

    def _check_joins(self, body: Sequence[aa.Statement]) -> None:
        labels: set[str] = set()
        for statement in body:
            if isinstance(statement, aa.Block) and statement.label is not None:
                labels.add(statement.label)
            if isinstance(statement, aa.Join):
                for label in statement.labels:
                    if label not in labels:
                        self.add(
                            statement.loc, f"join of '{label}'; accepted: an earlier block's label"
                        )

    def _enter(self, statement: aa.Statement, scope: Scope, kind: aa.BlockKind | None) -> None:
        match statement:
            case aa.Block():
                inner = scope.block(statement)
                self._check_body(statement.body, inner, statement.kind)
                if statement.kind is aa.BlockKind.BRANCH:
                    self._check_places(statement)
            case aa.Join() if statement.body:
                self._check_body(statement.body, scope, aa.BlockKind.SERIES)
            case aa.If():
                self._check_body(statement.then_body, scope, kind)
                if statement.else_body:
                    self._check_body(statement.else_body, scope, kind)
            case aa.Switch():
                for case in statement.cases:
                    self._check_body(case.body, scope, kind)
                if statement.default:
                    self._check_body(statement.default, scope, kind)
            case aa.DoPipeline():
                self._check_loop(statement, scope)
            case _:
                return

    # Merges

    def _check_places(self, block: aa.Block) -> None:
        merges: list[aa.Merge] = []
        places: list[aa.Place] = []
        _collect(block.body, merges, places)
        for place in places:
            count = sum(place.label in merge.entries for merge in merges)
            if count != 1:
                self.add(
                    place.loc,
                    f"place '{place.label}' leads to {count} merges; accepted: exactly one",
                )
        placed = {place.label for place in places}
        for merge in merges:
            self._check_merge(merge, placed)

    def _check_merge(self, merge: aa.Merge, placed: set[str]) -> None:
        for entry in merge.entries:
            if entry is aa.Entry.LOOPBACK:
                self.add(merge.loc, "'loopback' stands in a merge; accepted: in a dopipeline only")
            elif isinstance(entry, str) and entry not in placed:
                self.add(merge.loc, f"no place leads to '{entry}' of the merge")
            if merge.entries.count(entry) > 1:
                self.add(merge.loc, f"the merge names '{_entry_name(entry)}' more than once")
        for phi in merge.phis:
            self._check_phi(phi, merge.entries)
            if any(len(source.entries) > 1 for source in phi.sources):
                self.add(
                    phi.loc,
                    f"phi '{phi.target}' shares a source between entries; "
                    f"accepted: in a dopipeline only",
                )

    def _check_phi(self, phi: aa.Phi, entries: tuple[str | aa.Entry, ...]) -> None:
        covered = [entry for source in phi.sources for entry in source.entries]
        for entry in entries:
            count = covered.count(entry)
            if count != 1:
                self.add(
                    phi.loc,
                    f"phi '{phi.target}' has {count} sources on '{_entry_name(entry)}'; "
                    f"accepted: exactly one",
                )
        for entry in covered:
            if entry not in entries:
                self.add(
                    phi.loc,
                    f"phi '{phi.target}' has a source on '{_entry_name(entry)}', "
                    f"which its merge does not name",
                )
        if any(source.guard is not None for source in phi.sources):
            self.add(phi.loc, f"phi '{phi.target}' has a guarded source; accepted: plain ones")

    # Loops

    def _check_loop(self, loop: aa.DoPipeline, scope: Scope) -> None:
        for phi in loop.phis:
            self._check_phi(phi, (aa.Entry.ENTRY, aa.Entry.LOOPBACK))
        if not loop.body:
            self.add(loop.loc, "a body has no statement; accepted: one or more")
        for statement in loop.body:
            if isinstance(statement, (aa.Block, aa.Join, *_BRANCH_ONLY)):
                self.add(
                    statement.loc,
                    f"a dopipeline holds {type(statement).__name__}; accepted: simple statements",
                )
        self._check_repeated_calls(loop, scope)
        if self.emitted:
            check_previous_values(loop, scope, self.program)

    def _check_repeated_calls(self, loop: aa.DoPipeline, scope: Scope) -> None:
        """Find two dependent calls of one shared module: they wait for each other for ever."""
        sources: dict[Symbol, set[str]] = {}
        for statement in loop.body:
            used = [use for use in uses(statement, scope) if use.symbol is not None]
            origins: set[str] = set()
            for use in used:
                if not use.write and use.symbol is not None:
                    origins |= sources.get(use.symbol, set())
            called = [node for node in nodes(statement) if isinstance(node, aa.Call | aa.CallExpr)]
            names = {node.module for node in called if self._shared(node)}
            for name in sorted(names & origins):
                self.add(
                    statement.loc,
                    f"the call of '{name}' needs a result of another call of it in the same "
                    f"dopipeline: the hardware deadlocks; use two modules or an operator",
                )
            for use in used:
                if use.write and use.symbol is not None:
                    sources[use.symbol] = origins | names

    def _shared(self, node: aa.Call | aa.CallExpr) -> bool:
        callee = self._callee(node)
        return callee is not None and not _copied_or_foreign(callee)

    # Single statements

    def _check_statement(
        self, statement: aa.Statement, scope: Scope, marks: set[str | None]
    ) -> None:
        if isinstance(statement, aa.Switch) and not statement.default:
            self.add(
                statement.loc, "the switch has no default: an unmatched value hangs the module"
            )
        if isinstance(statement, aa.Assign | aa.Call | aa.Split):
            self._check_marks(statement, marks)
            self._check_guard(statement, scope)
            if self.emitted:
                self._check_coders(statement)
                self._check_constant_value(statement, scope)
            if statement.volatile:
                self._check_volatile(statement, scope)
            else:
                self._check_registered(statement)
        if isinstance(statement, aa.Lock | aa.Unlock):
            symbol = self.scope.find(statement.mutex)
            if symbol is None or symbol.kind is not Kind.MUTEX:
                self.add(statement.loc, f"'{statement.mutex}' is not a mutex")

    def _check_coders(self, statement: aa.Statement) -> None:
        """The tools find the type of a decoded or encoded expression only now and then."""
        for node in nodes(statement):
            coder = isinstance(node, aa.Unary) and node.op in _CODERS
            if isinstance(node, aa.Unary) and coder and not isinstance(node.operand, aa.Name):
                self.add(
                    node.loc,
                    f"{node.op.value} of '{expr_text(node.operand)}'; accepted: a plain name",
                )

    def _check_constant_value(self, statement: aa.Statement, scope: Scope) -> None:
        """The tools put a constant value everywhere: guards and previous values are lost."""
        if not isinstance(statement, aa.Assign) or not isinstance(statement.target, aa.Name):
            return
        symbol = scope.find(statement.target.name)
        if symbol is None or symbol.kind is not Kind.VARIABLE:
            return
        for node in nodes(statement.value):
            if isinstance(node, aa.CallExpr | aa.PathName | aa.Dereference | aa.AddressOf):
                return
            if isinstance(node, aa.Name) and not self._constant(node, scope):
                return
        self.add(
            statement.loc,
            f"variable '{symbol.name}' is constant: the tools use its value before its definition "
            f"and whatever its guard; declare a constant",
        )

    def _check_marks(
        self, statement: aa.Assign | aa.Call | aa.Split, marks: set[str | None]
    ) -> None:
        for reference in (*statement.synch, *statement.delay):
            if reference.mark not in marks:
                self.add(statement.loc, f"no statement of the module is marked '{reference.mark}'")

    def _check_guard(self, statement: aa.Assign | aa.Call | aa.Split, scope: Scope) -> None:
        guard = statement.guard
        if guard is None:
            return
        if statement.volatile:
            self.add(
                statement.loc,
                f"the tools ignore guard '{guard.name}' of a volatile statement; use a mux",
            )
        if not self.emitted:
            return
        type_ = self.typing.natural(aa.Name(guard.name), scope)
        if type_ is not None and type_ != ty.UInt(1):
            self.add(
                statement.loc,
                f"guard '{guard.name}' has type {type_text(type_)}; "
                f"accepted: {type_text(ty.UInt(1))}",
            )
        if isinstance(statement, aa.Assign) and not isinstance(statement.value, _PLAIN_VALUES):
            written = [use.symbol for use in uses(statement, scope) if use.write]
            if any(s is not None and s.kind in (Kind.PIPE, Kind.STORAGE) for s in written):
                self.add(
                    statement.loc,
                    f"guarded write of '{expr_text(statement.value)}' to "
                    f"'{expr_text(statement.target)}' runs at half rate; write a plain name",
                )

    def _check_registered(self, statement: aa.Assign | aa.Call | aa.Split) -> None:
        for node in nodes(statement):
            if isinstance(node, aa.BitMap):
                self.add(node.loc, "bitmap in a registered statement; accepted: in a volatile one")
            if isinstance(node, aa.Call):
                callee = self._callee(node)
                if callee is not None and callee.role is aa.ModuleRole.VOLATILE:
                    self.add(
                        node.loc, f"the call of volatile module '{callee.name}' is not volatile"
                    )

    def _check_volatile(self, statement: aa.Assign | aa.Call | aa.Split, scope: Scope) -> None:
        for node in nodes(statement):
            if isinstance(node, aa.Call | aa.CallExpr):
                callee = self._callee(node)
                if callee is not None and callee.role is not aa.ModuleRole.VOLATILE:
                    self.add(node.loc, f"volatile call of '{callee.name}', which is not volatile")
            if isinstance(node, aa.Binary):
                type_ = self.typing.natural(node.lhs, scope) or self.typing.natural(node.rhs, scope)
                if isinstance(type_, ty.Float) and type_ != _HALF:
                    self.add(
                        node.loc,
                        f"volatile '{node.op.value}' on {type_text(type_)}; "
                        f"accepted: {type_text(_HALF)}",
                    )
                self._check_volatile_width(node, type_, scope)
            if isinstance(node, aa.Dereference):
                self.add(node.loc, "a volatile statement follows a pointer; accepted: variables")
        own = [use.symbol for use in uses(statement, scope) if use.write]
        variables = [symbol for symbol in own if symbol and symbol.kind is Kind.VARIABLE]
        first = min((symbol.order for symbol in variables), default=sys.maxsize)
        for use in uses(statement, scope):
            symbol = use.symbol
            if symbol is None:
                continue
            if symbol.kind in (Kind.PIPE, Kind.STORAGE):
                verb = "writes" if use.write else "reads"
                self.add(
                    use.node.loc,
                    f"a volatile statement {verb} {symbol.kind.value} '{symbol.name}'; "
                    f"accepted: variables and constants",
                )
            elif not use.write and symbol.kind is Kind.VARIABLE and symbol.order >= first:
                self.add(
                    use.node.loc,
                    f"a volatile statement uses '{symbol.name}', "
                    f"which is defined further down; accepted: values from above",
                )

    def _check_volatile_width(self, node: aa.Binary, type_: ty.Type | None, scope: Scope) -> None:
        """Wide products and wide shifts by a variable are registered operators for the tools."""
        shift = node.op in _SHIFTS and not self._constant(node.rhs, scope)
        if not (shift or node.op is aa.BinaryOp.MUL) or not isinstance(type_, ty.UInt | ty.Int):
            return
        if scalar_width(type_) > _WIDEST_VOLATILE:
            self.add(
                node.loc,
                f"volatile '{node.op.value}' on {type_text(type_)}; "
                f"accepted: at most {_WIDEST_VOLATILE} bits",
            )

    def _constant(self, expr: aa.Expr, scope: Scope) -> bool:
        if isinstance(expr, aa.Name):
            symbol = scope.find(expr.name)
            return symbol is not None and symbol.kind in (Kind.CONSTANT, Kind.PARAMETER)
        return isinstance(expr, _PLAIN_VALUES) and not isinstance(expr, aa.PathName)


def _copied_or_foreign(module: aa.Module) -> bool:
    return is_copied(module) or module.kind is aa.ModuleKind.FOREIGN


def _fixed_latency(module: aa.Module) -> bool:
    return module.role is aa.ModuleRole.VOLATILE or module.deterministic


def _entry_name(entry: str | aa.Entry) -> str:
    return entry.value if isinstance(entry, aa.Entry) else entry


def _ends_in_place(body: Sequence[aa.Statement]) -> bool:
    if not body:
        return False
    match body[-1]:
        case aa.Place():
            return True
        case aa.If() as choice:
            return _ends_in_place(choice.then_body) and _ends_in_place(choice.else_body)
        case aa.Switch() as choice:
            bodies = (*(case.body for case in choice.cases), choice.default)
            return all(map(_ends_in_place, bodies))
        case _:
            return False


def _collect(body: Sequence[aa.Statement], merges: list[aa.Merge], places: list[aa.Place]) -> None:
    """Collect the merges and places of one branch block, arms included, inner blocks not."""
    for statement in body:
        match statement:
            case aa.Merge():
                merges.append(statement)
            case aa.Place():
                places.append(statement)
            case aa.If():
                _collect(statement.then_body, merges, places)
                _collect(statement.else_body, merges, places)
            case aa.Switch():
                for case in statement.cases:
                    _collect(case.body, merges, places)
                _collect(statement.default, merges, places)
            case _:
                pass
