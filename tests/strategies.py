"""Hypothesis strategies for IR: any graph that can be written down, valid or not.

Graphs that compute something are drawn by ``tests.networks``.
"""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st

from pyahir.ir import ops
from pyahir.ir.graph import Constant, Graph, Input, Loc, Node, Stage
from pyahir.ir.ops import Op
from pyahir.ir.printer import storage_dtype
from pyahir.ir.types import (
    Affine,
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

KEYWORDS = (
    "graph", "input", "const", "node", "output", "hex", "loc", "affine", "inf", "f32", "nhwc",
    "float", "scalar", "x", "u8", "relu",
)  # fmt: skip

names = st.one_of(
    st.sampled_from(KEYWORDS),
    st.from_regex(r"[a-z][a-z0-9]{0,5}(_[a-z0-9]{1,4}){0,2}", fullmatch=True),
)
finite = st.floats(allow_nan=False, allow_infinity=False)
positive = st.floats(2.0**-140, 2.0**120, allow_nan=False)
pairs = st.tuples(st.integers(1, 9), st.integers(1, 9))
paddings = st.tuples(*(st.integers(0, 9) for _ in range(4)))
integers = st.builds(Int, st.integers(1, 64), signed=st.booleans())
elements: st.SearchStrategy[Element] = st.one_of(
    st.just(Float32()), st.just(Float16()), st.just(Bipolar()), integers,
    st.builds(Posit, st.integers(2, 16), st.integers(0, 3)),
)  # fmt: skip
locs = st.builds(Loc, file=st.text(max_size=8), line=st.integers(0, 9999), path=st.text(max_size=8))


@st.composite
def types(draw: st.DrawFn, element: st.SearchStrategy[Element] = elements) -> TensorType:
    """Draw a type of any layout; it may have a quantization that its element takes."""
    layout = draw(st.sampled_from(Layout))
    least = 0 if layout is Layout.PLAIN else 1
    rank = {Layout.NCHW: 4, Layout.NHWC: 4, Layout.NC: 2}.get(layout, draw(st.integers(0, 4)))
    kind = draw(element)
    affine = st.builds(Affine, scale=positive, zero_point=st.integers(-300, 300))
    choices = st.none() | st.builds(PowerOfTwo, exponent=st.integers(-1000, 1000))
    if isinstance(kind, Int):
        choices |= affine
    return TensorType(
        shape=tuple(draw(st.integers(least, 3)) for _ in range(rank)),
        element=kind,
        layout=layout,
        quantization=None if isinstance(kind, Bipolar) else draw(choices),
    )


@st.composite
def constants(draw: st.DrawFn, name: str) -> Constant:
    """Draw a constant of floats, posits and bipolar codes (any bits) or integers of any width."""
    posits = st.builds(Posit, st.integers(2, 8), st.integers(0, 2))
    floats = st.sampled_from([Float32(), Float16(), Bipolar()])
    kind = draw(types(st.one_of(floats, posits, integers)))
    dtype = np.dtype(storage_dtype(kind))
    if isinstance(kind.element, Int):
        one = st.integers(kind.element.min, kind.element.max)
        values = draw(st.lists(one, min_size=kind.size, max_size=kind.size))
        array = np.array(values, dtype)
    else:
        size = dtype.itemsize * kind.size
        raw = draw(st.binary(min_size=size, max_size=size))
        array = np.frombuffer(raw, dtype)
    return Constant(name=name, type=kind, data=ArrayData(array.reshape(kind.shape)))


def _window(op: type[Op], **more: st.SearchStrategy[object]) -> st.SearchStrategy[Op]:
    return st.builds(op, kernel_size=pairs, stride=pairs, padding=paddings, dilation=pairs, **more)


@st.composite
def clamps(draw: st.DrawFn) -> Op:
    limit = st.one_of(st.integers(-300, 300), finite, st.sampled_from([-math.inf, math.inf]))
    low, high = sorted([draw(limit), draw(limit)])
    return ops.Clamp(minimum=low, maximum=high)


@st.composite
def requantizes(draw: st.DrawFn) -> Op:
    shift = draw(st.integers(0, 62))
    low, high = sorted([draw(st.integers(0, 255)), draw(st.integers(0, 255))])
    return ops.Requantize(
        shift=shift,
        quant_min=low,
        quant_max=high,
        scale=draw(positive),
        zero_point=draw(st.integers(0, 255)),
        tie_bits=draw(st.integers(0, shift)),
        tie_parity=draw(st.integers(0, 1)),
    )


@st.composite
def quantized_adds(draw: st.DrawFn) -> Op:
    shift = draw(st.integers(0, 52))
    low, high = sorted([draw(st.integers(0, 255)), draw(st.integers(0, 255))])
    away = draw(st.booleans())
    multiplier = st.integers(0, (1 << 31) - 1)
    return ops.QuantizedAdd(
        multipliers=draw(st.tuples(multiplier, multiplier)),
        offset=draw(st.integers(1 - (1 << 61), (1 << 61) - 1)),
        shift=shift,
        quant_min=low,
        quant_max=high,
        scale=draw(positive),
        zero_point=draw(st.integers(0, 255)),
        away=away,
        tie_bits=0 if away else draw(st.integers(0, shift)),
        tie_parity=draw(st.integers(0, 1)),
    )


@st.composite
def multi_thresholds(draw: st.DrawFn) -> Op:
    width = draw(st.integers(1, 16))
    if width == 1:
        return ops.MultiThreshold(width=1, exponent=0, base=0)
    base = draw(st.integers(Int(width).min, Int(width).max))
    return ops.MultiThreshold(width=width, exponent=draw(st.integers(-9, 9)), base=base)


def real(op: type[Op], **more: st.SearchStrategy[object]) -> st.SearchStrategy[Op]:
    floats = st.builds(op, arith=st.sampled_from(["f32", "f16"]), **more)
    return floats | st.builds(op, arith=st.just("quire"), acc_width=st.integers(1, 140), **more)


windows: dict[str, st.SearchStrategy[object]] = {
    "kernel_size": pairs, "stride": pairs, "padding": paddings, "dilation": pairs,
}  # fmt: skip
width = st.integers(0, 70)
OPS: dict[type[Op], st.SearchStrategy[Op]] = {
    ops.Add: st.builds(ops.Add),
    ops.QuantizedAdd: quantized_adds(),
    ops.RealAdd: real(ops.RealAdd),
    ops.Conv2d: _window(ops.Conv2d, groups=st.integers(1, 9), acc_width=width),
    ops.Linear: st.builds(ops.Linear, acc_width=width),
    ops.BatchNorm: st.builds(ops.BatchNorm, eps=finite),
    ops.Relu: st.builds(ops.Relu),
    ops.Clamp: clamps(),
    ops.MaxPool2d: _window(ops.MaxPool2d),
    ops.AvgPool2d: _window(ops.AvgPool2d),
    ops.SumPool2d: _window(ops.SumPool2d, acc_width=width),
    ops.Flatten: st.builds(ops.Flatten),
    ops.Requantize: requantizes(),
    ops.RealConv2d: real(ops.RealConv2d, groups=st.integers(1, 9), **windows),
    ops.RealLinear: real(ops.RealLinear, spatial=pairs),
    ops.RealAvgPool2d: real(ops.RealAvgPool2d, **windows),
    ops.Encode: st.builds(
        ops.Encode, es=st.integers(0, 2), exponent=st.integers(-999, 999), relu=st.booleans()
    ),
    ops.Recode: st.just(ops.Recode(width=1, exponent=0))
    | st.builds(ops.Recode, width=st.integers(2, 16), exponent=st.integers(-999, 999)),
    ops.MultiThreshold: multi_thresholds(),
}


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Draw a graph; its nodes need not fit together, but they read what is named."""
    taken = draw(st.lists(names, min_size=3, max_size=9, unique=True))
    cut = draw(st.integers(1, len(taken) - 1))
    first = draw(st.integers(0, cut))
    inputs = tuple(Input(name=name, type=draw(types())) for name in taken[:first])
    stored = tuple(draw(constants(name)) for name in taken[first:cut])
    nodes: list[Node] = []
    for position in range(cut, len(taken)):
        operands = draw(st.lists(st.sampled_from(taken[:position]), max_size=4))
        nodes.append(
            Node(
                name=taken[position],
                op=draw(st.one_of(*OPS.values())),
                inputs=tuple(operands),
                type=draw(types()),
                loc=draw(locs),
            )
        )
    return Graph(
        name=draw(names),
        stage=draw(st.sampled_from(Stage)),
        inputs=inputs,
        constants=stored,
        nodes=tuple(nodes),
        outputs=tuple(draw(st.lists(st.sampled_from(taken), max_size=2))),
    )
