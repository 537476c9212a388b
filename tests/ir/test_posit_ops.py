"""The ops of ``ir.ops.posit``: what ``infer``, the constructors and the verifier refuse."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from pyahir.ir.builder import GraphBuilder
from pyahir.ir.eval.posit import to_binary16
from pyahir.ir.graph import Graph, Input, Loc, Stage
from pyahir.ir.ops import (
    Clamp,
    Conv2d,
    Encode,
    InferError,
    Linear,
    Op,
    RealAvgPool2d,
    RealConv2d,
    RealLinear,
    Relu,
)
from pyahir.ir.types import (
    ArrayData,
    Bipolar,
    Element,
    Float16,
    Float32,
    Int,
    Layout,
    Posit,
    PowerOfTwo,
    TensorType,
)
from pyahir.ir.verify import VerifyError, verify
from tests.case import f32, p8, scaled, u8
from tests.ir.test_verify import messages


def plain(element: Element, *shape: int, exponent: int | None = 0) -> TensorType:
    scale = None if exponent is None else PowerOfTwo(exponent=exponent)
    return TensorType(shape=shape, element=element, quantization=scale)


P0, P1 = Posit(8, 0), Posit(8, 1)
CONV = RealConv2d(arith="f32", kernel_size=(1, 1))
QUIRE = RealLinear(arith="quire", acc_width=30)
X = p8(0, 1, 2, 2, 3)
WEIGHT = plain(P0, 4, 3, 1, 1)
BIAS = plain(Float32(), 4)
V, W = p8(0, 1, 3, exponent=2), plain(P0, 4, 3, exponent=-1)

REFUSED: list[tuple[Op, list[TensorType], str]] = [
    (
        CONV,
        [X, plain(P0, 4, 3, 1, 2), BIAS],
        "the weight's window (1, 2) is not kernel_size (1, 1)",
    ),
    (
        CONV,
        [X, plain(P0, 4, 2, 1, 1), BIAS],
        "3 input channels in 1 groups do not fit a weight of shape (4, 2, 1, 1)",
    ),
    (
        CONV,
        [replace(X, quantization=None), WEIGHT, BIAS],
        "an operand has a power-of-two scale, not 1x2x2x3 posit8_0 nhwc",
    ),
    (
        CONV,
        [X, plain(P0, 4, 3, 1, 1, exponent=None), BIAS],
        "an operand has a power-of-two scale, not 4x3x1x1 posit8_0",
    ),
    (CONV, [X, plain(P1, 4, 3, 1, 1), BIAS], "a weight of posit8_1 with an input of posit8_0"),
    (CONV, [X, plain(Float16(), 4, 3, 1, 1), BIAS], "arith f32 does not take f16"),
    (CONV, [X, WEIGHT, plain(Float32(), 3)], "the bias has shape (O,)"),
    (
        CONV,
        [X, WEIGHT, plain(Float32(), 4, exponent=1)],
        "the bias is f32 pow2(0), as the sum, not 4 f32 pow2(1)",
    ),
    (
        CONV,
        [X, WEIGHT, plain(Float16(), 4)],
        "the bias is f32 pow2(0), as the sum, not 4 f16 pow2(0)",
    ),
    (
        CONV,
        [scaled(Posit(16, 1), 1, 2, 2, 3), plain(Posit(16, 1), 4, 3, 1, 1), BIAS],
        "posit16_1 is not one of posit8_0, posit8_1, posit8_2",
    ),
    (CONV, [scaled(Int(8), 1, 2, 2, 3), WEIGHT, BIAS], "arith f32 does not take an input of i8"),
    (
        replace(CONV, arith="f16"),
        [scaled(Float32(), 1, 2, 2, 3), WEIGHT, BIAS],
        "a weight of posit8_0 with an input of f32",
    ),
    (
        QUIRE,
        [V, plain(Int(8, signed=False), 4, 3), plain(Int(64), 4)],
        "arith quire does not take u8",
    ),
    (QUIRE, [V, plain(Float32(), 4, 3), plain(Int(64), 4)], "arith quire does not take f32"),
    (
        QUIRE,
        [scaled(Float32(), 1, 3), W, plain(Int(64), 4)],
        "a weight of posit8_0 with an input of f32",
    ),
    (QUIRE, [V, W, plain(Int(64), 4)], "the bias is i64 pow2(-11), as the sum, not 4 i64 pow2(0)"),
    (QUIRE, [V, plain(P0, 4, 2), BIAS], "3 inputs do not fit a weight of shape (4, 2)"),
    (QUIRE, [V, plain(P0, 4, 3, 1), BIAS], "the weight has rank 2, not 3"),
    (QUIRE, [X, W, BIAS], "linear needs layout nc, not nhwc: flatten it"),
    (
        RealLinear(arith="f32", spatial=(2, 1)),
        [V, W, BIAS],
        "3 inputs are no feature map of (2, 1)",
    ),
    (
        RealAvgPool2d(arith="f32", kernel_size=(1, 1)),
        [scaled(Int(9), 1, 2, 2, 1)],
        "arith f32 does not take an input of i9",
    ),
    (
        RealAvgPool2d(arith="f16", kernel_size=(1, 1)),
        [scaled(Float32(), 1, 2, 2, 1)],
        "arith f16 does not take f32",
    ),
    (
        Encode(es=0, exponent=0),
        [V],
        "encode takes floats or the integer of a quire, not 1x3 posit8_0 nc pow2(2)",
    ),
    (Encode(es=0, exponent=0), [f32(1, 3)], "an operand has a power-of-two scale, not 1x3 f32 nc"),
    (
        Encode(es=0, exponent=0),
        [u8(1, 3)],
        "encode takes floats or the integer of a quire, not 1x3 u8 nc affine(0.0625, 0)",
    ),
    (Encode(es=0, exponent=-97), [scaled(Float32(), 1, 3)], "a factor of 2**97; at most 2**96"),
    (
        Relu(),
        [scaled(Int(9), 1, 3)],
        "relu takes float32 or quantized integers, not 1x3 i9 nc pow2(0)",
    ),
    (Clamp(minimum=-128, maximum=3), [V], "limits (-128, 3) are not the codes of numbers"),
    (Clamp(minimum=0, maximum=0.5), [V], "the limits of an integer clamp are integers"),
    (
        Clamp(minimum=0, maximum=0.1),
        [scaled(Float16(), 1, 3)],
        "limits (0, 0.1) are not binary16 numbers",
    ),
    (
        Linear(),
        [scaled(Float32(), 1, 3), plain(Float32(), 4, 3, exponent=None), BIAS],
        "an operand of the FLOAT stage has no scale: 1x3 f32 nc pow2(0)",
    ),
    (
        Conv2d(kernel_size=(1, 1), acc_width=9),
        [scaled(Int(8), 1, 2, 2, 1), plain(Posit(8, 0), 1, 1, 1, 1)],
        "the weight is a signed integer, not posit8_0",
    ),
]


@pytest.mark.parametrize(("op", "operands", "message"), REFUSED, ids=range(len(REFUSED)))
def test_infer_refuses(op: Op, operands: list[TensorType], message: str) -> None:
    with pytest.raises(InferError, match=f"^{re.escape(message)}$"):
        op.infer(operands)


IMPOSSIBLE: list[tuple[Callable[[], object], str]] = [
    (lambda: RealLinear(arith="f64"), "arith is f32, f16 or quire, not 'f64'"),
    (lambda: RealLinear(arith="quire"), "acc_width 0 with arith 'quire': only a quire has a width"),
    (
        lambda: RealLinear(arith="f16", acc_width=3),
        "acc_width 3 with arith 'f16': only a quire has a width",
    ),
    (
        lambda: RealLinear(arith="f32", spatial=(0, 1)),
        "height and width are at least 1, not (0, 1)",
    ),
    (lambda: RealConv2d(arith="f32", kernel_size=(1, 1), groups=0), "groups is at least 1, not 0"),
    (lambda: Encode(es=3, exponent=0), "es is 0, 1 or 2, not 3"),
    (lambda: PowerOfTwo(exponent=1001), "an exponent is at most 1000, not 1001"),
    (lambda: plain(Bipolar(), 2), "bipolar takes no scale"),
]


@pytest.mark.parametrize(("make", "message"), IMPOSSIBLE, ids=range(len(IMPOSSIBLE)))
def test_what_can_never_be_right_cannot_be_made(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make()


def quire(width: int = 16, bias: int = 100, weight: int = 64) -> Graph:
    """x -> acc -> y; the weight's code 64 is 1.0, 64 units, so a sum is at most 2**18 + bias."""
    builder = GraphBuilder("net", Stage.QUANTIZED)
    x = builder.input("x", p8(0, 1, 1))
    w = builder.constant("w", np.full((1, 1), weight, np.uint8), P0, PowerOfTwo(exponent=0))
    b = builder.constant("b", np.array([bias]), Int(64), PowerOfTwo(exponent=-12))
    acc = builder.node("acc", RealLinear(arith="quire", acc_width=width), [x, w, b], Loc())
    return builder.finish([builder.node("y", Encode(es=0, exponent=0), [acc], Loc())])


def half(code: int) -> Graph:
    builder = GraphBuilder("net", Stage.QUANTIZED)
    x = builder.input("x", p8(2, 1, 1))
    w = builder.constant("w", np.full((1, 1), code, np.uint8), Posit(8, 2), PowerOfTwo(exponent=0))
    b = builder.constant("b", np.zeros(1), Float16(), PowerOfTwo(exponent=0))
    return builder.finish([builder.node("y", RealLinear(arith="f16"), [x, w, b], Loc())])


def stored(graph: Graph, name: str, array: np.ndarray) -> Graph:
    constants = (
        replace(item, data=ArrayData(array)) if item.name == name else item
        for item in graph.constants
    )
    return graph.update(constants=tuple(constants))


BROKEN: list[tuple[Callable[[], Graph], list[str]]] = [
    (lambda: quire(20), []),
    (lambda: quire(19, bias=-100), ["acc: sums up to 262244 overflow i19"]),
    (lambda: quire(20, bias=(1 << 19) - 1 - (1 << 18)), []),
    (lambda: quire(20, bias=(1 << 19) - (1 << 18)), ["acc: sums up to 524288 overflow i20"]),
    (lambda: quire(40, weight=128), ["w: a posit constant holds codes of numbers, as uint8"]),
    (
        lambda: stored(quire(40), "w", np.ones((1, 1))),
        ["w: a posit constant holds codes of numbers, as uint8"],
    ),
    (lambda: half(124), ["y: a weight is infinite in binary16"]),
    (lambda: half(132), ["y: a weight is infinite in binary16"]),
    (lambda: half(123), []),
    (
        lambda: stored(half(1), "b", np.full(1, np.inf, np.float16)),
        ["b: a float16 constant holds finite float16 numbers"],
    ),
    (
        lambda: half(1).update(stage=Stage.FLOAT),
        [
            "x: an element of posit8_2 pow2(0) in a float graph",
            "y: an element of f16 pow2(0) in a float graph",
        ],
    ),
    (
        lambda: quire(20).update(
            inputs=(Input(name="x", type=TensorType(shape=(1, 1), element=P0, layout=Layout.NC)),)
        ),
        [
            "acc: an operand has a power-of-two scale, not 1x1 posit8_0 nc",
            "x: an element of posit8_0 without a power-of-two scale",
        ],
    ),
]


@pytest.mark.parametrize(("broken", "expected"), BROKEN, ids=range(len(BROKEN)))
def test_each_rule_has_its_message(broken: Callable[[], Graph], expected: list[str]) -> None:
    graph = broken()
    if not expected:
        assert verify(graph) is graph
        return
    with pytest.raises(VerifyError) as caught:
        verify(graph)
    assert expected == messages(caught.value)


def test_weights_are_constants() -> None:
    graph = quire(30)
    bias = replace(graph.constants[1].type, layout=Layout.PLAIN)
    moved = graph.update(
        inputs=(*graph.inputs, Input(name="b", type=bias)),
        constants=graph.constants[:1],
    )
    with pytest.raises(VerifyError) as caught:
        verify(moved)
    assert "acc: weight and bias are constants" in messages(caught.value)


def test_scales_add_up() -> None:
    """Posits in units of 2**-6 each, and their scales 2 and -1."""
    bias = plain(Int(64), 4, exponent=-11)
    assert str(QUIRE.infer([V, W, bias])) == "1x4 i30 nc pow2(-11)"
    op = RealLinear(arith="f16")
    assert str(op.infer([V, W, plain(Float16(), 4, exponent=1)])) == "1x4 f16 nc pow2(1)"


@pytest.mark.parametrize(
    ("taps", "numerator", "bits"), [(1, 1, 0), (4, 1, 2), (9, 0xE38E39, 27), (6, 0xAAAAAB, 26)]
)
def test_an_average_multiplies_by_a_binary32_number(taps: int, numerator: int, bits: int) -> None:
    op = RealAvgPool2d(arith="quire", kernel_size=(1, taps), acc_width=90)
    assert op.integer_factor() == (numerator, bits)
    assert numerator / (1 << bits) == float(np.float32(1 / taps))


def test_binary16_is_float32_rounded_again() -> None:
    """All binary16 numbers, all midpoints between them and their neighbours, any bits."""
    halves = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)
    ties = (halves[1:].astype(np.float64) + halves[:-1]) / 2
    ties = np.append(ties, 65520.0).astype(np.float32)
    beside = [np.nextafter(ties, np.float32(limit)) for limit in (0, np.inf)]
    bits = np.random.default_rng(0).integers(0, 1 << 32, 300_000, dtype=np.uint32)
    near = np.random.default_rng(1).integers(100 << 23, 145 << 23, 300_000, dtype=np.uint32)
    given = np.concatenate([halves, ties, *beside, bits.view(np.float32), near.view(np.float32)])
    given = np.concatenate([given, -given])
    actual = given.copy()
    with np.errstate(all="ignore"):
        expected = given.astype(np.float16).astype(np.float32)
        to_binary16(actual)
    np.testing.assert_array_equal(expected, actual)
