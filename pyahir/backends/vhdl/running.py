"""A pipelined loop as one state: it starts the loop and waits until its pipeline is empty.

In: a loop with its scope and the values that its phis begin with. Out: the loop's lines in the
``Part`` of the module, a state, and a ``LoopReport``.
Not here: the stages (``schedule``, ``loop``).
"""

from __future__ import annotations

from collections.abc import Sequence

from pyahir.backends.aa import ast as aa
from pyahir.backends.aa import types as ty
from pyahir.backends.aa.scopes import Kind, Scope, Symbol
from pyahir.backends.aa.traverse import uses
from pyahir.backends.vhdl.context import Context, Frame, as_statement
from pyahir.backends.vhdl.control import Machine
from pyahir.backends.vhdl.expr import Writer
from pyahir.backends.vhdl.flatten import Flattener
from pyahir.backends.vhdl.levels import cut
from pyahir.backends.vhdl.loop import LoopWriter, Surroundings
from pyahir.backends.vhdl.needed import used
from pyahir.backends.vhdl.order import ordered
from pyahir.backends.vhdl.part import LoopReport
from pyahir.backends.vhdl.schedule import schedule
from pyahir.backends.vhdl.tree import Action, Operation, Tree, Variable, leaves, scalar, unsupported

__all__ = ["add_loop", "source_of"]


def source_of(phi: aa.Phi, entry: aa.Entry) -> aa.Expr:
    """Find the source of a phi of a loop."""
    for source in phi.sources:
        if entry in source.entries and source.guard is None:
            return source.value
    unsupported(phi.loc, f"a phi '{phi.target}' without an unguarded source for each entry")


def add_loop(
    context: Context,
    machine: Machine,
    loop: aa.DoPipeline,
    scope: Scope,
    frame: Frame,
    entries: Sequence[Tree],
) -> None:
    """Add the state of a loop and its stages."""
    flat = _flattened(context, loop, scope, frame)
    carried = [flat.environment[scope.symbols[phi.target]] for phi in loop.phis]
    typing = context.typing
    condition = flat.expression(typing.condition(loop.condition, scope))
    constant = condition.variable is None and not condition.operands
    endless = constant and condition.typed.number not in (None, 0)
    guard = None if endless else _named_condition(flat, loop, scope, condition)
    following: list[tuple[Variable, Tree]] = []
    for phi, variable in zip(loop.phis, carried, strict=True):
        typed = typing.typed(source_of(phi, aa.Entry.LOOPBACK), scope, variable.type)
        following.append((variable, flat.expression(typed, guard)))
    exports = _exports(context, loop, frame, flat)
    trees = [*(tree for _, tree in following), condition]
    kept = [variable for tree in trees for variable in leaves(tree)]
    operations = used(flat.operations, [*kept, *(variable for variable, _ in exports)])
    if context.levels is not None:
        operations = cut(operations, following, condition, context.levels)
    order = ordered(operations, lambda symbol: context.shapes[symbol].kind)
    begin = f"{machine.thread}_" if machine.thread else ""
    writer = LoopWriter(
        context.namer.claim(f"{begin}loop{machine.next_number}"),
        schedule(operations, order),
        Surroundings(context.shapes, context.facts, context.namer, machine.thread),
        following,
        None if endless else condition,
        exports,
    )
    part = writer.write()
    whole = context.part
    whole.declarations += part.declarations
    whole.concurrent += part.concurrent
    whole.clocked += part.clocked
    whole.reset += part.reset
    whole.sites += part.sites
    _report(context, loop, writer)
    _state(context, machine, loop, writer, dict(zip(carried, entries, strict=True)), endless)


def _flattened(context: Context, loop: aa.DoPipeline, scope: Scope, frame: Frame) -> Flattener:
    """Turn the body into operations; phis are variables that a register carries."""
    own = {scope.symbols[phi.target] for phi in loop.phis}
    for statement in loop.body:
        own |= {use.symbol for use in uses(statement, scope) if use.write and use.symbol}
    heads = [as_statement(source.value) for phi in loop.phis for source in phi.sources]
    for statement in (*loop.body, *heads, as_statement(loop.condition)):
        context.know(statement, scope, frame, own)
    outside = {symbol: v for symbol, v in frame.variables.items() if symbol not in own}
    exported = frame.exports.get(id(loop), frozenset[Symbol]())
    flat = Flattener(context.scopes, context.typing, outside, exported=exported)
    for phi in loop.phis:
        symbol = scope.symbols[phi.target]
        kind = context.typing.variable_type(symbol) or ty.Void()
        type_ = scalar(kind, phi.loc, f"a phi '{phi.target}'")
        flat.environment[symbol] = Variable(phi.target, type_)
    flat.body(loop.body, scope)
    return flat


def _named_condition(
    flat: Flattener, loop: aa.DoPipeline, scope: Scope, condition: Tree
) -> Variable | None:
    """Name the condition if phis read pipes or storages: only where the loop goes on."""
    heads = [as_statement(source_of(phi, aa.Entry.LOOPBACK)) for phi in loop.phis]
    found = [use.symbol for head in heads for use in uses(head, scope)]
    objects = (Kind.PIPE, Kind.STORAGE)
    if all(symbol is None or symbol.kind not in objects for symbol in found):
        return None
    if condition.width > 1:
        unsupported(loop.loc, "a wide condition of a loop whose phis read pipes or storages")
    again = Variable("again", condition.type)
    flat.kept.add(again)
    flat.add(Operation(Action.VOLATILE, loop.loc, again, condition))
    return again


def _exports(
    context: Context, loop: aa.DoPipeline, frame: Frame, flat: Flattener
) -> list[tuple[Variable, str]]:
    """Pair the values that others read with the signals that they read."""
    symbols = sorted(frame.exports.get(id(loop), ()), key=lambda symbol: symbol.order)
    return [(flat.environment[s], context.variable(frame, s).name) for s in symbols]


def _report(context: Context, loop: aa.DoPipeline, writer: LoopWriter) -> None:
    where = "" if loop.loc is None else f" of line {loop.loc.line}"
    report = LoopReport(
        context.module.name,
        f"{writer.tag}{where}",
        writer.last + 1,
        writer.interval,
        writer.reason,
    )
    context.reports.append(report)


def _state(
    context: Context,
    machine: Machine,
    loop: aa.DoPipeline,
    writer: LoopWriter,
    entries: dict[Variable, Tree],
    endless: bool,
) -> None:
    """Write the state of a loop: start it once, go on when it has drained."""
    on = context.namer.claim(f"{writer.tag}_on")
    context.part.bit(on)
    context.part.reset.append(f"{on} <= '0';")
    where = "" if loop.loc is None else f" of line {loop.loc.line}"
    state = machine.state(f"loop{where}", f"unsigned({writer.tag}_full) = 0")
    state.unless = f"{on} = '0'"
    outer = Writer(lambda variable: variable.name)
    state.start = [f"{on} <= '1';", *writer.start(entries, outer)]
    state.work = [f"{on} <= '0';"]
    if endless:
        state.exits, machine.open = [], []
