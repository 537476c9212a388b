"""Aa modules as Python source: statements, control flow and blocking.

In: a typed module. Out: the source of a factory that returns, at each call, a new instance: for a
daemon a generator that never ends, for a called module a generator function (one that can block
or loop) or a plain function. A blocked generator yields a ``Wait`` once and then None until it
can go on; from time to time a loop yields a ``Tick``. Variables keep their values from one run
to the next, as registers do: that alone gives guards and loops their previous values.
Not here: operators (``codegen_expr``) and the scheduler (``interp``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, assert_never

from pyahir.backends.aa import ast as aa
from pyahir.backends.aa import types as ty
from pyahir.backends.aa.codegen_branch import BranchCoder
from pyahir.backends.aa.codegen_expr import Code, ExprCoder, bounds, wrapped
from pyahir.backends.aa.scopes import Kind
from pyahir.backends.aa.traverse import body_blocks, is_copied
from pyahir.backends.aa.typing_rules import array_parts, scalar_width
from pyahir.backends.aa.values import FloatFormat, PipeState, Wait, WaitFor
from pyahir.errors import AaError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pyahir.backends.aa.scopes import ProgramScope, Scope, Symbol
    from pyahir.backends.aa.typing_rules import Typing

__all__ = ["ModuleCoder", "Shared"]

_TICK_EVERY = 4096


@dataclass(slots=True)
class Shared:
    """What the code of all modules has in common: the globals of the generated source."""

    scopes: ProgramScope
    typing: Typing
    names: dict[str, object] = field(default_factory=dict[str, object])
    pipes: dict[Symbol, PipeState] = field(default_factory=dict["Symbol", PipeState])
    storages: dict[Symbol, list[int | None]] = field(
        default_factory=dict["Symbol", "list[int | None]"]
    )
    bases: dict[Symbol, int] = field(default_factory=dict["Symbol", int])
    blocking: dict[str, bool] = field(default_factory=dict[str, bool])
    called: set[str] = field(default_factory=set[str])
    fill: int | None = None

    def module(self, name: str) -> aa.Module:
        """Return a declared module."""
        symbol = self.scopes.root.symbols.get(name)
        assert symbol is not None
        assert isinstance(symbol.origin, aa.Module)
        return symbol.origin


class ModuleCoder:
    """Writes the source of one module."""

    def __init__(self, shared: Shared, module: aa.Module) -> None:
        self.shared = shared
        self.module = module
        self.scope = shared.scopes.modules[module.name]
        self.coder = ExprCoder(self)
        self.blocking = shared.blocking[module.name]
        self._lines: list[str] = []
        self._indent = 0
        self._names: dict[Symbol, str] = {}
        self._bounds: dict[Symbol, tuple[int, int]] = {}
        self._instances: list[str] = []
        self._temporaries = 0

    def source(self) -> str:
        """Return the source of ``make_NAME``."""
        module = self.module
        inputs = [self._name(self.scope.symbols[argument.name]) for argument in module.inputs]
        outputs = [self._name(self.scope.symbols[argument.name]) for argument in module.outputs]
        daemon = not inputs and not outputs and module.name not in self.shared.called
        self._indent = 3 if daemon else 2
        self._body(module.body or (), self.scope)
        body, names = self._lines, sorted(set(self._names.values()) - set(inputs))
        head = [f"def make_{_identifier(module.name)}():", *self._instances]
        head += [f" {name} = 0" for name in names]
        head.append(f" def run({', '.join(inputs)}):")
        if names:
            head.append(f"  nonlocal {', '.join(names)}")
        if daemon:
            head = [f"def make_{_identifier(module.name)}():", *self._instances, " def run():"]
            head += [f"  {name} = 0" for name in names]
            head += ["  while True:", *body, "   yield TICK"]
            return "\n".join([*head, " return run", ""])
        results = "".join(f"{name}, " for name in outputs)
        tail = [f"  return ({results})", *(["  yield"] if self.blocking else []), " return run"]
        return "\n".join([*head, *body, *tail, ""])

    # The environment of expressions

    def line(self, text: str) -> None:
        """Write a line at the current depth."""
        self._lines.append(" " * self._indent + text)

    def temporary(self, text: str) -> str:
        """Write ``text`` to a fresh local and return its name."""
        self._temporaries += 1
        self.line(f"t{self._temporaries} = {text}")
        return f"t{self._temporaries}"

    def variable(self, symbol: Symbol) -> Code:
        """Read a variable or argument."""
        type_ = self.shared.typing.variable_type(symbol) or ty.UInt(32)
        return Code(self._name(symbol), *self._bounds.get(symbol, bounds(type_)))

    def _name(self, symbol: Symbol) -> str:
        if symbol not in self._names:
            self._names[symbol] = f"v{len(self._names)}_{_identifier(symbol.name)}"
        return self._names[symbol]

    def _global(self, prefix: str, value: object) -> str:
        names = self.shared.names
        name = f"{prefix}{len(names)}"
        names[name] = value
        return name

    def _wait(self, need: WaitFor, name: str, loc: aa.Loc | None) -> str:
        return self._global("W", Wait(need, name, self.module.name, loc))

    def _block_while(self, condition: str, wait: str) -> None:
        self.line(f"if {condition}:")
        self.line(f" yield {wait}")
        self.line(f" while {condition}: yield")

    def read_pipe(self, symbol: Symbol, loc: aa.Loc | None) -> str:
        """Take an item of a pipe and return its text."""
        pipe, queue = self._pipe(symbol)
        declared = symbol.origin
        assert isinstance(declared, aa.Pipe)
        if pipe.signal:
            return self.temporary(f"{queue}[0]")
        if declared.kind is aa.PipeKind.NOBLOCK:
            return self.temporary(f"{queue}.popleft() if {queue} else 0")
        self._block_while(f"not {queue}", self._wait(WaitFor.DATA, pipe.name, loc))
        method = "pop" if declared.kind is aa.PipeKind.LIFO else "popleft"
        return self.temporary(f"{queue}.{method}()")

    def _pipe(self, symbol: Symbol) -> tuple[PipeState, str]:
        pipe = self.shared.pipes[symbol]
        name = f"q_{_identifier(symbol.name)}_{symbol.order}"
        self.shared.names[name] = pipe.queue
        return pipe, name

    def _write_pipe(self, symbol: Symbol, value: str, loc: aa.Loc | None) -> None:
        pipe, queue = self._pipe(symbol)
        if pipe.signal:
            self.line(f"{queue}[0] = {value}")
            return
        full = f"len({queue}) >= {pipe.capacity}"
        self._block_while(full, self._wait(WaitFor.ROOM, pipe.name, loc))
        self.line(f"{queue}.append({value})")
        if set(pipe.readers) & set(pipe.writers):
            state = f"p_{_identifier(symbol.name)}_{symbol.order}"
            self.shared.names[state] = pipe
            self.line(f"if len({queue}) > {state}.most: {state}.most = len({queue})")

    def load(self, symbol: Symbol, index: str, loc: aa.Loc | None) -> str:
        """Load a word of a storage and return its text."""
        words = self._storage(symbol)
        if not index.isalnum():
            index = self.temporary(index)
        name = self.temporary(f"{words}[{index}]")
        if self.shared.fill is None:
            self.line(
                f"if {name} is None: raise undefined({symbol.name!r}, {index}, {self._at(loc)})"
            )
        return name

    def _at(self, loc: aa.Loc | None) -> str:
        return f"{self.module.name!r}, {loc!r}"

    def _storage(self, symbol: Symbol) -> str:
        name = f"s_{_identifier(symbol.name)}_{symbol.order}"
        self.shared.names[name] = self.shared.storages[symbol]
        return name

    def outside(self, symbol: Symbol, index: str, size: int, loc: aa.Loc | None) -> None:
        """Write the check of an index against a size that is not a power of two."""
        text = f"outside({symbol.name!r}, {index}, {size}, {self._at(loc)})"
        self.line(f"if {index} >= {size}: raise {text}")

    def call(self, node: aa.CallExpr | aa.Call, arguments: list[str]) -> str:
        """Call a module and return the text of the tuple of its results."""
        module = self.shared.module(node.module)
        name = _identifier(module.name)
        if module.body is None:
            raise AaError(f"{node.loc}: module '{module.name}' has no body: it cannot be run")
        blocking = self.shared.blocking[module.name]
        if is_copied(module):
            instance = f"f{len(self._instances)}_{name}"
            self._instances.append(f" {instance} = make_{name}()")
        else:
            instance = f"shared_{name}"
        text = f"{instance}({', '.join(arguments)})"
        if not blocking:
            return self.temporary(text)
        lock = f"busy_{name}"
        self.shared.names.setdefault(lock, [False])
        self._block_while(f"{lock}[0]", self._wait(WaitFor.MUTEX, module.name, node.loc))
        self.line(f"{lock}[0] = True")
        result = self.temporary(f"yield from {text}")
        self.line(f"{lock}[0] = False")
        return result

    def float_format(self, type_: ty.Float) -> str:
        """Return the name of the format object of a float type."""
        assert isinstance(type_.exponent, int)
        assert isinstance(type_.fraction, int)
        name = f"float_{type_.exponent}_{type_.fraction}"
        format_ = FloatFormat(type_.exponent, type_.fraction)
        codes = format_.codes
        assert len(codes) == 2
        self.shared.names[name] = format_
        return name

    def constant(self, symbol: Symbol) -> int:
        """Return the value of a declared constant."""
        declared = symbol.origin
        assert isinstance(declared, aa.Constant)
        typed = self.shared.typing.typed(declared.value, symbol.scope, symbol.type)
        if isinstance(declared.value, aa.FloatLiteral):
            return self.float_constant(declared.value.value, typed.type)
        return typed.number or 0

    def float_constant(self, value: float, type_: ty.Type) -> int:
        """Return the pattern of a float literal."""
        assert isinstance(type_, ty.Float)
        self.float_format(type_)
        assert isinstance(type_.exponent, int)
        assert isinstance(type_.fraction, int)
        return FloatFormat(type_.exponent, type_.fraction).pack(value)

    def address(self, symbol: Symbol) -> int:
        """Return the address of a storage's first word, for pointers."""
        return self.shared.bases[symbol]

    # Statements

    def _body(self, body: Sequence[aa.Statement], scope: Scope) -> None:
        for statement in body:
            self._statement(statement, scope)

    def _statement(self, statement: aa.Statement, scope: Scope) -> None:
        match statement:
            case aa.Assign() | aa.Call() | aa.Split():
                self._guarded(statement, scope)
            case aa.Lock() | aa.Unlock():
                self._mutex(statement)
            case aa.Block():
                self._block(statement, scope.block(statement))
            case aa.Join():
                self._body(statement.body, scope)
            case aa.If():
                self._if(statement, scope)
            case aa.Switch():
                self._switch(statement, scope)
            case aa.DoPipeline():
                self._loop(statement, scope)
            case aa.Null() | aa.Barrier() | aa.Sleep() | aa.Trace() | aa.Report():
                return
            case aa.Merge() | aa.Place():
                raise AssertionError("jumps are coded with their branch block")
            case _:
                assert_never(statement)

    def _guarded(self, statement: aa.Assign | aa.Call | aa.Split, scope: Scope) -> None:
        guard = statement.guard
        # The tools ignore the guard of a volatile statement.
        if guard is not None and not statement.volatile:
            typed = self.shared.typing.typed(aa.Name(guard.name), scope, None)
            text = self.coder.value(typed).text
            text = text if scalar_width(typed.type) == 1 else f"{text} & 1"
            self.line(f"if {'not ' if guard.inverted else ''}({text}):")
            self._indent += 1
            self._simple(statement, scope)
            self._indent -= 1
            return
        self._simple(statement, scope)

    def _simple(self, statement: aa.Assign | aa.Call | aa.Split, scope: Scope) -> None:
        typing = self.shared.typing
        match statement:
            case aa.Assign(target, value):
                type_ = self._target_type(target, scope)
                self._assign(target, self.coder.value(typing.typed(value, scope, type_)), scope)
            case aa.Call():
                typed = typing.arguments(statement, statement.module, statement.arguments, scope)
                arguments = [self.coder.value(part).text for part in typed]
                results = self.call(statement, arguments)
                for position, name in enumerate(statement.results):
                    type_ = self._target_type(name, scope)
                    self._assign(name, Code(f"{results}[{position}]", *bounds(type_)), scope)
            case aa.Split():
                self._split(statement, scope)
            case _:
                assert_never(statement)

    def _split(self, split: aa.Split, scope: Scope) -> None:
        source = self.coder.pattern(self.shared.typing.typed(split.source, scope, None))
        word = self.temporary(source.text)
        widths = [self.shared.scopes.size(width, split.loc) for width in split.widths]
        place = sum(widths)
        for target, width in zip(split.targets, widths, strict=True):
            place -= width
            high = (1 << width) - 1
            self._assign(target, Code(f"({word} >> {place} & {high})", 0, high), scope)

    def _target_type(self, target: aa.Target, scope: Scope) -> ty.Type:
        natural = self.shared.typing.natural(target, scope)
        return natural or ty.UInt(32)

    def _assign(self, target: aa.Target, code: Code, scope: Scope) -> None:
        if isinstance(target, aa.Dereference):
            pointer = self.shared.typing.typed(target.pointer, scope, None)
            self.line(f"store_pointer({self.coder.value(pointer).text}, {code.text})")
            return
        base = target.base if isinstance(target, aa.Index) else target
        symbol = scope.find(base.name) if isinstance(base, aa.Name) else scope.find_path(base)
        assert symbol is not None
        if symbol.kind is Kind.PIPE:
            self._write_pipe(symbol, code.text, target.loc)
        elif symbol.kind is Kind.STORAGE:
            self._store(target, symbol, code, scope)
        else:
            self.line(f"{self._name(symbol)} = {code.text}")
            if symbol.kind is Kind.VARIABLE:
                self._bounds[symbol] = (min(code.low, 0), max(code.high, 0))

    def _store(self, target: aa.Target, symbol: Symbol, code: Code, scope: Scope) -> None:
        words = self._storage(symbol)
        if not isinstance(target, aa.Index):
            self.line(f"{words}[0] = {code.text}")
            return
        typed = self.shared.typing.typed(target, scope, None)
        index, low, width = self.coder.word_index(typed)
        _, word = array_parts(symbol.type or typed.type)
        if scalar_width(word) == width:
            self.line(f"{words}[{index}] = {code.text}")
            return
        bits = wrapped(code, ty.UInt(width)).text
        place = self.temporary(index)
        kept = f"({words}[{place}] or 0) & {~(((1 << width) - 1) << low)}"
        self.line(f"{words}[{place}] = {kept} | {bits} << {low}")

    def _mutex(self, statement: aa.Lock | aa.Unlock) -> None:
        name = f"mutex_{_identifier(statement.mutex)}"
        self.shared.names.setdefault(name, [False])
        if isinstance(statement, aa.Unlock):
            self.line(f"{name}[0] = False")
            return
        self._block_while(f"{name}[0]", self._wait(WaitFor.MUTEX, statement.mutex, statement.loc))
        self.line(f"{name}[0] = True")

    # Control flow

    def _block(self, block: aa.Block, scope: Scope) -> None:
        match block.kind:
            case aa.BlockKind.SERIES:
                self._body(block.body, scope)
            case aa.BlockKind.BRANCH:
                BranchCoder(self, scope).code(block.body)
            case aa.BlockKind.PARALLEL | aa.BlockKind.FORK:
                if any(self.can_block(statement, scope) for statement in block.body):
                    self._concurrent(block, scope)
                else:
                    self._body(block.body, scope)
            case _:
                assert_never(block.kind)

    def can_block(self, statement: aa.Statement, scope: Scope) -> bool:
        """Whether a statement may have to wait for another module or runs a loop."""
        return body_blocks((statement,), scope, self.shared.blocking)

    def _concurrent(self, block: aa.Block, scope: Scope) -> None:
        """Run each statement of a block as a generator of its own, round robin."""
        branches: list[str] = []
        labels: dict[str, int] = {}
        outer = self._lines
        for position, statement in enumerate(block.body):
            name = self.fresh("branch")
            self._lines = []
            self._indent += 1
            self._statement(statement, scope)
            self._indent -= 1
            body, self._lines = self._lines, outer
            variables = sorted(set(self._names.values()))
            self.line(f"def {name}():")
            if variables:
                self.line(f" nonlocal {', '.join(variables)}")
            self._lines.extend(body)
            self.line(" return")
            self.line(" yield")
            after: list[int] = []
            if isinstance(statement, aa.Join):
                after = [labels[label] for label in statement.labels if label in labels]
            if isinstance(statement, aa.Block) and statement.label is not None:
                labels[statement.label] = position
            branches.append(f"({name}, {after!r})")
        self.line(f"yield from concurrent([{', '.join(branches)}])")

    def _if(self, statement: aa.If, scope: Scope) -> None:
        typed = self.shared.typing.condition(statement.condition, scope)
        self.line(f"if {self.coder.value(typed).text}:")
        self._arm(statement.then_body, scope)
        if statement.else_body:
            self.line("else:")
            self._arm(statement.else_body, scope)

    def _arm(self, body: Sequence[aa.Statement], scope: Scope) -> None:
        self._indent += 1
        self._body(body, scope)
        self.line("pass")
        self._indent -= 1

    def choices(self, statement: aa.Switch, scope: Scope) -> Iterator[tuple[str, int]]:
        """Yield the condition text of each case, having coded the selector once."""
        typing = self.shared.typing
        typed = typing.typed(statement.selector, scope, None)
        selector = self.temporary(self.coder.value(typed).text)
        for position, case in enumerate(statement.cases):
            choice = typing.typed(case.choice, scope, typed.type)
            yield f"{selector} == {self.coder.value(choice).text}", position

    def no_case(self, statement: aa.Switch) -> str:
        """Return the statement for a value that no case accepts, where the tools would hang."""
        text = f"{statement.loc}: module '{self.module.name}': no case of the switch matches"
        return f"raise AaError({text!r})"

    def _switch(self, statement: aa.Switch, scope: Scope) -> None:
        for condition, position in list(self.choices(statement, scope)):
            self.line(f"{'elif' if position else 'if'} {condition}:")
            self._arm(statement.cases[position].body, scope)
        self.line("else:")
        if statement.default:
            self._arm(statement.default, scope)
        else:
            self.line(f" {self.no_case(statement)}")

    def move_phis(self, phis: Sequence[aa.Phi], entry: str | aa.Entry, scope: Scope) -> None:
        """Assign all phis of a merge for one way in; every source reads the old values."""
        names: list[str] = []
        values: list[str] = []
        for phi in phis:
            symbol = scope.symbols[phi.target]
            type_ = self.shared.typing.variable_type(symbol) or ty.UInt(32)
            for source in phi.sources:
                if entry in source.entries:
                    typed = self.shared.typing.typed(source.value, scope, type_)
                    values.append(self.coder.value(typed).text)
                    names.append(self._name(symbol))
        if names:
            self.line(f"{', '.join(names)} = {', '.join(values)}")

    def _loop(self, loop: aa.DoPipeline, scope: Scope) -> None:
        self.move_phis(loop.phis, aa.Entry.ENTRY, scope)
        self._temporaries += 1
        count = f"n{self._temporaries}"
        self.line(f"{count} = 0")
        self.line("while True:")
        self._indent += 1
        self._body(loop.body, scope)
        condition = self.coder.value(self.shared.typing.condition(loop.condition, scope)).text
        if condition != "1":
            self.line(f"if not {condition}: break")
        self.line(f"{count} += 1")
        self.line(f"if {count} == {_TICK_EVERY}:")
        self.line(f" {count} = 0")
        self.line(" yield TICK")
        self.move_phis(loop.phis, aa.Entry.LOOPBACK, scope)
        self._indent -= 1

    def indent(self, change: int) -> None:
        """Move the depth of the following lines."""
        self._indent += change

    def condition(self, expr: aa.Expr, scope: Scope) -> str:
        """Code the condition of a jump."""
        return self.coder.value(self.shared.typing.condition(expr, scope)).text

    def statement(self, statement: aa.Statement, scope: Scope) -> None:
        """Code a statement without jumps."""
        self._statement(statement, scope)

    def fresh(self, prefix: str) -> str:
        """Return a new local name."""
        self._temporaries += 1
        return f"{prefix}{self._temporaries}"


def _identifier(name: str) -> str:
    return name.replace(".", "_dot_")
