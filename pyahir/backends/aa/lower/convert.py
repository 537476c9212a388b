"""Width conversion: a stream in words of other sizes, in the same order.

A word in and a word out a cycle, whatever the two sizes are: split and join where one divides the
other, a gearbox (a shift register with a fill level) where neither does, or where the last word
of a group has to be filled up.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyahir.backends.aa import ast
from pyahir.backends.aa.ast import BinaryOp, Expr
from pyahir.backends.aa.build import Loop, bits_for, concat, equal, lanes, name, not_, op, uint
from pyahir.backends.aa.lower.process import Emitter, Stream

__all__ = ["converted"]


def converted(
    emitter: Emitter, layer: str, x: Stream, target: int, elements: int, depth: int, note: str
) -> Stream:
    """Repack a stream into words of ``target`` elements.

    After every ``elements`` elements a new word begins; the one before is filled up with zeros.
    ``depth`` is that of the resulting pipe.
    """
    if x.lanes == target:
        return x
    if x.lanes % target == 0:
        return _split(emitter, layer, x, target, depth, note)
    if target % x.lanes == 0 and elements % target == 0:
        return _join(emitter, layer, x, target, depth, note)
    return _gear(emitter, layer, x, target, elements, depth, note)


def _split(emitter: Emitter, layer: str, x: Stream, target: int, depth: int, note: str) -> Stream:
    """One word in, several out, lowest elements first."""
    out = emitter.stream(f"sp_{layer}", target, depth, x.width)
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
    out = emitter.stream(f"jn_{layer}", target, depth, x.width)
    loop = Loop()
    loop.counter("k", target // x.lanes)
    loop.set("w", name(x.pipe))
    kept = lanes("s", x.lanes, target - x.lanes, x.width)
    loop.set("s", concat([kept, name("w")]))
    loop.when("k_last", out.pipe, name("s"))
    emitter.process(f"join_{layer}", loop, comment=f"words of {target} for {note}")
    return out


@dataclass(frozen=True, slots=True)
class _Gear:
    """What happens in some iteration of a gearbox; what never does needs no hardware."""

    waits: bool  # enough bits wait already: nothing is taken
    flushes: bool  # all words have been taken
    exact: bool  # what waits is just a result, before the end of the group


def _gear_states(elements: int, arriving: int, leaving: int) -> _Gear:
    """Go through the iterations of one group, as ``_gear`` does."""
    waits = flushes = exact = False
    fill, left = 0, elements
    while fill or left:
        waits |= fill >= leaving
        flushes |= left == 0
        if fill < leaving and left:
            fill, left = fill + arriving, left - arriving
        exact |= fill == leaving and left > 0
        if fill >= leaving or not left:
            fill = max(0, fill - leaving)
    return _Gear(waits, flushes, exact)


def _gear(
    emitter: Emitter, layer: str, x: Stream, target: int, elements: int, depth: int, note: str
) -> Stream:
    """Words of any size into words of any size.

    ``fill`` bits of ``s`` are waiting; a word is taken when fewer than a result's bits wait, and a
    result is sent as soon as there are enough, or at the end of the group. ``plan.gear_cycles``
    counts the same iterations.
    """
    out = emitter.stream(f"gr_{layer}", target, depth, x.width)
    loop = Loop()
    arriving, leaving = x.bits, target * x.width
    reads, capacity = elements // x.lanes, x.lanes + target
    states = _gear_states(elements, x.lanes, target)
    ends = elements % target > 0  # else groups follow one another without seam
    level = bits_for(capacity * x.width)
    flags: list[str] = []
    if states.waits:
        flags.append(loop.let("short", op(BinaryOp.LESS, name("fill"), ast.Literal(leaving))))
    if states.flushes and ends:
        flags.append(loop.let("more", op(BinaryOp.LESS, name("i"), ast.Literal(reads))))
    rd = loop.all_of(flags, "rd")
    have: Expr = op(BinaryOp.ADD, name("fill"), ast.Literal(arriving))
    if rd is not None:
        have = ast.Mux(name(rd), have, name("fill"))
    loop.let("have", have)
    if ends:
        _count_reads(loop, rd, reads, leaving)
    enough = "over"
    if states.exact or not ends:
        enough = loop.let("full", op(BinaryOp.GREATER_EQUAL, name("have"), ast.Literal(leaving)))
    wr: Expr = op(BinaryOp.OR, name(enough), name("done")) if ends else name(enough)
    loop.let("wr", wr)
    left: Expr = op(BinaryOp.SUB, name("have"), ast.Literal(leaving))
    left = ast.Mux(name("wr"), left, name("have"))
    if ends:
        loop.let("left", left)
        left = ast.Mux(name("last"), ast.Zero(level), name("left"))
    loop.state("fill", level, left)
    loop.state("sent", 1, name("wr"))
    _shift_in(loop, x, target, rd)
    loop.when("wr", out.pipe, name("o"))
    emitter.process(f"gear_{layer}", loop, comment=f"words of {target} for {note}")
    return out


def _count_reads(loop: Loop, rd: str | None, reads: int, leaving: int) -> None:
    """Count the words taken of a group; flag its end, and its last result."""
    taken: Expr = op(BinaryOp.ADD, name("i"), ast.Literal(1))
    if rd is not None:
        taken = ast.Mux(name(rd), taken, name("i"))
    loop.let("taken", taken)
    loop.let("done", equal("taken", reads))
    loop.let("over", op(BinaryOp.GREATER, name("have"), ast.Literal(leaving)))
    loop.let("last", op(BinaryOp.AND, name("done"), not_("over")))
    count = bits_for(reads + 1)
    loop.state("i", count, ast.Mux(name("last"), ast.Zero(count), name("taken")))


def _shift_in(loop: Loop, x: Stream, target: int, rd: str | None) -> None:
    """Put a word behind those that wait in ``s``, and let go what was sent; ``o`` is the lowest."""
    capacity = x.lanes + target
    wide = uint(capacity * x.width)
    loop.when(rd, "w", name(x.pipe))
    place = ast.BitCast(wide, name("fill"))
    new: Expr = op(BinaryOp.SHIFT_LEFT, ast.BitCast(wide, name("w")), place)
    if rd is not None:
        new = ast.Mux(name(rd), new, ast.Zero(capacity * x.width))
    loop.set("new", new)
    rest = lanes("s", target, capacity - target, x.width)
    old = ast.Mux(name("sent"), concat([rest, ast.Zero(target * x.width)]), name("s"))
    loop.set("s", op(BinaryOp.OR, old, name("new")))
    loop.let("o", lanes("s", 0, target, x.width))
