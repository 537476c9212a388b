"""Windows: line buffer, then the columns of each window one by one, or all in one word.

Sources of the forms: recirculating pipes instead of addressed memory, so that no access is lost
to a write. Element order of the result: kx, word, ky, lane; of whole windows word, kx, ky, lane.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyahir.backends.aa import ast
from pyahir.backends.aa.ast import BinaryOp, Expr
from pyahir.backends.aa.build import (
    Loop,
    bits_for,
    concat,
    constant,
    equal,
    lanes,
    name,
    not_,
    op,
    uint,
)
from pyahir.backends.aa.lower.process import Emitter, Stream
from pyahir.backends.aa.lower.ring import SHORT, Ring, repeated
from pyahir.plan.plan import Sweep

__all__ = ["Border", "windows"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Border:
    """The code that fills padded places, the room for columns and that for the resulting words."""

    fill: int
    room: int
    depth: int


def windows(
    emitter: Emitter, layer: str, sweep: Sweep, x: Stream, border: Border, note: str
) -> Stream:
    """Add the processes that turn the stream ``x`` into the columns of every window."""
    fill, depth, room = border.fill, border.depth, border.room
    if sweep.passes_through:
        return _line_buffer(emitter, layer, sweep, x, (fill, max(depth, room)), note)
    columns = _line_buffer(emitter, layer, sweep, x, (fill, room), note)
    if sweep.whole:
        return _whole(emitter, layer, sweep, columns, depth, note)
    return _columns(emitter, layer, sweep, columns, depth, note)


def _line_buffer(
    emitter: Emitter, layer: str, sweep: Sweep, x: Stream, ends: tuple[int, int], note: str
) -> Stream:
    """Walk the padded map word by word; send a column of K rows wherever a window needs it."""
    span = sweep.window.span[0]
    kernel, dilation = sweep.window.kernel_size[0], sweep.window.dilation[0]
    row_words = sweep.padded_width * sweep.words
    fill, depth = ends
    out = emitter.stream(f"col_{layer}", kernel * x.lanes, depth, x.width)
    loop = Loop()
    c = loop.counter("c", row_words)
    r = loop.counter("r", sweep.padded_height)
    inside = _inside(loop, sweep, c, r)
    loop.when(inside, "xi", name(x.pipe))
    pixel = "xi"
    if inside is not None:
        pixel = loop.let("px", ast.Mux(name(inside), name("xi"), _filled(fill, x)))
    column = pixel
    if span > 1:
        column = _rows(emitter, loop, x, (f"ln_{layer}", row_words, span), pixel)
    if dilation > 1 and kernel > 1:
        taps = [lanes(column, k * dilation * x.lanes, x.lanes, x.width) for k in range(kernel)]
        column = loop.let("taps", concat(taps))
    loop.when(_wanted(loop, sweep, c, r), out.pipe, name(column))
    emitter.process(f"lb_{layer}", loop, comment=f"line buffer of {note}")
    return out


def _rows(emitter: Emitter, loop: Loop, x: Stream, line: tuple[str, int, int], pixel: str) -> str:
    """Give the column that ends in ``pixel``: the rows above come from one row earlier."""
    pipe, row_words, span = line
    older = (span - 1) * x.lanes
    if row_words <= SHORT:
        old = lanes("rows", (row_words - 1) * older, older, x.width)
        loop.set("col", op(BinaryOp.CONCAT, name(pixel), old))
        kept: Expr = name(pixel)
        if span > 2:
            first = (row_words - 1) * older + x.lanes
            kept = op(BinaryOp.CONCAT, kept, lanes("rows", first, older - x.lanes, x.width))
        parts: list[Expr] = [kept]
        if row_words > 1:
            parts.append(lanes("rows", 0, (row_words - 1) * older, x.width))
        loop.set("rows", concat(parts))
        return "col"
    stream = emitter.stream(pipe, older, row_words + 2, x.width)
    loop.let("rd", op(BinaryOp.GREATER, name("r"), ast.Literal(0)))
    loop.let("wr", not_("r_last"))
    loop.when("rd", "old", name(stream.pipe))
    loop.let("col", op(BinaryOp.CONCAT, name(pixel), name("old")))
    loop.let("keep", lanes("col", x.lanes, older, x.width))
    loop.when("wr", stream.pipe, name("keep"))
    return "col"


def _filled(fill: int, x: Stream) -> Expr:
    pattern = sum(fill << (lane * x.width) for lane in range(x.lanes))
    return constant(pattern, uint(x.bits))


def _inside(loop: Loop, sweep: Sweep, c: str | None, r: str | None) -> str | None:
    """Give the flag that is 1 where the padded map has a word of the input; None: everywhere."""
    top, bottom, left, right = sweep.window.padding
    flags: list[str] = []
    words = sweep.words
    if left:
        flags.append(_at_least(loop, "in_left", c, left * words))
    if right:
        flags.append(_less(loop, "in_right", c, (left + sweep.width) * words))
    if top:
        flags.append(_at_least(loop, "in_top", r, top))
    if bottom:
        flags.append(_less(loop, "in_bottom", r, top + sweep.height))
    return loop.all_of(flags, "inp")


def _at_least(loop: Loop, stem: str, counter: str | None, bound: int) -> str:
    assert counter is not None
    return loop.let(stem, op(BinaryOp.GREATER_EQUAL, name(counter), ast.Literal(bound)))


def _less(loop: Loop, stem: str, counter: str | None, bound: int) -> str:
    assert counter is not None
    return loop.let(stem, op(BinaryOp.LESS, name(counter), ast.Literal(bound)))


def _wanted(loop: Loop, sweep: Sweep, c: str | None, r: str | None) -> str | None:
    """Give the flag that is 1 where the current word ends a column that some window needs."""
    (span_y, span_x), (stride_y, stride_x) = sweep.window.span, sweep.window.stride
    flags: list[str] = []
    if span_y > 1:
        flags.append(_at_least(loop, "row_full", r, span_y - 1))
    last_row = (sweep.out_height - 1) * stride_y + span_y - 1
    if stride_y > 1 and sweep.out_height > 1:
        flags.append(_row_phase(loop, sweep, c))  # fewer rows are left over than a stride has
    elif last_row < sweep.padded_height - 1:
        flags.append(_less(loop, "row_used", r, last_row + 1))
    needed = (sweep.out_width - 1) * stride_x + span_x
    if needed < sweep.padded_width:
        flags.append(_less(loop, "col_used", c, needed * sweep.words))
    if stride_x > span_x and sweep.out_width > 1:
        flags.append(_column_phase(loop, sweep, c))
    return loop.all_of(flags, "ov")


def _row_phase(loop: Loop, sweep: Sweep, c: str | None) -> str:
    """Count rows modulo the stride, from the first that completes a window."""
    stride, span = sweep.window.stride[0], sweep.window.span[0]
    width = bits_for(stride)
    loop.let("rp_last", equal("rp", stride - 1))
    step: Expr = ast.Mux(
        name("rp_last"), ast.Zero(width), op(BinaryOp.ADD, name("rp"), ast.Literal(1))
    )
    if span > 1:
        loop.let("rp_run", op(BinaryOp.GREATER_EQUAL, name("r"), ast.Literal(span - 1)))
        step = ast.Mux(name("rp_run"), step, ast.Zero(width))
    step = ast.Mux(name("r_last"), ast.Zero(width), step)
    if c is not None:
        step = ast.Mux(name("c_last"), step, name("rp"))
    loop.state("rp", width, step)
    return loop.let("row_hit", equal("rp", 0))


def _column_phase(loop: Loop, sweep: Sweep, c: str | None) -> str:
    """Count words modulo the stride, and take those that lie in a window."""
    assert c is not None
    stride, span = sweep.window.stride[1] * sweep.words, sweep.window.span[1] * sweep.words
    width = bits_for(stride)
    loop.let("cp_last", equal("cp", stride - 1))
    loop.let("cp_wrap", op(BinaryOp.OR, name("cp_last"), name("c_last")))
    up = op(BinaryOp.ADD, name("cp"), ast.Literal(1))
    loop.state("cp", width, ast.Mux(name("cp_wrap"), ast.Zero(width), up))
    return loop.let("col_hit", op(BinaryOp.LESS, name("cp"), ast.Literal(span)))


def _columns(
    emitter: Emitter, layer: str, sweep: Sweep, x: Stream, depth: int, note: str
) -> Stream:
    """Send, for each output pixel, all its columns; those shared with the next one go round."""
    span, dilation = sweep.window.span[1], sweep.window.dilation[1]
    fresh_words, words = sweep.advance * sweep.words, sweep.words
    shared = (span - sweep.advance) * words
    out = emitter.stream(f"win_{layer}", x.lanes, depth, x.width)
    loop = Loop()
    hit: str | None = None
    if dilation == 1:
        t = loop.counter("t", span * words)
    else:
        hit = _tap_phase(loop, sweep)
        t = "t"
    ox = loop.counter("ox", sweep.out_width)
    assert t is not None
    column = "a"
    if shared and ox is not None:
        loop.let("first_pixel", equal("ox", 0))
        loop.let("new_column", op(BinaryOp.GREATER_EQUAL, name(t), ast.Literal(shared)))
        loop.let("fresh", op(BinaryOp.OR, name("first_pixel"), name("new_column")))
        loop.when("fresh", "a", name(x.pipe))
        keep = ""
        if shared > SHORT:
            loop.let("again_used", op(BinaryOp.GREATER_EQUAL, name(t), ast.Literal(fresh_words)))
            keep = loop.let("keep", op(BinaryOp.AND, name("again_used"), not_("ox_last")))
        column = repeated(
            emitter, loop, Ring(f"rc_{layer}", shared, x.lanes, x.width), ("fresh", "a"), keep
        )
    else:
        loop.set("a", name(x.pipe))
    loop.when(hit, out.pipe, name(column))
    emitter.process(f"cs_{layer}", loop, comment=f"columns of {note}")
    return out


def _tap_phase(loop: Loop, sweep: Sweep) -> str:
    """Count the columns of a dilated window and flag those that hold a tap."""
    span, dilation, words = sweep.window.span[1], sweep.window.dilation[1], sweep.words
    loop.counter("t", span * words)
    width = bits_for(dilation * words)
    loop.let("tp_last", equal("tp", dilation * words - 1))
    loop.let("tp_wrap", op(BinaryOp.OR, name("tp_last"), name("t_last")))
    up = op(BinaryOp.ADD, name("tp"), ast.Literal(1))
    loop.state("tp", width, ast.Mux(name("tp_wrap"), ast.Zero(width), up))
    return loop.let("tap_hit", op(BinaryOp.LESS, name("tp"), ast.Literal(words)))


def _whole(emitter: Emitter, layer: str, sweep: Sweep, x: Stream, depth: int, note: str) -> Stream:
    """Send each window in one word: a shift register of columns, tapped where the window has them.

    Word by word of the pixels: the columns of the other words lie between two taps.
    """
    span, stride = sweep.window.span[1], sweep.advance
    kernel, dilation = sweep.window.kernel_size[1], sweep.window.dilation[1]
    words = sweep.words
    out = emitter.stream(f"win_{layer}", sweep.window_lanes, depth, x.width)
    loop = Loop()
    w = loop.counter("w", words)
    c = loop.counter("c", sweep.columns_sent)
    loop.set("v", name(x.pipe))
    older = (span - 1) * words
    loop.set("h", concat([name("v"), lanes("h", 0, older * x.lanes, x.width)]))
    taps = [
        lanes("h", (span - 1 - tap * dilation) * words * x.lanes, x.lanes, x.width)
        for tap in range(kernel)
    ]
    loop.let("o", concat(taps))
    flags: list[str] = []
    if span > 1:
        flags.append(_at_least(loop, "filled", c, span - 1))
    if stride > 1 and sweep.out_width > 1:
        flags.append(_phase(loop, stride, w))
    loop.when(loop.all_of(flags, "ov"), out.pipe, name("o"))
    emitter.process(f"wn_{layer}", loop, comment=f"windows of {note}")
    return out


def _phase(loop: Loop, stride: int, w: str | None) -> str:
    """Count columns modulo the stride, from the first that completes a window."""
    width = bits_for(stride)
    loop.let("cp_last", equal("cp", stride - 1))
    up = op(BinaryOp.ADD, name("cp"), ast.Literal(1))
    step: Expr = ast.Mux(name("cp_last"), ast.Zero(width), up)
    step = ast.Mux(name("filled"), step, ast.Zero(width))
    step = ast.Mux(name("c_last"), ast.Zero(width), step)
    if w is not None:
        step = ast.Mux(name("w_last"), step, name("cp"))
    loop.state("cp", width, step)
    return loop.let("col_hit", equal("cp", 0))
