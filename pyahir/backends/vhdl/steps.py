"""Statements outside pipelined loops as states of a state machine.

In: the body of a module with its scope. Out: states, signals and uses of pipes, storages and
called modules, in the ``Part`` of the module. Each statement takes one cycle, two with a load or a
call; a choice takes one more. Phis are assigned on the way into their merge, all at once. The
statements of a parallel or fork block are state machines of their own that start together.
Not here: pipelined loops (``loop``), the text of the entity (``module``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pyahir.backends.aa import ast as aa
from pyahir.backends.aa import types as ty
from pyahir.backends.aa.scopes import Scope
from pyahir.backends.aa.traverse import is_copied
from pyahir.backends.aa.typing_rules import Typed
from pyahir.backends.vhdl.context import Context, Frame, as_statement
from pyahir.backends.vhdl.control import Machine, Target
from pyahir.backends.vhdl.expr import Writer, constant
from pyahir.backends.vhdl.flatten import Flattener
from pyahir.backends.vhdl.items import ItemKind, Link, Side
from pyahir.backends.vhdl.part import Site, cast_from_bits
from pyahir.backends.vhdl.running import add_loop, source_of
from pyahir.backends.vhdl.tree import Action, Operation, Tree, Variable, scalar, unsupported

__all__ = ["Places", "Steps"]


@dataclass(frozen=True, slots=True)
class Places:
    """The merges of a branch block: by the names of their places, and where each begins."""

    merges: dict[str, aa.Merge] = field(default_factory=dict[str, aa.Merge])
    starts: dict[int, Target] = field(default_factory=dict[int, Target])

    @classmethod
    def of(cls, body: Sequence[aa.Statement]) -> Places:
        """Collect the merges of a branch block."""
        found = cls()
        for merge in _merges(body):
            found.starts[id(merge)] = Target()
            found.merges.update({name: merge for name in merge.entries if isinstance(name, str)})
        return found


def _merges(body: Sequence[aa.Statement]) -> Iterator[aa.Merge]:
    """Yield the merges of one branch block, those in arms among them."""
    for statement in body:
        match statement:
            case aa.Merge():
                yield statement
            case aa.If():
                yield from _merges((*statement.then_body, *statement.else_body))
            case aa.Switch():
                for case in statement.cases:
                    yield from _merges(case.body)
                yield from _merges(statement.default)
            case _:
                pass


class Steps:
    """Makes the states of one state machine."""

    def __init__(self, context: Context, machine: Machine) -> None:
        self.context = context
        self.machine = machine
        self.writer = Writer(lambda variable: variable.name)

    def body(
        self, body: Sequence[aa.Statement], scope: Scope, frame: Frame, places: Places
    ) -> None:
        """Add the statements of a body in order."""
        for statement in body:
            self.statement(statement, scope, frame, places)

    def statement(
        self, statement: aa.Statement, scope: Scope, frame: Frame, places: Places
    ) -> None:
        """Add one statement."""
        match statement:
            case aa.Null() | aa.Barrier() | aa.Trace() | aa.Sleep() | aa.Report():
                return
            case aa.Assign() | aa.Call() | aa.Split():
                self._simple(statement, scope, frame)
            case aa.DoPipeline():
                self._loop(statement, scope, frame)
            case aa.Block():
                self._block(statement, scope.block(statement), frame)
            case aa.If():
                self._if(statement, scope, frame, places)
            case aa.Switch():
                self._switch(statement, scope, frame, places)
            case aa.Merge():
                if aa.Entry.ENTRY in statement.entries:
                    self._move(statement.phis, aa.Entry.ENTRY, scope, frame)
                self.machine.open.append(places.starts[id(statement)])
            case aa.Place(name):
                merge = places.merges[name]
                self._move(merge.phis, name, scope, frame)
                self.machine.jump(places.starts[id(merge)])
            case aa.Join():
                self.body(statement.body, scope, frame, places)
            case aa.Lock() | aa.Unlock():
                unsupported(statement.loc, f"the statement {type(statement).__name__}")

    # Simple statements

    def flattener(self, frame: Frame) -> Flattener:
        """Begin the operations of a statement outside loops."""
        context = self.context
        return Flattener(context.scopes, context.typing, frame.variables, sequential=True)

    def know(self, statement: aa.Statement, scope: Scope, frame: Frame) -> None:
        """Make the registers of the names that a statement uses."""
        self.context.know(statement, scope, frame)

    def _simple(
        self, statement: aa.Assign | aa.Call | aa.Split, scope: Scope, frame: Frame
    ) -> None:
        self.know(statement, scope, frame)
        skipped: list[Target] = []
        if statement.guard is not None and not statement.volatile:
            symbol = scope.find(statement.guard.name)
            guard = None if symbol is None else frame.variables.get(symbol)
            if guard is None:
                unsupported(statement.loc, f"the guard '{statement.guard.name}'")
            state = self.machine.state(f"guard of {_line(statement.loc)}")
            level = "0" if statement.guard.inverted else "1"
            acts, rest = self.machine.choices(state, [f"{guard.name}(0) = '{level}'"])
            self.machine.open, skipped = [acts], [rest]
        flat = self.flattener(frame)
        flat.statement(statement, scope)
        self.operations(flat.operations)
        self.machine.open += skipped

    def operations(self, operations: Sequence[Operation]) -> None:
        """Add a state for each operation."""
        for operation in operations:
            target = operation.target
            if target is not None and not target.outer:
                self._claim(target)
            self._operation(operation)

    def _claim(self, target: Variable) -> None:
        made = self.context.register(target.name, target.type)
        target.name, target.outer = made.name, True

    def _operation(self, operation: Operation) -> None:
        value = "" if operation.value is None else self.writer.text(operation.value)
        target, note = operation.target, _line(operation.loc)
        match operation.action:
            case Action.REGISTER | Action.VOLATILE:
                assert target is not None
                self.machine.state(note).work.append(f"{target.name} <= {value};")
            case Action.READ:
                assert target is not None
                self._read(operation, target, note)
            case Action.WRITE | Action.STORE:
                self._use(operation, note, data=(f"std_logic_vector({value})",))
            case Action.LOAD:
                assert target is not None
                self._use(operation, note)
                word = f"{self._link(operation).prefix(self.context.shapes)}_read_data"
                line = f"{target.name} <= {cast_from_bits(target.type, word)};"
                self.machine.state(f"word of {note}").work.append(line)
            case Action.CALL:
                self._call(operation, note)

    def _link(self, operation: Operation) -> Link:
        return Link(operation.named_item(), Side.of(operation.action), self.machine.thread)

    def _read(self, operation: Operation, target: Variable, note: str) -> None:
        link = self._link(operation)
        prefix = link.prefix(self.context.shapes)
        word = cast_from_bits(target.type, f"{prefix}_read_data")
        if self.context.shapes[link.symbol].kind is ItemKind.NOBLOCK:
            nothing = constant(0, target.type, target.width)
            word = f"pick({prefix}_read_valid = '1', {word}, {nothing})"
        self._use(operation, note).append(f"{target.name} <= {word};")

    def _use(self, operation: Operation, note: str, data: tuple[str, ...] = ()) -> list[str]:
        """Add the state that uses a pipe, a storage or a module; return its work."""
        context, link = self.context, self._link(operation)
        shape, prefix = context.shapes[link.symbol], link.prefix(context.shapes)
        here = self.machine.here()
        waits: list[str] = []
        if shape.kind is ItemKind.MODULE:
            waits.append(f"{prefix}_ready")
        elif shape.kind in (ItemKind.FIFO, ItemKind.LIFO, ItemKind.NOBLOCK):
            blocks = link.side is Side.WRITE or shape.kind is not ItemKind.NOBLOCK
            status = "write_room" if link.side is Side.WRITE else "read_valid"
            waits += [f"{prefix}_{status}"] if blocks else []
        stem = f"{self.machine.step}{self.machine.next_number}"
        request = ""
        if (link.symbol, link.side) in context.facts.contested:
            request = context.namer.claim(f"{stem}_wish")
            context.part.bit(request)
            context.part.concurrent.append(f"{request} <= {' and '.join([here, *waits])};")
            here, waits = request, [f"{prefix}_{link.side.value}_granted"]
        go = context.namer.claim(f"{stem}_done")
        context.part.bit(go)
        context.part.concurrent.append(f"{go} <= {' and '.join([here, *waits])};")
        address = "" if operation.index is None else self.writer.bits(operation.index)
        taking = shape.kind is ItemKind.NOBLOCK and link.side is Side.READ
        strobe = f"{go} and {prefix}_read_valid" if taking else go
        if shape.kind is ItemKind.MODULE:
            data = tuple(f"std_logic_vector({self.writer.text(t)})" for t in operation.arguments)
        taken = f"{go}_taken" if shape.kind is ItemKind.MODULE else ""
        context.part.sites.append(Site(link, strobe, request, address, data, taken))
        return self.machine.state(note, f"{go} = '1'" if waits else "").work

    # Calls

    def _call(self, operation: Operation, note: str) -> None:
        """Call a shared module through its ports; write a copied one into this machine."""
        symbol = operation.named_item()
        module = symbol.origin
        assert isinstance(module, aa.Module)
        for result in operation.results:
            if not result.outer:
                self._claim(result)
        if is_copied(module):
            self._copy(module, operation, note)
            return
        prefix = self._link(operation).prefix(self.context.shapes)
        self._use(operation, f"call of {note}")
        taken = self.context.part.sites[-1].taken
        self.context.part.bit(taken)
        self.context.part.concurrent.append(f"{taken} <= {self.machine.here()} and {prefix}_done;")
        state = self.machine.state(f"results of {note}", f"{taken} = '1'")
        shape = self.context.shapes[symbol]
        for (name, _), result in zip(shape.results, operation.results, strict=True):
            word = cast_from_bits(result.type, f"{prefix}_out_{name}")
            state.work.append(f"{result.name} <= {word};")

    def _copy(self, module: aa.Module, operation: Operation, note: str) -> None:
        context, scope = self.context, self.context.scopes.modules[module.name]
        frame = Frame.of(module, scope, context.namer.claim(module.name) + "_")
        state = self.machine.state(f"call of {note}")
        for argument, tree in zip(module.inputs, operation.arguments, strict=True):
            inner = context.variable(frame, scope.symbols[argument.name])
            state.work.append(f"{inner.name} <= {self.writer.text(tree)};")
        self.body(module.body or (), scope, frame, Places())
        state = self.machine.state(f"results of {note}")
        for argument, result in zip(module.outputs, operation.results, strict=True):
            inner = context.variable(frame, scope.symbols[argument.name])
            state.work.append(f"{result.name} <= {inner.name};")

    # Control

    def evaluate(self, expr: aa.Expr, type_: ty.Type | None, scope: Scope, frame: Frame) -> Tree:
        """Resolve an expression, after states for what it reads."""
        return self._evaluated(self.context.typing.typed(expr, scope, type_), scope, frame)

    def _evaluated(self, typed: Typed, scope: Scope, frame: Frame) -> Tree:
        self.know(as_statement(typed.node), scope, frame)
        flat = self.flattener(frame)
        tree = flat.expression(typed)
        self.operations(flat.operations)
        return tree

    def _if(self, statement: aa.If, scope: Scope, frame: Frame, places: Places) -> None:
        typed = self.context.typing.condition(statement.condition, scope)
        tree = self._evaluated(typed, scope, frame)
        state = self.machine.state(f"if of {_line(statement.loc)}")
        condition = self.writer.condition(tree)
        then, otherwise = self.machine.choices(state, [condition])
        self.machine.open = [then]
        self.body(statement.then_body, scope, frame, places)
        ended = self.machine.open
        self.machine.open = [otherwise]
        self.body(statement.else_body, scope, frame, places)
        self.machine.open += ended

    def _switch(self, statement: aa.Switch, scope: Scope, frame: Frame, places: Places) -> None:
        selector = self.evaluate(statement.selector, None, scope, frame)
        chosen = self.writer.text(selector)
        conditions: list[str] = []
        for case in statement.cases:
            choice = self.evaluate(case.choice, selector.type, scope, frame)
            conditions.append(f"{chosen} = {self.writer.text(choice)}")
        state = self.machine.state(f"switch of {_line(statement.loc)}")
        *targets, default = self.machine.choices(state, conditions)
        ended: list[Target] = []
        bodies = [*(case.body for case in statement.cases), statement.default]
        if not statement.default:
            bodies.pop()
            self.machine.open = [default]
            self.machine.state(f"no case of {_line(statement.loc)}: wait for ever").exits = []
        for target, body in zip([*targets, default], bodies, strict=False):
            self.machine.open = [target]
            self.body(body, scope, frame, places)
            ended += self.machine.open
        self.machine.open = ended

    def _move(
        self, phis: Sequence[aa.Phi], entry: str | aa.Entry, scope: Scope, frame: Frame
    ) -> None:
        """Assign all phis of a merge for one way in; every source reads the old values."""
        lines: list[str] = []
        for phi in phis:
            target = self.context.variable(frame, scope.symbols[phi.target])
            for source in phi.sources:
                if entry not in source.entries:
                    continue
                if source.guard is not None:
                    unsupported(phi.loc, f"the guarded source of the phi '{phi.target}'")
                tree = self.evaluate(source.value, target.type, scope, frame)
                lines.append(f"{target.name} <= {self.writer.text(tree)};")
        if lines:
            name = entry.value if isinstance(entry, aa.Entry) else entry
            self.machine.state(f"phis of '{name}'").work += lines

    def _loop(self, loop: aa.DoPipeline, scope: Scope, frame: Frame) -> None:
        entries: list[Tree] = []
        for phi in loop.phis:
            type_ = self.context.typing.variable_type(scope.symbols[phi.target])
            kind = scalar(type_ or ty.Void(), phi.loc, f"a phi '{phi.target}'")
            entries.append(self.evaluate(source_of(phi, aa.Entry.ENTRY), kind, scope, frame))
        add_loop(self.context, self.machine, loop, scope, frame, entries)

    # Blocks

    def _block(self, block: aa.Block, scope: Scope, frame: Frame) -> None:
        match block.kind:
            case aa.BlockKind.SERIES:
                self.body(block.body, scope, frame, Places())
            case aa.BlockKind.BRANCH:
                self.body(block.body, scope, frame, Places.of(block.body))
            case aa.BlockKind.PARALLEL | aa.BlockKind.FORK:
                self._start_together(block, scope, frame)

    def _start_together(self, block: aa.Block, scope: Scope, frame: Frame) -> None:
        """Start a state machine for each statement; go on when all have ended."""
        context = self.context
        flags: list[str] = []
        labels: dict[str, str] = {}
        for statement in block.body:
            if isinstance(statement, aa.Null | aa.Barrier | aa.Trace | aa.Sleep | aa.Report):
                continue
            thread = context.namer.claim(f"branch{len(context.machines)}")
            flag = context.namer.claim(f"{thread}_on")
            context.part.bit(flag)
            context.part.reset.append(f"{flag} <= '0';")
            flags.append(flag)
            if isinstance(statement, aa.Block) and statement.label is not None:
                labels[statement.label] = flag
            inner = context.machine(thread, [f"{flag} <= '0';"])
            steps = Steps(context, inner)
            if isinstance(statement, aa.Join):
                ended = " and ".join(f"{labels[name]} = '0'" for name in statement.labels)
                inner.state(f"join of {_line(statement.loc)}", ended)
            steps.statement(statement, scope, frame, Places())
            if not inner.states:
                inner.state("nothing")
        if not flags:
            return
        state = self.machine.state(f"start of {_line(block.loc)}")
        state.work += [f"{flag} <= '1';" for flag in flags]
        ended = " and ".join(f"{flag} = '0'" for flag in flags)
        self.machine.state(f"end of {_line(block.loc)}", ended)


def _line(loc: aa.Loc | None) -> str:
    return "the text" if loc is None else f"line {loc.line}"
