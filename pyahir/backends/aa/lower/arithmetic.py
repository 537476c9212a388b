"""Additions, products and roundings of floats in a loop: calls of kernels, or AHIR's own operators.

The kernels are exact everywhere. The operators of AHIR-V2 on ``$float<8,23>`` are not, those on
``$float<5,10>`` are; ``native`` takes them where the user wants them.
"""

from __future__ import annotations

from pyahir.backends.aa import ast
from pyahir.backends.aa.ast import BinaryOp, Expr
from pyahir.backends.aa.build import Loop, constant, name, op, uint
from pyahir.backends.aa.lower.process import Emitter
from pyahir.backends.aa.types import Float, Int
from pyahir.ir.types import Posit
from pyahir.kernels.fixed import POWER
from pyahir.plan.rounding import Rounding

__all__ = ["Floats"]

NAR = 0x80
FORMATS = {"f32": Float(8, 23), "f16": Float(5, 10)}


class Floats:
    """The arithmetic of one layer in one loop; values are names of bit patterns."""

    def __init__(self, emitter: Emitter, loop: Loop, rounding: Rounding) -> None:
        self.emitter, self.loop, self.rounding = emitter, loop, rounding

    def total(self, a: str, b: str, target: str) -> str:
        """Give ``a + b``, rounded."""
        return self._operation("add", BinaryOp.ADD, name(a), name(b), target)

    def product(self, a: str, b: Expr, target: str) -> str:
        """Give ``a * b``, rounded."""
        return self._operation("mul", BinaryOp.MUL, name(a), b, target)

    def _operation(self, kernel: str, native: BinaryOp, a: Expr, b: Expr, target: str) -> str:
        arith, loop = self.rounding.arith, self.loop
        if self.emitter.native:
            kind = FORMATS[arith]
            first = loop.let(f"{target}_a", ast.BitCast(kind, a))
            second = loop.let(f"{target}_b", ast.BitCast(kind, b))
            result = loop.set(f"{target}_f", op(native, name(first), name(second)))
            return loop.let(target, ast.BitCast(uint(self.rounding.acc), name(result)))
        module = self.emitter.kernel(f"{arith}_{kernel}")
        loop.body.append(ast.Call(module=module, arguments=(a, b), results=(name(target),)))
        return target

    def plus_zero(self, value: str, target: str) -> str:
        """Give ``+0 + value``: the same number, and +0 for -0."""
        width = self.rounding.acc
        minus = op(BinaryOp.EQUAL, name(value), ast.Literal(1 << (width - 1)))
        return self.loop.let(target, ast.Mux(minus, ast.Zero(width), name(value)))

    def stored(self, value: str, target: str) -> Expr:
        """Give a result as it is stored: a posit, rounded once, or the float itself."""
        element, rounding = self.rounding.element, self.rounding
        if not isinstance(element, Posit):
            return name(value)
        kernel = self.emitter.kernel(f"{rounding.arith}_to_posit8_es{element.es}")
        arguments = (name(value), constant(rounding.shift, Int(POWER)))
        self.loop.body.append(ast.Call(module=kernel, arguments=arguments, results=(name(target),)))
        if not rounding.relu:
            return name(target)
        negative = op(BinaryOp.GREATER, name(target), ast.Literal(NAR))
        return name(self.loop.let(f"{target}_r", ast.Mux(negative, ast.Zero(8), name(target))))
