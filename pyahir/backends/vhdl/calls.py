"""Which called modules are written into their caller, and which are entities of their own.

In: modules. Out: yes or no. A module without jumps and loops can be written into a pipelined loop;
one that remembers something from call to call only where every call has hardware of its own.
"""

from __future__ import annotations

from pyahir.backends.aa import ast as aa
from pyahir.backends.aa.scopes import Kind, ProgramScope, Symbol
from pyahir.backends.aa.traverse import is_copied, nodes, scoped, uses

__all__ = ["called", "is_called_once", "is_quiet", "is_stateless", "is_straight"]

_STRAIGHT = (
    aa.Assign,
    aa.Call,
    aa.Split,
    aa.Null,
    aa.Barrier,
    aa.Sleep,
    aa.Trace,
    aa.Report,
)


def called(node: aa.Call | aa.CallExpr, scopes: ProgramScope) -> aa.Module | None:
    """Find the module of a call."""
    symbol = scopes.root.symbols.get(node.module)
    origin = None if symbol is None else symbol.origin
    return origin if isinstance(origin, aa.Module) else None


def _callees(module: aa.Module, scopes: ProgramScope) -> list[aa.Module | None]:
    found: list[aa.Module | None] = []
    for statement, _ in scoped(module.body or (), scopes.modules[module.name]):
        found += [
            called(node, scopes)
            for node in nodes(statement)
            if isinstance(node, aa.Call | aa.CallExpr)
        ]
    return found


def is_straight(module: aa.Module | None, scopes: ProgramScope) -> bool:
    """Whether a module and all that it calls are plain sequences of statements."""
    if module is None or module.body is None:
        return False
    if not all(isinstance(statement, _STRAIGHT) for statement in module.body):
        return False
    return all(
        is_straight(callee, scopes)
        and callee is not None
        and (is_copied(callee) or is_stateless(callee, scopes))
        for callee in _callees(module, scopes)
    )


def is_stateless(module: aa.Module, scopes: ProgramScope) -> bool:
    """Whether no value lives from one call of a straight module to the next."""
    scope = scopes.modules[module.name]
    defined: set[Symbol] = set()
    for statement in module.body or ():
        guard = getattr(statement, "guard", None)
        if guard is not None and not getattr(statement, "volatile", False):
            return False
        found = [use for use in uses(statement, scope) if use.symbol is not None]
        for use in found:
            symbol = use.symbol
            assert symbol is not None
            local = symbol.kind in (Kind.VARIABLE, Kind.OUTPUT)
            if local and not use.write and symbol not in defined:
                return False
        defined |= {use.symbol for use in found if use.write and use.symbol is not None}
    return all(
        callee is not None and is_stateless(callee, scopes) for callee in _callees(module, scopes)
    )


def is_quiet(module: aa.Module, scopes: ProgramScope) -> bool:
    """Whether a straight module may run although a guard forbids it: nobody sees that it did."""
    scope = scopes.modules[module.name]
    found = [use.symbol for statement in module.body or () for use in uses(statement, scope)]
    if any(symbol is not None and symbol.kind in (Kind.PIPE, Kind.STORAGE) for symbol in found):
        return False
    return is_stateless(module, scopes) and all(
        callee is not None and is_quiet(callee, scopes) for callee in _callees(module, scopes)
    )


def is_called_once(module: aa.Module, scopes: ProgramScope) -> bool:
    """Whether one place calls a module, and that place is one piece of hardware."""
    callers = [
        other
        for other in scopes.program.modules()
        for callee in _callees(other, scopes)
        if callee is module
    ]
    return len(callers) == 1 and not is_copied(callers[0])
