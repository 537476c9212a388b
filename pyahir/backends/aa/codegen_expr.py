"""Aa expressions as Python source: the meaning of each operator.

In: ``Typed`` expressions. Out: ``Code`` (text, and bounds of its value) and, in the writer, the
lines that must run before: pipe reads, loads and calls, in the order of the text.
Sums and products are wrapped only where their bounds leave the type. Not here: statements.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, assert_never

from pyahir.backends.aa import ast as aa
from pyahir.backends.aa import types as ty
from pyahir.backends.aa.scopes import Kind
from pyahir.backends.aa.typing_rules import Typed, array_parts, scalar_width

if TYPE_CHECKING:
    from pyahir.backends.aa.scopes import Symbol

__all__ = ["Code", "Environment", "ExprCoder", "bounds", "wrapped"]

_COMPARE = {
    aa.BinaryOp.EQUAL: "==",
    aa.BinaryOp.NOT_EQUAL: "!=",
    aa.BinaryOp.LESS: "<",
    aa.BinaryOp.LESS_EQUAL: "<=",
    aa.BinaryOp.GREATER: ">",
    aa.BinaryOp.GREATER_EQUAL: ">=",
}
_BITWISE = {
    aa.BinaryOp.AND: "&",
    aa.BinaryOp.NAND: "&",
    aa.BinaryOp.OR: "|",
    aa.BinaryOp.NOR: "|",
    aa.BinaryOp.XOR: "^",
    aa.BinaryOp.XNOR: "^",
}
_COMPLEMENTED = (aa.BinaryOp.NAND, aa.BinaryOp.NOR, aa.BinaryOp.XNOR)
_FLOAT_METHOD = {aa.BinaryOp.ADD: "add", aa.BinaryOp.SUB: "sub", aa.BinaryOp.MUL: "mul"}


@dataclass(frozen=True, slots=True)
class Code:
    """A Python expression whose value lies in ``low..high``, both included."""

    text: str
    low: int
    high: int


class Environment(Protocol):
    """What the expression coder needs of the module coder."""

    def line(self, text: str) -> None:
        """Write a line that runs before the expression."""
        ...

    def temporary(self, text: str) -> str:
        """Write ``text`` to a fresh local and return its name."""
        ...

    def variable(self, symbol: Symbol) -> Code:
        """Read a variable or argument."""
        ...

    def read_pipe(self, symbol: Symbol, loc: aa.Loc | None) -> str:
        """Take an item of a pipe and return its text."""
        ...

    def load(self, symbol: Symbol, index: str, loc: aa.Loc | None) -> str:
        """Load a word of a storage and return its text."""
        ...

    def outside(self, symbol: Symbol, index: str, size: int, loc: aa.Loc | None) -> None:
        """Write the check of an index against a size that is not a power of two."""
        ...

    def call(self, node: aa.CallExpr | aa.Call, arguments: list[str]) -> str:
        """Call a module and return the text of the tuple of its results."""
        ...

    def float_format(self, type_: ty.Float) -> str:
        """Return the name of the format object of a float type."""
        ...

    def constant(self, symbol: Symbol) -> int:
        """Return the value of a declared constant."""
        ...

    def float_constant(self, value: float, type_: ty.Type) -> int:
        """Return the pattern of a float literal."""
        ...

    def address(self, symbol: Symbol) -> int:
        """Return the address of a storage's first word, for pointers."""
        ...


def bounds(type_: ty.Type) -> tuple[int, int]:
    """Return the least and greatest value of a type as the interpreter holds it."""
    width = scalar_width(type_)
    if isinstance(type_, ty.Int):
        return -(1 << width - 1), (1 << width - 1) - 1
    return 0, (1 << width) - 1


def wrapped(code: Code, type_: ty.Type) -> Code:
    """Reduce a value modulo the type's width where its bounds say that it may lie outside."""
    low, high = bounds(type_)
    if low <= code.low and code.high <= high:
        return code
    if isinstance(type_, ty.Int):
        half = -low
        if code.low >= 0 and code.high <= high - low:
            return Code(f"(({code.text} ^ {half}) - {half})", low, high)
        return Code(f"((({code.text} + {half}) & {high - low}) - {half})", low, high)
    return Code(f"({code.text} & {high})", low, high)


def _number(value: int) -> Code:
    return Code(str(value) if value >= 0 else f"({value})", value, value)


def _pattern(code: Code, type_: ty.Type) -> Code:
    """Return the unsigned bits of a value of ``type_``."""
    return wrapped(code, ty.UInt(scalar_width(type_)))


class ExprCoder:
    """Codes expressions for one module."""

    def __init__(self, env: Environment) -> None:
        self.env = env

    def value(self, typed: Typed) -> Code:
        """Code an expression whose value lies within its type."""
        return wrapped(self._raw(typed), typed.type)

    def pattern(self, typed: Typed) -> Code:
        """Code the unsigned bits of an expression."""
        return _pattern(self._raw(typed), typed.type)

    def _raw(self, typed: Typed) -> Code:
        """Code an expression modulo its width: sums and products may lie outside."""
        node = typed.node
        match node:
            case aa.Literal() | aa.ParamLiteral() | aa.Zero() | aa.One():
                return _number(typed.number or 0)
            case aa.FloatLiteral(value):
                return _number(self.env.float_constant(value, typed.type))
            case aa.Name() | aa.PathName():
                return self._object(typed)
            case aa.Index():
                return self._element(typed, node)
            case aa.Unary(op):
                return self._unary(op, typed.operands[0])
            case aa.Binary(op):
                return self._binary(op, typed)
            case aa.Mux():
                test, if_true, if_false = [self.value(part) for part in typed.operands]
                low, high = min(if_true.low, if_false.low), max(if_true.high, if_false.high)
                text = f"({if_true.text} if {test.text} else {if_false.text})"
                return Code(text, low, high)
            case aa.PriorityMux():
                return self._priority(typed)
            case aa.ExclusiveMux():
                parts = [self.value(part).text for part in typed.operands]
                pairs = zip(parts[::2], parts[1::2], strict=True)
                texts = [f"({value} if {test} else 0)" for test, value in pairs]
                return Code(f"({' | '.join(texts)})", *bounds(typed.type))
            case aa.Reduce(op):
                return self._reduce(op, typed)
            case aa.Concat():
                return self._concat(typed)
            case aa.Slice():
                low = typed.number or 0
                mask = (1 << scalar_width(typed.type)) - 1
                inner = self._raw(typed.operands[0])
                shifted = f"({inner.text} >> {low})" if low else inner.text
                if inner.low >= 0 and inner.high >> low <= mask:
                    return Code(shifted, 0, inner.high >> low)
                return Code(f"({shifted} & {mask:#x})", 0, mask)
            case aa.BitMap(_, pairs):
                name = self.env.temporary(self.pattern(typed.operands[0]).text)
                moves = [f"(({name} >> {source} & 1) << {target})" for source, target in pairs]
                bits = Code(f"({' | '.join(moves)})", 0, (1 << scalar_width(typed.type)) - 1)
                return bits
            case aa.BitReduce(op):
                return self._bit_reduce(op, typed.operands[0])
            case aa.Cast():
                return self._cast(typed.operands[0], typed.type)
            case aa.BitCast():
                return self._bit_cast(typed.operands[0], typed.type)
            case aa.CallExpr():
                arguments = [self.value(part).text for part in typed.operands]
                text = self.env.call(node, arguments)
                return Code(self.env.temporary(f"{text}[0]"), *bounds(typed.type))
            case aa.AddressOf():
                return self._address(typed.operands[0])
            case aa.Dereference():
                pointer = self.value(typed.operands[0])
                text = self.env.temporary(f"load_pointer({pointer.text})")
                return Code(text, *bounds(typed.type))
            case _:
                assert_never(node)

    # Objects

    def _object(self, typed: Typed) -> Code:
        symbol = typed.symbol
        if symbol is None:
            return _number(typed.number or 0)
        match symbol.kind:
            case Kind.PIPE:
                return Code(self.env.read_pipe(symbol, typed.node.loc), *bounds(typed.type))
            case Kind.STORAGE:
                return Code(self.env.load(symbol, "0", typed.node.loc), *bounds(typed.type))
            case Kind.CONSTANT:
                return _number(self.env.constant(symbol))
            case _:
                return self.env.variable(symbol)

    def word_index(self, typed: Typed) -> tuple[str, int, int]:
        """Code the flat index of an element; also the low bit and the width of a field in it."""
        symbol = typed.symbol
        assert symbol is not None
        assert symbol.type is not None
        dims, word = array_parts(symbol.type)
        terms: list[str] = []
        stride = 1
        for dim in dims[1:]:
            stride *= dim
        for position, dim in enumerate(dims[: len(typed.operands)]):
            index = self._bounded(typed.operands[position], dim, symbol, typed.node.loc)
            terms.append(f"{index} * {stride}" if stride > 1 else index)
            following = dims[position + 1] if position + 1 < len(dims) else 1
            stride //= following
        low, width = 0, scalar_width(word)
        for field in typed.operands[len(dims) :]:
            assert isinstance(word, ty.Record)
            assert field.number is not None
            low += sum(scalar_width(part) for part in word.fields[: field.number])
            word = word.fields[field.number]
            width = scalar_width(word)
        return " + ".join(terms) or "0", low, width

    def _bounded(self, index: Typed, size: int, symbol: Symbol, loc: aa.Loc | None) -> str:
        if index.number is not None and not index.operands:  # a slice has its low bit there
            return str(index.number % size if size & (size - 1) == 0 else index.number)
        code = self.value(index)
        if code.high < size:
            return code.text
        if size & (size - 1) == 0:
            return f"({code.text} & {size - 1})"
        name = self.env.temporary(code.text)
        self.env.outside(symbol, name, size, loc)
        return name

    def _element(self, typed: Typed, node: aa.Index) -> Code:
        symbol = typed.symbol
        assert symbol is not None
        if symbol.kind is not Kind.STORAGE:
            base = self._object(Typed(node.base, symbol.type or typed.type, symbol=symbol))
            _, low, width = self.word_index(typed)
            text = f"({base.text} >> {low} & {(1 << width) - 1:#x})"
        else:
            index, low, width = self.word_index(typed)
            text = self.env.load(symbol, index, node.loc)
            _, word = array_parts(symbol.type or typed.type)
            if scalar_width(word) == width:
                return Code(text, *bounds(typed.type))
            text = f"({text} >> {low} & {(1 << width) - 1:#x})"
        return wrapped(Code(text, 0, (1 << width) - 1), typed.type)

    def _address(self, target: Typed) -> Code:
        symbol = target.symbol
        assert symbol is not None
        base = self.env.address(symbol)
        index = self.word_index(target)[0] if isinstance(target.node, aa.Index) else "0"
        return Code(f"({base} + {index})", 0, (1 << 32) - 1)

    # Operators

    def _unary(self, op: aa.UnaryOp, operand: Typed) -> Code:
        width = scalar_width(operand.type)
        inner = self.value(operand)
        match op:
            case aa.UnaryOp.INVERT:
                return self._complement(inner, operand.type)
            case aa.UnaryOp.DECODE:
                return Code(f"(1 << {inner.text})", 0, 1 << min(inner.high, 1 << width))
            case aa.UnaryOp.ENCODE:
                top = max((width - 1).bit_length(), 1)
                return Code(f"encode({inner.text})", 0, (1 << top) - 1)
            case aa.UnaryOp.PRIORITY_ENCODE:
                return Code(f"(1 << ({inner.text}).bit_length() >> 1)", 0, (1 << width) - 1)
            case _:
                assert_never(op)

    def _complement(self, code: Code, type_: ty.Type) -> Code:
        low, high = bounds(type_)
        if isinstance(type_, ty.Int):
            return Code(f"(-1 - {code.text})", -1 - code.high, -1 - code.low)
        return Code(f"({code.text} ^ {high})", low, high)

    def _binary(self, op: aa.BinaryOp, typed: Typed) -> Code:
        left, right = typed.operands[0], typed.operands[1]
        type_ = left.type
        if op is aa.BinaryOp.CONCAT:
            return self._concat(typed)
        if isinstance(type_, ty.Float):
            return self._float(op, left, right, type_)
        if op in _COMPARE:
            text = f"({self.value(left).text} {_COMPARE[op]} {self.value(right).text})"
            return Code(text, 0, 1)
        if op in _BITWISE:
            code = _bitwise(_BITWISE[op], self.value(left), self.value(right), type_)
            return self._complement(code, type_) if op in _COMPLEMENTED else code
        match op:
            case aa.BinaryOp.ADD | aa.BinaryOp.SUB | aa.BinaryOp.MUL:
                lhs, rhs = self._raw_limited(left), self._raw_limited(right)
                return _arithmetic(op, lhs, rhs)
            case aa.BinaryOp.BIT_SELECT:
                reach = (1 << (scalar_width(type_) - 1).bit_length()) - 1
                bits, index = self.pattern(left), _low(self.pattern(right), reach)
                return Code(f"({bits.text} >> {index.text} & 1)", 0, 1)
            case _:
                return self._shift(op, left, right, type_)

    def _raw_limited(self, typed: Typed) -> Code:
        """Code modulo the width, but wrap before a chain of products grows beyond reason."""
        code = self._raw(typed)
        limit = 1 << 2 * scalar_width(typed.type) + 8
        return code if -limit < code.low and code.high < limit else wrapped(code, typed.type)

    def _shift(self, op: aa.BinaryOp, left: Typed, right: Typed, type_: ty.Type) -> Code:
        width = scalar_width(type_)
        # The hardware looks at so many low bits of the amount that twice the width nearly fits.
        amount = _low(self.pattern(right), (2 << (width - 1).bit_length()) - 1)
        fixed = amount.low if amount.low == amount.high else None
        if op is aa.BinaryOp.SHIFT_RIGHT:
            value = self.value(left)
            if fixed is not None:
                return Code(f"({value.text} >> {fixed})", value.low >> fixed, value.high >> fixed)
            return Code(f"({value.text} >> {amount.text})", min(value.low, 0), max(value.high, 0))
        if op is aa.BinaryOp.SHIFT_LEFT:
            value = self.value(left)
            if fixed is not None:
                if fixed >= width:
                    return Code(f"({value.text} & 0)", 0, 0)
                return Code(f"({value.text} << {fixed})", value.low << fixed, value.high << fixed)
            count = self.env.temporary(amount.text)
            text = f"({value.text} << {count} if {count} < {width} else 0)"
            return Code(text, min(value.low << width, 0), value.high << width)
        bits = self.env.temporary(self.pattern(left).text)
        turn = "" if op is aa.BinaryOp.ROTATE_LEFT else "-"
        count = self.env.temporary(f"{turn}({amount.text}) % {width}")
        mask = (1 << width) - 1
        text = f"(({bits} << {count} | {bits} >> {width} - {count}) & {mask:#x})"
        return Code(text, 0, mask)

    def _float(self, op: aa.BinaryOp, left: Typed, right: Typed, type_: ty.Float) -> Code:
        lhs, rhs = self.value(left).text, self.value(right).text
        format_ = self.env.float_format(type_)
        if op in _COMPARE:
            sides = (f"{format_}.unpack({lhs})", f"{format_}.unpack({rhs})")
            return Code(f"({sides[0]} {_COMPARE[op]} {sides[1]})", 0, 1)
        if op is aa.BinaryOp.UNORDERED:
            return Code(f"{format_}.unordered({lhs}, {rhs})", 0, 1)
        return Code(f"{format_}.{_FLOAT_METHOD[op]}({lhs}, {rhs})", *bounds(type_))

    def _priority(self, typed: Typed) -> Code:
        parts = [self.value(part) for part in typed.operands]
        pairs = zip(parts[:-1:2], parts[1:-1:2], strict=True)
        chain = " ".join(f"{value.text} if {test.text} else" for test, value in pairs)
        values = [*parts[1:-1:2], parts[-1]]
        low, high = min(value.low for value in values), max(value.high for value in values)
        return Code(f"({chain} {parts[-1].text})", low, high)

    def _reduce(self, op: aa.ReduceOp, typed: Typed) -> Code:
        type_ = typed.type
        if isinstance(type_, ty.Float):
            total = self.value(typed.operands[0]).text
            for part in typed.operands[1:]:
                total = f"{self.env.float_format(type_)}.add({total}, {self.value(part).text})"
            return Code(total, *bounds(type_))
        binary = aa.BinaryOp(op.value)
        parts = [self._raw_limited(part) for part in typed.operands]
        total = parts[0]
        for part in parts[1:]:
            if binary in _BITWISE:
                sides = wrapped(total, type_), wrapped(part, type_)
                total = _bitwise(op.value, *sides, type_)
            else:
                total = _arithmetic(binary, total, part)
                if total.high.bit_length() > 2 * scalar_width(type_) + 64:
                    total = wrapped(total, type_)
        return total

    def _concat(self, typed: Typed) -> Code:
        place = scalar_width(typed.type)
        parts: list[str] = []
        for operand in typed.operands:
            place -= scalar_width(operand.type)
            text = self.pattern(operand).text
            parts.append(f"{text} << {place}" if place else text)
        return Code(f"({' | '.join(parts)})", 0, (1 << scalar_width(typed.type)) - 1)

    def _bit_reduce(self, op: aa.BitReduceOp, operand: Typed) -> Code:
        bits = self.pattern(operand).text
        match op:
            case aa.BitReduceOp.OR:
                return Code(f"({bits} != 0)", 0, 1)
            case aa.BitReduceOp.AND:
                return Code(f"({bits} == {(1 << scalar_width(operand.type)) - 1:#x})", 0, 1)
            case aa.BitReduceOp.XOR:
                return Code(f"(int({bits}).bit_count() & 1)", 0, 1)
            case _:
                assert_never(op)

    # Conversions

    def _bit_cast(self, operand: Typed, target: ty.Type) -> Code:
        if scalar_width(target) <= scalar_width(operand.type):
            return wrapped(self._raw(operand), target)
        return wrapped(self.pattern(operand), target)

    def _cast(self, operand: Typed, target: ty.Type) -> Code:
        source = operand.type
        if isinstance(target, ty.Float):
            format_ = self.env.float_format(target)
            if isinstance(source, ty.Float):
                inner = self.value(operand).text
                text = f"{format_}.pack({self.env.float_format(source)}.unpack({inner}))"
            else:
                text = f"{format_}.from_int({self.value(operand).text})"
            return Code(text, *bounds(target))
        if isinstance(source, ty.Float):
            text = f"{self.env.float_format(source)}.to_int({self.value(operand).text})"
            low, high = bounds(target)
            return wrapped(Code(text, low - 1, high + 1), target)
        if not isinstance(target, ty.Int):
            return self._bit_cast(operand, target)
        signed = wrapped(self._raw(operand), ty.Int(scalar_width(source)))
        low, high = bounds(target)
        if low <= signed.low and signed.high <= high:
            return signed
        name = self.env.temporary(signed.text)
        return Code(f"(({name} & {high}) - ({name} < 0) * {-low})", low, high)


def _low(code: Code, mask: int) -> Code:
    """Keep the low bits of a value that is not negative."""
    if code.low == code.high:
        return _number(code.low & mask)
    return code if code.high <= mask else Code(f"({code.text} & {mask})", 0, mask)


def _bitwise(sign: str, left: Code, right: Code, type_: ty.Type) -> Code:
    text = f"({left.text} {sign} {right.text})"
    low, high = bounds(type_)
    if left.low < 0 or right.low < 0:
        return Code(text, low, high)
    if sign == "&":
        return Code(text, 0, min(left.high, right.high))
    return Code(text, 0, (1 << max(left.high, right.high).bit_length()) - 1)


def _arithmetic(op: aa.BinaryOp, left: Code, right: Code) -> Code:
    if op is aa.BinaryOp.ADD:
        text, corners = "+", [left.low + right.low, left.high + right.high]
    elif op is aa.BinaryOp.SUB:
        text, corners = "-", [left.low - right.high, left.high - right.low]
    else:
        text = "*"
        corners = [one * two for one in (left.low, left.high) for two in (right.low, right.high)]
    return Code(f"({left.text} {text} {right.text})", min(corners), max(corners))
