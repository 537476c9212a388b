"""The shift that brings the highest 1 of a number to its highest bit, in stages.

In: the name of a value and its width. Out: statements, the name of the shifted value, and the
names of the bits of the distance, highest first.
"""

from __future__ import annotations

from pyahir.backends.aa import ast
from pyahir.backends.aa.ast import BinaryOp
from pyahir.backends.aa.build import assign, name, op, slice_, volatile

__all__ = ["normalized"]

TOGETHER = 2  # steps in one stage


def normalized(body: list[ast.Statement], value: str, width: int) -> tuple[str, list[str]]:
    """Add the statements to ``body``; 0 stays 0."""
    flags: list[str] = []
    for number in reversed(range((width - 1).bit_length())):
        step = 1 << number
        flag, moved, after = f"none_{step}", f"moved_{step}", f"mag_{step}"
        top = slice_(value, width - 1, width - step)
        shift = op(BinaryOp.SHIFT_LEFT, name(value), ast.Literal(step))
        body += [
            volatile(flag, op(BinaryOp.EQUAL, top, ast.Literal(0))),
            volatile(moved, shift),
        ]
        make = assign if len(flags) % TOGETHER else volatile
        body.append(make(after, ast.Mux(name(flag), name(moved), name(value))))
        flags.append(flag)
        value = after
    return value, flags
