"""Names of an Aa program: what each one means in each scope, and compile-time sizes.

In: a ``Program``. Out: a ``ProgramScope`` with one ``Scope`` a module and block, holding symbols,
with resolved types where the text declares them. A ``Report`` collects what is wrong.
Not here: the types of expressions (``typing_rules``) and rules about statements (``verify``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, assert_never

from pyahir.backends.aa import ast as aa
from pyahir.backends.aa import types as ty
from pyahir.errors import AaError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Kind", "ProgramScope", "Report", "Scope", "Symbol", "build_scopes", "walk"]

_INT32 = 1 << 32


class Kind(Enum):
    """What a name stands for."""

    VARIABLE = "variable"
    INPUT = "input argument"
    OUTPUT = "output argument"
    PIPE = "pipe"
    STORAGE = "storage"
    CONSTANT = "constant"
    PARAMETER = "parameter"
    RECORD = "record type"
    MUTEX = "mutex"
    MODULE = "module"
    BLOCK = "block label"


Definition = aa.Assign | aa.Call | aa.Split | aa.Phi
Origin = Definition | aa.Argument | aa.Item | aa.Block | None


@dataclass(slots=True, eq=False)
class Symbol:
    """One meaning of one name; ``type`` of a variable is found by ``typing_rules``."""

    name: str
    kind: Kind
    scope: Scope
    origin: Origin = None
    type: ty.Type | None = None
    value: int = 0
    loc: aa.Loc | None = None
    order: int = 0
    position: int = 0


@dataclass(slots=True)
class Report:
    """The errors found so far, each with the module it lies in."""

    errors: list[str] = field(default_factory=list[str])
    module: str | None = None

    def add(self, loc: aa.Loc | None, message: str) -> None:
        """Note one error, once."""
        where = "" if loc is None else f"{loc}: "
        scope = "" if self.module is None else f"module '{self.module}': "
        text = f"{where}{scope}{message}"
        if text not in self.errors:
            self.errors.append(text)

    def raise_if_any(self) -> None:
        """Raise one ``AaError`` that lists every error, one a line."""
        if self.errors:
            raise AaError("\n".join(self.errors))


@dataclass(slots=True, eq=False)
class Scope:
    """The symbols of the program, a module or a block, and the scopes inside it."""

    name: str | None
    parent: Scope | None
    program: ProgramScope | None = None
    symbols: dict[str, Symbol] = field(default_factory=dict[str, Symbol])
    blocks: dict[int, Scope] = field(default_factory=dict[int, "Scope"])

    def find(self, name: str) -> Symbol | None:
        """Look a name up here and outwards."""
        scope: Scope | None = self
        while scope is not None:
            symbol = scope.symbols.get(name)
            if symbol is not None:
                return symbol
            scope = scope.parent
        return None

    def block(self, block: aa.Block) -> Scope:
        """Return the scope of a block directly inside this one."""
        return self.blocks[id(block)]

    def find_path(self, path: aa.PathName) -> Symbol | None:
        """Look a hierarchical name up: outwards, or down through labels."""
        scope: Scope = self
        for _ in range(path.up):
            if scope.parent is None:
                return None
            scope = scope.parent
        for label in path.labels:
            inner = [child for child in scope.blocks.values() if child.name == label]
            if not inner:
                return None
            scope = inner[0]
        return scope.symbols.get(path.name)


@dataclass(slots=True, eq=False)
class ProgramScope:
    """All scopes of a program."""

    program: aa.Program
    report: Report
    root: Scope
    modules: dict[str, Scope] = field(default_factory=dict[str, Scope])

    def size(self, size: ty.Size, loc: aa.Loc | None = None) -> int:
        """Evaluate a compile-time size as the tools do, in signed 32 bits."""
        match size:
            case int():
                return size
            case ty.ParamName(name):
                symbol = self.root.symbols.get(name)
                if symbol is None or symbol.kind is not Kind.PARAMETER:
                    self.report.add(loc, f"'{name}' is not a parameter; declare it before its use")
                    return 1
                return symbol.value
            case ty.ParamUnary(op, operand):
                value = self.size(operand, loc)
                return _signed32(~value if op is ty.ParamUnaryOp.INVERT else -value)
            case ty.ParamMux(condition, if_true, if_false):
                return self.size(if_true if self.size(condition, loc) else if_false, loc)
            case ty.ParamBinary(op, lhs, rhs):
                left, right = self.size(lhs, loc), self.size(rhs, loc)
                if op is ty.ParamOp.DIV and right == 0:
                    self.report.add(loc, "a size is divided by zero")
                    return 1
                return _signed32(_apply(op, left, right))
            case _:
                assert_never(size)

    def resolve(self, type_: ty.Type, loc: aa.Loc | None = None) -> ty.Type:
        """Replace sizes by numbers and named records by records."""
        match type_:
            case ty.UInt(width):
                return ty.UInt(self._width(width, loc))
            case ty.Int(width):
                return ty.Int(self._width(width, loc))
            case ty.Float(exponent, fraction):
                return ty.Float(self.size(exponent, loc), self.size(fraction, loc))
            case ty.Array(dims, element):
                numbers = tuple(self._width(dim, loc) for dim in dims)
                return ty.Array(numbers, self.resolve(element, loc))
            case ty.Record(fields):
                return ty.Record(tuple(self.resolve(part, loc) for part in fields))
            case ty.Pointer(target):
                return ty.Pointer(self.resolve(target, loc))
            case ty.NamedType(name):
                symbol = self.root.symbols.get(name)
                if symbol is None or symbol.kind is not Kind.RECORD or symbol.type is None:
                    self.report.add(loc, f"'{name}' is not a record type")
                    return ty.UInt(1)
                return symbol.type
            case ty.Void():
                return type_
            case _:
                assert_never(type_)

    def _width(self, size: ty.Size, loc: aa.Loc | None) -> int:
        value = self.size(size, loc)
        if value < 1:
            self.report.add(loc, f"found size {value}; accepted: 1 or more")
            return 1
        return value


def _signed32(value: int) -> int:
    value %= _INT32
    return value - _INT32 if value >= _INT32 >> 1 else value


def _apply(op: ty.ParamOp, left: int, right: int) -> int:
    match op:
        case ty.ParamOp.ADD:
            return left + right
        case ty.ParamOp.SUB:
            return left - right
        case ty.ParamOp.MUL:
            return left * right
        case ty.ParamOp.DIV:
            return abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1)
        case ty.ParamOp.POWER:
            return left**right if 0 <= right < 64 else 0
        case ty.ParamOp.EQUAL:
            return int(left == right)
        case ty.ParamOp.NOT_EQUAL:
            return int(left != right)
        case ty.ParamOp.LESS:
            return int(left < right)
        case ty.ParamOp.LESS_EQUAL:
            return int(left <= right)
        case ty.ParamOp.GREATER:
            return int(left > right)
        case ty.ParamOp.GREATER_EQUAL:
            return int(left >= right)
        case ty.ParamOp.SHIFT_LEFT:
            return left << (right & 31)
        case ty.ParamOp.SHIFT_RIGHT:
            return left >> (right & 31)
        case ty.ParamOp.OR:
            return left | right
        case ty.ParamOp.AND:
            return left & right
        case ty.ParamOp.XOR:
            return left ^ right
        case _:
            assert_never(op)


def build_scopes(program: aa.Program, report: Report | None = None) -> ProgramScope:
    """Declare every name of a program, noting redefinitions in one scope."""
    report = Report() if report is None else report
    scopes = ProgramScope(program, report, Scope(None, None))
    builder = _Builder(scopes)
    ranked = sorted(program.items, key=_declaration_rank)
    for item in ranked:
        builder.declare_item(scopes.root, item)
    for module in program.modules():
        report.module = module.name
        scopes.modules.setdefault(module.name, builder.module_scope(module))
    report.module = None
    return scopes


def _declaration_rank(item: aa.Item) -> int:
    """Order sizes before the record types and objects that use them."""
    match item:
        case aa.Parameter():
            return 0
        case aa.RecordDeclaration():
            return 1
        case _:
            return 2


class _Builder:
    def __init__(self, scopes: ProgramScope) -> None:
        self.scopes = scopes
        self.order = 0
        self.position = 0

    def declare(self, scope: Scope, name: str, kind: Kind, origin: Origin) -> Symbol | None:
        loc = None if origin is None else origin.loc
        known = scope.symbols.get(name)
        if known is not None:
            first = "" if known.loc is None else f" at {known.loc}"
            self.scopes.report.add(
                loc, f"'{name}' is already a {known.kind.value}{first}; a scope defines a name once"
            )
            return None
        symbol = Symbol(name, kind, scope, origin, loc=loc, order=self.order)
        symbol.position = self.position
        self.order += 1
        scope.symbols[name] = symbol
        return symbol

    def declare_item(self, scope: Scope, item: aa.Item) -> None:
        resolve, loc = self.scopes.resolve, item.loc
        match item:
            case aa.Module():
                self.declare(scope, item.name, Kind.MODULE, item)
            case aa.Pipe():
                self._typed(scope, item, Kind.PIPE, resolve(item.type, loc))
            case aa.Storage():
                self._typed(scope, item, Kind.STORAGE, resolve(item.type, loc))
            case aa.Constant():
                self._typed(scope, item, Kind.CONSTANT, resolve(item.type, loc))
            case aa.RecordDeclaration():
                fields = tuple(resolve(part, loc) for part in item.fields)
                self._typed(scope, item, Kind.RECORD, ty.Record(fields))
            case aa.Mutex():
                self.declare(scope, item.name, Kind.MUTEX, item)
            case aa.Parameter():
                value = self.scopes.size(item.value, loc)
                symbol = self.declare(scope, item.name, Kind.PARAMETER, item)
                if symbol is not None:
                    symbol.value = value
            case _:
                assert_never(item)

    def _typed(
        self,
        scope: Scope,
        item: aa.Pipe | aa.Storage | aa.Constant | aa.RecordDeclaration,
        kind: Kind,
        type_: ty.Type,
    ) -> None:
        symbol = self.declare(scope, item.name, kind, item)
        if symbol is not None:
            symbol.type = type_

    def module_scope(self, module: aa.Module) -> Scope:
        scope = Scope(module.name, self.scopes.root, self.scopes)
        for kind, arguments in ((Kind.INPUT, module.inputs), (Kind.OUTPUT, module.outputs)):
            for argument in arguments:
                symbol = self.declare(scope, argument.name, kind, argument)
                if symbol is not None:
                    symbol.type = self.scopes.resolve(argument.type, argument.loc)
        for declaration in module.declarations:
            self.declare_item(scope, declaration)
        self._define_all(scope, module.body or ())
        return scope

    def _define_all(self, scope: Scope, body: Sequence[aa.Statement]) -> None:
        for statement in body:
            self._define(scope, statement)
            self.position += 1

    def _define(self, scope: Scope, statement: aa.Statement) -> None:
        match statement:
            case aa.Assign():
                self._target(scope, statement.target, statement)
            case aa.Call():
                for result in statement.results:
                    self._target(scope, result, statement)
            case aa.Split():
                for target in statement.targets:
                    self._target(scope, target, statement)
            case aa.Block():
                self._enter(scope, statement)
            case aa.Join():
                self._define_all(scope, statement.body)
            case aa.If():
                self._define_all(scope, statement.then_body)
                self._define_all(scope, statement.else_body)
            case aa.Switch():
                for case in statement.cases:
                    self._define_all(scope, case.body)
                self._define_all(scope, statement.default)
            case aa.Merge():
                self._phis(scope, statement.phis)
            case aa.DoPipeline():
                self._phis(scope, statement.phis)
                self._define_all(scope, statement.body)
            case _:
                pass

    def _phis(self, scope: Scope, phis: Sequence[aa.Phi]) -> None:
        for phi in phis:
            self.declare(scope, phi.target, Kind.VARIABLE, phi)

    def _target(self, scope: Scope, target: aa.Target, origin: Definition) -> None:
        if not isinstance(target, aa.Name):
            return
        known = scope.find(target.name)
        written = (Kind.PIPE, Kind.STORAGE, Kind.INPUT, Kind.OUTPUT, Kind.CONSTANT)
        outside = known is not None and known.kind in written
        if not outside:
            self.declare(scope, target.name, Kind.VARIABLE, origin)

    def _enter(self, scope: Scope, block: aa.Block) -> None:
        inner = Scope(block.label, scope, self.scopes)
        scope.blocks[id(block)] = inner
        if block.label is not None:
            self.declare(scope, block.label, Kind.BLOCK, block)
        for declaration in block.declarations:
            self.declare_item(inner, declaration)
        self._define_all(inner, block.body)
        for export in block.exports:
            symbol = inner.symbols.get(export.inner)
            if symbol is None or symbol.kind is not Kind.VARIABLE:
                self.scopes.report.add(
                    block.loc,
                    f"found export of '{export.inner}'; accepted: a variable of the block",
                )
            elif export.outer in scope.symbols:
                self.scopes.report.add(block.loc, f"'{export.outer}' is already defined outside")
            else:
                scope.symbols[export.outer] = symbol


def walk(body: Sequence[aa.Statement]) -> Iterator[aa.Statement]:
    """Yield all statements of a body, outer ones first, also those of inner blocks."""
    for statement in body:
        yield statement
        match statement:
            case aa.Block() | aa.Join() | aa.DoPipeline():
                yield from walk(statement.body)
            case aa.If():
                yield from walk(statement.then_body)
                yield from walk(statement.else_body)
            case aa.Switch():
                for case in statement.cases:
                    yield from walk(case.body)
                yield from walk(statement.default)
            case _:
                pass
