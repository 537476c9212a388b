"""Folding: how many output channels and inputs of a layer are multiplied at a time.

A matvec with ``pe`` output channels and ``simd`` inputs at a time needs
``pixels * (outputs / pe) * (inputs / simd)`` cycles a frame and ``pe * simd`` multipliers.
Which folding is best is decided in ``plan.search``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pyahir.errors import PlanError
from pyahir.plan.layers import Layer

__all__ = ["DEFAULT_MULTIPLIERS", "Folding", "check", "divisors", "options", "parse_folding"]

DEFAULT_MULTIPLIERS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Folding:
    """``pe`` output channels times ``simd`` input elements at a time."""

    pe: int
    simd: int

    @property
    def multipliers(self) -> int:
        return self.pe * self.simd

    def cycles(self, layer: Layer) -> int:
        """Give the cycles a frame of the matvec alone."""
        return layer.pixels * (layer.outputs // self.pe) * (layer.inputs // self.simd)


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
    for what, size, total, noun in (
        ("pe", folding.pe, layer.outputs, "output channels"),
        ("simd", folding.simd, layer.inputs, "inputs"),
    ):
        if size < 1 or total % size:
            accepted = ", ".join(map(str, divisors(total)))
            raise PlanError(
                f"{name}: {what}={size} does not divide {total} {noun}; accepted: {accepted}"
            )


def options(layer: Layer) -> list[Folding]:
    """List every folding that divides the layer."""
    return [
        Folding(pe=pe, simd=simd)
        for pe in divisors(layer.outputs)
        for simd in divisors(layer.inputs)
    ]
