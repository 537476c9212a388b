"""The loader: fills every memory once after reset from the pipe ``weights_in``.

A word of W bits arrives as ceil(W / 64) items, lowest bits first. After the memories of a layer
its ``go`` token is sent. The items come in the order in which the memories are listed.

Behind them come, for ever, the packets of the layers whose weights are streamed
(``plan.streaming``): a header with the layer's number (bits 15:0), the items of a word (31:16) and
the last place of an item in this packet (47:32), then items, words lowest bits first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pyahir.backends.aa import ast
from pyahir.backends.aa.ast import BinaryOp, Expr
from pyahir.backends.aa.balance import Environment, balance
from pyahir.backends.aa.build import (
    Loop,
    bits_for,
    constant,
    daemon,
    equal,
    name,
    op,
    pipe,
    slice_,
)
from pyahir.backends.aa.lower.process import Emitter
from pyahir.backends.aa.types import UInt
from pyahir.plan.streaming import HEADER_FIELD, ITEM_BITS, items_of

__all__ = ["ITEM_BITS", "WEIGHTS_PIPE", "Memory", "WeightStream", "loader"]

WEIGHTS_PIPE = "weights_in"


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """A storage to fill: ``words`` words of ``width`` bits; ``layer`` waits for it."""

    name: str
    layer: str
    words: int
    width: int

    @property
    def items(self) -> int:
        """Items of 64 bits a word."""
        return items_of(self.width)


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightStream(Memory):
    """Words that a layer takes from its pipe ``name`` in every frame; ``late``: frames behind."""

    packet_words: int
    late: int


def loader(
    emitter: Emitter,
    memories: Sequence[Memory],
    streams: Sequence[WeightStream] = (),
    packet_items: int = 0,
) -> None:
    """Add the loader module and its pipe; nothing when nothing is to be loaded or streamed."""
    if not memories and not streams:
        return
    emitter.items.append(pipe(emitter.claim(WEIGHTS_PIPE), ITEM_BITS, 2))
    body: list[ast.Statement] = []
    for index, memory in enumerate(memories):
        body.append(_fill(memory))
        following = memories[index + 1].layer if index + 1 < len(memories) else None
        if following != memory.layer:
            body += [ast.Barrier(), ast.Assign(name(f"go_{memory.layer}"), ast.One(1))]
            body.append(ast.Barrier())
    comment = "weights and parameters, once"
    if streams:
        body.append(_hand_out(streams, packet_items))
        comment += "; then those of streamed layers, for ever"
    emitter.items.append(daemon(emitter.claim("load_weights"), body, comment=comment))


def _fill(memory: Memory) -> ast.DoPipeline:
    """Shift items into a word; store the word when it is full."""
    loop = Loop()
    tag = memory.name
    index_bits = bits_for(max(2, memory.words))
    chunk = loop.counter(f"k_{tag}", memory.items)
    loop.let(f"i_last_{tag}", equal(f"i_{tag}", memory.words - 1))
    following: Expr = op(BinaryOp.ADD, name(f"i_{tag}"), ast.Literal(1))
    done = f"i_last_{tag}"
    if chunk is not None:
        full = f"k_{tag}_last"
        following = ast.Mux(name(full), following, name(f"i_{tag}"))
        done = loop.let(f"done_{tag}", op(BinaryOp.AND, name(full), name(f"i_last_{tag}")))
    loop.state(f"i_{tag}", index_bits, following)
    loop.let(f"more_{tag}", ast.Unary(ast.UnaryOp.INVERT, name(done)))
    loop.condition = name(f"more_{tag}")
    word = loop.set(f"v_{tag}", name(WEIGHTS_PIPE))
    place = ast.Index(name(tag), (name(f"i_{tag}"),))
    if chunk is None:
        loop.let(f"o_{tag}", slice_(word, memory.width - 1, 0))
        loop.set_at(place, name(f"o_{tag}"))
    else:
        total = memory.items * ITEM_BITS
        kept = slice_(f"s_{tag}", total - 1, ITEM_BITS)
        loop.set(f"s_{tag}", op(BinaryOp.CONCAT, name(word), kept))
        loop.let(f"o_{tag}", slice_(f"s_{tag}", memory.width - 1, 0))
        loop.when(f"k_{tag}_last", place, name(f"o_{tag}"))
    return balance(loop, Environment())


def _hand_out(streams: Sequence[WeightStream], size: int) -> ast.DoPipeline:
    """Put the items of packets together to words, each for the layer that the header names."""
    loop = Loop()
    loop.counter("place", size)
    loop.let("header", equal("place", 0))
    loop.set("item", name(WEIGHTS_PIPE))
    for field, target in enumerate(("number", "per_word", "last_place")):
        loop.let(
            f"new_{target}", slice_("item", (field + 1) * HEADER_FIELD - 1, field * HEADER_FIELD)
        )
        loop.set(target, ast.Mux(name("header"), name(f"new_{target}"), name(target)))
    up: Expr = op(BinaryOp.ADD, name("part"), ast.Literal(1))
    complete = op(BinaryOp.EQUAL, name("part"), name("per_word"))  # the word before
    up = ast.Mux(complete, constant(1, UInt(HEADER_FIELD)), up)
    loop.set("part", ast.Mux(name("header"), ast.Zero(HEADER_FIELD), up))
    total = max(stream.items for stream in streams) * ITEM_BITS
    newest: Expr = name("item")
    if total > ITEM_BITS:
        newest = op(BinaryOp.CONCAT, newest, slice_("s", total - 1, ITEM_BITS))
    loop.set("s", newest)
    loop.let("ends", op(BinaryOp.EQUAL, name("part"), name("per_word")))
    place = ast.BitCast(UInt(HEADER_FIELD), name("place"))
    loop.let("within", op(BinaryOp.LESS_EQUAL, place, name("last_place")))
    loop.let("full", op(BinaryOp.AND, name("ends"), name("within")))
    for number, stream in enumerate(streams):
        tag = stream.layer
        loop.let(f"is_{tag}", equal("number", number))
        loop.let(f"full_{tag}", op(BinaryOp.AND, name("full"), name(f"is_{tag}")))
        low = total - stream.items * ITEM_BITS
        loop.let(f"o_{tag}", slice_("s", low + stream.width - 1, low))
        loop.when(f"full_{tag}", stream.name, name(f"o_{tag}"))
    return balance(loop, Environment())
