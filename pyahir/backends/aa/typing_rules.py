"""The types of Aa expressions: each operator's rule, and literals that adapt to it.

In: scopes with declared types. Out: ``Typed`` trees (node, type, typed operands) for the
interpreter, types of variables, and errors in the scopes' report.
Not here: rules about statements (``verify``) and the meaning of operators (``codegen``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from pyahir.backends.aa import ast as aa
from pyahir.backends.aa import types as ty
from pyahir.backends.aa.natural_types import (
    BOOL,
    COMPARISONS,
    POINTER_WIDTH,
    NaturalTypes,
    array_parts,
    scalar_width,
    unary_type,
)
from pyahir.backends.aa.printer import expr_text, type_text
from pyahir.backends.aa.scopes import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyahir.backends.aa.scopes import ProgramScope, Scope, Symbol

__all__ = ["BOOL", "POINTER_WIDTH", "Typed", "Typing", "array_parts", "scalar_width"]

_FLOAT_OPS = COMPARISONS | {aa.BinaryOp.ADD, aa.BinaryOp.SUB, aa.BinaryOp.MUL}
_FOLDED_UNSIGNED = frozenset(
    {
        aa.BinaryOp.SHIFT_RIGHT,
        aa.BinaryOp.DIV,
        aa.BinaryOp.LESS,
        aa.BinaryOp.LESS_EQUAL,
        aa.BinaryOp.GREATER,
        aa.BinaryOp.GREATER_EQUAL,
    }
)
# Of constants: '<=' and '>=' are folded as strict, shifts go wrong beyond the width, a selected
# bit is another one or an assertion, a rotation crashes.
_FOLDED_WRONG = frozenset(
    {
        aa.BinaryOp.LESS_EQUAL,
        aa.BinaryOp.GREATER_EQUAL,
        aa.BinaryOp.SHIFT_LEFT,
        aa.BinaryOp.SHIFT_RIGHT,
        aa.BinaryOp.ROTATE_LEFT,
        aa.BinaryOp.ROTATE_RIGHT,
        aa.BinaryOp.BIT_SELECT,
    }
)


@dataclass(frozen=True, slots=True)
class Typed:
    """An expression with its type and its operands; ``number`` is set where it is a constant."""

    node: aa.Expr
    type: ty.Type
    operands: tuple[Typed, ...] = ()
    number: int | None = None
    symbol: Symbol | None = None


class Typing:
    """Types expressions of one program, remembering the types of variables."""

    def __init__(self, scopes: ProgramScope) -> None:
        self.scopes = scopes
        self._own = NaturalTypes(scopes)

    def variable_type(self, symbol: Symbol) -> ty.Type | None:
        """Return the type of what a name stands for; None where only literals determine it."""
        return self._own.variable_type(symbol)

    def natural(self, expr: aa.Expr, scope: Scope) -> ty.Type | None:
        """Return the type that an expression has of itself."""
        return self._own.natural(expr, scope)

    # Types in context

    def typed(self, expr: aa.Expr, scope: Scope, expected: ty.Type | None) -> Typed:
        """Type an expression that must have type ``expected``, or its own where that is None."""
        result = self._typed(expr, scope, expected)
        if expected is not None and result.type != expected:
            self._error(
                expr,
                f"'{expr_text(expr)}' has type {type_text(result.type)}; "
                f"accepted: {type_text(expected)}",
            )
            return Typed(expr, expected, result.operands, result.number, result.symbol)
        return result

    def condition(self, expr: aa.Expr, scope: Scope) -> Typed:
        """Type the condition of a statement: any unsigned integer, true where it is not 0."""
        natural = self.natural(expr, scope)
        result = self.typed(expr, scope, BOOL if natural is None else None)
        if not isinstance(result.type, ty.UInt):
            self._error(
                expr,
                f"condition '{expr_text(expr)}' has type {type_text(result.type)}; "
                f"accepted: an unsigned integer",
            )
        return result

    def _error(self, expr: aa.Expr, message: str) -> None:
        self.scopes.report.add(_loc_of(expr), message)

    def _typed(self, expr: aa.Expr, scope: Scope, expected: ty.Type | None) -> Typed:
        match expr:
            case aa.Literal() | aa.FloatLiteral() | aa.ParamLiteral():
                return self._literal(expr, expected)
            case aa.Name() | aa.PathName():
                return self._name(expr, scope, expected)
            case aa.Index():
                return self._index(expr, scope)
            case aa.Zero(width) | aa.One(width):
                size = max(self.scopes.size(width, expr.loc), 1)
                return Typed(expr, ty.UInt(size), number=int(isinstance(expr, aa.One)))
            case aa.Unary(op, operand):
                return self._unary(expr, op, operand, scope, expected)
            case aa.Binary():
                return self._binary(expr, scope, expected)
            case aa.Mux(condition, if_true, if_false):
                arms = self._alike((if_true, if_false), scope, expected)
                test = self.typed(condition, scope, BOOL)
                return Typed(expr, arms[0].type, (test, *arms))
            case aa.PriorityMux(cases, default):
                return self._choice(expr, cases, (default,), scope, expected)
            case aa.ExclusiveMux(cases):
                return self._choice(expr, cases, (), scope, expected)
            case aa.Reduce(op, operands):
                parts = self._alike(operands, scope, expected)
                self._accept_float(expr, parts[0].type, op is aa.ReduceOp.ADD)
                return Typed(expr, parts[0].type, parts)
            case aa.Concat(operands):
                return self._concat(expr, operands, scope)
            case aa.Slice():
                return self._slice(expr, scope)
            case aa.BitMap(operand, pairs):
                return self._bit_map(expr, operand, pairs, scope)
            case aa.BitReduce(_, operand):
                inner = self._typed_alone(operand, scope)
                if _is_constant(inner):
                    self._error(
                        expr,
                        f"'{expr_text(expr)}' is constant: the tools crash when they fold it; "
                        f"write the result",
                    )
                return Typed(expr, BOOL, (inner,))
            case aa.Cast(type_, operand):
                return self._cast(expr, type_, operand, scope)
            case aa.BitCast(type_, operand):
                target = self.scopes.resolve(type_, expr.loc)
                if self.natural(operand, scope) is None and isinstance(target, ty.UInt | ty.Int):
                    return Typed(expr, target, (self.typed(operand, scope, target),))
                return self._bit_cast(expr, target, operand, scope)
            case aa.CallExpr():
                return self._call(expr, scope)
            case aa.AddressOf() | aa.Dereference():
                return self._pointer(expr, scope)
            case _:
                assert_never(expr)

    def _typed_alone(self, expr: aa.Expr, scope: Scope) -> Typed:
        return self.typed(expr, scope, None)

    def _literal(
        self, expr: aa.Literal | aa.FloatLiteral | aa.ParamLiteral, expected: ty.Type | None
    ) -> Typed:
        if expected is None:
            self._error(expr, f"literal '{expr_text(expr)}' has no type here; wrap it in a bitcast")
            return Typed(expr, ty.UInt(32), number=0)
        match expr:
            case aa.FloatLiteral():
                if not isinstance(expected, ty.Float):
                    self._misfit(expr, expected)
                return Typed(expr, expected)
            case aa.Literal(value):
                return self._integer(expr, value, expr.radix, expected)
            case aa.ParamLiteral(size):
                value = self.scopes.size(size, expr.loc)
                return self._integer(expr, value, aa.Radix.DECIMAL, expected)
            case _:
                assert_never(expr)

    def _misfit(self, expr: aa.Expr, expected: ty.Type) -> None:
        self._error(expr, f"literal '{expr_text(expr)}' does not fit {type_text(expected)}")

    def _integer(
        self, expr: aa.Expr, value: int, radix: aa.Radix | None, expected: ty.Type
    ) -> Typed:
        if not isinstance(expected, ty.UInt | ty.Int):
            self._misfit(expr, expected)
            return Typed(expr, expected, number=0)
        width = scalar_width(expected)
        signed = isinstance(expected, ty.Int)
        decimal = radix is aa.Radix.DECIMAL
        if value < 0 and width > aa.WIDEST_DECIMAL:
            self._error(
                expr,
                f"negative literal '{value}' in {type_text(expected)}: the tools extend it with "
                f"zeros from 32 bits; write _h{value % (1 << width):X}",
            )
        elif decimal and value >= 1 << aa.WIDEST_DECIMAL:
            self._error(
                expr,
                f"decimal literal '{value}': the tools keep 32 bits of it; write _h{value:X}",
            )
        top = 1 << (width - 1 if signed and decimal else width)
        if not (-(1 << (width - 1)) if signed else 0) <= value < top:
            self._misfit(expr, expected)
        number = value % (1 << width)
        if signed and number >> (width - 1):
            number -= 1 << width
        return Typed(expr, expected, number=number)

    def _name(self, expr: aa.Name | aa.PathName, scope: Scope, expected: ty.Type | None) -> Typed:
        symbol = scope.find(expr.name) if isinstance(expr, aa.Name) else scope.find_path(expr)
        if symbol is None:
            self._error(expr, f"'{expr_text(expr)}' is not declared")
            return Typed(expr, expected or BOOL, number=0)
        match symbol.kind:
            case Kind.PARAMETER:
                if expected is None:
                    self._error(expr, f"parameter '{expr.name}' has no type here")
                    return Typed(expr, ty.UInt(32), number=symbol.value)
                return self._integer(expr, symbol.value, aa.Radix.DECIMAL, expected)
            case Kind.MODULE | Kind.BLOCK | Kind.RECORD | Kind.MUTEX:
                self._error(
                    expr, f"'{expr.name}' is a {symbol.kind.value}; accepted: an object or a value"
                )
                return Typed(expr, expected or BOOL, number=0)
            case _:
                type_ = self.variable_type(symbol)
        if type_ is None:
            self._error(
                expr, f"the type of '{expr.name}' cannot be determined; wrap a literal in a bitcast"
            )
            return Typed(expr, expected or BOOL, symbol=symbol)
        if isinstance(type_, ty.Array):
            self._error(expr, f"'{expr.name}' is an array; accepted: one element of it")
        return Typed(expr, type_, symbol=symbol)

    def _index(self, expr: aa.Index, scope: Scope) -> Typed:
        base = expr.base
        symbol = scope.find(base.name) if isinstance(base, aa.Name) else scope.find_path(base)
        whole = None if symbol is None else self.variable_type(symbol)
        if whole is None:
            self._error(expr, f"'{expr_text(base)}' is not declared")
            return Typed(expr, BOOL, number=0)
        operands: list[Typed] = []
        type_: ty.Type | None = whole
        for index in expr.indices:
            record = isinstance(type_, ty.Record)
            operands.append(self._one_index(index, scope, record=record))
            type_ = self._own.element(type_, (index,))
        if type_ is None:
            self._error(expr, f"'{expr_text(expr)}' has an index that its type does not have")
            return Typed(expr, BOOL, tuple(operands), symbol=symbol)
        return Typed(expr, type_, tuple(operands), symbol=symbol)

    def _one_index(self, index: aa.Expr, scope: Scope, *, record: bool) -> Typed:
        natural = self.natural(index, scope)
        constant = self._own.constant_index(index)
        if constant is not None:
            width = max(constant.bit_length(), 1)
            return Typed(index, ty.UInt(width), number=constant)
        if record:
            self._error(index, f"record field '{expr_text(index)}'; accepted: a constant")
        typed = self.typed(index, scope, ty.UInt(POINTER_WIDTH) if natural is None else None)
        if not isinstance(typed.type, ty.UInt):
            self._error(
                index,
                f"index '{expr_text(index)}' has type {type_text(typed.type)}; "
                f"accepted: an unsigned integer",
            )
        return typed

    def _unary(
        self,
        expr: aa.Unary,
        op: aa.UnaryOp,
        operand: aa.Expr,
        scope: Scope,
        expected: ty.Type | None,
    ) -> Typed:
        same = op in (aa.UnaryOp.INVERT, aa.UnaryOp.PRIORITY_ENCODE)
        untyped = self.natural(operand, scope) is None
        inner = self.typed(operand, scope, expected if same and untyped else None)
        self._accept_float(expr, inner.type, accepted=False)
        if op is aa.UnaryOp.INVERT:
            return Typed(expr, inner.type, (inner,))
        width = scalar_width(inner.type)
        if not isinstance(inner.type, ty.UInt):
            self._error(expr, f"operand has type {type_text(inner.type)}; accepted: unsigned")
        elif op is aa.UnaryOp.ENCODE and (width < 2 or width & (width - 1)):
            self._error(expr, f"encode of {width} bits; accepted: a power of 2")
        elif op is aa.UnaryOp.DECODE and width > 16:
            self._error(expr, f"decode of {width} bits; accepted: at most 16")
            return Typed(expr, inner.type, (inner,))
        return Typed(expr, unary_type(op, inner.type) or BOOL, (inner,))

    def _binary(self, expr: aa.Binary, scope: Scope, expected: ty.Type | None) -> Typed:
        op = expr.op
        if op in (aa.BinaryOp.DIV, aa.BinaryOp.POWER):
            what = "division" if op is aa.BinaryOp.DIV else "power"
            self._error(expr, f"'{op.value}': the tools have no hardware for {what}")
        if op is aa.BinaryOp.CONCAT:
            return self._concat(expr, (expr.lhs, expr.rhs), scope)
        if op in COMPARISONS or op is aa.BinaryOp.BIT_SELECT:
            parts = self._alike((expr.lhs, expr.rhs), scope, None)
            type_: ty.Type = BOOL
        else:
            parts = self._alike((expr.lhs, expr.rhs), scope, expected)
            type_ = parts[0].type
        self._accept_float(expr, parts[0].type, op in _FLOAT_OPS)
        if op is aa.BinaryOp.UNORDERED and not isinstance(parts[0].type, ty.Float):
            self._error(expr, "'><' compares floating point only")
        signed = isinstance(parts[0].type, ty.Int)
        if not all(map(_is_constant, parts)):
            return Typed(expr, type_, parts)
        if signed and op in _FOLDED_UNSIGNED:
            self._error(
                expr,
                f"'{expr_text(expr)}' is constant and signed: the tools fold '{op.value}' as "
                f"unsigned; write the result",
            )
        elif op in _FOLDED_WRONG:
            self._error(
                expr,
                f"'{expr_text(expr)}' is constant: the tools fold '{op.value}' wrongly; "
                f"write the result",
            )
        return Typed(expr, type_, parts)

    def _accept_float(self, expr: aa.Expr, type_: ty.Type, accepted: bool) -> None:
        match type_:
            case ty.UInt() | ty.Int() | ty.Pointer():
                return
            case ty.Float() if accepted:
                return
            case _:
                self._error(expr, f"operand type {type_text(type_)} is not accepted here")

    def _alike(
        self, exprs: Sequence[aa.Expr], scope: Scope, expected: ty.Type | None
    ) -> tuple[Typed, ...]:
        """Type operands that must share one type: the first that has one, else the context's."""
        common = self._own.first(exprs, scope) or expected
        if common is None:
            first = exprs[0]
            text = " and ".join(f"'{expr_text(expr)}'" for expr in exprs)
            self._error(first, f"{text} have no type here; wrap one in a bitcast")
            common = ty.UInt(32)
        return tuple(self.typed(expr, scope, common) for expr in exprs)

    def _choice(
        self,
        expr: aa.PriorityMux | aa.ExclusiveMux,
        cases: Sequence[aa.MuxCase],
        rest: tuple[aa.Expr, ...],
        scope: Scope,
        expected: ty.Type | None,
    ) -> Typed:
        values = self._alike((*(case.value for case in cases), *rest), scope, expected)
        tests = [self.typed(case.condition, scope, BOOL) for case in cases]
        pairs = zip(tests, values[: len(tests)], strict=True)
        ordered = [part for pair in pairs for part in pair]
        return Typed(expr, values[0].type, (*ordered, *values[len(tests) :]))

    def _concat(self, expr: aa.Expr, operands: Sequence[aa.Expr], scope: Scope) -> Typed:
        parts = [self._typed_alone(operand, scope) for operand in operands]
        for part in parts:
            if not isinstance(part.type, ty.UInt):
                self._error(
                    part.node,
                    f"'{expr_text(part.node)}' has type {type_text(part.type)}; "
                    f"accepted in a concatenation: unsigned",
                )
        return Typed(expr, ty.UInt(sum(scalar_width(p.type) for p in parts)), tuple(parts))

    def _slice(self, expr: aa.Slice, scope: Scope) -> Typed:
        inner = self._typed_alone(expr.operand, scope)
        high = self.scopes.size(expr.high, expr.loc)
        low = self.scopes.size(expr.low, expr.loc)
        width = scalar_width(inner.type)
        if not 0 <= low <= high < width:
            self._error(
                expr,
                f"slice {high} {low} of {width} bits; accepted: {width - 1} >= high >= low >= 0",
            )
            high, low = max(high, low, 0), max(min(high, low), 0)
        return Typed(expr, ty.UInt(high - low + 1), (inner,), number=low)

    def _bit_map(
        self, expr: aa.BitMap, operand: aa.Expr, pairs: Sequence[tuple[int, int]], scope: Scope
    ) -> Typed:
        inner = self._typed_alone(operand, scope)
        width = scalar_width(inner.type)
        every = list(range(width))
        if sorted(target for _, target in pairs) != every:
            self._error(
                expr, f"bitmap of {width} bits; accepted: each target bit 0 to {width - 1} once"
            )
        elif sorted(source for source, _ in pairs) != every:
            self._error(
                expr, f"bitmap of {width} bits; accepted: each source bit 0 to {width - 1} once"
            )
        return Typed(expr, inner.type, (inner,))

    def _cast(self, expr: aa.Cast, type_: ty.Type, operand: aa.Expr, scope: Scope) -> Typed:
        target = self.scopes.resolve(type_, expr.loc)
        if self.natural(operand, scope) is None:
            return Typed(expr, target, (self.typed(operand, scope, target),))
        inner = self._typed_alone(operand, scope)
        if _is_constant(inner) and isinstance(target, ty.Int):
            self._error(
                expr,
                f"'{expr_text(expr)}' is constant: the tools fold the cast without the sign; "
                f"write the result",
            )
        return Typed(expr, target, (inner,))

    def _bit_cast(self, expr: aa.BitCast, target: ty.Type, operand: aa.Expr, scope: Scope) -> Typed:
        inner = self._typed_alone(operand, scope)
        wider = scalar_width(target) > scalar_width(inner.type)
        if wider and isinstance(inner.type, ty.Int) and _is_constant(inner):
            self._error(
                expr,
                f"'{expr_text(expr)}' is constant: the tools fold the bitcast with the sign; "
                f"write the result",
            )
        return Typed(expr, target, (inner,))

    def _call(self, expr: aa.CallExpr, scope: Scope) -> Typed:
        outputs = self._own.outputs(expr.module)
        arguments = self.arguments(expr, expr.module, expr.arguments, scope)
        if len(outputs) != 1:
            self._error(
                expr, f"module '{expr.module}' has {len(outputs)} outputs; accepted: exactly 1"
            )
        return Typed(expr, outputs[0] if outputs else BOOL, arguments)

    def arguments(
        self, node: aa.Call | aa.CallExpr, name: str, exprs: Sequence[aa.Expr], scope: Scope
    ) -> tuple[Typed, ...]:
        """Type the arguments of a call."""
        symbol = self.scopes.root.symbols.get(name)
        if symbol is None or not isinstance(symbol.origin, aa.Module):
            self.scopes.report.add(node.loc, f"'{name}' is not a module")
            return tuple(self._typed_alone(expr, scope) for expr in exprs)
        inputs = symbol.origin.inputs
        if len(inputs) != len(exprs):
            self.scopes.report.add(
                node.loc, f"call of '{name}' with {len(exprs)} arguments; accepted: {len(inputs)}"
            )
        resolve = self.scopes.resolve
        pairs = zip(exprs, inputs, strict=False)
        return tuple(self.typed(expr, scope, resolve(argument.type)) for expr, argument in pairs)

    def _pointer(self, expr: aa.AddressOf | aa.Dereference, scope: Scope) -> Typed:
        inner = expr.target if isinstance(expr, aa.AddressOf) else expr.pointer
        if isinstance(inner, aa.Index):
            typed = self._index(inner, scope)
        else:
            symbol = (
                scope.find(inner.name) if isinstance(inner, aa.Name) else scope.find_path(inner)
            )
            whole = None if symbol is None else self.variable_type(symbol)
            if whole is None:
                self._error(expr, f"'{expr_text(inner)}' is not declared")
            typed = Typed(inner, whole or BOOL, symbol=symbol)
        if isinstance(expr, aa.AddressOf):
            if typed.symbol is None or typed.symbol.kind is not Kind.STORAGE:
                self._error(expr, f"'{expr_text(inner)}' has no address; accepted: a storage")
            return Typed(expr, ty.Pointer(typed.type), (typed,))
        if not isinstance(typed.type, ty.Pointer):
            self._error(
                expr, f"'{expr_text(inner)}' has type {type_text(typed.type)}; accepted: a pointer"
            )
            return Typed(expr, BOOL, (typed,))
        return Typed(expr, typed.type.target, (typed,))


def _is_constant(typed: Typed) -> bool:
    """Whether the tools would fold the expression at compile time."""
    if typed.symbol is not None:
        return typed.symbol.kind is Kind.CONSTANT
    if isinstance(typed.node, aa.CallExpr):
        return False
    return all(map(_is_constant, typed.operands))


def _loc_of(expr: aa.Expr) -> aa.Loc | None:
    return expr.loc
