"""Matrix times vector: one loop over (pixel, output fold, input fold), no bubble between them.

The products of one output channel are an operator (``dot``), and so is the requantizer, so that
the text grows with ``pe + simd`` and not with their product. Where there are fewer requantizers
than sums, a process of its own takes the sums one after the other.

The sums of a quire are the same: posits are decoded to integers in front of the products, and the
requantizer rounds to a posit. A NaR makes every sum of its pixel the least integer.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyahir.backends.aa import ast
from pyahir.backends.aa.ast import BinaryOp, Expr
from pyahir.backends.aa.build import (
    Loop,
    assign,
    bits_for,
    concat,
    constant,
    equal,
    lane,
    lanes,
    name,
    not_,
    op,
)
from pyahir.backends.aa.lower.decode import decoded
from pyahir.backends.aa.lower.dot import Operands, dot
from pyahir.backends.aa.lower.finish import finish_operator
from pyahir.backends.aa.lower.process import Emitter, Stream
from pyahir.backends.aa.lower.ring import SHORT, Ring, repeated
from pyahir.backends.aa.lower.tiles import arriving_weights
from pyahir.backends.aa.types import Int, UInt
from pyahir.ir.types import Posit
from pyahir.plan.finish import Finish, finish
from pyahir.plan.plan import PlannedLayer
from pyahir.plan.rounding import fixed_width

__all__ = ["matvec"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ends:
    """Which words end a pixel: flags by the lanes that still belong to it, and where words start.

    In a packed layer the last word of a pixel begins the next one, except after a whole group.
    """

    splits: tuple[tuple[str, int], ...] = ()
    start: str | None = None
    end: str | None = None


def matvec(emitter: Emitter, planned: PlannedLayer, x: Stream, out: Stream, note: str) -> None:
    """Add the process, its operators and its memories; its words wait for ``go``."""
    layer, folding = planned.layer, planned.folding
    form, tag = finish(layer), planned.name
    folds, outer = planned.input_folds, planned.output_folds
    serial = planned.requantizers < folding.pe
    loop = Loop()
    if planned.input_major:
        nf = loop.counter("nf", outer)
        sf = loop.counter("sf", folds)
    else:
        sf = _word_counter(loop, planned)
        if planned.tiled:
            loop.counter("px", layer.pixels)
        nf = loop.counter("nf", outer)
    ends = _packed_ends(loop, planned) if planned.packed else _ends(loop, sf)
    prefixes = tuple(split for _, split in ends.splits)
    operands = _operands(planned, form)
    emitter.operator(dot(f"dot_{tag}", folding.simd, prefixes, operands, note))
    emitter.operator(finish_operator(f"rq_{tag}", layer, note))
    if form.bits:
        words = layer.outputs // planned.requantizers
        emitter.storage(f"q_{tag}", words, planned.requantizers * form.bits)
    if planned.streamed:
        word = _input(emitter, loop, planned, x, sf, nf)
        arriving_weights(emitter, loop, planned, note)
    else:
        weights = emitter.storage(f"w_{tag}", planned.weight_words, planned.weight_width)
        address = _address(loop, folds * outer, sf, nf)
        word = _input(emitter, loop, planned, x, sf, nf)
        loop.set("w", ast.Index(name(weights), (address,)))
    bad: str | None = None
    if layer.rounding is not None:
        word, bad = _decoded(emitter, loop, planned, word, ends)
    if planned.input_major:
        sums = _circulating(emitter, loop, planned, operands, word)
    else:
        sums = [_sum(loop, planned, p, operands, word, ends) for p in range(folding.pe)]
    if bad is not None:
        sums = [_or_nar(loop, p, total, bad, form.acc) for p, total in enumerate(sums)]
    if serial:
        depth = 4 + (outer if planned.input_major else 0)  # these come all at once
        acc = emitter.stream(f"ac_{tag}", folding.pe, depth, form.acc, comment=f"sums of {note}")
        bits = [ast.BitCast(UInt(form.acc), name(total)) for total in sums]
        loop.let("aw", concat(bits))
        loop.when(ends.end, acc.pipe, name("aw"))
        _requantize(emitter, planned, acc, out, form, note)
    else:
        if form.bits:
            loop.set("q", ast.Index(name(f"q_{tag}"), (_or_zero(nf),)))
        codes = [_code(loop, tag, p, total, form) for p, total in enumerate(sums)]
        loop.let("yw", concat(codes))
        loop.when(ends.end, out.pipe, name("yw"))
    first: list[ast.Statement] = []
    if form.bits or not planned.streamed:  # else no memory is waited for
        first.append(assign("go", name(emitter.token(f"go_{tag}"))))
        if serial:
            first.append(assign(f"gq_{tag}", name("go")))
    emitter.process(f"mv_{tag}", loop, comment=note, first=first)


def _operands(planned: PlannedLayer, form: Finish) -> Operands:
    layer = planned.layer
    return Operands(
        weight=fixed_width(layer.weight_element),
        x=fixed_width(layer.x.element),
        signed=layer.rounding is not None or layer.levels is not None,
        agreeing=layer.levels is not None and layer.levels.agreeing is not None,
        total=form.acc,
    )


def _decoded(
    emitter: Emitter, loop: Loop, planned: PlannedLayer, word: str, ends: _Ends
) -> tuple[str, str]:
    """Turn posits into integers; give the word of them, and a flag: a NaR so far in this pixel."""
    layer, simd = planned.layer, planned.folding.simd
    inputs, flags = decoded(emitter, loop, "x", word, layer.x.element, simd)
    if isinstance(layer.weight_element, Posit):
        decoded(emitter, loop, "w", "w", layer.weight_element, planned.multipliers)
    value = name(flags[0])
    for flag in flags[1:]:
        value = op(BinaryOp.OR, value, name(flag))
    loop.let("bad", value)
    if ends.start is None:
        return inputs, "bad"
    before = ast.Mux(name(ends.start), ast.Zero(1), name("nar"))
    return inputs, loop.set("nar", op(BinaryOp.OR, before, name("bad")))


def _or_nar(loop: Loop, p: int, total: str, bad: str, width: int) -> str:
    """Give the least integer instead of a sum that had a NaR."""
    least = ast.BitCast(Int(width), op(BinaryOp.CONCAT, ast.One(1), ast.Zero(width - 1)))
    return loop.let(f"ar_{p}", ast.Mux(name(bad), least, name(total)))


def _or_zero(counter: str | None) -> Expr:
    return ast.Zero(1) if counter is None else name(counter)


def _word_counter(loop: Loop, planned: PlannedLayer) -> str | None:
    """Count the words of a pixel or of a packed group; a frame may end within a group."""
    folds = planned.input_folds
    if not planned.packed or planned.layer.pixels % planned.group == 0:
        return loop.counter("sf", folds)
    loop.counter("fw", planned.frame_words)
    loop.wraps = []
    width = bits_for(folds)
    loop.let("sf_last", equal("sf", folds - 1))
    loop.let("sf_wrap", op(BinaryOp.OR, name("sf_last"), name("fw_last")))
    up = op(BinaryOp.ADD, name("sf"), ast.Literal(1))
    loop.state("sf", width, ast.Mux(name("sf_wrap"), ast.Zero(width), up))
    return "sf"


def _ends(loop: Loop, sf: str | None) -> _Ends:
    if sf is None:
        return _Ends()
    return _Ends(start=loop.let("sf_first", equal(sf, 0)), end="sf_last")


def _packed_ends(loop: Loop, planned: PlannedLayer) -> _Ends:
    """Flag the words in which the pixels of a group end."""
    inputs, simd = planned.layer.inputs, planned.folding.simd
    splits: list[tuple[str, int]] = []
    starts = [loop.let("st_0", equal("sf", 0))]
    for pixel in range(1, planned.group):
        word, lanes_used = divmod(pixel * inputs, simd)
        splits.append((loop.let(f"en_{pixel}", equal("sf", word)), lanes_used))
        starts.append(loop.let(f"st_{pixel}", equal("sf", word + 1)))
    flags = [flag for flag, _ in splits]
    return _Ends(
        splits=tuple(splits),
        start=_any_of(loop, starts, "start"),
        end=_any_of(loop, [*flags, "sf_last"], "end"),
    )


def _any_of(loop: Loop, flags: list[str], stem: str) -> str:
    value: Expr = name(flags[0])
    for flag in flags[1:]:
        value = op(BinaryOp.OR, value, name(flag))
    return loop.let(stem, value)


def _address(loop: Loop, words: int, sf: str | None, nf: str | None) -> Expr:
    """Count through all weight words; the folds' own counters serve where there is one fold."""
    if sf is None or nf is None:
        return _or_zero(sf if nf is None else nf)
    wraps, loop.wraps = loop.wraps, []
    loop.counter("wa", words)
    loop.wraps = wraps
    return name("wa")


def _input(
    emitter: Emitter, loop: Loop, planned: PlannedLayer, x: Stream, sf: str | None, nf: str | None
) -> str:
    """Read a word in the first output fold; have it again in the others.

    Where the weights of one fold serve all pixels, the words come again from the feature map.
    """
    if nf is None or planned.tiled:
        return loop.set("x", name(x.pipe))
    loop.let("first_fold", equal("nf", 0))
    if sf is None or planned.input_major:
        loop.when("first_fold", "x", name(x.pipe))  # keeps its value in the other folds
        return "x"
    loop.let("keep", not_("nf_last"))
    loop.when("first_fold", "xn", name(x.pipe))
    ring = Ring(f"xr_{planned.name}", planned.input_folds, x.lanes, x.width)
    return repeated(emitter, loop, ring, ("first_fold", "xn"), "keep")


def _weights(planned: PlannedLayer, p: int, operands: Operands) -> Expr:
    """Give the weights of output channel ``p``, as the products take them."""
    simd, stored = planned.folding.simd, planned.layer.weight_element
    source = "wd" if isinstance(stored, Posit) else "w"
    return lanes(source, p * simd, simd, operands.weight)


def _sum(
    loop: Loop, planned: PlannedLayer, p: int, operands: Operands, word: str, ends: _Ends
) -> str:
    """Add the sum of one output channel: dot product and accumulator."""
    acc = Int(operands.total)
    total = f"t_{p}"
    parts = [name(f"u_{number}_{p}") for number in range(len(ends.splits))]
    loop.body.append(
        ast.Call(
            module=f"dot_{planned.name}",
            arguments=(_weights(planned, p, operands), name(word)),
            results=(name(total), *parts),
        )
    )
    if ends.start is None:
        return total
    begin: Expr = constant(0, acc)
    if parts:
        value: Expr = name(total)
        for (flag, _), part in zip(ends.splits, parts, strict=True):
            value = ast.Mux(name(flag), part, value)
        loop.let(f"lo_{p}", value)
        begin = name(f"hi_{p}")  # what the word before had of this pixel
        total = f"lo_{p}"
    start = ast.Mux(name(ends.start), begin, name(f"acc_{p}"))
    loop.set(f"acc_{p}", op(BinaryOp.ADD, start, name(total)))
    if parts:
        loop.set(f"hi_{p}", op(BinaryOp.SUB, name(f"t_{p}"), name(total)))
    return f"acc_{p}"


def _circulating(
    emitter: Emitter, loop: Loop, planned: PlannedLayer, operands: Operands, word: str
) -> list[str]:
    """Add the sums of all outputs, which go round: each comes back for the next word of inputs."""
    tag, pe, width = planned.name, planned.folding.pe, operands.total
    acc, distance = Int(width), planned.output_folds
    older = "h"
    place = (distance - 1) * pe
    if distance > SHORT:
        ring = emitter.stream(f"ar_{tag}", pe, distance + 4, width)
        loop.let("again", not_("sf_first"))
        loop.let("keep", not_("sf_last"))
        loop.when("again", "b", name(ring.pipe))
        older, place = "b", 0
    parts: list[Expr] = []
    for p in range(pe):
        weights = _weights(planned, p, operands)
        call = ast.Call(
            module=f"dot_{tag}", arguments=(weights, name(word)), results=(name(f"t_{p}"),)
        )
        loop.body.append(call)
        before = ast.BitCast(acc, lane(older, place + p, width))
        start = ast.Mux(name("sf_first"), constant(0, acc), before)
        total = op(BinaryOp.ADD, start, name(f"t_{p}"))
        parts.append(ast.BitCast(UInt(width), total))
    if distance > SHORT:
        loop.set("h", concat(parts))
        loop.when("keep", f"ar_{tag}", name("h"))
    else:
        kept = [lanes("h", 0, place, width)] if place else []
        loop.set("h", concat([*parts, *kept]))
    for p in range(pe):
        loop.let(f"acc_{p}", ast.BitCast(acc, lane("h", p, width)))
    return [f"acc_{p}" for p in range(pe)]


def _code(loop: Loop, tag: str, p: int, total: str, form: Finish) -> Expr:
    """Requantize the sum of one output channel."""
    loop.body.append(
        ast.Call(
            module=f"rq_{tag}",
            arguments=(name(total), *([lane("q", p, form.bits)] if form.bits else ())),
            results=(name(f"y_{p}"),),
        )
    )
    return name(f"y_{p}")


def _requantize(
    emitter: Emitter,
    planned: PlannedLayer,
    x: Stream,
    out: Stream,
    form: Finish,
    note: str,
) -> None:
    """Take the sums of a word from the lowest on, as many at a time as there are requantizers."""
    tag, count, pe = planned.name, planned.requantizers, planned.folding.pe
    first: list[ast.Statement] = []
    if form.bits or not planned.streamed:
        # a loop may load parameters before it has sums to requantize
        first.append(assign("go", name(emitter.token(f"gq_{tag}"))))
    loop = Loop()
    k = loop.counter("k", pe // count)
    address = _parameter_address(loop, planned, k)
    loop.let("first", equal("k", 0))
    loop.when("first", "w", name(x.pipe))
    rest = concat([lanes("s", count, pe - count, x.width), ast.Zero(count * x.width)])
    loop.set("s", ast.Mux(name("first"), name("w"), rest))
    if form.bits:
        loop.set("q", ast.Index(name(f"q_{tag}"), (address,)))
    codes: list[Expr] = []
    for index in range(count):
        loop.let(f"a_{index}", ast.BitCast(Int(x.width), lane("s", index, x.width)))
        codes.append(_code(loop, tag, index, f"a_{index}", form))
    loop.let("yw", concat(codes))
    loop.set(out.pipe, name("yw"))
    emitter.process(
        f"rs_{tag}",
        loop,
        comment=f"requantize one after the other, {note}",
        first=first,
    )


def _parameter_address(loop: Loop, planned: PlannedLayer, k: str | None) -> Expr:
    """Count through the parameters of a pixel; or all pixels long through those of a fold."""
    words = planned.layer.outputs // planned.requantizers
    if not planned.tiled:
        return _address(loop, words, k, loop.counter("nf", planned.output_folds))
    assert k is not None
    loop.counter("px", planned.layer.pixels)
    loop.let("fold_ends", op(BinaryOp.AND, name("k_last"), name("px_last")))
    loop.let("frame_ends", equal("qa", words - 1))
    up: Expr = op(BinaryOp.ADD, name("qa"), ast.Literal(1))
    width, steps = bits_for(words), planned.folding.pe // planned.requantizers
    back: Expr = op(BinaryOp.SUB, name("qa"), ast.Literal(steps - 1))
    restart = ast.Mux(name("frame_ends"), ast.Zero(width), up)
    again = ast.Mux(name("k_last"), back, up)
    loop.state("qa", width, ast.Mux(name("fold_ends"), restart, again))
    return name("qa")
