"""Kernels between integers and floats: their text depends on the integer's width.

In: an integer type and a float format. Out: an operator (x) -> y with an initiation interval of 1;
floats are bit patterns. From an integer: rounded to nearest even. To an integer: toward 0, modulo
2^width; 0 for infinities and NaN.
"""

from __future__ import annotations

from pyahir.backends.aa import ast
from pyahir.backends.aa.ast import BinaryOp, Expr
from pyahir.backends.aa.build import (
    assign,
    concat,
    constant,
    name,
    op,
    operator,
    slice_,
    uint,
    volatile,
)
from pyahir.backends.aa.natural_types import scalar_width
from pyahir.backends.aa.types import Float, Int, UInt
from pyahir.kernels.shift import normalized

__all__ = ["from_float", "to_float"]

POWER = 12  # bits of an exponent with room for the sums here
WIDEST = 1024


def _sizes(kind: Float) -> tuple[int, int]:
    assert isinstance(kind.exponent, int)
    assert isinstance(kind.fraction, int)
    return kind.exponent, kind.fraction


def _operator(
    module: str, given: UInt | Int, made: UInt, body: list[ast.Statement], note: str
) -> ast.Module:
    return operator(module, [("x", given)], [("y", made)], body, f"{module}(x) -> y: {note}")


def to_float(module: str, given: UInt | Int, kind: Float) -> ast.Module:
    """Write (x) -> y, the float nearest to the integer."""
    width = scalar_width(given)
    assert width <= WIDEST
    exponent, fraction = _sizes(kind)
    top, bias = (1 << exponent) - 1, (1 << (exponent - 1)) - 1
    bits = uint(width)
    body: list[ast.Statement] = [volatile("bits", ast.BitCast(bits, name("x")))]
    if isinstance(given, Int):
        body += [
            volatile("below", slice_("x", width - 1, width - 1)),
            assign("sign", slice_("x", width - 1, width - 1)),
            volatile("minus", op(BinaryOp.SUB, ast.Literal(0), name("bits"))),
            assign("mag_0", ast.Mux(name("below"), name("minus"), name("bits"))),
        ]
    else:
        body.append(assign("mag_0", name("bits")))
    shifted, flags = normalized(body, "mag_0", width)
    body += _distance(flags)
    first = constant(bias + width - 1, Int(POWER))
    body += [
        assign("power", op(BinaryOp.SUB, first, name("zeros"))),
        assign("lead", slice_(shifted, width - 1, width - 1)),
        assign("frac", _cut(shifted, width - 1, fraction)),
        volatile(
            "field", ast.Mux(name("lead"), slice_("power", exponent - 1, 0), ast.Zero(exponent))
        ),
        volatile("number", ast.Concat((name("field"), slice_("frac", fraction + 1, 2)))),
        *_rounding(fraction),
        assign("rounded", op(BinaryOp.ADD, name("number"), _bit("up", exponent + fraction))),
        volatile("large", op(BinaryOp.GREATER, name("power"), ast.Literal(top - 1))),
        assign("huge", op(BinaryOp.AND, name("lead"), name("large"))),
    ]
    size = uint(exponent + fraction)
    bounded = ast.Mux(name("huge"), constant(top << fraction, size), name("rounded"))
    sign = name("sign") if isinstance(given, Int) else ast.Zero(1)
    body.append(assign("y", ast.Concat((sign, bounded))))
    return _operator(module, given, uint(1 + exponent + fraction), body, "the nearest float")


def _distance(flags: list[str]) -> list[ast.Statement]:
    if not flags:
        return [volatile("zeros", ast.BitCast(Int(POWER), ast.Zero(1)))]
    distance = concat([name(flag) for flag in reversed(flags)])
    return [volatile("lz", distance), volatile("zeros", ast.BitCast(Int(POWER), name("lz")))]


def _bit(flag: str, width: int) -> ast.BitCast:
    return ast.BitCast(uint(width), name(flag))


def _cut(value: str, behind: int, kept: int) -> Expr:
    """Give ``kept`` bits of the ``behind`` ones, one more, and one for all others."""
    if behind == 0:
        return ast.Zero(kept + 2)
    if behind <= kept + 1:
        return ast.Concat((slice_(value, behind - 1, 0), ast.Zero(kept + 2 - behind)))
    head = slice_(value, behind - 1, behind - kept - 1)
    rest = slice_(value, behind - kept - 2, 0)
    return ast.Concat((head, ast.BitReduce(ast.BitReduceOp.OR, rest)))


def _rounding(fraction: int) -> list[ast.Statement]:
    odd = op(BinaryOp.OR, slice_("frac", 2, 2), slice_("frac", 0, 0))
    return [
        volatile("behind", odd),
        volatile("up", op(BinaryOp.AND, slice_("frac", 1, 1), name("behind"))),
    ]


def from_float(module: str, kind: Float, width: int) -> ast.Module:
    """Write (x) -> y, the bits of the integer that is left without the fraction."""
    assert width <= WIDEST
    exponent, fraction = _sizes(kind)
    top, bias = (1 << exponent) - 1, (1 << (exponent - 1)) - 1
    whole = exponent + fraction
    wide, size = uint(width + fraction), uint(width)
    significand = ast.Concat((ast.One(1), slice_("x", fraction - 1, 0)))
    at_least_one = op(BinaryOp.GREATER, name("field"), ast.Literal(bias - 1))
    # From here on, as for infinities and NaN, no bit is left of the lowest ones.
    limit = min(top, bias + width + fraction)
    within = op(BinaryOp.LESS, name("field"), ast.Literal(limit))
    body: list[ast.Statement] = [
        volatile("field", slice_("x", whole - 1, fraction)),
        volatile("one", significand),
        volatile("start", ast.BitCast(wide, name("one"))),
        volatile("place", op(BinaryOp.SUB, name("field"), ast.Literal(bias))),
        volatile("left", ast.BitCast(wide, name("place"))),
        assign("moved", op(BinaryOp.SHIFT_LEFT, name("start"), name("left"))),
        assign("inside", op(BinaryOp.AND, at_least_one, within)),
        assign("sign", slice_("x", whole, whole)),
        volatile("plus", slice_("moved", width + fraction - 1, fraction)),
        volatile("minus", op(BinaryOp.SUB, ast.Literal(0), name("plus"))),
        volatile("number", ast.Mux(name("sign"), name("minus"), name("plus"))),
        assign("y", ast.Mux(name("inside"), name("number"), ast.Zero(width))),
    ]
    return _operator(module, uint(1 + whole), size, body, "the integer, rounded toward 0")
