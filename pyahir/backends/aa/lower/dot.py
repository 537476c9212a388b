"""The dot product of one output channel as an operator: products, then trees of sums.

A product with one bit, which means -1 or +1, is the other factor or its negative; where both
factors are one bit the sum is the number of positions that agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pyahir.backends.aa import ast
from pyahir.backends.aa.ast import BinaryOp, Expr
from pyahir.backends.aa.build import (
    assign,
    lane,
    name,
    op,
    operator,
    resize_signed,
    slice_,
    uint,
    volatile,
)
from pyahir.backends.aa.types import Int

__all__ = ["Operands", "dot", "sums"]

TREE = 4  # terms that are added in one stage
BITS = 6  # bits that are counted in one stage: the inputs of a lookup table


@dataclass(frozen=True, slots=True, kw_only=True)
class Operands:
    """Bits of a weight and of an input, signed or not, and of the sums of products.

    A factor of one bit stands for -1 and +1; ``agreeing``: both do, and what agrees is counted.
    """

    weight: int
    x: int
    signed: bool
    total: int
    agreeing: bool = False


def dot(
    module: str, simd: int, prefixes: Sequence[int], operands: Operands, note: str
) -> ast.Module:
    """Sum ``simd`` products of a weight and an input: (w, x) -> t, u_0, u_1, ...

    ``u_i`` is the sum of the first ``prefixes[i]`` products.
    """
    counts = {"t": simd} | {f"u_{number}": count for number, count in enumerate(prefixes)}
    if operands.agreeing:
        width = operands.total
        agree = op(BinaryOp.XNOR, name("w"), name("x"))
        body: list[ast.Statement] = [volatile("agree", agree)]
        for number, (output, count) in enumerate(counts.items()):
            body += _counted(output, f"s{number}", count, width)
    else:
        width = max(operands.total, operands.weight + operands.x)
        body = []
        for s in range(simd):
            body += _product(s, operands, width)
        for number, (output, count) in enumerate(counts.items()):
            terms = [name(f"v_{s}") for s in range(count)]
            body += sums(output, f"s{number}", terms)
    given = [("w", uint(operands.weight * simd)), ("x", uint(operands.x * simd))]
    results = [(output, Int(width)) for output in counts]
    return operator(module, given, results, body, f"dot product of {note}")


def _product(s: int, operands: Operands, width: int) -> list[ast.Statement]:
    """Multiply one pair; ``v_s`` is the product with the width of the sums."""
    product = operands.weight + operands.x
    weight: Expr = ast.BitCast(Int(operands.weight), lane("w", s, operands.weight))
    code: Expr = lane("x", s, operands.x)
    if operands.signed:
        code = ast.BitCast(Int(operands.x), code)
        if 1 in (operands.weight, operands.x):
            bit, other = lane("w", s, 1), code
            if operands.x == 1:
                bit, other = lane("x", s, 1), weight
            value = f"o_{s}"
            minus = op(BinaryOp.SUB, ast.Literal(0), name(value))
            return [
                volatile(value, resize_signed(other, product)),
                volatile(f"n_{s}", minus),
                assign(f"p_{s}", ast.Mux(bit, name(value), name(f"n_{s}"))),
                volatile(f"v_{s}", resize_signed(name(f"p_{s}"), width)),
            ]
        code = resize_signed(code, product)
    else:
        code = ast.BitCast(Int(product), code)
    return [
        assign(f"p_{s}", op(BinaryOp.MUL, resize_signed(weight, product), code)),
        volatile(f"v_{s}", resize_signed(name(f"p_{s}"), width)),
    ]


def _counted(target: str, stem: str, count: int, total: int) -> list[ast.Statement]:
    """Count the bits of ``agree`` that are 1, of the first ``count``."""
    width = BITS.bit_length()
    body: list[ast.Statement] = []
    parts: list[str] = []
    for first in range(0, count, BITS):
        places = range(first, min(first + BITS, count))
        part = f"{stem}_0_{first // BITS}"
        terms = [ast.BitCast(uint(width), slice_("agree", place, place)) for place in places]
        body.append(assign(part, _added(terms)))
        parts.append(part)
    level = 0
    while len(parts) > 1:
        level, width = level + 1, width + 2
        made: list[str] = []
        for first in range(0, len(parts), TREE):
            part = f"{stem}_{level}_{first // TREE}"
            group = [ast.BitCast(uint(width), name(item)) for item in parts[first : first + TREE]]
            body.append(assign(part, _added(group)))
            made.append(part)
        parts = made
    (last,) = parts
    if width > total:
        return [*body, volatile(target, ast.BitCast(Int(total), slice_(last, total - 1, 0)))]
    return [*body, volatile(target, ast.BitCast(Int(total), name(last)))]


def sums(target: str, stem: str, terms: Sequence[Expr]) -> list[ast.Statement]:
    """Add ``terms``, all of one type, ``TREE`` of them a stage."""
    body: list[ast.Statement] = []
    level = 0
    while len(terms) > TREE:
        level += 1
        groups = [terms[start : start + TREE] for start in range(0, len(terms), TREE)]
        names = [f"{stem}_{level}_{index}" for index in range(len(groups))]
        body += [assign(made, _added(group)) for made, group in zip(names, groups, strict=True)]
        terms = [name(made) for made in names]
    return [*body, assign(target, _added(terms))]


def _added(terms: Sequence[Expr]) -> Expr:
    if len(terms) == 1:
        return terms[0]
    return ast.Reduce(ast.ReduceOp.ADD, tuple(terms))
