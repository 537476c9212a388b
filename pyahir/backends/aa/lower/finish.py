"""What follows a sum of integers, as one operator (a, q) -> y: requantize, or round to a posit.

``q`` is the parameter word of the channel: that of ``lower.rescale``, or the bias of a quire in
two's complement.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from pyahir.backends.aa import ast
from pyahir.backends.aa.ast import BinaryOp
from pyahir.backends.aa.balance import rename
from pyahir.backends.aa.build import assign, constant, name, op, operator, resize_signed, uint
from pyahir.backends.aa.lower.rescale import rescale_operator
from pyahir.backends.aa.types import Int, UInt
from pyahir.ir.types import Posit
from pyahir.kernels.fixed import fixed_to_posit8
from pyahir.plan.layers import Layer
from pyahir.plan.rescale import rescale_format
from pyahir.plan.rounding import Rounding

__all__ = ["finish_operator"]

NAR = 0x80


def finish_operator(module: str, layer: Layer, note: str) -> ast.Module:
    """Write the operator of a layer whose sums are integers."""
    if layer.rescale is not None:
        return rescale_operator(module, layer.rescale, rescale_format(layer.rescale), note)
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
