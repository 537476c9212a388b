"""A table of 256 codes as arithmetic: a few constants, or the code plus one of a few constants."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pyahir.backends.aa import ast
from pyahir.backends.aa.ast import BinaryOp, Expr
from pyahir.backends.aa.build import constant, op, uint
from pyahir.errors import PlanError

__all__ = ["recoded"]

MOST_STEPS = 32


def recoded(x: ast.Slice, table: npt.NDArray[np.int64], width: int, note: str) -> Expr:
    """Give ``table[x]`` of an 8-bit code as ``width`` bits; comparisons choose the constant."""
    mask = (1 << width) - 1
    codes = np.arange(256)
    flat, sloped = table & mask, (table - codes) & mask
    steps = [np.flatnonzero(np.diff(values)) + 1 for values in (flat, sloped)]
    slope = len(steps[1]) < len(steps[0])
    values, changes = (sloped, steps[1]) if slope else (flat, steps[0])
    if len(changes) > MOST_STEPS:
        raise PlanError(
            f"{note}: a table of codes with {len(changes)} steps; hardware is made for at most "
            f"{MOST_STEPS}, or for the code plus one of {MOST_STEPS} numbers"
        )
    kind = uint(width)
    chosen: Expr = constant(int(values[0]), kind)
    for change in changes.tolist():
        later = op(BinaryOp.GREATER_EQUAL, x, ast.Literal(change))
        chosen = ast.Mux(later, constant(int(values[change]), kind), chosen)
    if not slope:
        return chosen
    low = ast.Slice(x.operand, x.low + width - 1, x.low) if width < 8 else x  # type: ignore[operator]  # sizes are numbers here
    return op(BinaryOp.ADD, ast.BitCast(kind, low), chosen)
