"""What the state machines of one entity share: its variables, its lines, its names.

In: a module and facts of the program. Out: ``Context``, and a ``Frame`` of variables for the module
and for each copy of a module that it calls. A variable is a register of the entity, but for values
of pipelined loops that others read: the loop drives those.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection
from dataclasses import dataclass, field

from pyahir.backends.aa import ast as aa
from pyahir.backends.aa import types as ty
from pyahir.backends.aa.scopes import Kind, ProgramScope, Scope, Symbol
from pyahir.backends.aa.traverse import scoped, uses
from pyahir.backends.aa.typing_rules import Typing
from pyahir.backends.vhdl.control import Machine
from pyahir.backends.vhdl.items import Facts, Shape
from pyahir.backends.vhdl.names import Namer
from pyahir.backends.vhdl.part import LoopReport, Part, zero
from pyahir.backends.vhdl.tree import Variable, scalar, unsupported

__all__ = ["Context", "Frame", "as_statement"]


@dataclass(slots=True)
class Frame:
    """The variables of one module, or of one call of a module that is copied for each call."""

    prefix: str = ""
    variables: dict[Symbol, Variable] = field(default_factory=dict[Symbol, Variable])
    exports: dict[int, frozenset[Symbol]] = field(default_factory=dict[int, "frozenset[Symbol]"])
    driven: frozenset[Symbol] = frozenset()

    @classmethod
    def of(cls, module: aa.Module, scope: Scope, prefix: str = "") -> Frame:
        """Begin with no variables; find what loops give to the statements around them."""
        exports = _read_outside(module, scope)
        return cls(prefix, {}, exports, frozenset(itertools.chain(*exports.values())))


@dataclass(slots=True)
class Context:
    """What all state machines of one entity share."""

    module: aa.Module
    scopes: ProgramScope
    typing: Typing
    shapes: dict[Symbol, Shape]
    facts: Facts
    namer: Namer
    levels: int | None = None
    part: Part = field(default_factory=Part)
    machines: list[Machine] = field(default_factory=list[Machine])
    reports: list[LoopReport] = field(default_factory=list[LoopReport])

    def variable(self, frame: Frame, symbol: Symbol) -> Variable:
        """Give the register of a name."""
        if symbol not in frame.variables:
            type_ = self.typing.variable_type(symbol)
            if type_ is None:
                unsupported(symbol.loc, f"the untyped variable '{symbol.name}'")
            kind = scalar(type_, symbol.loc, f"a value '{symbol.name}'")
            variable = Variable(self.namer.claim(frame.prefix + symbol.name), kind, outer=True)
            frame.variables[symbol] = variable
            self.part.signal(variable.name, kind, variable.width)
            if symbol not in frame.driven:
                self.part.reset.append(zero(variable.name))
        return frame.variables[symbol]

    def know(
        self,
        statement: aa.Statement,
        scope: Scope,
        frame: Frame,
        but: Collection[Symbol] = (),
    ) -> None:
        """Make the registers of the names that a statement uses."""
        for use in uses(statement, scope):
            symbol = use.symbol
            if symbol is None or symbol in but:
                continue
            if symbol.kind in (Kind.VARIABLE, Kind.INPUT, Kind.OUTPUT):
                self.variable(frame, symbol)

    def register(self, name: str, type_: ty.Type) -> Variable:
        """Make a register that begins at 0."""
        variable = Variable(self.namer.claim(name), type_, outer=True)
        self.part.signal(variable.name, type_, variable.width)
        self.part.reset.append(zero(variable.name))
        return variable

    def machine(self, thread: str, end: list[str]) -> Machine:
        """Begin a state machine."""
        step = self.namer.claim(f"{thread}_step") if thread else "step"
        made = Machine(step, thread, [*end, f"{step} <= 0;"])
        self.machines.append(made)
        return made


def as_statement(expr: aa.Expr) -> aa.Statement:
    """Give a statement that only uses an expression, for walks over statements."""
    return aa.If(condition=expr, then_body=())


def _read_outside(module: aa.Module, scope: Scope) -> dict[int, frozenset[Symbol]]:
    """Give for each loop of a module the names made in it that are read outside."""
    owner: dict[int, int] = {}
    loops: list[tuple[aa.DoPipeline, Scope]] = []
    for statement, inner in scoped(module.body or (), scope):
        if isinstance(statement, aa.DoPipeline):
            loops.append((statement, inner))
            owner |= {id(part): id(statement) for part in statement.body}
    readers: dict[Symbol, set[int]] = {}
    for statement, inner in scoped(module.body or (), scope):
        place = owner.get(id(statement), 0)
        if isinstance(statement, aa.DoPipeline):
            _read_by_loop(statement, inner, readers)
            continue
        for use in uses(statement, inner):
            if use.symbol is not None and not use.write:
                readers.setdefault(use.symbol, set()).add(place)
    found: dict[int, frozenset[Symbol]] = {}
    for loop, inner in loops:
        made = {inner.symbols[phi.target] for phi in loop.phis}
        for statement in loop.body:
            made |= {
                use.symbol for use in uses(statement, inner) if use.write and use.symbol is not None
            }
        found[id(loop)] = frozenset(
            symbol
            for symbol in made
            if symbol.kind is Kind.OUTPUT
            or (symbol.kind is Kind.VARIABLE and readers.get(symbol, set()) - {id(loop)})
        )
    return found


def _read_by_loop(loop: aa.DoPipeline, scope: Scope, readers: dict[Symbol, set[int]]) -> None:
    """Note what the head of a loop reads; what phis begin with is read outside the loop."""
    for phi in loop.phis:
        for source in phi.sources:
            place = 0 if aa.Entry.ENTRY in source.entries else id(loop)
            for use in uses(as_statement(source.value), scope):
                if use.symbol is not None:
                    readers.setdefault(use.symbol, set()).add(place)
    for use in uses(as_statement(loop.condition), scope):
        if use.symbol is not None:
            readers.setdefault(use.symbol, set()).add(id(loop))
