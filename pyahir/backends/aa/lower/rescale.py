"""The requantizer: one operator a layer, its parameters a word of memory a channel.

The word of a channel, lowest bits first: multiplier (unsigned), offset (two's complement), then
for each exception slot the accumulator and the difference (both two's complement; 0 when unused).
"""

from __future__ import annotations

from pyahir.backends.aa import ast
from pyahir.backends.aa.ast import BinaryOp, Expr
from pyahir.backends.aa.build import (
    assign,
    constant,
    name,
    op,
    operator,
    resize_signed,
    slice_,
    uint,
    volatile,
)
from pyahir.backends.aa.types import Int, UInt
from pyahir.plan.layers import Rescale
from pyahir.plan.rescale import RescaleFormat

__all__ = ["clamped", "rescale_operator", "shifted"]


def rescale_operator(module: str, rescale: Rescale, form: RescaleFormat, note: str) -> ast.Module:
    """Write ``clamp((a * M + B) >> S) + exceptions`` as a pipelined operator (a, q) -> y."""
    wide, acc = Int(form.product), Int(form.acc)
    top = form.multiplier + form.offset
    body: list[ast.Statement] = [volatile("aw", resize_signed(name("a"), form.product))]
    if form.multiplier:
        body += [
            volatile("mw", ast.BitCast(wide, slice_("q", form.multiplier - 1, 0))),
            assign("pr", op(BinaryOp.MUL, name("aw"), name("mw"))),
        ]
    else:
        body.append(assign("pr", name("aw")))
    body += [
        volatile("bs", ast.BitCast(Int(form.offset), slice_("q", top - 1, form.multiplier))),
        volatile("bw", resize_signed(name("bs"), form.product)),
        assign("u", op(BinaryOp.ADD, name("pr"), name("bw"))),
        *shifted(rescale, form.product),
    ]
    code = clamped("v", Int(form.product - rescale.shift), rescale)
    if not form.slots:
        body.append(assign("y", code))
    else:
        body.append(assign("c", code))
        body += _exceptions(form, top, acc)
        terms = tuple(name(f"x_{slot}") for slot in range(form.slots))
        body.append(assign("y", ast.Reduce(ast.ReduceOp.ADD, (name("c"), *terms))))
    operands = [("a", acc), ("q", uint(form.bits))]
    return operator(module, operands, [("y", uint(8))], body, f"requantize of {note}")


def shifted(rescale: Rescale, product: int) -> list[ast.Statement]:
    """Take the bits before the point; where ties are resolved, one less for those of odd parity."""
    kind = Int(product - rescale.shift)
    whole = ast.BitCast(kind, slice_("u", product - 1, rescale.shift))
    if not rescale.tie_bits:
        return [volatile("v", whole)]
    behind = slice_("u", rescale.shift - 1, rescale.shift - rescale.tie_bits)
    other = 1 - rescale.tie_parity
    last = slice_("u", rescale.shift, rescale.shift)
    return [
        volatile("tie", op(BinaryOp.EQUAL, behind, ast.Literal(0))),
        volatile("odd", op(BinaryOp.EQUAL, last, ast.Literal(other))),
        volatile("down", op(BinaryOp.AND, name("tie"), name("odd"))),
        volatile("v_up", whole),
        volatile("v_down", ast.Mux(name("down"), constant(1, kind), constant(0, kind))),
        assign("v", op(BinaryOp.SUB, name("v_up"), name("v_down"))),
    ]


def clamped(value: str, kind: Int, rescale: Rescale) -> Expr:
    """Give a code within the limits."""
    low, high = rescale.quant_min, rescale.quant_max
    below = op(BinaryOp.LESS, name(value), ast.Literal(low))
    above = op(BinaryOp.GREATER, name(value), ast.Literal(high))
    inner = ast.Mux(above, constant(high, kind), name(value))
    return ast.BitCast(UInt(8), ast.Mux(below, constant(low, kind), inner))


def _exceptions(form: RescaleFormat, top: int, acc: Int) -> list[ast.Statement]:
    body: list[ast.Statement] = []
    for slot in range(form.slots):
        base = top + slot * (form.acc + form.delta)
        middle = base + form.acc
        difference = ast.BitCast(Int(form.delta), slice_("q", middle + form.delta - 1, middle))
        body += [
            volatile(f"e_{slot}", ast.BitCast(acc, slice_("q", middle - 1, base))),
            volatile(f"ds_{slot}", difference),
            volatile(f"dw_{slot}", ast.BitCast(UInt(8), resize_signed(name(f"ds_{slot}"), 8))),
            assign(
                f"x_{slot}",
                ast.Mux(
                    op(BinaryOp.EQUAL, name("a"), name(f"e_{slot}")),
                    name(f"dw_{slot}"),
                    ast.Zero(8),
                ),
            ),
        ]
    return body
