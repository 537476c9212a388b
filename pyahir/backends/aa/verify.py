"""The verifier: what the AHIR-V2 tools reject, what they silently get wrong, and our subset.

In: a ``Program``. Out: nothing, or one ``AaError`` that lists every error with module, position,
what was found and what is accepted. With ``emitted`` the rules for text that pyahir writes hold
as well: safe names, plain guarded writes, pipes that hold something.
Not here: rules about single statements (``statement_rules``) and about types (``typing_rules``).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import networkx as nx

from pyahir.backends.aa import ast as aa
from pyahir.backends.aa import types as ty
from pyahir.backends.aa.printer import expr_text, type_text
from pyahir.backends.aa.scopes import Kind, Report, build_scopes
from pyahir.backends.aa.statement_rules import StatementRules
from pyahir.backends.aa.traverse import callees, scoped, uses
from pyahir.backends.aa.typing_rules import Typing, array_parts, scalar_width

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyahir.backends.aa.scopes import ProgramScope, Scope, Symbol

__all__ = ["check_types", "verify"]

_SAFE_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_LEGAL_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.]*")
_VHDL_WORDS = frozenset(
    re.findall(
        r"[a-z]+",
        """
    abs access after alias all and architecture array assert attribute begin block body buffer
    bus case component configuration constant disconnect downto else elsif end entity exit file
    for function generate generic group guarded if impure in inertial inout is label library
    linkage literal loop map mod nand new next nor not null of on open or others out package port
    postponed procedure process pure range record register reject rem report return rol ror select
    severity shared signal sla sll sra srl subtype then to transport type unaffected units until
    use variable wait when while with xnor xor""",
    )
)
_PORT_WORDS = frozenset({"clk", "reset"})


def verify(program: aa.Program, *, emitted: bool = False) -> None:
    """Raise one ``AaError`` that lists all errors of a program."""
    report = Report()
    scopes = build_scopes(program, report)
    typing = Typing(scopes)
    check_types(scopes, typing)
    _check_names(scopes, emitted=emitted)
    _check_objects(scopes, emitted=emitted)
    _check_ends(scopes)
    _check_calls(scopes)
    for module in program.modules():
        report.module = module.name
        StatementRules(scopes, typing, module, emitted=emitted).check()
    report.raise_if_any()


# Types


def check_types(scopes: ProgramScope, typing: Typing) -> None:
    """Type every expression of a program, noting errors in the scopes' report."""
    for symbol in scopes.root.symbols.values():
        _check_constant(symbol, typing)
    for module in scopes.program.modules():
        scopes.report.module = module.name
        scope = scopes.modules[module.name]
        for inner in _all_scopes(scope):
            for symbol in inner.symbols.values():
                _check_constant(symbol, typing)
        for statement, inner in scoped(module.body or (), scope):
            _check_statement(statement, inner, typing)
    scopes.report.module = None


def _all_scopes(scope: Scope) -> Iterator[Scope]:
    yield scope
    for inner in scope.blocks.values():
        yield from _all_scopes(inner)


def _check_constant(symbol: Symbol, typing: Typing) -> None:
    declared = symbol.origin
    if not isinstance(declared, aa.Constant) or symbol.type is None:
        return
    if not isinstance(symbol.type, ty.UInt | ty.Int | ty.Float):
        typing.scopes.report.add(
            declared.loc,
            f"constant '{declared.name}' has type {type_text(declared.type)}; accepted: a scalar",
        )
        return
    typing.typed(declared.value, symbol.scope, symbol.type)


def _check_statement(statement: aa.Statement, scope: Scope, typing: Typing) -> None:
    guard = getattr(statement, "guard", None)
    if isinstance(guard, aa.Guard):
        typing.condition(aa.Name(guard.name, loc=statement.loc), scope)
    match statement:
        case aa.Assign(target, value):
            expected = _target_type(target, value, scope, typing)
            typing.typed(value, scope, expected)
        case aa.Call():
            _check_call(statement, scope, typing)
        case aa.Split():
            _check_split(statement, scope, typing)
        case aa.If():
            typing.condition(statement.condition, scope)
        case aa.Switch():
            selector = typing.typed(statement.selector, scope, None)
            for case in statement.cases:
                typing.typed(case.choice, scope, selector.type)
        case aa.Merge():
            _check_phis(statement.phis, scope, typing)
        case aa.DoPipeline():
            _check_phis(statement.phis, scope, typing)
            typing.condition(statement.condition, scope)
        case aa.Report():
            for item in statement.items:
                typing.typed(item.value, scope, None)
        case _:
            return


def _check_phis(phis: tuple[aa.Phi, ...], scope: Scope, typing: Typing) -> None:
    for phi in phis:
        symbol = scope.symbols.get(phi.target)
        type_ = None if symbol is None else typing.variable_type(symbol)
        if type_ is None:
            typing.scopes.report.add(
                phi.loc,
                f"the type of phi '{phi.target}' cannot be determined; "
                f"wrap one source in a bitcast",
            )
        for source in phi.sources:
            typing.typed(source.value, scope, type_ or ty.UInt(32))


def _target_type(
    target: aa.Target, value: aa.Expr | None, scope: Scope, typing: Typing
) -> ty.Type | None:
    """Return the type that a target demands; None for a variable that takes the value's type."""
    report = typing.scopes.report
    if isinstance(target, aa.Dereference):
        return typing.typed(target, scope, None).type
    if isinstance(target, aa.Index):
        typed = typing.typed(target, scope, None)
        if typed.symbol is not None and typed.symbol.kind is not Kind.STORAGE:
            report.add(target.loc, f"'{expr_text(target)}' is not a word of a storage")
        return typed.type
    symbol = scope.find(target.name) if isinstance(target, aa.Name) else scope.find_path(target)
    if symbol is None:
        report.add(target.loc, f"'{expr_text(target)}' is not declared")
        return None
    if symbol.kind in (Kind.INPUT, Kind.CONSTANT):
        report.add(
            target.loc,
            f"'{target.name}' is an {symbol.kind.value}; it cannot be written"
            if symbol.kind is Kind.INPUT
            else f"'{target.name}' is a constant; it cannot be written",
        )
    if isinstance(symbol.type, ty.Array):
        report.add(target.loc, f"'{target.name}' is an array; accepted: one element of it")
    if symbol.kind is Kind.VARIABLE and value is not None and typing.natural(value, scope) is None:
        return None
    return typing.variable_type(symbol)


def _check_call(call: aa.Call, scope: Scope, typing: Typing) -> None:
    typing.arguments(call, call.module, call.arguments, scope)
    symbol = typing.scopes.root.symbols.get(call.module)
    if symbol is None or not isinstance(symbol.origin, aa.Module):
        return
    outputs = symbol.origin.outputs
    if len(outputs) != len(call.results):
        typing.scopes.report.add(
            call.loc,
            f"call of '{call.module}' with {len(call.results)} results; accepted: {len(outputs)}",
        )
    for name, output in zip(call.results, outputs, strict=False):
        expected = _target_type(name, None, scope, typing)
        found = typing.scopes.resolve(output.type)
        if expected is not None and expected != found:
            typing.scopes.report.add(
                call.loc,
                f"result '{name.name}' has type {type_text(expected)}; "
                f"accepted: {type_text(found)}",
            )


def _check_split(split: aa.Split, scope: Scope, typing: Typing) -> None:
    source = typing.typed(split.source, scope, None)
    widths = [typing.scopes.size(width, split.loc) for width in split.widths]
    report = typing.scopes.report
    if not isinstance(source.type, ty.UInt) or sum(widths) != scalar_width(source.type):
        report.add(
            split.loc,
            f"split of '{split.source.name}' ({type_text(source.type)}) into {widths}; "
            f"accepted: unsigned, widths that add up to its width",
        )
    if len(widths) != len(split.targets):
        report.add(split.loc, f"split into {len(widths)} parts and {len(split.targets)} targets")
    for target, width in zip(split.targets, widths, strict=False):
        expected = _target_type(target, None, scope, typing)
        if expected is not None and expected != ty.UInt(width):
            report.add(
                split.loc,
                f"split target '{expr_text(target)}' has type {type_text(expected)}; "
                f"accepted: {type_text(ty.UInt(width))}",
            )


# Names


def _check_names(scopes: ProgramScope, *, emitted: bool) -> None:
    for symbol in scopes.root.symbols.values():
        _check_name(scopes, symbol, emitted=emitted)
    for module in scopes.program.modules():
        scopes.report.module = module.name
        for scope in _all_scopes(scopes.modules[module.name]):
            for symbol in scope.symbols.values():
                if symbol.scope is scope:
                    _check_name(scopes, symbol, emitted=emitted)
                    _check_shadow(scopes, symbol)
    scopes.report.module = None
    _check_case(scopes)


def _check_name(scopes: ProgramScope, symbol: Symbol, *, emitted: bool) -> None:
    name, report = symbol.name, scopes.report
    if not _LEGAL_NAME.fullmatch(name):
        report.add(
            symbol.loc, f"identifier '{name}'; accepted: a letter, then letters, digits, '_', '.'"
        )
        return
    if emitted and not _SAFE_NAME.fullmatch(name):
        report.add(symbol.loc, f"identifier '{name}'; accepted: lower case words joined by '_'")
        return
    arguments = (Kind.INPUT, Kind.OUTPUT)
    keyworded = (Kind.MODULE, Kind.CONSTANT, *arguments)
    lower = name.lower()
    if symbol.kind in keyworded and lower in _VHDL_WORDS:
        report.add(symbol.loc, f"{symbol.kind.value} '{name}' is a word of VHDL; rename it")
    elif symbol.kind in arguments and lower in _PORT_WORDS:
        report.add(symbol.loc, f"{symbol.kind.value} '{name}' is a port of every entity; rename it")
    elif symbol.kind is Kind.PIPE and ("__" in name or name.endswith("_")):
        report.add(symbol.loc, f"pipe '{name}' has '__' or a last '_', which VHDL rejects")


def _check_shadow(scopes: ProgramScope, symbol: Symbol) -> None:
    """Labels, modules and objects share one name space, seen from inside outwards."""
    outer = symbol.scope.parent
    other = None if outer is None else outer.find(symbol.name)
    if other is None:
        return
    label = Kind.BLOCK in (symbol.kind, other.kind)
    module = symbol.kind is Kind.VARIABLE and other.kind is Kind.MODULE
    if label or module:
        scopes.report.add(
            symbol.loc,
            f"{symbol.kind.value} '{symbol.name}' has the name of a {other.kind.value}; "
            f"labels, modules and objects share one scope",
        )


def _check_case(scopes: ProgramScope) -> None:
    seen: dict[str, str] = {}
    for pipe in scopes.program.pipes():
        other = seen.setdefault(pipe.name.lower(), pipe.name)
        if other != pipe.name:
            scopes.report.add(pipe.loc, f"pipes '{other}' and '{pipe.name}' differ only in case")


# Objects


def _check_objects(scopes: ProgramScope, *, emitted: bool) -> None:
    for symbol in scopes.root.symbols.values():
        _check_object(scopes, symbol, emitted=emitted)
    for module in scopes.program.modules():
        scopes.report.module = module.name
        for scope in _all_scopes(scopes.modules[module.name]):
            for symbol in scope.symbols.values():
                _check_object(scopes, symbol, emitted=emitted)
    scopes.report.module = None


def _check_object(scopes: ProgramScope, symbol: Symbol, *, emitted: bool) -> None:
    declared, report = symbol.origin, scopes.report
    match declared:
        case aa.Storage():
            if declared.initial:
                report.add(
                    declared.loc,
                    f"storage '{declared.name}' has an initial value, which the tools ignore; "
                    f"load it through a pipe",
                )
            _, word = array_parts(symbol.type or ty.UInt(1))
            if isinstance(word, ty.Void):
                report.add(declared.loc, f"storage '{declared.name}' has no values")
        case aa.Pipe():
            if declared.initial:
                report.add(
                    declared.loc,
                    f"pipe '{declared.name}' has an initial value, which the tools ignore",
                )
            if isinstance(symbol.type, ty.Array | ty.Void):
                report.add(
                    declared.loc,
                    f"pipe '{declared.name}' has type {type_text(declared.type)}; "
                    f"accepted: a scalar",
                )
            depth = 1 if declared.depth is None else scopes.size(declared.depth, declared.loc)
            least = 1 if emitted else 0
            if depth < least:
                report.add(
                    declared.loc,
                    f"pipe '{declared.name}' has depth {depth}; accepted: {least} or more",
                )
        case _:
            return


def _check_ends(scopes: ProgramScope) -> None:
    """Our subset: a blocking pipe has one writer and one reader, so timing cannot show."""
    readers: dict[Symbol, list[str]] = {}
    writers: dict[Symbol, list[str]] = {}
    for module in scopes.program.modules():
        for statement, scope in scoped(module.body or (), scopes.modules[module.name]):
            for use in uses(statement, scope):
                if use.symbol is not None and use.symbol.kind is Kind.PIPE:
                    ends = (writers if use.write else readers).setdefault(use.symbol, [])
                    if module.name not in ends:
                        ends.append(module.name)
    for ends, verb in ((writers, "written"), (readers, "read")):
        for symbol, names in ends.items():
            _check_end(scopes, symbol, names, verb)


def _check_end(scopes: ProgramScope, symbol: Symbol, names: list[str], verb: str) -> None:
    pipe = symbol.origin
    assert isinstance(pipe, aa.Pipe)
    blocking = not pipe.signal and pipe.kind is not aa.PipeKind.NOBLOCK
    if blocking and len(names) > 1:
        scopes.report.add(
            pipe.loc, f"pipe '{pipe.name}' is {verb} by {' and '.join(names)}; accepted: one module"
        )
    wrong = aa.Direction.IN if verb == "written" else aa.Direction.OUT
    if pipe.direction is wrong:
        scopes.report.add(
            pipe.loc, f"pipe '{pipe.name}' is declared '{wrong.value}' but {verb} by {names[0]}"
        )


def _check_calls(scopes: ProgramScope) -> None:
    graph: nx.DiGraph[str] = nx.DiGraph()
    for module in scopes.program.modules():
        for callee in sorted(callees(module, scopes.modules[module.name])):
            graph.add_edge(module.name, callee)
    try:
        cycle: list[str] = [edge[0] for edge in nx.find_cycle(graph)]  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] (networkx is partly typed)
    except nx.NetworkXNoCycle:
        return
    chain = " calls ".join([*cycle, cycle[0]])
    loc = scopes.program.module(cycle[0]).loc
    scopes.report.add(loc, f"modules call each other in a circle: {chain}")
