"""The case table: for every op the cases that the infer, evaluate and lower suites run.

A case is an op with the types of its data operands, its constants and the type of its result. A
suite that cannot take a case yet says so in ``LIMITATIONS``; nothing is skipped elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pyahir.ir.ops import (
    AvgPool2d,
    BatchNorm,
    Clamp,
    Conv2d,
    Flatten,
    Linear,
    MaxPool2d,
    Op,
    Relu,
    Requantize,
    SumPool2d,
)
from pyahir.ir.types import Affine, Int, TensorType
from tests.case import Case, acc, f32, i8, real, u8, window_case
from tests.few_bit_cases import FEW_BITS
from tests.join_cases import JOINS
from tests.posit_cases import REALS


@dataclass(frozen=True, kw_only=True)
class Limitation:
    """A case that a suite does not take, and why."""

    suite: str
    case: str
    reason: str


LIMITATIONS: tuple[Limitation, ...] = ()


def _conv(name: str, x: TensorType, out: tuple[int, int, int], **attributes: object) -> Case:
    """A quantized convolution: ``out`` is (channels, height, width)."""
    op = Conv2d(acc_width=32, **attributes)  # type: ignore[arg-type]  # checked by the op
    weight = i8(out[0], x.channels // op.groups, *op.kernel_size, seed=out[0])
    result = acc(32, 1, out[1], out[2], out[0])
    return Case(name=f"conv2d-{name}", op=op, x=x, constants=(weight,), result=result)


def _float_conv(name: str, x: TensorType, out: tuple[int, int, int], **attributes: object) -> Case:
    op = Conv2d(**attributes)  # type: ignore[arg-type]  # checked by the op
    weight = real(out[0], x.channels // op.groups, *op.kernel_size, seed=out[0])
    constants = (weight, real(out[0], seed=1))
    return Case(name=f"conv2d-{name}", op=op, x=x, constants=constants, result=f32(1, *out))


def _requantize(name: str, x: TensorType, rows: Sequence[Sequence[int]], **given: int) -> Case:
    """``rows``: M and B of each channel."""
    exceptions = np.array(EXCEPTIONS.get(name, []), np.int64).reshape(-1, 3)
    fields = {"shift": 20, "quant_min": 0, "quant_max": 255, "zero_point": 0} | given
    op = Requantize(scale=0.5, **fields)  # type: ignore[arg-type]  # checked by the op
    multiplier, offset = (np.array(row, np.int64) for row in rows)
    affine = Affine(scale=0.5, zero_point=op.zero_point)
    result = replace(x, element=Int(8, signed=False), quantization=affine)
    constants = (multiplier, offset, exceptions)
    return Case(name=f"requantize-{name}", op=op, x=x, constants=constants, result=result)


EXCEPTIONS = {
    "exceptions": [(0, -7, 1), (0, 100, -1), (1, 15, 1), (2, -2048, 1), (2, 2047, -1)],
    "ties": [(0, 3, 1)],
}

CONVOLUTIONS = (
    _conv("pointwise", u8(1, 4, 5, 3), (2, 4, 5), kernel_size=(1, 1)),
    _conv("k3", u8(1, 6, 5, 2, zero_point=7), (3, 4, 3), kernel_size=(3, 3)),
    _conv(
        "k3-same",
        u8(1, 5, 6, 2, zero_point=128),
        (4, 5, 6),
        kernel_size=(3, 3),
        padding=(1, 1, 1, 1),
    ),
    _conv("k5-stride2", u8(1, 9, 8, 1), (2, 3, 2), kernel_size=(5, 5), stride=(2, 2)),
    _conv(
        "k7-stride3",
        u8(1, 11, 9, 2, zero_point=255),
        (2, 3, 2),
        kernel_size=(7, 7),
        stride=(3, 3),
        padding=(1, 2, 2, 1),
    ),
    _conv(
        "k2x4-asymmetric",
        u8(1, 5, 6, 3, zero_point=3),
        (2, 3, 7),
        kernel_size=(2, 4),
        stride=(2, 1),
        padding=(1, 0, 0, 4),
    ),
    _conv("k6", u8(1, 7, 6, 1, zero_point=1), (1, 2, 1), kernel_size=(6, 6)),
    _conv(
        "dilation2",
        u8(1, 7, 8, 2, zero_point=9),
        (3, 5, 4),
        kernel_size=(3, 3),
        padding=(1, 1, 0, 0),
        dilation=(2, 2),
    ),
    _conv(
        "dilation1x2", u8(1, 4, 7, 2), (2, 2, 1), kernel_size=(2, 3), stride=(2, 3), dilation=(1, 2)
    ),
    _conv("groups2", u8(1, 4, 4, 4, zero_point=5), (6, 2, 2), kernel_size=(3, 3), groups=2),
    _conv(
        "depthwise",
        u8(1, 5, 5, 4, zero_point=2),
        (4, 3, 3),
        kernel_size=(3, 3),
        stride=(2, 2),
        padding=(1, 1, 1, 1),
        groups=4,
    ),
    _conv(
        "depthwise-multiplier2",
        u8(1, 3, 3, 3, zero_point=4),
        (6, 3, 3),
        kernel_size=(1, 1),
        groups=3,
    ),
    _float_conv("float", f32(1, 2, 6, 5), (3, 4, 3), kernel_size=(3, 3)),
    _float_conv(
        "float-all",
        f32(1, 4, 8, 7),
        (6, 4, 2),
        kernel_size=(3, 2),
        stride=(2, 3),
        padding=(1, 2, 0, 1),
        dilation=(2, 2),
        groups=2,
    ),
)

LINEARS = (
    Case(
        name="linear-u8",
        op=Linear(acc_width=24),
        x=u8(1, 12, zero_point=11),
        constants=(i8(5, 12),),
        result=acc(24, 1, 5),
    ),
    Case(
        name="linear-one",
        op=Linear(acc_width=17),
        x=u8(1, 1, zero_point=255),
        constants=(i8(1, 1),),
        result=acc(17, 1, 1),
    ),
    Case(
        name="linear-float64",
        op=Linear(acc_width=28),
        x=u8(1, 2000),
        constants=(i8(3, 2000),),
        result=acc(28, 1, 3),
    ),
    Case(
        name="linear-float",
        op=Linear(),
        x=f32(1, 7),
        constants=(real(4, 7), real(4)),
        result=f32(1, 4),
    ),
)

_norm = (real(3, seed=5), real(3, seed=6), real(3, seed=7), np.abs(real(3, seed=8)))

ELEMENTWISE = (
    Case(
        name="batch_norm-map",
        op=BatchNorm(eps=1e-5),
        x=f32(1, 3, 4, 2),
        constants=_norm,
        result=f32(1, 3, 4, 2),
    ),
    Case(
        name="batch_norm-vector",
        op=BatchNorm(eps=0.1),
        x=f32(1, 3),
        constants=_norm,
        result=f32(1, 3),
    ),
    Case(
        name="relu-u8",
        op=Relu(),
        x=u8(1, 3, 2, 2, zero_point=100),
        result=u8(1, 3, 2, 2, zero_point=100),
    ),
    Case(name="relu-vector", op=Relu(), x=u8(1, 9), result=u8(1, 9)),
    Case(name="relu-float", op=Relu(), x=f32(1, 2, 3, 3), result=f32(1, 2, 3, 3)),
    Case(
        name="clamp-u8",
        op=Clamp(minimum=10, maximum=200),
        x=u8(1, 3, 3, 2, zero_point=50),
        result=u8(1, 3, 3, 2, zero_point=50),
    ),
    Case(name="clamp-point", op=Clamp(minimum=7, maximum=7), x=u8(1, 4), result=u8(1, 4)),
    Case(
        name="clamp-relu6",
        op=Clamp(minimum=0.0, maximum=6.0),
        x=f32(1, 2, 2, 2),
        result=f32(1, 2, 2, 2),
    ),
)

POOLS = (
    window_case("k2", MaxPool2d(kernel_size=(2, 2), stride=(2, 2)), u8(1, 4, 6, 3), 2, 3),
    window_case(
        "k3-padded",
        MaxPool2d(kernel_size=(3, 3), stride=(2, 2), padding=(1, 1, 1, 1)),
        u8(1, 5, 6, 2, zero_point=200),
        3,
        3,
    ),
    window_case(
        "asymmetric",
        MaxPool2d(kernel_size=(3, 2), stride=(1, 3), padding=(0, 2, 1, 0), dilation=(2, 1)),
        u8(1, 6, 7, 2, zero_point=9),
        4,
        3,
    ),
    window_case("one", MaxPool2d(kernel_size=(1, 1), stride=(3, 3)), u8(1, 7, 7, 1), 3, 3),
    window_case(
        "float",
        MaxPool2d(kernel_size=(2, 3), stride=(2, 1), padding=(1, 0, 1, 1)),
        f32(1, 2, 5, 4),
        3,
        4,
    ),
    window_case("k2", AvgPool2d(kernel_size=(2, 2), stride=(2, 2)), f32(1, 3, 4, 4), 2, 2),
    window_case(
        "padded",
        AvgPool2d(kernel_size=(3, 2), stride=(2, 3), padding=(1, 1, 0, 1)),
        f32(1, 2, 5, 4),
        3,
        2,
    ),
    window_case(
        "global", SumPool2d(kernel_size=(4, 5), acc_width=14), u8(1, 4, 5, 3, zero_point=128), 1, 1
    ),
    window_case(
        "padded",
        SumPool2d(kernel_size=(3, 3), stride=(2, 1), padding=(1, 0, 1, 2), acc_width=13),
        u8(1, 6, 4, 2, zero_point=20),
        3,
        5,
    ),
    window_case(
        "k1", SumPool2d(kernel_size=(1, 1), stride=(2, 2), acc_width=9), u8(1, 3, 3, 1), 2, 2
    ),
)

SHAPES = (
    Case(
        name="flatten-map",
        op=Flatten(),
        x=u8(1, 2, 3, 4, zero_point=6),
        result=u8(1, 24, zero_point=6),
    ),
    Case(name="flatten-vector", op=Flatten(), x=u8(1, 5), result=u8(1, 5)),
    Case(name="flatten-float", op=Flatten(), x=f32(1, 4, 2, 3), result=f32(1, 24)),
)

REQUANTIZES = (
    _requantize("plain", acc(12, 1, 3, 3, 2), [[70_001, 60_001], [1 << 19, 3 << 20]]),
    _requantize(
        "clamped",
        acc(12, 1, 8),
        [[99_999] * 8, [1 << 26] * 8],
        quant_min=40,
        quant_max=90,
        zero_point=64,
    ),
    _requantize(
        "exceptions",
        acc(12, 1, 50, 20, 3),
        [[65_537, 70_000, 131_071], [1 << 19, 1 << 22, 1 << 26]],
        zero_point=3,
    ),
    _requantize("steep", acc(5, 1, 4), [[3 << 20] * 4, [1 << 24] * 4]),
    _requantize("constant", acc(12, 1, 4), [[0, 1, 0, 1], [0, 0, 77 << 20, -5 << 20]]),
    _requantize("shift0", acc(8, 1, 4), [[1, 2, 1, 1], [0, 0, 128, -3]], shift=0),
    _requantize("wide", acc(30, 1, 64), [[(1 << 31) - 1] * 64, [1 << 51] * 64], shift=52),
    _requantize(
        "ties",
        acc(12, 1, 40, 20, 2),
        [[1 << 18] * 2, [1 << 19, (3 << 20) + (1 << 19)]],
        tie_bits=20,
        zero_point=3,
    ),
    _requantize(
        "ties-odd", acc(12, 1, 900), [[1 << 18] * 900, [1 << 19] * 900], tie_bits=12, tie_parity=1
    ),
)


CASES: tuple[Case, ...] = (
    *CONVOLUTIONS,
    *LINEARS,
    *ELEMENTWISE,
    *POOLS,
    *SHAPES,
    *REQUANTIZES,
    *REALS,
    *FEW_BITS,
    *JOINS,
)


def cases_of(op: type[Op]) -> tuple[Case, ...]:
    return tuple(case for case in CASES if type(case.op) is op)
