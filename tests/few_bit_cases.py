"""The cases of few-bit networks; part of the table in ``tests.op_cases``."""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np

from pyahir.ir.ops import Conv2d, Flatten, Linear, MaxPool2d, MultiThreshold, Recode
from pyahir.ir.types import Array, Bipolar, Element, Int, TensorType
from tests.case import Case, acc, bits, scaled, u8, window_case


def _rng(name: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(name.encode()))


def _weight(name: str, element: Element, shape: tuple[int, ...]) -> Array:
    """Random weights: codes of bits, the whole range of an integer."""
    if isinstance(element, Bipolar):
        return _rng(name).integers(0, 2, shape, dtype=np.uint8)
    assert isinstance(element, Int)
    return _rng(name).integers(element.min, element.max + 1, shape, dtype=np.int8)


def _sum(
    name: str,
    op: Conv2d | Linear,
    x: TensorType,
    weight: tuple[Element, int | None, tuple[int, ...]],
    out: tuple[int, ...],
    exponent: int,
) -> Case:
    """A layer: ``weight`` is element, exponent and shape."""
    element, scale, shape = weight
    return Case(
        name=f"{op.mnemonic()}-{name}",
        op=op,
        x=x,
        constants=(_weight(name, element, shape),),
        scaled=((element, scale),),
        result=scaled(Int(op.acc_width), *out, exponent=exponent),
    )


def _recode(name: str, x: TensorType, table: Array, width: int, exponent: int = 0) -> Case:
    result = bits(*x.shape) if width == 1 else scaled(Int(width), *x.shape, exponent=exponent)
    op = Recode(width=width, exponent=exponent)
    return Case(name=f"recode-{name}", op=op, x=x, constants=(table,), result=result)


def _steps(
    name: str, x: TensorType, rows: Array, width: int, *, base: int = 0, exponent: int = 0
) -> Case:
    result = bits(*x.shape) if width == 1 else scaled(Int(width), *x.shape, exponent=exponent)
    op = MultiThreshold(width=width, exponent=exponent, base=base)
    return Case(name=f"multi_threshold-{name}", op=op, x=x, constants=(rows,), result=result)


def _sorted(name: str, channels: int, count: int, low: int, high: int) -> Array:
    return np.sort(_rng(name).integers(low, high, (channels, count)), axis=1)


PIXELS = np.arange(256)
Q7 = np.where(PIXELS < 128, PIXELS - 128, np.minimum(PIXELS - 127, 127)).astype(np.int8)
TERNARY = np.clip(np.rint(PIXELS / 127.5 - 1), -1, 1).astype(np.int8)

LAYERS = (
    _sum("xnor", Linear(acc_width=8), bits(1, 70), (Bipolar(), None, (5, 70)), (1, 5), 0),
    _sum("bit-int", Linear(acc_width=6), bits(1, 7), (Int(2), -2, (3, 7)), (1, 3), -2),
    _sum("ternary", Linear(acc_width=8), scaled(Int(2), 1, 9), (Int(2), 0, (4, 9)), (1, 4), 0),
    _sum(
        "int-bit",
        Linear(acc_width=20),
        scaled(Int(8), 1, 1000, exponent=-7),
        (Bipolar(), None, (3, 1000)),
        (1, 3),
        -7,
    ),
    _sum(
        "xnor",
        Conv2d(kernel_size=(3, 3), acc_width=6),
        bits(1, 5, 4, 2),
        (Bipolar(), None, (3, 2, 3, 3)),
        (1, 3, 2, 3),
        0,
    ),
    _sum(
        "q7-padded",
        Conv2d(kernel_size=(3, 2), stride=(2, 1), padding=(1, 0, 1, 1), acc_width=14),
        scaled(Int(8), 1, 5, 4, 3, exponent=-7),
        (Bipolar(), None, (2, 3, 3, 2)),
        (1, 2, 5, 2),
        -7,
    ),
    _sum(
        "ternary-groups",
        Conv2d(kernel_size=(1, 1), groups=2, acc_width=9, padding=(1, 1, 1, 1)),
        scaled(Int(2), 1, 3, 3, 4, exponent=1),
        (Int(4), 3, (6, 2, 1, 1)),
        (1, 5, 5, 6),
        4,
    ),
    _sum(
        "bit-depthwise",
        Conv2d(kernel_size=(2, 2), dilation=(2, 1), groups=3, acc_width=5),
        bits(1, 4, 3, 3),
        (Int(2), 0, (3, 1, 2, 2)),
        (1, 2, 2, 3),
        0,
    ),
)

TABLES = (
    _recode("bit", u8(1, 12, scale=1.0), (PIXELS >= 128).astype(np.uint8), 1),
    _recode("ternary", u8(1, 3, 2, 2, zero_point=7), TERNARY, 2),
    _recode("q7", u8(1, 5, 4, 3), Q7, 8, -7),
)

STEPS = (
    _steps("sign", acc(8, 1, 30), np.zeros((1, 1), np.int64), 1),
    _steps("bits", scaled(Int(6), 1, 4, 3, 5), _sorted("bits", 5, 1, -32, 32), 1),
    _steps(
        "bits-outside",
        acc(5, 1, 4),
        np.array([[-(1 << 31)], [-17], [15], [(1 << 31) - 1]], np.int32),
        1,
    ),
    _steps(
        "ternary", scaled(Int(9), 1, 3, 3, 4, exponent=-7), _sorted("t", 4, 2, -90, 90), 2, base=-1
    ),
    _steps("equal", acc(3, 1, 40), np.array([[-1, 2, 2]]), 3, base=-4, exponent=5),
    _steps("eight", acc(12, 1, 64), _sorted("e", 64, 128, -2048, 2048), 8, base=-64, exponent=-6),
    _steps("wide", acc(40, 1, 9), _sorted("w", 9, 2, -(1 << 39), 1 << 39), 2, base=-2),
)

SAME = (
    window_case("bits", MaxPool2d(kernel_size=(2, 2), stride=(2, 2)), bits(1, 4, 5, 3), 2, 2),
    window_case(
        "ternary",
        MaxPool2d(kernel_size=(3, 2), stride=(1, 2), padding=(1, 1, 0, 1)),
        scaled(Int(2), 1, 4, 3, 2),
        4,
        2,
    ),
    Case(name="flatten-bits", op=Flatten(), x=bits(1, 2, 3, 2), result=bits(1, 12)),
    Case(
        name="flatten-ternary",
        op=Flatten(),
        x=scaled(Int(2), 1, 2, 1, 3, exponent=2),
        result=replace(scaled(Int(2), 1, 6, exponent=2)),
    ),
)

FEW_BITS = (*LAYERS, *TABLES, *STEPS, *SAME)
