"""Layers whose weights come from outside for every frame, a tile at a time.

A tile is the weights of one output fold. Where a layer has several pixels it goes through the
feature map once for each tile: ``replayed`` gives the map again and again, the words of a tile go
round while the next tile arrives in the pipe, and ``reordered`` turns the results, which come tile
by tile, into the order of pixels. Two maps are there at a time, on both sides.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyahir.backends.aa import ast
from pyahir.backends.aa.ast import BinaryOp, Expr
from pyahir.backends.aa.balance import Environment, balance
from pyahir.backends.aa.build import Loop, assign, bits_for, daemon, equal, name, not_, op
from pyahir.backends.aa.lower.convert import converted
from pyahir.backends.aa.lower.process import Emitter, Stream
from pyahir.backends.aa.lower.ring import Ring, repeated
from pyahir.plan.plan import PlannedLayer

__all__ = ["WEIGHT_ROOM", "arriving_weights", "reordered", "replayed", "weight_room"]

WEIGHT_ROOM = 2  # packets that wait in the pipe of a layer that uses each word once
HALVES = ("a", "b")


def weight_room(planned: PlannedLayer, packet_lines: int) -> int:
    """Give the depth of the pipe in which lines of weights arrive: the next tile, and packets."""
    tile = -(-planned.input_folds // planned.line_words) if planned.tiled else 0
    return WEIGHT_ROOM * packet_lines + tile


def arriving_weights(emitter: Emitter, loop: Loop, planned: PlannedLayer, note: str) -> None:
    """Make ``w`` the next word of weights: a new one, or in all pixels but the first an old one."""
    lanes, bits = planned.multipliers, planned.layer.weight_element.width
    lines = Stream(pipe=f"ws_{planned.name}", lanes=lanes * planned.line_words, width=bits)
    elements, name_ = planned.weight_words * lanes, f"w_{planned.name}"
    pipe = converted(emitter, name_, lines, lanes, elements, 4, f"weights of {note}").pipe
    if not planned.tiled:
        loop.set("w", name(pipe))
        return
    loop.let("new_tile", equal("px", 0))
    loop.let("keep_tile", not_("px_last"))
    loop.when("new_tile", "wn", name(pipe))
    ring = Ring(f"wr_{planned.name}", planned.input_folds, lanes, bits)
    loop.let("w", name(repeated(emitter, loop, ring, ("new_tile", "wn"), "keep_tile")))


def replayed(emitter: Emitter, planned: PlannedLayer, x: Stream, note: str) -> Stream:
    """Give every frame once for each tile."""
    if planned.passes == 1:
        return x
    out = emitter.stream(f"rp_{planned.name}", x.lanes, 4, x.width)
    loop = Loop()
    words = planned.layer.x.size // x.lanes
    loop.counter("word", words)
    loop.counter("pass", planned.passes)
    loop.let("new_map", equal("pass", 0))
    loop.let("keep_map", not_("pass_last"))
    loop.when("new_map", "xn", name(x.pipe))
    ring = Ring(f"mr_{planned.name}", words, x.lanes, x.width)
    loop.let("xw", name(repeated(emitter, loop, ring, ("new_map", "xn"), "keep_map")))
    loop.set(out.pipe, name("xw"))
    emitter.process(
        f"replay_{planned.name}", loop, comment=f"the map {planned.passes} times, {note}"
    )
    return out


def reordered(emitter: Emitter, planned: PlannedLayer, x: Stream, out: Stream, note: str) -> None:
    """Turn words in the order (tile, pixel, part of a tile) into (pixel, tile, part).

    One memory is written while the other is read. Tokens say which is free and which is full.
    """
    tag, words = planned.name, planned.layer.y.size // x.lanes
    for half in HALVES:
        emitter.storage(f"t{half}_{tag}", words, x.bits)
        emitter.token(f"free_{half}_{tag}")
        emitter.token(f"full_{half}_{tag}")
    takes: list[ast.Statement] = []
    gives: list[ast.Statement] = []
    for half in HALVES:
        free, full = f"free_{half}_{tag}", f"full_{half}_{tag}"
        takes += _after(f"f_{half}", free, _taking(planned, x, half), full)
        gives += _after(f"g_{half}", full, _giving(planned, out, half, words), free)
    emitter.items.append(
        daemon(emitter.claim(f"take_{tag}"), _for_ever(takes), comment=f"tile by tile, {note}")
    )
    free_first = [assign(f"free_{half}_{tag}", ast.One(1)) for half in HALVES]
    emitter.items.append(
        daemon(
            emitter.claim(f"give_{tag}"),
            _for_ever(gives),
            first=free_first,
            comment=f"pixel by pixel, {note}",
        )
    )


def _for_ever(body: Sequence[ast.Statement]) -> list[ast.Statement]:
    return [ast.Merge(entries=(ast.Entry.ENTRY, "again")), *body, ast.Place("again")]


def _after(token: str, awaited: str, loop: ast.DoPipeline, sent: str) -> list[ast.Statement]:
    """Wait for one token, run a loop to its end, send the other token."""
    return [
        assign(token, name(awaited)),
        ast.Barrier(),
        loop,
        ast.Barrier(),
        assign(sent, ast.One(1)),
        ast.Barrier(),
    ]


def _taking(planned: PlannedLayer, x: Stream, half: str) -> ast.DoPipeline:
    """Store one frame: within a tile from pixel to pixel."""
    loop = Loop()
    parts = planned.folding.pe // x.lanes
    per_pixel, pixels = parts * planned.output_folds, planned.layer.pixels
    width = bits_for(per_pixel * pixels)
    last_flags: list[str] = []
    up: Expr = op(BinaryOp.ADD, name(f"at_{half}"), ast.Literal(1))
    jump: Expr = op(BinaryOp.ADD, name(f"at_{half}"), ast.Literal(per_pixel - parts + 1))
    if loop.counter(f"part_{half}", parts) is None:
        up = jump
    else:
        last_flags.append(f"part_{half}_last")
        up = ast.Mux(name(f"part_{half}_last"), jump, up)
    loop.counter(f"px_{half}", pixels)
    last_flags.append(f"px_{half}_last")
    tile_ends = loop.all_of(last_flags, f"tile_ends_{half}")
    assert tile_ends is not None
    loop.let(f"next_tile_{half}", op(BinaryOp.ADD, name(f"tile_{half}"), ast.Literal(parts)))
    following = ast.Mux(name(tile_ends), name(f"next_tile_{half}"), name(f"tile_{half}"))
    loop.state(f"tile_{half}", width, following)
    loop.state(f"at_{half}", width, ast.Mux(name(tile_ends), name(f"next_tile_{half}"), up))
    loop.let(f"last_{half}", equal(f"at_{half}", per_pixel * pixels - 1))
    loop.let(f"more_{half}", not_(f"last_{half}"))
    loop.condition = name(f"more_{half}")
    loop.set(f"v_{half}", name(x.pipe))
    place = ast.Index(name(f"t{half}_{planned.name}"), (name(f"at_{half}"),))
    loop.set_at(place, name(f"v_{half}"))
    return balance(loop, Environment())


def _giving(planned: PlannedLayer, out: Stream, half: str, words: int) -> ast.DoPipeline:
    """Send one frame in the order of the memory."""
    loop = Loop()
    loop.let(f"last_{half}", equal(f"i_{half}", words - 1))
    up = op(BinaryOp.ADD, name(f"i_{half}"), ast.Literal(1))
    loop.state(f"i_{half}", bits_for(words), up)
    loop.let(f"more_{half}", not_(f"last_{half}"))
    loop.condition = name(f"more_{half}")
    place = ast.Index(name(f"t{half}_{planned.name}"), (name(f"i_{half}"),))
    loop.set(f"o_{half}", place)
    loop.set(out.pipe, name(f"o_{half}"))
    return balance(loop, Environment())
