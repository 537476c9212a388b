"""Pooling and elementwise processes: reduce the columns of each window, or clamp each word.

How elements compare is in ``order``; means of real numbers are in ``mean``.
"""

from __future__ import annotations

from collections.abc import Callable

from pyahir.backends.aa import ast
from pyahir.backends.aa.ast import BinaryOp, Expr
from pyahir.backends.aa.build import (
    Loop,
    assign,
    concat,
    equal,
    lane,
    lanes,
    name,
    op,
    uint,
)
from pyahir.backends.aa.lower.order import Order
from pyahir.backends.aa.lower.process import Emitter, Stream
from pyahir.backends.aa.lower.recode import recoded
from pyahir.backends.aa.lower.rescale import rescale_operator
from pyahir.backends.aa.lower.ring import SHORT
from pyahir.backends.aa.types import Int
from pyahir.plan.layers import LayerKind
from pyahir.plan.plan import PlannedLayer, Sweep
from pyahir.plan.rescale import rescale_format

__all__ = ["elementwise", "pool"]

Combine = Callable[[Expr, Expr], Expr]


def _plus(a: Expr, b: Expr) -> Expr:
    return op(BinaryOp.ADD, a, b)


def pool(emitter: Emitter, planned: PlannedLayer, x: Stream, out: Stream, note: str) -> None:
    """Reduce columns to windows: largest code, or sum and requantize."""
    assert planned.sweep is not None
    summed = planned.layer.kind == LayerKind.SUM_POOL
    rescale = planned.layer.rescale
    loop = Loop()
    order = Order(loop, planned.layer.x.element)
    width, combine = x.width, order.larger
    if summed:
        assert rescale is not None
        width, combine = rescale_format(rescale).acc, _plus
    count = planned.lanes_out
    steps = planned.sweep.window.kernel_size[1]
    g = loop.counter("g", planned.sweep.words)
    k = loop.counter("k", steps)
    loop.set("x", name(x.pipe))
    column = _rows(loop, planned.sweep, x, width, combine)
    if k is None:
        result = column
    else:
        result = _across(emitter, loop, planned, column, width, combine, g is not None)
    if summed:
        result = _requantized(emitter, loop, planned, result, width, g, note)
    elif order.floats:
        parts = [order.plus_zero(lane(result, index, width)) for index in range(count)]
        result = loop.let("codes", concat(parts))
    loop.let("yw", name(result))
    loop.when("k_last" if k is not None else None, out.pipe, name("yw"))
    first: list[ast.Statement] = []
    if summed:
        first = [assign("go", name(f"go_{planned.name}"))]
    emitter.process(f"pl_{planned.name}", loop, comment=note, first=first)


def _rows(loop: Loop, sweep: Sweep, x: Stream, width: int, combine: Combine) -> str:
    """Combine the rows of a column, lane by lane, one row a stage."""
    kernel, count = sweep.window.kernel_size[0], sweep.lanes

    def element(row: int, index: int) -> Expr:
        part = lane("x", row * count + index, x.width)
        return part if width == x.width else ast.BitCast(uint(width), part)

    current = loop.let("h_0", concat([element(0, index) for index in range(count)]))
    for row in range(1, kernel):
        parts = [
            combine(lane(current, index, width), element(row, index)) for index in range(count)
        ]
        current = loop.set(f"h_{row}", concat(parts))
    return current


def _across(
    emitter: Emitter,
    loop: Loop,
    planned: PlannedLayer,
    column: str,
    width: int,
    combine: Combine,
    several: bool,
) -> str:
    """Combine the columns of a window: in registers, or in a ring where many words alternate."""
    count = planned.lanes_out
    loop.let("first", equal("k", 0))
    distance = 1
    if several:
        assert planned.sweep is not None
        distance = planned.sweep.words
    previous, older = "acc", (distance - 1) * count
    if distance > SHORT:
        ring = emitter.stream(f"pr_{planned.name}", count, distance + 4, width)
        loop.let("again", ast.Unary(ast.UnaryOp.INVERT, name("first")))
        loop.let("keep", ast.Unary(ast.UnaryOp.INVERT, name("k_last")))
        loop.when("again", "prev", name(ring.pipe))
        previous, older = "prev", 0
    parts: list[Expr] = []
    for index in range(count):
        new = lane(column, index, width)
        parts.append(
            ast.Mux(name("first"), new, combine(lane(previous, older + index, width), new))
        )
    if older:
        parts.append(lanes("acc", 0, older, width))
    loop.set("acc", concat(parts))
    if distance > SHORT:
        loop.when("keep", f"pr_{planned.name}", name("acc"))
    return loop.let("reduced", lanes("acc", 0, count, width)) if older else "acc"


def _requantized(
    emitter: Emitter,
    loop: Loop,
    planned: PlannedLayer,
    total: str,
    width: int,
    g: str | None,
    note: str,
) -> str:
    """Requantize every lane of a word of sums."""
    rescale = planned.layer.rescale
    assert rescale is not None
    assert planned.sweep is not None
    form = rescale_format(rescale)
    emitter.operator(rescale_operator(f"rq_{planned.name}", rescale, form, note))
    table = emitter.storage(f"q_{planned.name}", planned.sweep.words, planned.lanes_out * form.bits)
    emitter.token(f"go_{planned.name}")
    loop.set("q", ast.Index(name(table), (ast.Zero(1) if g is None else name(g),)))
    codes: list[Expr] = []
    for index in range(planned.lanes_out):
        loop.let(f"a_{index}", ast.BitCast(Int(width), lane(total, index, width)))
        loop.body.append(
            ast.Call(
                module=f"rq_{planned.name}",
                arguments=(name(f"a_{index}"), lane("q", index, form.bits)),
                results=(name(f"y_{index}"),),
            )
        )
        codes.append(name(f"y_{index}"))
    return loop.let("codes", concat(codes))


def elementwise(emitter: Emitter, planned: PlannedLayer, x: Stream, out: Stream, note: str) -> None:
    """Clamp or recode every element."""
    layer = planned.layer
    loop = Loop()
    loop.set("x", name(x.pipe))
    elements = [lane("x", index, x.width) for index in range(x.lanes)]
    if layer.table is not None:
        parts = [recoded(element, layer.table, out.width, note) for element in elements]
    else:
        assert layer.clamp is not None
        order = Order(loop, layer.x.element)
        parts = [order.clamped(element, layer.clamp) for element in elements]
    loop.set("y", concat(parts))
    loop.set(out.pipe, name("y"))
    emitter.process(f"ew_{planned.name}", loop, comment=note)
