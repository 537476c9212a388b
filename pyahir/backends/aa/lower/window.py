"""Windows: line buffer, columns repeated for overlapping windows, width conversion.

Sources of the forms: recirculating pipes instead of addressed memory, so that no access is lost
to a write. Element order of the result: kx, word, ky, lane.
"""

from __future__ import annotations

import math

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
from pyahir.plan.plan import Sweep

__all__ = ["converted", "windows"]


def windows(
    emitter: Emitter, layer: str, sweep: Sweep, x: Stream, ends: tuple[int, int], note: str
) -> Stream:
    """Add the processes that turn the stream ``x`` into the columns of every window.

    ``ends`` is the code that fills padded places, and the least depth of the resulting pipe.
    """
    fill, depth = ends
    if sweep.passes_through:
        return _line_buffer(emitter, layer, sweep, x, (fill, depth), note)
    columns = _line_buffer(emitter, layer, sweep, x, (fill, 4), note)
    return _columns(emitter, layer, sweep, columns, depth, note)


def _line_buffer(
    emitter: Emitter, layer: str, sweep: Sweep, x: Stream, ends: tuple[int, int], note: str
) -> Stream:
    """Walk the padded map word by word; send a column of K rows wherever a window needs it."""
    span = sweep.window.span[0]
    kernel, dilation = sweep.window.kernel_size[0], sweep.window.dilation[0]
    row_words = sweep.padded_width * sweep.words
    ahead = (span - 1) * row_words // max(1, sweep.window.kernel_size[1] * sweep.words)
    fill, depth = ends
    depth = max(depth, 4 + ahead + ahead // 4)
    out = emitter.stream(f"col_{layer}", kernel * x.lanes, depth)
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
        assert r is not None
        line = emitter.stream(f"ln_{layer}", (span - 1) * x.lanes, row_words + 2)
        loop.let("rd", op(BinaryOp.GREATER, name(r), ast.Literal(0)))
        loop.let("wr", not_("r_last"))
        loop.when("rd", "old", name(line.pipe))
        column = loop.let("col", op(BinaryOp.CONCAT, name(pixel), name("old")))
        loop.let("keep", lanes(column, x.lanes, (span - 1) * x.lanes, x.width))
        loop.when("wr", line.pipe, name("keep"))
    if dilation > 1 and kernel > 1:
        taps = [lanes(column, k * dilation * x.lanes, x.lanes, x.width) for k in range(kernel)]
        column = loop.let("taps", concat(taps))
    loop.when(_wanted(loop, sweep, c, r), out.pipe, name(column))
    emitter.process(f"lb_{layer}", loop, comment=f"line buffer of {note}")
    return out


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
    out = emitter.stream(f"win_{layer}", x.lanes, depth)
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
        ring = emitter.stream(f"rc_{layer}", x.lanes, shared + 4)
        loop.let("first_pixel", equal("ox", 0))
        loop.let("new_column", op(BinaryOp.GREATER_EQUAL, name(t), ast.Literal(shared)))
        loop.let("fresh", op(BinaryOp.OR, name("first_pixel"), name("new_column")))
        loop.let("again", not_("fresh"))
        loop.let("again_used", op(BinaryOp.GREATER_EQUAL, name(t), ast.Literal(fresh_words)))
        loop.let("keep", op(BinaryOp.AND, name("again_used"), not_("ox_last")))
        loop.when("fresh", "a", name(x.pipe))
        loop.when("again", "b", name(ring.pipe))
        column = loop.let("v", ast.Mux(name("fresh"), name("a"), name("b")))
        loop.when("keep", ring.pipe, name(column))
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


def converted(
    emitter: Emitter, layer: str, x: Stream, target_lanes: int, depth: int, note: str
) -> Stream:
    """Repack a stream into words of ``target_lanes`` elements, in the same order."""
    common = math.gcd(x.lanes, target_lanes)
    if x.lanes != common:
        x = _split(emitter, layer, x, common, depth if common == target_lanes else 4, note)
    if target_lanes != common:
        x = _join(emitter, layer, x, target_lanes, depth, note)
    return x


def _split(emitter: Emitter, layer: str, x: Stream, target: int, depth: int, note: str) -> Stream:
    """One word in, several out, lowest elements first."""
    out = emitter.stream(f"sp_{layer}", target, depth)
    loop = Loop()
    loop.counter("k", x.lanes // target)
    loop.let("first", equal("k", 0))
    loop.when("first", "w", name(x.pipe))
    rest = lanes("s", target, x.lanes - target, x.width)
    loop.set("s", ast.Mux(name("first"), name("w"), concat([rest, ast.Zero(target * x.width)])))
    loop.let("o", lanes("s", 0, target, x.width))
    loop.set(out.pipe, name("o"))
    emitter.process(f"split_{layer}", loop, comment=f"words of {target} for {note}")
    return out


def _join(emitter: Emitter, layer: str, x: Stream, target: int, depth: int, note: str) -> Stream:
    """Several words in, one out."""
    out = emitter.stream(f"jn_{layer}", target, depth)
    loop = Loop()
    loop.counter("k", target // x.lanes)
    loop.set("w", name(x.pipe))
    kept = lanes("s", x.lanes, target - x.lanes, x.width)
    loop.set("s", concat([kept, name("w")]))
    loop.when("k_last", out.pipe, name("s"))
    emitter.process(f"join_{layer}", loop, comment=f"words of {target} for {note}")
    return out
