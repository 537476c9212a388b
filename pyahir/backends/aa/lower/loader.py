"""The loader: fills every memory once after reset from the pipe ``weights_in``.

A word of W bits arrives as ceil(W / 64) items, lowest bits first. After the memories of a layer
its ``go`` token is sent. The items come in the order in which the memories are listed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pyahir.backends.aa import ast
from pyahir.backends.aa.ast import BinaryOp, Expr
from pyahir.backends.aa.balance import Environment, balance
from pyahir.backends.aa.build import Loop, bits_for, daemon, equal, name, op, pipe, slice_
from pyahir.backends.aa.lower.process import Emitter

__all__ = ["ITEM_BITS", "WEIGHTS_PIPE", "Memory", "loader"]

ITEM_BITS = 64
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
        return -(-self.width // ITEM_BITS)


def loader(emitter: Emitter, memories: Sequence[Memory]) -> None:
    """Add the loader module and its pipe; nothing when there are no memories."""
    if not memories:
        return
    emitter.items.append(pipe(emitter.claim(WEIGHTS_PIPE), ITEM_BITS, 2))
    body: list[ast.Statement] = []
    for index, memory in enumerate(memories):
        body.append(_fill(memory))
        following = memories[index + 1].layer if index + 1 < len(memories) else None
        if following != memory.layer:
            body += [ast.Barrier(), ast.Assign(name(f"go_{memory.layer}"), ast.One(1))]
            body.append(ast.Barrier())
    emitter.items.append(
        daemon(emitter.claim("load_weights"), body, comment="weights and parameters, once")
    )


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
