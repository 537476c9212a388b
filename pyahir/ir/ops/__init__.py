"""The op set. ``ALL`` lists every op; suites, the printer and the parser read it."""

from __future__ import annotations

from pyahir.ir.ops.base import InferError, Op
from pyahir.ir.ops.conv import Conv2d
from pyahir.ir.ops.elementwise import Add, BatchNorm, Clamp, Relu
from pyahir.ir.ops.linear import Linear
from pyahir.ir.ops.pool import AvgPool2d, MaxPool2d, SumPool2d
from pyahir.ir.ops.posit import Encode, RealAdd, RealAvgPool2d, RealConv2d, RealLinear
from pyahir.ir.ops.quant import QuantizedAdd, Requantize
from pyahir.ir.ops.shape import Flatten
from pyahir.ir.ops.threshold import MultiThreshold, Recode
from pyahir.ir.ops.window import WindowOp

__all__ = [
    "ALL",
    "Add",
    "AvgPool2d",
    "BatchNorm",
    "Clamp",
    "Conv2d",
    "Encode",
    "Flatten",
    "InferError",
    "Linear",
    "MaxPool2d",
    "MultiThreshold",
    "Op",
    "QuantizedAdd",
    "RealAdd",
    "RealAvgPool2d",
    "RealConv2d",
    "RealLinear",
    "Recode",
    "Relu",
    "Requantize",
    "SumPool2d",
    "WindowOp",
]

ALL: tuple[type[Op], ...] = (
    Conv2d,
    Linear,
    Add,
    BatchNorm,
    Relu,
    Clamp,
    MaxPool2d,
    AvgPool2d,
    SumPool2d,
    Flatten,
    Requantize,
    QuantizedAdd,
    RealConv2d,
    RealLinear,
    RealAvgPool2d,
    RealAdd,
    Encode,
    Recode,
    MultiThreshold,
)
