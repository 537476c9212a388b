"""Few-bit ops: what they refuse, what the verifier finds, pixels and bits at the boundary."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

from pyahir.ir.builder import GraphBuilder
from pyahir.ir.eval import Evaluator, dequantize, quantize
from pyahir.ir.graph import Graph, Loc, Stage
from pyahir.ir.ops import Conv2d, InferError, Linear, MultiThreshold, Op, Recode
from pyahir.ir.parser import parse
from pyahir.ir.printer import to_text
from pyahir.ir.types import (
    Affine,
    Bipolar,
    Element,
    Float32,
    Int,
    Layout,
    PowerOfTwo,
    TensorType,
)
from pyahir.ir.verify import VerifyError, verify
from tests.case import acc, bits, scaled, u8
from tests.ir.test_verify import messages, with_constant

U8 = Int(8, signed=False)
PIXEL = float(np.float32(1 / 255))


def plain(element: Element, *shape: int, exponent: int | None = None) -> TensorType:
    scale = None if exponent is None else PowerOfTwo(exponent=exponent)
    return TensorType(shape=shape, element=element, quantization=scale)


BIT = Linear(acc_width=9)
SIGN = MultiThreshold(width=1, exponent=0, base=0)
STEPS = MultiThreshold(width=2, exponent=0, base=-1)
BITS, BIT_WEIGHT = bits(1, 4), plain(Bipolar(), 3, 4)

REFUSED: list[tuple[Op, list[TensorType], str]] = [
    (
        Conv2d(kernel_size=(1, 1), padding=(0, 1, 0, 0), acc_width=9),
        [bits(1, 2, 2, 4), plain(Bipolar(), 3, 4, 1, 1)],
        "bipolar numbers have no zero to pad with, but the padding is (0, 1, 0, 0)",
    ),
    (BIT, [u8(1, 4), BIT_WEIGHT], "the weight is a signed integer, not bipolar"),
    (BIT, [BITS, plain(U8, 3, 4, exponent=0)], "the weight is a signed integer, not u8"),
    (BIT, [BITS, plain(Int(2), 3, 4)], "the weight of a few-bit input has a power-of-two scale"),
    (BIT, [BITS, plain(Float32(), 3, 4)], "the weight is a signed integer, not f32"),
    (
        BIT,
        [acc(4, 1, 4), BIT_WEIGHT],
        "an integer input has an affine quantization or a power-of-two scale",
    ),
    (Linear(), [BITS, BIT_WEIGHT], "an integer op states its acc_width"),
    (BIT, [BITS, BIT_WEIGHT, plain(Int(64), 3)], "an integer op has no bias: requantize holds it"),
    (Recode(width=1, exponent=0), [BITS, plain(U8, 256)], "recode takes u8, not bipolar"),
    (
        Recode(width=1, exponent=0),
        [u8(1, 4), plain(U8, 255)],
        "the table has shape (255,), not (256,)",
    ),
    (
        Recode(width=1, exponent=0),
        [u8(1, 4), plain(Int(8), 256)],
        "the table of a bit is u8, not i8",
    ),
    (
        Recode(width=8, exponent=-7),
        [u8(1, 4), plain(U8, 256)],
        "the table of 8 bits holds signed integers, not u8",
    ),
    (
        SIGN,
        [u8(1, 4), plain(Int(64), 4, 1)],
        "multi_threshold takes an integer accumulator, not 1x4 u8 nc affine(0.0625, 0)",
    ),
    (SIGN, [acc(9, 1, 4), plain(Int(16), 4, 1)], "the thresholds are i32 or i64, not i16"),
    (
        SIGN,
        [acc(9, 1, 4), plain(Int(64), 3, 1)],
        "the thresholds have shape (3, 1), not (4, n) or (1, n)",
    ),
    (
        SIGN,
        [acc(9, 1, 4), plain(Int(32), 4, 0)],
        "the thresholds have shape (4, 0), not (4, n) or (1, n)",
    ),
    (
        SIGN,
        [acc(9, 1, 4), plain(Int(32), 4, 2)],
        "2 thresholds count from 0 beyond 1, the greatest of 1 bits",
    ),
    (
        STEPS,
        [acc(9, 1, 4), plain(Int(32), 1, 3)],
        "3 thresholds count from -1 beyond 1, the greatest of 2 bits",
    ),
]


@pytest.mark.parametrize(("op", "operands", "message"), REFUSED, ids=range(len(REFUSED)))
def test_infer_refuses(op: Op, operands: list[TensorType], message: str) -> None:
    with pytest.raises(InferError, match=f"^{re.escape(message)}$"):
        op.infer(operands)


IMPOSSIBLE: list[tuple[Callable[[], object], str]] = [
    (lambda: Recode(width=0, exponent=0), "an activation has at least 1 bit, not 0"),
    (
        lambda: Recode(width=1, exponent=3),
        "one bit takes no scale, but the exponent is 3",
    ),
    (
        lambda: Recode(width=2, exponent=2000),
        "an exponent is at most 1000, not 2000",
    ),
    (
        lambda: MultiThreshold(width=1, exponent=0, base=-1),
        "one bit counts from base 0, not -1",
    ),
    (
        lambda: MultiThreshold(width=2, exponent=0, base=-3),
        "base -3 does not fit in 2 bits",
    ),
]


@pytest.mark.parametrize(("make", "message"), IMPOSSIBLE, ids=range(len(IMPOSSIBLE)))
def test_what_can_never_be_right_cannot_be_made(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make()


def pixels(*shape: int) -> TensorType:
    layout = Layout.NHWC if len(shape) == 4 else Layout.NC
    affine = Affine(scale=PIXEL, zero_point=0)
    return TensorType(shape=shape, element=U8, layout=layout, quantization=affine)


def network() -> Graph:
    """pixels -> bits -> fc1_acc -> fc1 (2 bits) -> fc2_acc: small enough to do by hand."""
    builder = GraphBuilder("net", Stage.QUANTIZED)
    x = builder.input("x", pixels(1, 3))
    table = builder.constant("table", (np.arange(256) >= 128).astype(np.uint8))
    start = builder.node("start", Recode(width=1, exponent=0), [x, table], Loc())
    first = np.array([[1, 0, 1], [0, 0, 0]], np.uint8)
    weight = builder.constant("fc1_weight", first, Bipolar())
    fc1_acc = builder.node("fc1_acc", Linear(acc_width=3), [start, weight], Loc())
    steps = builder.constant("fc1_thresholds", np.array([[-2, 1], [0, 2]]))
    fc1 = builder.node("fc1", STEPS, [fc1_acc, steps], Loc())
    second = np.array([[1, -1]], np.int8)
    weight = builder.constant("fc2_weight", second, Int(2), PowerOfTwo(exponent=-1))
    fc2 = builder.node("fc2", Linear(acc_width=3), [fc1, weight], Loc())
    return builder.finish([fc2])


def test_a_network_by_hand() -> None:
    graph = verify(network())
    assert parse(to_text(graph)) == graph
    codes = np.array([[255, 127, 128], [0, 255, 0]], np.uint8)
    names = ["start", "fc1_acc", "fc1", "fc2"]
    values = {
        name: array.tolist() for name, array in Evaluator(graph).run(codes, keep=names).items()
    }
    assert values == {
        "start": [[1, 0, 1], [0, 1, 0]],
        "fc1_acc": [[3, -1], [-3, 1]],
        "fc1": [[1, -1], [-1, 0]],
        "fc2": [[2], [-1]],
    }
    found = Evaluator(graph).run(codes)["fc2"]
    assert dequantize(found, graph.types()["fc2"]).tolist() == [[1.0], [-0.5]]


BROKEN: list[tuple[Callable[[], Graph], list[str]]] = [
    (
        lambda: with_constant(network(), "table", np.full(256, 2, np.uint8)),
        ["start: codes 2 to 2 do not fit bipolar"],
    ),
    (
        lambda: with_constant(network(), "fc1_thresholds", np.array([[0, -1], [0, 2]])),
        ["fc1: the thresholds of a channel do not ascend"],
    ),
    (lambda: with_constant(network(), "fc1_thresholds", np.array([[2, 2]])), []),
    (
        lambda: with_constant(network(), "fc1_weight", np.full((2, 3), 2, np.uint8)),
        [
            "fc1_weight: a bipolar constant holds the codes 0 and 1, as uint8",
            "fc1_acc: sums from -9 to 9 overflow i3",
        ],
    ),
    (
        lambda: with_constant(network(), "fc1_weight", np.ones((2, 3), np.int8)),
        ["fc1_weight: a bipolar constant holds the codes 0 and 1, as uint8"],
    ),
    (
        lambda: with_constant(network(), "fc2_weight", np.array([[-2, -2]], np.int8)),
        ["fc2: sums from -4 to 8 overflow i3"],
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


def test_tables_are_constants() -> None:
    builder = GraphBuilder("net", Stage.QUANTIZED)
    x = builder.input("x", acc(9, 1, 2))
    kind = TensorType(shape=(1, 2), element=Int(32), layout=Layout.NC)
    steps = builder.input("steps", kind)
    op = MultiThreshold(width=2, exponent=0, base=-1)
    graph = builder.finish([builder.node("y", op, [x, steps], Loc())])
    with pytest.raises(VerifyError) as caught:
        verify(graph)
    assert messages(caught.value) == ["y: its table is not a constant"]


def test_every_pixel_is_its_own_code() -> None:
    """An image in [0, 1], pixel / 255 in float32, is quantized to the pixel itself."""
    every = np.arange(256)
    for real in (every.astype(np.float32) / np.float32(255), (every / 255).astype(np.float32)):
        for rule in ("float", "pt2e", "onnx"):
            codes = quantize(real[None], pixels(1, 256), rule=rule)
            assert codes.dtype == np.uint8
            np.testing.assert_array_equal(every[None], codes)
    back = dequantize(every.astype(np.uint8), pixels(1, 256))
    np.testing.assert_allclose(back, every / 255, rtol=1e-7)


def test_bits_are_minus_one_and_one() -> None:
    codes = np.array([[0, 1, 1]], np.uint8)
    assert dequantize(codes, bits(1, 3)).tolist() == [[-1.0, 1.0, 1.0]]


def test_the_least_code_of_a_signed_input_is_no_nar() -> None:
    """Only the integers of a quire have one."""
    builder = GraphBuilder("net", Stage.QUANTIZED)
    x = builder.input("x", scaled(Int(8), 1, 2, exponent=-7))
    weight = builder.constant("w", np.array([[1, 0]], np.uint8), Bipolar())
    graph = verify(builder.finish([builder.node("y", Linear(acc_width=10), [x, weight], Loc())]))
    assert Evaluator(graph).run(np.array([[-128, 127]], np.int8))["y"].tolist() == [[-255]]
