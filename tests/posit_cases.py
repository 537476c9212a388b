"""The cases of posits and of floats of a fixed order; part of the table in ``tests.op_cases``."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from itertools import product

import numpy as np

from pyahir.ir.ops import (
    Clamp,
    Encode,
    Flatten,
    MaxPool2d,
    RealAvgPool2d,
    RealConv2d,
    RealLinear,
    Relu,
)
from pyahir.ir.types import Array, Element, Float16, Float32, Int, Posit, PowerOfTwo, TensorType
from tests.case import Case, p8, scaled, window_case


def _real(
    name: str,
    op: RealConv2d | RealLinear,
    x: TensorType,
    weight_shape: tuple[int, ...],
    out: tuple[int, ...],
    *,
    weight: Element | None = None,
) -> Case:
    """A layer of ``ir.ops.posit``: its weights as posits, or of the element ``weight``."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    element = weight or x.element
    array: Array = rng.normal(0, 0.5, weight_shape).astype(np.float32)
    unit = x.quantization.exponent - 3 if isinstance(x.quantization, PowerOfTwo) else 0
    if isinstance(element, Posit):
        array = rng.integers(1, 128, weight_shape).astype(np.uint8)
        array = np.where(rng.random(weight_shape) < 0.5, array, -array).astype(np.uint8)
        array.reshape(-1)[:3] = (127, 0, 1)[: array.size]
        if op.arith == "f16":  # no weight is infinite in binary16
            array = np.where(np.isin(array, (123, 124, 125, 126, 127)), 100, array)
            array = np.where(np.isin(array, (129, 130, 131, 132, 133)), 130 + 20, array)
            array = array.astype(np.uint8)
    elif isinstance(element, Float16):
        array = array.astype(np.float16)
    elif isinstance(element, Int):
        array = (array * 9000).astype(np.int16)
    acc: Element = {"f32": Float32(), "f16": Float16(), "quire": Int(max(op.acc_width, 1))}[
        op.arith
    ]
    bias: Array = rng.normal(0, 2, weight_shape[0]).astype(np.float32)
    if op.arith == "quire":
        for part in (x.element, element):
            unit -= 6 << part.es if isinstance(part, Posit) else 0
        bias = rng.integers(-(1 << 40), 1 << 40, weight_shape[0])
    bias_element: Element = Int(64) if op.arith == "quire" else acc
    if isinstance(acc, Float16):
        bias = bias.astype(np.float16)
    return Case(
        name=f"{op.mnemonic()}-{name}",
        op=op,
        x=x,
        constants=(array, bias),
        scaled=((element, -3), (bias_element, unit)),
        result=scaled(acc, *out, exponent=unit),
    )


def _wide(arith: str, width: int) -> int:
    return width if arith == "quire" else 0


def _real_convolutions() -> Iterator[Case]:
    for arith, es in product(("f32", "f16", "quire"), (0, 1, 2)):
        op = RealConv2d(
            arith=arith,
            kernel_size=(3, 2),
            stride=(2, 1),
            padding=(1, 0, 0, 1),
            acc_width=_wide(arith, 112),
        )
        yield _real(
            f"{arith}-es{es}", op, p8(es, 1, 4, 3, 3, exponent=2), (2, 3, 3, 2), (1, 2, 3, 2)
        )
    for arith, weight in (("f32", Float32()), ("f16", Float16()), ("quire", Int(16))):
        op = RealConv2d(
            arith=arith,
            kernel_size=(2, 2),
            dilation=(1, 2),
            groups=2,
            acc_width=_wide(arith, 60),
        )
        x = p8(1, 1, 3, 4, 4, exponent=-1)
        yield _real(f"{arith}-float", op, x, (4, 2, 2, 2), (1, 2, 2, 4), weight=weight)
    for arith, element in (("f32", Float32()), ("f16", Float16())):
        op = RealConv2d(arith=arith, kernel_size=(5, 5), padding=(2, 2, 2, 2))
        yield _real(f"stored-{arith}", op, scaled(element, 1, 5, 4, 1), (2, 1, 5, 5), (1, 5, 4, 2))


def _real_linears() -> Iterator[Case]:
    for arith, es in product(("f32", "f16", "quire"), (0, 1, 2)):
        op = RealLinear(arith=arith, spatial=(2, 3), acc_width=_wide(arith, 112))
        yield _real(f"{arith}-es{es}", op, p8(es, 1, 42), (3, 42), (1, 3))
    for element, arith in ((Float32(), "f32"), (Float16(), "f16")):
        op = RealLinear(arith=arith)
        yield _real(f"stored-{arith}", op, scaled(element, 1, 33), (2, 33), (1, 2))


def _real_averages() -> Iterator[Case]:
    for (arith, window), es in product(
        (("f32", (2, 2)), ("f32", (3, 3)), ("f16", (3, 2)), ("quire", (2, 2)), ("quire", (3, 3))),
        (0, 2),
    ):
        op = RealAvgPool2d(
            arith=arith,
            kernel_size=window,
            stride=(2, 1),
            padding=(1, 0, 0, 1),
            acc_width=_wide(arith, 112),
        )
        x = p8(es, 1, 5, 4, 2, exponent=1)
        height, width = op.output_spatial(x)
        finer = op.integer_factor()[1] + (6 << es) if arith == "quire" else 0
        acc = {"f32": Float32(), "f16": Float16(), "quire": Int(112)}[arith]
        result = scaled(acc, 1, height, width, 2, exponent=1 - finer)
        name = f"real_avg_pool2d-{arith}-{window[0]}x{window[1]}-es{es}"
        yield Case(name=name, op=op, x=x, result=result)


def _encodes() -> Iterator[Case]:
    for element, es in product((Float32(), Float16(), Int(30), Int(60)), (0, 1, 2)):
        exponent = -20 if isinstance(element, Int) else 1
        op = Encode(es=es, exponent=2, relu=es == 1)
        x = scaled(element, 1, 30, exponent=exponent)
        name = f"encode-{element}-es{es}"
        yield Case(name=name, op=op, x=x, result=p8(es, 1, 30, exponent=2))


REALS = (
    *_real_convolutions(),
    *_real_linears(),
    *_real_averages(),
    *_encodes(),
    Case(name="relu-posit", op=Relu(), x=p8(1, 1, 5, 5, 4), result=p8(1, 1, 5, 5, 4)),
    Case(
        name="relu-binary16",
        op=Relu(),
        x=scaled(Float16(), 1, 40),
        result=scaled(Float16(), 1, 40),
    ),
    Case(
        name="clamp-posit", op=Clamp(minimum=-64, maximum=70), x=p8(0, 1, 99), result=p8(0, 1, 99)
    ),
    Case(
        name="clamp-binary16",
        op=Clamp(minimum=-0.5, maximum=1.25),
        x=scaled(Float16(), 1, 40),
        result=scaled(Float16(), 1, 40),
    ),
    Case(name="flatten-posit", op=Flatten(), x=p8(2, 1, 2, 3, 4), result=p8(2, 1, 24)),
    window_case(
        "posit",
        MaxPool2d(kernel_size=(3, 2), stride=(1, 2), padding=(1, 2, 0, 1)),
        p8(1, 1, 6, 5, 3),
        7,
        3,
    ),
    window_case("binary32", MaxPool2d(kernel_size=(2, 2)), scaled(Float32(), 1, 3, 4, 2), 2, 3),
)
