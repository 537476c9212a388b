"""What follows a sum of integers as an operator (a, q) -> y: requantize, round, count thresholds.

``q`` is the parameter word of the channel: that of ``lower.rescale``, the bias of a quire in two's
complement, or the thresholds, the first lowest. Where there are no parameters there is no ``q``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from pyahir.backends.aa import ast
from pyahir.backends.aa.ast import BinaryOp
from pyahir.backends.aa.balance import rename
from pyahir.backends.aa.build import (
    assign,
    constant,
    lane,
    name,
    op,
    operator,
    resize_signed,
    slice_,
    uint,
    volatile,
)
from pyahir.backends.aa.lower.dot import sums
from pyahir.backends.aa.lower.rescale import rescale_operator
from pyahir.backends.aa.types import Int, UInt
from pyahir.ir.types import Posit
from pyahir.kernels.fixed import fixed_to_posit8
from pyahir.plan.layers import Layer
from pyahir.plan.levels import Levels
from pyahir.plan.rescale import rescale_format
from pyahir.plan.rounding import Rounding

__all__ = ["finish_operator"]

NAR = 0x80


def finish_operator(module: str, layer: Layer, note: str) -> ast.Module:
    """Write the operator of a layer whose sums are integers."""
    if layer.rescale is not None:
        return rescale_operator(module, layer.rescale, rescale_format(layer.rescale), note)
    if layer.levels is not None:
        return _levels(module, layer.levels, note)
    assert layer.rounding is not None
    return _rounding(module, layer.rounding, note)


def _rounding(module: str, rounding: Rounding, note: str) -> ast.Module:
    """Add the bias and round once; the least integer is NaR. A mean has a factor, and no ``q``."""
    assert isinstance(rounding.element, Posit)
    wide = Int(rounding.acc)
    kernel = fixed_to_posit8(
        module, width=rounding.acc, point=-rounding.shift, es=rounding.element.es, scaled=False
    )
    inputs: list[tuple[str, UInt | Int]] = [("a", wide)]
    least = op(BinaryOp.CONCAT, ast.One(1), ast.Zero(rounding.acc - 1))
    total: ast.Expr = name("a")
    if rounding.bias is not None:
        inputs.append(("q", uint(rounding.bits)))
        bias = resize_signed(ast.BitCast(Int(rounding.bits), name("q")), rounding.acc)
        total = op(BinaryOp.ADD, name("a"), bias)
    elif rounding.factor != 1:
        total = op(BinaryOp.MUL, name("a"), constant(rounding.factor, wide))
    body: list[ast.Statement] = [
        replace(assign("bits_a", ast.BitCast(uint(rounding.acc), name("a"))), volatile=True),
        assign("nar", op(BinaryOp.EQUAL, name("bits_a"), least)),
        assign("acc", total),
    ]
    if not rounding.relu:
        body += kernel.body or ()
    else:
        body += cast("tuple[ast.Statement, ...]", rename(kernel.body, {"y": "code"}))
        negative = op(BinaryOp.GREATER, name("code"), ast.Literal(NAR))
        body.append(assign("y", ast.Mux(negative, ast.Zero(8), name("code"))))
    return operator(module, inputs, [("y", uint(8))], body, f"{note}: round to a posit")


def _levels(module: str, levels: Levels, note: str) -> ast.Module:
    """Count the thresholds below the sum; without thresholds give the sum itself."""
    acc, width = Int(levels.acc), levels.width
    inputs: list[tuple[str, UInt | Int]] = [("a", acc)]
    if levels.thresholds is None:
        return operator(module, inputs, [("y", uint(width))], _raw(levels), f"{note}: sums")
    inputs.append(("q", uint(levels.bits)))
    body: list[ast.Statement] = []
    terms: list[ast.Expr] = []
    for index in range(levels.thresholds.shape[1]):
        step = ast.BitCast(acc, lane("q", index, levels.acc))
        body.append(volatile(f"t_{index}", step))
        above = op(BinaryOp.GREATER, name("a"), name(f"t_{index}"))
        if width > 1:
            body.append(volatile(f"c_{index}", above))
            above = ast.BitCast(uint(width), name(f"c_{index}"))
        terms.append(above)
    if levels.base:
        terms.append(constant(levels.base & ((1 << width) - 1), uint(width)))
    body += sums("y", "n", terms)
    comment = f"{note}: count the thresholds below a sum"
    return operator(module, inputs, [("y", uint(width))], body, comment)


def _raw(levels: Levels) -> list[ast.Statement]:
    """Give a sum with the width of the result: of a count of what agrees, what it stands for."""
    work = max(levels.acc + 1, levels.width)
    body: list[ast.Statement] = [volatile("w", resize_signed(name("a"), work))]
    value: ast.Expr = name("w")
    if levels.agreeing is not None:
        body.append(volatile("d", op(BinaryOp.ADD, name("w"), name("w"))))
        value = op(BinaryOp.SUB, name("d"), ast.Literal(levels.agreeing))
    body += [volatile("s", value), volatile("u", ast.BitCast(uint(work), name("s")))]
    return [*body, assign("y", slice_("u", levels.width - 1, 0))]
