"""The type that an Aa expression has of itself, without its context.

In: scopes with declared types. Out: types of expressions and variables; None for what is made of
literals only. Nothing is reported here: ``typing_rules`` compares with the context.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from pyahir.backends.aa import ast as aa
from pyahir.backends.aa import types as ty
from pyahir.backends.aa.scopes import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pyahir.backends.aa.scopes import ProgramScope, Scope, Symbol

__all__ = [
    "BOOL",
    "COMPARISONS",
    "POINTER_WIDTH",
    "NaturalTypes",
    "array_parts",
    "scalar_width",
    "unary_type",
]

BOOL = ty.UInt(1)
POINTER_WIDTH = 32

COMPARISONS = frozenset(
    {
        aa.BinaryOp.EQUAL,
        aa.BinaryOp.NOT_EQUAL,
        aa.BinaryOp.LESS,
        aa.BinaryOp.LESS_EQUAL,
        aa.BinaryOp.GREATER,
        aa.BinaryOp.GREATER_EQUAL,
        aa.BinaryOp.UNORDERED,
    }
)


def scalar_width(type_: ty.Type) -> int:
    """Return the number of bits of a value of a resolved type."""
    match type_:
        case ty.UInt(width) | ty.Int(width):
            assert isinstance(width, int)
            return width
        case ty.Float(exponent, fraction):
            assert isinstance(exponent, int)
            assert isinstance(fraction, int)
            return 1 + exponent + fraction
        case ty.Pointer():
            return POINTER_WIDTH
        case ty.Record(fields):
            return sum(scalar_width(part) for part in fields)
        case ty.Array(dims, element):
            count = 1
            for dim in dims:
                assert isinstance(dim, int)
                count *= dim
            return count * scalar_width(element)
        case ty.Void() | ty.NamedType():
            return 0
        case _:
            assert_never(type_)


def array_parts(type_: ty.Type) -> tuple[tuple[int, ...], ty.Type]:
    """Return all dimensions of a storage type, outermost first, and the type of one word."""
    dims: tuple[int, ...] = ()
    while isinstance(type_, ty.Array):
        dims += tuple(dim for dim in type_.dims if isinstance(dim, int))
        type_ = type_.element
    return dims, type_


class NaturalTypes:
    """Types of expressions of one program, remembering those of variables."""

    def __init__(self, scopes: ProgramScope) -> None:
        self.scopes = scopes
        self._active: set[Symbol] = set()

    # Variables

    def variable_type(self, symbol: Symbol) -> ty.Type | None:
        """Return the type of what a name stands for; None where only literals determine it."""
        if symbol.type is not None:
            return symbol.type
        if symbol.kind is not Kind.VARIABLE or symbol in self._active:
            return None
        self._active.add(symbol)
        found = self._defined_type(symbol)
        self._active.discard(symbol)
        if found is not None:
            symbol.type = found
        return found

    def _defined_type(self, symbol: Symbol) -> ty.Type | None:
        scope, origin = symbol.scope, symbol.origin
        match origin:
            case aa.Assign():
                return self.natural(origin.value, scope)
            case aa.Phi():
                natural = (self.natural(source.value, scope) for source in origin.sources)
                return next((type_ for type_ in natural if type_ is not None), None)
            case aa.Call():
                names = [result.name for result in origin.results]
                outputs = self.outputs(origin.module)
                index = names.index(symbol.name)
                return outputs[index] if index < len(outputs) else None
            case aa.Split():
                targets = [
                    target.name if isinstance(target, aa.Name) else "" for target in origin.targets
                ]
                index = targets.index(symbol.name)
                if index >= len(origin.widths):
                    return None
                return ty.UInt(self.scopes.size(origin.widths[index], origin.loc))
            case _:
                return None

    def outputs(self, module: str) -> list[ty.Type]:
        """Return the types of a module's outputs; none for an unknown module."""
        symbol = self.scopes.root.symbols.get(module)
        if symbol is None or not isinstance(symbol.origin, aa.Module):
            return []
        return [self.scopes.resolve(argument.type) for argument in symbol.origin.outputs]

    # Types without context

    def natural(self, expr: aa.Expr, scope: Scope) -> ty.Type | None:
        """Return the type that an expression has of itself; None for one made of literals only."""
        match expr:
            case aa.Name(name):
                symbol = scope.find(name)
                return None if symbol is None else self.variable_type(symbol)
            case aa.PathName():
                symbol = scope.find_path(expr)
                return None if symbol is None else self.variable_type(symbol)
            case aa.Index(base, indices):
                return self.element(self.natural(base, scope), indices)
            case aa.Literal() | aa.FloatLiteral() | aa.ParamLiteral():
                return None
            case aa.Zero(width) | aa.One(width):
                return ty.UInt(self.scopes.size(width, expr.loc))
            case aa.Unary(op, operand):
                inner = self.natural(operand, scope)
                return unary_type(op, inner)
            case aa.Binary(op, lhs, rhs):
                return self._binary_natural(op, lhs, rhs, scope)
            case aa.Mux(_, if_true, if_false):
                return self.first((if_true, if_false), scope)
            case aa.PriorityMux(cases, default):
                return self.first((*(case.value for case in cases), default), scope)
            case aa.ExclusiveMux(cases):
                return self.first((case.value for case in cases), scope)
            case aa.Reduce(_, operands):
                return self.first(operands, scope)
            case aa.Concat(operands):
                return self._joined(operands, scope)
            case aa.Slice(_, high, low):
                width = self.scopes.size(high, expr.loc) - self.scopes.size(low, expr.loc) + 1
                return ty.UInt(max(width, 1))
            case aa.BitMap(operand):
                return self.natural(operand, scope)
            case aa.BitReduce():
                return BOOL
            case aa.Cast(type_) | aa.BitCast(type_):
                return self.scopes.resolve(type_, expr.loc)
            case aa.CallExpr(module):
                outputs = self.outputs(module)
                return outputs[0] if len(outputs) == 1 else None
            case aa.AddressOf(target):
                inner = self.natural(target, scope)
                return None if inner is None else ty.Pointer(inner)
            case aa.Dereference(pointer):
                inner = self.natural(pointer, scope)
                return inner.target if isinstance(inner, ty.Pointer) else None
            case _:
                assert_never(expr)

    def first(self, exprs: Iterable[aa.Expr], scope: Scope) -> ty.Type | None:
        """Return the type of the first expression that has one."""
        natural = (self.natural(expr, scope) for expr in exprs)
        return next((type_ for type_ in natural if type_ is not None), None)

    def _joined(self, operands: Sequence[aa.Expr], scope: Scope) -> ty.Type | None:
        types = [self.natural(operand, scope) for operand in operands]
        if any(not isinstance(type_, ty.UInt) for type_ in types):
            return None
        return ty.UInt(sum(scalar_width(type_) for type_ in types if type_ is not None))

    def _binary_natural(
        self, op: aa.BinaryOp, lhs: aa.Expr, rhs: aa.Expr, scope: Scope
    ) -> ty.Type | None:
        if op in COMPARISONS or op is aa.BinaryOp.BIT_SELECT:
            return BOOL
        if op is aa.BinaryOp.CONCAT:
            return self._joined((lhs, rhs), scope)
        return self.first((lhs, rhs), scope)

    def element(self, type_: ty.Type | None, indices: Sequence[aa.Expr]) -> ty.Type | None:
        """Return the type of an element or field of a type; None where it has none."""
        for index in indices:
            match type_:
                case ty.Array(dims, element):
                    type_ = ty.Array(dims[1:], element) if len(dims) > 1 else element
                case ty.Record(fields):
                    number = self.constant_index(index)
                    type_ = fields[number] if number is not None and number < len(fields) else None
                case _:
                    return None
        return type_

    def constant_index(self, index: aa.Expr) -> int | None:
        """Return the value of an index that is a constant."""
        match index:
            case aa.Literal(value):
                return value if value >= 0 else None
            case aa.ParamLiteral(value):
                return self.scopes.size(value, index.loc)
            case aa.Name(name):
                symbol = self.scopes.root.symbols.get(name)
                parameter = symbol is not None and symbol.kind is Kind.PARAMETER
                return symbol.value if symbol is not None and parameter else None
            case _:
                return None


def unary_type(op: aa.UnaryOp, inner: ty.Type | None) -> ty.Type | None:
    """Return the type of a unary operation on a type."""
    if inner is None or op in (aa.UnaryOp.INVERT, aa.UnaryOp.PRIORITY_ENCODE):
        return inner
    width = scalar_width(inner)
    if op is aa.UnaryOp.DECODE:
        return ty.UInt(1 << min(width, 16))
    return ty.UInt(max((width - 1).bit_length(), 1))
