"""Words of posits as words of numbers: one call of a decoding kernel a lane.

In: a word in a loop, and how its elements are stored. Out: the word of decoded numbers. Integers
and floats are numbers already.
"""

from __future__ import annotations

from pyahir.backends.aa import ast
from pyahir.backends.aa.build import Loop, concat, lane, name
from pyahir.backends.aa.lower.process import Emitter
from pyahir.backends.aa.types import UInt
from pyahir.ir.types import Element, Posit
from pyahir.plan.rounding import fixed_width

__all__ = ["decoded", "decoded_floats"]


def decoded(
    emitter: Emitter, loop: Loop, stem: str, word: str, element: Element, count: int
) -> tuple[str, list[str]]:
    """Turn ``count`` posits into integers in units of minpos; flags of NaR come with them."""
    assert isinstance(element, Posit)
    kernel = emitter.kernel(f"posit8_to_fixed_es{element.es}")
    parts: list[ast.Expr] = []
    flags: list[str] = []
    for index in range(count):
        value, flag = f"{stem}f_{index}", f"{stem}b_{index}"
        argument = lane(word, index, element.width)
        results = (name(value), name(flag))
        loop.body.append(ast.Call(module=kernel, arguments=(argument,), results=results))
        parts.append(ast.BitCast(UInt(fixed_width(element)), name(value)))
        flags.append(flag)
    return loop.let(f"{stem}d", concat(parts)), flags


def decoded_floats(
    emitter: Emitter, loop: Loop, stem: str, word: str, element: Element, form: str, count: int
) -> list[str]:
    """Give the elements of a word as floats of ``form``, f32 or f16."""
    found: list[str] = []
    for index in range(count):
        value, argument = f"{stem}f_{index}", lane(word, index, element.width)
        if isinstance(element, Posit):
            kernel = emitter.kernel(f"posit8_to_{form}_es{element.es}")
            call = ast.Call(module=kernel, arguments=(argument,), results=(name(value),))
            loop.body.append(call)
        else:
            loop.let(value, argument)
        found.append(value)
    return found
