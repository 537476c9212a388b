"""The dot product of one output channel as an operator: products, then trees of sums."""

from __future__ import annotations

from collections.abc import Sequence

from pyahir.backends.aa import ast
from pyahir.backends.aa.ast import BinaryOp, Expr
from pyahir.backends.aa.build import assign, lane, name, op, operator, resize_signed, uint, volatile
from pyahir.backends.aa.types import Int

__all__ = ["dot"]

TREE = 4  # terms that are added in one stage
PRODUCT_WIDTH = 16  # 8-bit unsigned by 8-bit signed


def dot(module: str, simd: int, prefixes: Sequence[int], width: int, note: str) -> ast.Module:
    """Sum ``simd`` products of a signed weight and an unsigned code: (w, x) -> t, u_0, u_1, ...

    ``u_i`` is the sum of the first ``prefixes[i]`` products.
    """
    body: list[ast.Statement] = []
    terms: list[str] = []
    for s in range(simd):
        weight = resize_signed(ast.BitCast(Int(8), lane("w", s, 8)), PRODUCT_WIDTH)
        code = ast.BitCast(Int(PRODUCT_WIDTH), lane("x", s, 8))
        body.append(assign(f"p_{s}", op(BinaryOp.MUL, weight, code)))
        body.append(volatile(f"v_{s}", resize_signed(name(f"p_{s}"), width)))
        terms.append(f"v_{s}")
    body += _tree("t", "s", terms)
    outputs = ["t"]
    for number, count in enumerate(prefixes):
        body += _tree(f"u_{number}", f"s{number}", terms[:count])
        outputs.append(f"u_{number}")
    operands = [("w", uint(8 * simd)), ("x", uint(8 * simd))]
    results = [(output, Int(width)) for output in outputs]
    return operator(module, operands, results, body, f"dot product of {note}")


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
