"""Folding: how many output channels and inputs of a layer are multiplied at a time.

A matvec with ``pe`` output channels and ``simd`` inputs at a time needs
``pixels * (outputs / pe) * ceil(inputs / simd)`` cycles a frame and ``pe * simd`` multipliers: the
last word of a pixel is filled up with zero weights. Where all output channels are made at a time,
nothing is filled up: a word may end one pixel and begin the next (``plan.plan``).
Which folding is best is decided in ``plan.search``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from pyahir.errors import PlanError
from pyahir.plan.layers import Layer

__all__ = [
    "DEFAULT_MULTIPLIERS",
    "Folding",
    "check",
    "check_streamed",
    "divisors",
    "may_stream",
    "parse_folding",
]

DEFAULT_MULTIPLIERS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Folding:
    """``pe`` output channels times ``simd`` input elements at a time.

    ``requantizers`` of the ``pe`` sums are requantized at a time, one after the other; ``whole``
    windows are sent in one word instead of column by column; the weights are ``streamed`` from
    outside for every frame instead of kept on the chip. ``None`` leaves it to the planner.
    """

    pe: int
    simd: int
    requantizers: int | None = None
    whole: bool | None = None
    streamed: bool | None = None

    @property
    def multipliers(self) -> int:
        return self.pe * self.simd


@cache
def divisors(number: int) -> tuple[int, ...]:
    small = [d for d in range(1, math.isqrt(number) + 1) if number % d == 0]
    return tuple(sorted({*small, *(number // d for d in small)}))


def parse_folding(text: str) -> tuple[str, Folding]:
    """Read ``conv1=6x5``: layer, pe, simd."""
    name, _, sizes = text.partition("=")
    parts = sizes.split("x")
    if not name or len(parts) != 2 or not all(part.isdigit() for part in parts):
        raise PlanError(f"--folding {text}: accepted is LAYER=PExSIMD, for example conv1=6x5")
    return name, Folding(pe=int(parts[0]), simd=int(parts[1]))


def check(name: str, folding: Folding, matvecs: Mapping[str, Layer]) -> None:
    if name not in matvecs:
        raise PlanError(f"folding of {name!r}: no such layer; accepted: {', '.join(matvecs)}")
    layer = matvecs[name]
    if folding.pe < 1 or layer.outputs % folding.pe:
        accepted = ", ".join(map(str, divisors(layer.outputs)))
        raise PlanError(
            f"{name}: pe={folding.pe} does not divide {layer.outputs} output channels; "
            f"accepted: {accepted}"
        )
    if not 1 <= folding.simd <= layer.inputs:
        raise PlanError(f"{name}: simd={folding.simd}; accepted: 1 to {layer.inputs}, its inputs")
    if layer.floats and folding.simd != 1:
        raise PlanError(
            f"{name}: simd={folding.simd}; accepted: 1, as sums of floats have a fixed order"
        )
    if folding.streamed:
        check_streamed(layer)
    requantizers = folding.requantizers
    if requantizers is not None and (requantizers < 1 or folding.pe % requantizers):
        accepted = ", ".join(map(str, divisors(folding.pe)))
        raise PlanError(
            f"{name}: {requantizers} requantizers do not divide pe={folding.pe}; "
            f"accepted: {accepted}"
        )


def may_stream(layer: Layer) -> bool:
    """Tell whether weights can come from outside: sums of floats have an order of their own."""
    return layer.weight is not None and not layer.floats


def check_streamed(layer: Layer) -> None:
    """Raise ``PlanError`` for a layer whose weights cannot come from outside."""
    if not may_stream(layer):
        raise PlanError(
            f"{layer.name}: the weights of a layer of floats cannot be streamed, as its sums go "
            "round in a fixed order; accepted: layers of integers and of quires"
        )
