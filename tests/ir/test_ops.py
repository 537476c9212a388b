"""Result types of all ops, what their constructors refuse, what ``infer`` refuses."""

from __future__ import annotations

import re

import pytest

from pyahir.ir.ops import (
    AvgPool2d,
    BatchNorm,
    Clamp,
    Conv2d,
    InferError,
    Linear,
    MaxPool2d,
    Op,
    Relu,
    Requantize,
    SumPool2d,
)
from pyahir.ir.types import Int, Layout, Posit, TensorType
from pyahir.ir.verify import verify
from tests.op_cases import CASES, Case, acc, f32, u8


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_infer_gives_the_result_of_the_case(case: Case) -> None:
    graph = verify(case.graph())
    assert graph.nodes[0].type == case.result


def test_names_of_cases_are_unique() -> None:
    assert len({case.name for case in CASES}) == len(CASES)


def plain(element: Int | None = None, *shape: int) -> TensorType:
    return TensorType(shape=shape, element=element or Int(8))


I8, I64 = Int(8), Int(64)
CONV = Conv2d(kernel_size=(3, 3), acc_width=32)
WEIGHT = plain(I8, 4, 2, 3, 3)
X = u8(1, 5, 5, 2)
REQUANTIZE = Requantize(shift=8, quant_min=0, quant_max=255, scale=1.0, zero_point=0)
PARAMETERS = (plain(I64, 2), plain(I64, 2), plain(I64, 0, 3))

REFUSED: list[tuple[Op, list[TensorType], str]] = [
    (CONV, [X, plain(I8, 4, 2)], "the weight has rank 4 (OIHW), not 2"),
    (CONV, [X, plain(I8, 4, 2, 3, 1)], "the weight's window (3, 1) is not kernel_size (3, 3)"),
    (
        CONV,
        [X, plain(I8, 4, 3, 3, 3)],
        "2 input channels in 1 groups do not fit a weight of shape (4, 3, 3, 3)",
    ),
    (
        Conv2d(kernel_size=(1, 1), groups=2, acc_width=9),
        [X, plain(I8, 3, 1, 1, 1)],
        "2 input channels in 2 groups do not fit a weight of shape (3, 1, 1, 1)",
    ),
    (CONV, [u8(1, 2, 5, 2), WEIGHT], "a window of 3 does not fit in 2 (with padding)"),
    (CONV, [u8(1, 2), WEIGHT], "needs a feature map, not layout nc"),
    (CONV, [X, plain(Int(8, signed=False), 4, 2, 3, 3)], "the weight is a signed integer, not u8"),
    (
        CONV,
        [acc(9, 1, 5, 5, 2), WEIGHT],
        "an integer input has an affine quantization or a power-of-two scale",
    ),
    (Conv2d(kernel_size=(3, 3)), [X, WEIGHT], "an integer op states its acc_width"),
    (CONV, [X, WEIGHT, plain(I64, 4)], "an integer op has no bias: requantize holds it"),
    (Conv2d(kernel_size=(3, 3)), [f32(1, 2, 5, 5), WEIGHT], "a float32 input with a weight of i8"),
    (CONV, [f32(1, 2, 5, 5), f32(4, 2, 3, 3)], "acc_width belongs to integers; a float32 op has 0"),
    (Conv2d(kernel_size=(3, 3)), [f32(1, 2, 5, 5), f32(4, 2, 3, 3)], "the bias has shape (O,)"),
    (Linear(acc_width=9), [X, plain(I8, 4, 2)], "linear needs layout nc, not nhwc: flatten it"),
    (Linear(acc_width=9), [u8(1, 2), WEIGHT], "the weight has rank 2, not 4"),
    (
        Linear(acc_width=9),
        [u8(1, 2), plain(I8, 4, 3)],
        "2 inputs do not fit a weight of shape (4, 3)",
    ),
    (Linear(), [f32(1, 2), f32(4, 2), f32(4, 1)], "the bias has shape (O,)"),
    (
        Linear(acc_width=9),
        [TensorType(shape=(1, 2), element=Posit(8, 0), layout=Layout.NC), plain(I8, 4, 2)],
        "an input of posit8_0 is not supported here",
    ),
    (BatchNorm(eps=0.1), [X] * 5, "batch_norm takes float32, not u8"),
    (BatchNorm(eps=0.1), [f32(1, 2)] * 5, "weight has shape (1, 2), not (C,)"),
    (Relu(), [acc(9, 1, 2)], "relu takes float32 or quantized integers, not 1x2 i9 nc"),
    (Clamp(minimum=0, maximum=1), [acc(9, 1, 2)], "clamp takes quantized integers, not 1x2 i9 nc"),
    (Clamp(minimum=0.5, maximum=1), [X], "the limits of an integer clamp are integers"),
    (Clamp(minimum=0, maximum=float("inf")), [X], "the limits of an integer clamp are integers"),
    (
        MaxPool2d(kernel_size=(2, 2), padding=(2, 0, 0, 0)),
        [X],
        "padding (2, 0, 0, 0) is not smaller than the window (2, 2)",
    ),
    (AvgPool2d(kernel_size=(2, 2)), [X], "avg_pool2d takes float32, not u8"),
    (
        SumPool2d(kernel_size=(2, 2), acc_width=9),
        [f32(1, 2, 2, 2)],
        "sum_pool2d takes quantized integers, not 1x2x2x2 f32 nchw",
    ),
    (
        REQUANTIZE,
        [u8(1, 2), *PARAMETERS],
        "requantize takes an integer accumulator, not 1x2 u8 nc affine(0.0625, 0)",
    ),
    (REQUANTIZE, [acc(9, 1, 3), *PARAMETERS], "multiplier has shape (2,), not (C,)"),
    (
        REQUANTIZE,
        [acc(9, 1, 2), plain(I64, 2), plain(I8, 2), plain(I64, 0, 3)],
        "offset is i64, not i8",
    ),
    (
        REQUANTIZE,
        [acc(9, 1, 2), plain(I64, 2), plain(I64, 2), plain(I64, 0, 2)],
        "the exceptions have shape (E, 3), not (0, 2)",
    ),
]


@pytest.mark.parametrize(("op", "operands", "message"), REFUSED, ids=[item[2] for item in REFUSED])
def test_infer_refuses(op: Op, operands: list[TensorType], message: str) -> None:
    with pytest.raises(InferError, match=f"^{re.escape(message)}$"):
        op.infer(operands)


IMPOSSIBLE = [
    (lambda: Conv2d(kernel_size=(0, 1)), "kernel size, stride and dilation are at least 1"),
    (
        lambda: MaxPool2d(kernel_size=(1, 1), stride=(1, 0)),
        "kernel size, stride and dilation are at least 1",
    ),
    (
        lambda: Conv2d(kernel_size=(1, 1), padding=(0, 0, -1, 0)),
        "padding is not negative: (0, 0, -1, 0)",
    ),
    (lambda: Conv2d(kernel_size=(1, 1), groups=0), "groups is at least 1, not 0"),
    (lambda: Clamp(minimum=2, maximum=1), "an empty range: 2 to 1"),
    (
        lambda: Requantize(shift=63, quant_min=0, quant_max=1, scale=1.0, zero_point=0),
        "shift is 0 to 62, not 63",
    ),
    (
        lambda: Requantize(shift=3, quant_min=0, quant_max=256, scale=1.0, zero_point=0),
        "codes 0..256 in 8 bits",
    ),
    (lambda: Int(0), "an integer needs at least 1 bit, not 0"),
    (lambda: Posit(1, 0), "posit<1,0> does not exist"),
    (lambda: u8(1, 2, scale=0.0), "a scale is a positive finite number, not 0.0"),
    (lambda: u8(1, 2, scale=float("inf")), "a scale is a positive finite number, not inf"),
    (lambda: f32(1, 0), "an axis has at least 1 element(s): (1, 0)"),
    (
        lambda: TensorType(shape=(1,), element=I8, layout=Layout.NC),
        "layout nc has rank 2, the shape (1,)",
    ),
    (
        lambda: TensorType(shape=(1,), element=Posit(8, 0), quantization=X.quantization),
        "posit8_0 takes no affine quantization",
    ),
]


@pytest.mark.parametrize(("make", "message"), IMPOSSIBLE, ids=range(len(IMPOSSIBLE)))
def test_what_can_never_be_right_cannot_be_made(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make()
