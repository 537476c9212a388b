"""The kernel from a fixed-point number to a posit: its text depends on the number's width.

In: the width of the accumulator and where its point is. Out: an operator that normalizes the
number, then does what ``posit8_pack_es*`` does (its statements, taken from there).
"""

from __future__ import annotations

from pyahir.backends.aa import ast
from pyahir.backends.aa.ast import BinaryOp, Expr
from pyahir.backends.aa.build import (
    assign,
    concat,
    name,
    op,
    operator,
    resize_signed,
    slice_,
    uint,
    volatile,
)
from pyahir.backends.aa.types import Int
from pyahir.kernels import load
from pyahir.kernels.shift import normalized

__all__ = ["POWER", "fixed_to_posit8"]

SCALE = 10  # bits of the power of two that the packing takes
POWER = 8  # bits of the input k
KEPT = 6  # bits of fraction that the packing takes, before the sticky bit


def fixed_to_posit8(
    module: str, *, width: int, point: int, es: int, scaled: bool = True
) -> ast.Module:
    """Write (acc, k, nar) -> y, the posit<8,es> code nearest to ``acc * 2^(k - point)``.

    ``acc`` is signed with ``width`` bits, ``point`` of them behind the binary point; ``k`` is
    signed with 8 bits, and is left out unless ``scaled``; ``nar`` asks for NaR. Rounds once, to
    nearest even on the bit pattern; saturates at minpos and maxpos. Its latency grows with the
    logarithm of ``width``; its initiation interval is 1.
    """
    assert width >= 2
    first = width - 1 - point  # the power of two of the highest bit of the magnitude
    limit = (1 << (SCALE - 1)) - (1 << (POWER - 1))
    assert -limit <= first - width < first < limit, f"{width} bits, {point} behind the point"
    kind = uint(width)
    body: list[ast.Statement] = [
        assign("sign", slice_("acc", width - 1, width - 1)),
        volatile("bits", ast.BitCast(kind, name("acc"))),
        volatile("minus", op(BinaryOp.SUB, ast.Literal(0), name("bits"))),
        volatile("below_zero", slice_("acc", width - 1, width - 1)),
        assign("mag_0", ast.Mux(name("below_zero"), name("minus"), name("bits"))),
    ]
    shifted, flags = normalized(body, "mag_0", width)
    factor = resize_signed(name("k"), SCALE)
    places: Expr = name("places") if scaled else ast.Literal(first)
    meaning = f"the posit<8,{es}> code nearest to acc * 2^(k - {point})"
    body += [
        volatile("lz", concat([name(flag) for flag in reversed(flags)])),
        volatile("zeros", ast.BitCast(Int(SCALE), name("lz"))),
        *([volatile("places", op(BinaryOp.ADD, factor, ast.Literal(first)))] if scaled else []),
        assign("scale", op(BinaryOp.SUB, places, name("zeros"))),
        assign("zero", op(BinaryOp.EQUAL, slice_(shifted, width - 1, width - 1), ast.Literal(0))),
        assign("frac", _fraction(shifted, width)),
        *(load(f"posit8_pack_es{es}").body or ()),
    ]
    operands = [("acc", Int(width)), ("k", Int(POWER)), ("nar", uint(1))]
    if not scaled:
        del operands[1]
    comment = f"{module}(acc, k, nar) -> y: {meaning}"
    return operator(module, operands, [("y", uint(8))], body, comment)


def _fraction(value: str, width: int) -> Expr:
    """Give the bits behind the highest one: those that are kept, and the others as one bit."""
    behind = width - 1
    if behind <= KEPT:
        return ast.Concat((slice_(value, behind - 1, 0), ast.Zero(KEPT + 1 - behind)))
    kept = slice_(value, behind - 1, behind - KEPT)
    if behind == KEPT + 1:
        return ast.Concat((kept, slice_(value, 0, 0)))
    rest = slice_(value, behind - KEPT - 1, 0)
    return ast.Concat((kept, ast.BitReduce(ast.BitReduceOp.OR, rest)))
