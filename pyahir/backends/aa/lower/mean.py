"""The mean of a window of posits or floats: all its elements come in one word.

A quire adds integers in any order. Floats are added in the order of ``ir.ops.posit``: element t
belongs to the part t mod 16; a tree adds the parts. Adding a part that is +0 changes nothing, so
there are no adders for parts without elements.
"""

from __future__ import annotations

from pyahir.backends.aa import ast
from pyahir.backends.aa.ast import BinaryOp, Expr
from pyahir.backends.aa.build import Loop, concat, constant, lane, name, op, resize_signed, uint
from pyahir.backends.aa.lower.arithmetic import Floats
from pyahir.backends.aa.lower.decode import decoded, decoded_floats
from pyahir.backends.aa.lower.finish import finish_operator
from pyahir.backends.aa.lower.process import Emitter, Stream
from pyahir.backends.aa.types import Int
from pyahir.ir.ops.posit import LANES
from pyahir.ir.types import Posit
from pyahir.plan.plan import PlannedLayer
from pyahir.plan.rounding import fixed_width

__all__ = ["mean"]


def mean(emitter: Emitter, planned: PlannedLayer, x: Stream, out: Stream, note: str) -> None:
    """Add the process that takes words of (kx, ky, lane) and gives words of means."""
    rounding = planned.layer.rounding
    assert rounding is not None
    count = planned.lanes_out
    taps = x.lanes // count
    loop = Loop()
    loop.set("x", name(x.pipe))
    parts: list[Expr] = []
    if rounding.arith == "quire":
        module = emitter.operator(finish_operator(f"rq_{planned.name}", planned.layer, note))
        numbers, flags = decoded(emitter, loop, "x", "x", planned.layer.x.element, x.lanes)
        for index in range(count):
            total = _exact_sum(loop, planned, numbers, flags, (index, count, taps))
            call = ast.Call(module=module, arguments=(total,), results=(name(f"y_{index}"),))
            loop.body.append(call)
            parts.append(name(f"y_{index}"))
    else:
        floats = Floats(emitter, loop, rounding)
        element, form = planned.layer.x.element, rounding.arith
        values = decoded_floats(emitter, loop, "x", "x", element, form, x.lanes)
        for index in range(count):
            window = [values[tap * count + index] for tap in range(taps)]
            total = _ordered_sum(floats, window, f"t{index}", isinstance(element, Posit))
            factor = constant(rounding.factor, uint(rounding.acc))
            parts.append(floats.stored(floats.product(total, factor, f"m_{index}"), f"y_{index}"))
    loop.let("yw", concat(parts))
    loop.set(out.pipe, name("yw"))
    emitter.process(f"pl_{planned.name}", loop, comment=note)


def _exact_sum(
    loop: Loop, planned: PlannedLayer, numbers: str, flags: list[str], place: tuple[int, int, int]
) -> Expr:
    """Add the integers of one lane; the least integer where one of them is NaR."""
    rounding = planned.layer.rounding
    assert rounding is not None
    index, count, taps = place
    width, wide = fixed_width(planned.layer.x.element), Int(rounding.acc)
    chosen = [tap * count + index for tap in range(taps)]
    terms: list[Expr] = []
    for at in chosen:
        number = ast.BitCast(Int(width), lane(numbers, at, width))
        terms.append(name(loop.let(f"v_{at}", resize_signed(number, rounding.acc))))
    total = loop.set(f"s_{index}", ast.Reduce(ast.ReduceOp.ADD, tuple(terms)))
    bad: Expr = name(flags[chosen[0]])
    for at in chosen[1:]:
        bad = op(BinaryOp.OR, bad, name(flags[at]))
    nar = loop.let(f"nar_{index}", bad)
    least = ast.BitCast(wide, op(BinaryOp.CONCAT, ast.One(1), ast.Zero(rounding.acc - 1)))
    return name(loop.let(f"a_{index}", ast.Mux(name(nar), least, name(total))))


def _ordered_sum(floats: Floats, window: list[str], stem: str, posits: bool) -> str:
    """Add the elements of one window in the order that the op defines."""
    parts: list[str] = []
    for first in range(min(LANES, len(window))):
        total = window[first]
        if not posits:
            total = floats.plus_zero(total, f"{stem}_z{first}")
        for number, element in enumerate(window[first + LANES :: LANES]):
            total = floats.total(total, element, f"{stem}_p{first}_{number}")
        parts.append(total)
    level = 0
    while len(parts) > 1:
        level += 1
        pairs = [
            floats.total(a, b, f"{stem}_l{level}_{number}")
            for number, (a, b) in enumerate(zip(parts[0::2], parts[1::2], strict=False))
        ]
        parts = [*pairs, *parts[2 * len(pairs) :]]
    return parts[0]
