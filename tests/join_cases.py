"""The cases of ops that join two branches; part of the table in ``tests.op_cases``."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from pyahir.ir.ops import Add, QuantizedAdd, RealAdd
from pyahir.ir.types import Affine, Element, Float16, Float32, Int
from tests.case import Case, f32, p8, scaled, u8


def _codes(name: str, exceptions: tuple[tuple[int, int, int], ...] = (), **given: Any) -> Case:
    fields = {
        "multipliers": (11_534_336, 7_340_033),
        "offset": (90 << 24) + (1 << 23) - 100 * 11_534_336 - 3 * 7_340_033,
        "shift": 24,
        "quant_min": 0,
        "quant_max": 255,
        "scale": 0.125,
        "zero_point": 90,
    } | given
    op = QuantizedAdd(**fields)
    x = u8(1, 9, 16, 12, zero_point=100, scale=0.08)
    affine = Affine(scale=0.125, zero_point=op.zero_point)
    result = u8(1, 9, 16, 12, zero_point=affine.zero_point, scale=affine.scale)
    return Case(
        name=f"quantized_add-{name}",
        op=op,
        x=x,
        z=u8(1, 9, 16, 12, zero_point=3, scale=0.05),
        constants=(np.array(exceptions, np.int64).reshape(-1, 3),),
        result=result,
    )


HALVES = {"multipliers": (1, 1), "shift": 1, "offset": -103 + 2 * 60 + 1, "zero_point": 60}
CODES = (
    _codes("plain"),
    _codes("relu", quant_min=90, quant_max=200),
    _codes("exceptions", tuple((a, b, 1) for a in range(40, 90) for b in range(20, 70))),
    _codes("half-up", **HALVES),
    _codes("away", away=True, **HALVES),
    _codes("even", tie_bits=1, **HALVES),
    _codes("even-odd", tie_bits=1, tie_parity=1, **HALVES),
)


def _real(name: str, arith: str, x: Any, z: Any, unit: int, width: int = 0) -> Case:
    elements: dict[str, Element] = {
        "f32": Float32(),
        "f16": Float16(),
        "quire": Int(max(width, 1)),
    }
    return Case(
        name=f"real_add-{arith}-{name}",
        op=RealAdd(arith=arith, acc_width=width),
        x=x,
        z=z,
        result=scaled(elements[arith], *x.shape, exponent=unit),
    )


def _posits() -> Iterator[Case]:
    for es, (first, second) in product((0, 1, 2), ((0, 0), (-3, 4), (2, -28))):
        x, z = p8(es, 1, 9, 8, 4, exponent=first), p8(es, 1, 9, 8, 4, exponent=second)
        name, fraction = f"es{es}-{first}-{second}", 6 << es
        for arith in ("f32", "f16"):
            yield _real(name, arith, x, z, max(first, second))
        width = 2 * fraction + abs(first - second) + 3
        yield _real(name, "quire", x, z, min(first, second) - fraction, width)


JOINS = (
    Case(name="add-map", op=Add(), x=f32(1, 3, 4, 2), z=f32(1, 3, 4, 2), result=f32(1, 3, 4, 2)),
    Case(name="add-vector", op=Add(), x=f32(1, 5), z=f32(1, 5), result=f32(1, 5)),
    *CODES,
    *_posits(),
    _real("floats", "f32", scaled(Float32(), 1, 7), scaled(Float32(), 1, 7), 0),
    _real("floats", "f16", scaled(Float16(), 1, 7), scaled(Float16(), 1, 7), 0),
)
