"""Words that come back a fixed number of iterations later.

Few words wait in a shift register, whose value is there in the next iteration; more of them in a
pipe that is written and read by the same loop, which is memory instead of registers.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyahir.backends.aa import ast
from pyahir.backends.aa.build import Loop, concat, lanes, name, not_
from pyahir.backends.aa.lower.process import Emitter

__all__ = ["SHORT", "Ring", "repeated"]

SHORT = 8  # words; a pipe takes about as many cycles from its writing to its reading


@dataclass(frozen=True, slots=True)
class Ring:
    """``distance`` words of ``lanes`` elements of ``width`` bits, in a pipe of this name."""

    pipe: str
    distance: int
    lanes: int
    width: int


def repeated(
    emitter: Emitter,
    loop: Loop,
    ring: Ring,
    source: tuple[str, str],
    keep: str = "",
    again: str = "",
) -> str:
    """Give the value of ``source`` (flag, value) where the flag is 1, else that of the ring.

    The value comes back ``distance`` iterations later. A long ring takes only what ``keep`` flags:
    exactly the words that will be asked for, which is wherever ``source`` has none, or where
    ``again`` says so.
    """
    fresh, value = source
    count = ring.lanes
    if ring.distance <= SHORT:
        last = lanes("h", (ring.distance - 1) * count, count, ring.width)
        newest = ast.Mux(name(fresh), name(value), last)
        kept = lanes("h", 0, (ring.distance - 1) * count, ring.width)
        parts = [newest] if ring.distance == 1 else [newest, kept]
        loop.set("h", concat(parts))
        return loop.let("v", lanes("h", 0, count, ring.width))
    stream = emitter.stream(ring.pipe, count, ring.distance + 4, ring.width)
    again = again or loop.let("again", not_(fresh))
    loop.when(again, "b", name(stream.pipe))
    loop.let("v", ast.Mux(name(fresh), name(value), name("b")))
    loop.when(keep, stream.pipe, name("v"))
    return "v"
