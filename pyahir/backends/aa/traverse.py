"""Walks over the Aa AST with scopes: which statement reads and writes which object.

In: scopes. Out: iterators over statements, expressions and uses of names. Traversal follows the
dataclass fields, so a new node needs no visitor. Not here: any judgment about what is found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import TYPE_CHECKING, cast, get_args

from pyahir.backends.aa import ast as aa
from pyahir.backends.aa.scopes import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pyahir.backends.aa.scopes import ProgramScope, Scope, Symbol

__all__ = [
    "Use",
    "blocking_modules",
    "body_blocks",
    "called_modules",
    "callees",
    "is_copied",
    "nodes",
    "scoped",
    "uses",
]

_STATEMENTS = frozenset(get_args(aa.Statement))


@cache
def _field_names(kind: type) -> tuple[str, ...]:
    """Give the fields of a kind of node that can hold others; none of what is no node."""
    if not is_dataclass(kind):
        return ()
    return tuple(field.name for field in fields(kind) if field.name != "loc")


@cache
def _is_entered(kind: type) -> bool:
    return is_dataclass(kind) and kind not in _STATEMENTS


KEPT = 50_000  # lists of nodes; the statements of a few large designs
_lists: dict[int, tuple[object, tuple[object, ...]]] = {}  # by identity: nodes hash by value


def nodes(node: object) -> tuple[object, ...]:
    """List a node and all nodes inside it, but do not enter statements inside a statement.

    The rules ask some ten times for each statement, so the lists are kept, with their nodes: no
    other node has the identity of one that lives.
    """
    kept = _lists.get(id(node))
    if kept is not None:
        return kept[1]
    found: list[object] = []
    _add(node, found)
    if len(_lists) >= KEPT:
        _lists.clear()
    _, inside = _lists[id(node)] = node, tuple(found)
    return inside


def _add(node: object, found: list[object]) -> None:
    found.append(node)
    for name in _field_names(type(node)):
        _add_inside(getattr(node, name), found)


def _add_inside(value: object, found: list[object]) -> None:
    kind = type(value)
    if kind is tuple:
        for part in cast("tuple[object, ...]", value):
            _add_inside(part, found)
    elif isinstance(value, aa.SwitchCase):
        _add_inside(value.choice, found)
    elif _is_entered(kind):
        _add(value, found)


def scoped(body: Sequence[aa.Statement], scope: Scope) -> Iterator[tuple[aa.Statement, Scope]]:
    """Yield all statements of a body with the scope that each stands in."""
    for statement in body:
        yield statement, scope
        match statement:
            case aa.Block():
                yield from scoped(statement.body, scope.block(statement))
            case aa.Join() | aa.DoPipeline():
                yield from scoped(statement.body, scope)
            case aa.If():
                yield from scoped(statement.then_body, scope)
                yield from scoped(statement.else_body, scope)
            case aa.Switch():
                for case in statement.cases:
                    yield from scoped(case.body, scope)
                yield from scoped(statement.default, scope)
            case _:
                pass


@dataclass(frozen=True, slots=True)
class Use:
    """One occurrence of a name in a statement; ``symbol`` is None for an unknown name."""

    node: aa.Name | aa.PathName
    symbol: Symbol | None
    write: bool
    statement: aa.Statement


def uses(statement: aa.Statement, scope: Scope) -> Iterator[Use]:
    """Yield the names that a statement itself (not one inside it) reads and writes."""
    written: tuple[aa.Target, ...] = ()
    match statement:
        case aa.Assign(target):
            written = (target,)
        case aa.Call():
            written = statement.results
        case aa.Split():
            written = statement.targets
        case _:
            pass
    bases = [target.base if isinstance(target, aa.Index) else target for target in written]
    identities = {id(base) for base in bases if not isinstance(base, aa.Dereference)}
    seen: set[int] = set()
    for node in nodes(statement):
        if isinstance(node, aa.Name | aa.PathName):
            write = id(node) in identities and id(node) not in seen
            seen.add(id(node))
            yield Use(node, _find(node, scope), write, statement)
    guard = getattr(statement, "guard", None)
    if isinstance(guard, aa.Guard):
        name = aa.Name(guard.name, loc=statement.loc)
        yield Use(name, scope.find(guard.name), False, statement)


def _find(node: aa.Name | aa.PathName, scope: Scope) -> Symbol | None:
    return scope.find(node.name) if isinstance(node, aa.Name) else scope.find_path(node)


def body_blocks(body: Sequence[aa.Statement], scope: Scope, blocking: Mapping[str, bool]) -> bool:
    """Whether a body may have to wait, or loops: it then runs as a generator."""
    for statement, inner in scoped(body, scope):
        if isinstance(statement, aa.DoPipeline | aa.Merge | aa.Lock):
            return True
        if isinstance(statement, aa.Call) and blocking.get(statement.module, False):
            return True
        for node in nodes(statement):
            if isinstance(node, aa.CallExpr) and blocking.get(node.module, False):
                return True
        for use in uses(statement, inner):
            if use.symbol is not None and use.symbol.kind is Kind.PIPE:
                return True
    return False


def callees(module: aa.Module, scope: Scope) -> set[str]:
    """Return the names of the modules that a module calls."""
    found: set[str] = set()
    for statement, _ in scoped(module.body or (), scope):
        for node in nodes(statement):
            if isinstance(node, aa.Call | aa.CallExpr):
                found.add(node.module)
    return found


def called_modules(scopes: ProgramScope) -> set[str]:
    """Return the names of the modules that some module calls."""
    modules = scopes.program.modules()
    return set[str]().union(*(callees(item, scopes.modules[item.name]) for item in modules))


def is_copied(module: aa.Module) -> bool:
    """Whether every call of a module has its own hardware."""
    roles = (aa.ModuleRole.OPERATOR, aa.ModuleRole.VOLATILE)
    kinds = (aa.ModuleKind.MACRO, aa.ModuleKind.INLINE)
    return module.role in roles or module.kind in kinds


def blocking_modules(scopes: ProgramScope) -> dict[str, bool]:
    """Tell for each module whether a call of it may have to wait."""
    found: dict[str, bool] = {}
    modules = {module.name: module for module in scopes.program.modules()}

    def visit(name: str) -> None:
        if name in found or name not in modules:
            return
        found[name] = False
        module, scope = modules[name], scopes.modules[name]
        for callee in sorted(callees(module, scope)):
            visit(callee)
        found[name] = body_blocks(module.body or (), scope, found)

    for name in modules:
        visit(name)
    return found
