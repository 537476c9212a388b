"""How stored elements compare: codes as they are, posits as signed integers, floats by a key.

In: a loop and the type of the elements. Out: expressions for the larger of two, and for a clamped
one. The key of a float is an unsigned integer: the bits with the sign turned, or all turned for a
negative number. Every NaN here is positive, so it has the largest key; -0 comes before +0.
"""

from __future__ import annotations

import numpy as np

from pyahir.backends.aa import ast
from pyahir.backends.aa.ast import BinaryOp, Expr
from pyahir.backends.aa.build import Loop, constant, name, op, uint
from pyahir.backends.aa.types import Int as SignedBits
from pyahir.ir.types import Bipolar, Element, Float16, Float32, Int, Posit

__all__ = ["Order", "least", "pattern"]

NAR = 0x80


def pattern(number: float, element: Element) -> int:
    """Give the bits of a number as the element type stores it; of integers and posits, a code."""
    if isinstance(element, Float32 | Float16):
        dtype = np.float32 if isinstance(element, Float32) else np.float16
        with np.errstate(over="ignore"):
            return int(np.array([number], dtype).view(f"u{element.width // 8}")[0])
    return int(number) & ((1 << element.width) - 1)


def least(element: Element) -> int:
    """Give the bits of the element that is less than every other, or equal to it."""
    match element:
        case Float32() | Float16():
            return pattern(-np.inf, element)
        case Posit():
            return NAR
        case Int(signed=True):
            return pattern(element.min, element)
        case _:
            return 0


class Order:
    """Comparisons in one loop; what has to have a name gets the next number."""

    def __init__(self, loop: Loop, element: Element) -> None:
        self.loop, self.element = loop, element
        self.count = 0

    @property
    def floats(self) -> bool:
        return isinstance(self.element, Float32 | Float16)

    def _let(self, stem: str, value: Expr) -> str:
        self.count += 1
        return self.loop.let(f"{stem}_{self.count}", value)

    def _key(self, value: Expr) -> Expr:
        """Give what compares as the elements do."""
        width = self.element.width
        match self.element:
            case Posit() | Int(signed=True):
                return ast.BitCast(SignedBits(width), value)
            case Int() | Bipolar():
                return value
            case _:
                assert isinstance(value, ast.Slice), "an element is a part of a word"
                sign = ast.Slice(value.operand, value.high, value.high)
                raised = op(BinaryOp.OR, value, constant(1 << (width - 1), uint(width)))
                return ast.Mux(sign, ast.Unary(ast.UnaryOp.INVERT, value), raised)

    def larger(self, a: Expr, b: Expr) -> Expr:
        """Give the larger element; of equal ones either."""
        return ast.Mux(op(BinaryOp.GREATER, self._key(a), self._key(b)), a, b)

    def plus_zero(self, value: Expr) -> Expr:
        """Give a float, +0 for -0."""
        width = self.element.width
        bits = self._let("fz", value)
        minus = op(BinaryOp.EQUAL, name(bits), ast.Literal(1 << (width - 1)))
        return ast.Mux(minus, ast.Zero(width), name(bits))

    def clamped(self, value: Expr, limits: tuple[float, float]) -> Expr:
        """Give ``value`` within ``limits``; NaR and NaN stay, and no float is -0."""
        low, high = limits
        match self.element:
            case Int(signed=False):
                return self._codes(value, int(low), int(high))
            case Posit():
                return self._posits(value, int(low), int(high))
            case _:
                assert self.floats, f"no clamp of {self.element}"
                return self._floats(value, low, high)

    def _codes(self, value: Expr, low: int, high: int) -> Expr:
        kind, result = uint(self.element.width), value
        if high < (1 << self.element.width) - 1:
            above = op(BinaryOp.GREATER, value, ast.Literal(high))
            result = ast.Mux(above, constant(high, kind), result)
        if low > 0:
            below = op(BinaryOp.LESS, value, ast.Literal(low))
            result = ast.Mux(below, constant(low, kind), result)
        return result

    def _posits(self, value: Expr, low: int, high: int) -> Expr:
        """Compare signed codes; the least of them is NaR, which stays."""
        kind = SignedBits(self.element.width)
        code = self._let("pc", ast.BitCast(kind, value))
        above = op(BinaryOp.GREATER, name(code), constant(high, kind))
        below = op(BinaryOp.LESS, name(code), constant(low, kind))
        inner = ast.Mux(above, constant(high, kind), name(code))
        limited = self._let("pl", ast.Mux(below, constant(low, kind), inner))
        nar = self._let("pn", op(BinaryOp.EQUAL, value, ast.Literal(NAR)))
        return ast.Mux(name(nar), value, ast.BitCast(uint(self.element.width), name(limited)))

    def _floats(self, value: Expr, low: float, high: float) -> Expr:
        width = self.element.width
        kind = uint(width)

        def limit(number: float) -> tuple[int, int]:
            bits = pattern(number + 0.0, self.element)
            top = 1 << (width - 1)
            return bits, (bits ^ ((1 << width) - 1)) if bits & top else bits | top

        (low_bits, low_key), (high_bits, high_key) = limit(low), limit(high)
        infinite = limit(np.inf)[1]
        key = self._let("ck", self._key(value))
        result = value
        if high_key < infinite:
            over = op(BinaryOp.GREATER, name(key), constant(high_key, kind))
            number = op(BinaryOp.LESS_EQUAL, name(key), constant(infinite, kind))
            above = self._let("ca", op(BinaryOp.AND, over, number))
            result = ast.Mux(name(above), constant(high_bits, kind), result)
        below = op(BinaryOp.LESS, name(key), constant(low_key, kind))
        return self.plus_zero(ast.Mux(below, constant(low_bits, kind), result))
