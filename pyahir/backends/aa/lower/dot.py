"""The dot product of one output channel as an operator: products, then trees of sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pyahir.backends.aa import ast
from pyahir.backends.aa.ast import BinaryOp, Expr
from pyahir.backends.aa.build import assign, lane, name, op, operator, resize_signed, uint, volatile
from pyahir.backends.aa.types import Int

__all__ = ["Operands", "dot"]

TREE = 4  # terms that are added in one stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Operands:
    """Bits of a signed weight and of an input, signed or not, and of the sums of products."""

    weight: int
    x: int
    signed: bool
    total: int


def dot(
    module: str, simd: int, prefixes: Sequence[int], operands: Operands, note: str
) -> ast.Module:
    """Sum ``simd`` products of a weight and an input: (w, x) -> t, u_0, u_1, ...

    ``u_i`` is the sum of the first ``prefixes[i]`` products.
    """
    product, width = operands.weight + operands.x, max(operands.total, operands.weight + operands.x)
    body: list[ast.Statement] = []
    terms: list[str] = []
    for s in range(simd):
        weight = ast.BitCast(Int(operands.weight), lane("w", s, operands.weight))
        code: Expr = lane("x", s, operands.x)
        if operands.signed:
            code = resize_signed(ast.BitCast(Int(operands.x), code), product)
        else:
            code = ast.BitCast(Int(product), code)
        body.append(assign(f"p_{s}", op(BinaryOp.MUL, resize_signed(weight, product), code)))
        body.append(volatile(f"v_{s}", resize_signed(name(f"p_{s}"), width)))
        terms.append(f"v_{s}")
    body += _tree("t", "s", terms)
    outputs = ["t"]
    for number, count in enumerate(prefixes):
        body += _tree(f"u_{number}", f"s{number}", terms[:count])
        outputs.append(f"u_{number}")
    given = [("w", uint(operands.weight * simd)), ("x", uint(operands.x * simd))]
    results = [(output, Int(width)) for output in outputs]
    return operator(module, given, results, body, f"dot product of {note}")


def _tree(target: str, stem: str, terms: list[str]) -> list[ast.Statement]:
    """Add ``terms``, ``TREE`` of them a stage."""
    body: list[ast.Statement] = []
    level = 0
    while len(terms) > TREE:
        level += 1
        groups = [terms[start : start + TREE] for start in range(0, len(terms), TREE)]
        names = [f"{stem}_{level}_{index}" for index in range(len(groups))]
        body += [assign(made, _sum(group)) for made, group in zip(names, groups, strict=True)]
        terms = names
    return [*body, assign(target, _sum(terms))]


def _sum(terms: list[str]) -> Expr:
    if len(terms) == 1:
        return name(terms[0])
    return ast.Reduce(ast.ReduceOp.ADD, tuple(name(term) for term in terms))
