"""Random quantized chains, built without torch: the raw material of hardware tests."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from hypothesis import strategies as st

from pyahir.ir.builder import GraphBuilder
from pyahir.ir.graph import Graph, Loc, Stage
from pyahir.ir.ops import Clamp, Conv2d, Flatten, InferError, Linear, MaxPool2d, Relu, SumPool2d
from pyahir.ir.types import Affine, Int, Layout, TensorType
from pyahir.ir.verify import verify
from pyahir.quant.integer import Target, add_accumulator, requantize_by_rule
from pyahir.quant.rules import AveragePool, Fbgemm, PoolForm, Qnnpack


@dataclass
class Chain:
    """Adds layers with seeded random weights; scales keep activations in range."""

    shape: tuple[int, ...]
    seed: int = 0
    zero_point: int = 0
    rule: str = "fbgemm"
    count: int = 0
    builder: GraphBuilder = field(default_factory=lambda: GraphBuilder("net", Stage.QUANTIZED))

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        layout = Layout.NHWC if len(self.shape) == 3 else Layout.NC
        kind = TensorType(
            shape=(1, *self.shape),
            element=Int(8, signed=False),
            layout=layout,
            quantization=Affine(scale=0.0078125, zero_point=self.zero_point),
        )
        self.value = self.builder.input("x", kind)

    def name(self, stem: str) -> str:
        self.count += 1
        return f"{stem}{self.count}"

    @property
    def type(self) -> TensorType:
        return self.builder.types[self.value]

    def weighted(self, op: Conv2d | Linear, shape: tuple[int, ...], *, relu: bool) -> None:
        name = self.name("conv" if isinstance(op, Conv2d) else "fc")
        loc = Loc(file="net.py", line=self.count, path=name)
        weight = np.clip(np.rint(self.rng.normal(0, 50, shape)), -127, 127).astype(np.int8)
        acc = add_accumulator(self.builder, name, op, self.value, weight, loc)
        assert self.type.quantization is not None
        sx = np.float32(self.type.quantization.scale)
        sw = self.rng.uniform(0.001, 0.004, shape[0]).astype(np.float32)
        spread = np.sqrt((weight.astype(float) ** 2).reshape(shape[0], -1).sum(axis=1)).mean()
        scale = np.float32(sx * sw.mean() * max(spread, 1.0) * 2.0)
        zero = 0 if relu else int(self.rng.integers(90, 160))
        rule = Fbgemm if self.rule == "fbgemm" else Qnnpack
        made = rule(
            act_times_weight=(sx * sw).astype(np.float32),
            bias=self.rng.normal(0, 20 * float(scale), shape[0]).astype(np.float32),
            scale=scale,
            zero_point=zero,
        )
        target = Target(quantization=Affine(scale=float(scale), zero_point=zero))
        self.value = requantize_by_rule(self.builder, name, acc, made, target, loc)

    def conv(self, out: int, op: Conv2d, *, relu: bool = True) -> None:
        per_group = self.type.channels // op.groups
        self.weighted(op, (out, per_group, *op.kernel_size), relu=relu)

    def linear(self, out: int, *, relu: bool = True) -> None:
        self.weighted(Linear(), (out, self.type.shape[1]), relu=relu)

    def plain(self, stem: str, op: MaxPool2d | Relu | Clamp | Flatten) -> None:
        name = self.name(stem)
        self.value = self.builder.node(name, op, [self.value], Loc(path=name))

    def average(self, op: SumPool2d) -> None:
        name = self.name("pool")
        kind = self.type
        acc = add_accumulator(self.builder, name, op, self.value, None, Loc(path=name))
        taps = op.kernel_size[0] * op.kernel_size[1]
        rule = AveragePool(
            factor=np.float32(1) / np.float32(taps),
            zero_point=kind.zero_point,
            forms=(PoolForm.BEFORE,) * kind.channels,
        )
        assert kind.quantization is not None
        target = Target(quantization=kind.quantization)
        self.value = requantize_by_rule(self.builder, name, acc, rule, target, Loc(path=name))

    def graph(self) -> Graph:
        return verify(self.builder.finish([self.value]))

    def images(self, count: int) -> np.ndarray:
        return self.rng.integers(0, 256, (count, *self.shape)).astype(np.uint8)


def lenet(seed: int = 0, rule: str = "fbgemm") -> Chain:
    """LeNet-5 with random weights."""
    return copy.deepcopy(_lenet(seed, rule))


@cache
def _lenet(seed: int, rule: str) -> Chain:
    chain = Chain((28, 28, 1), seed=seed, rule=rule)
    pool = MaxPool2d(kernel_size=(2, 2), stride=(2, 2))
    chain.conv(6, Conv2d(kernel_size=(5, 5), padding=(2, 2, 2, 2)))
    chain.plain("pool", pool)
    chain.conv(16, Conv2d(kernel_size=(5, 5)))
    chain.plain("pool", pool)
    chain.plain("flat", Flatten())
    chain.linear(120)
    chain.linear(84)
    chain.linear(10, relu=False)
    return chain


def small(seed: int = 0) -> Chain:
    """A network with one layer of each kind that simulates in milliseconds."""
    chain = Chain((6, 6, 2), seed=seed, zero_point=3)
    chain.conv(4, Conv2d(kernel_size=(3, 3), padding=(1, 1, 1, 1)), relu=False)
    pool = MaxPool2d(kernel_size=(3, 3), stride=(2, 2), padding=(1, 1, 1, 1))
    chain.plain("pool", pool)
    chain.plain("flat", Flatten())
    chain.linear(3, relu=False)
    return chain


@st.composite
def convolutions(draw: st.DrawFn, channels: int, size: int) -> tuple[int, Conv2d]:
    """Draw a convolution: kernels 1 to 7, strides 1 to 3, dilation, any padding, groups."""
    kernel = draw(st.tuples(st.integers(1, min(7, size)), st.integers(1, min(7, size))))
    groups = draw(st.sampled_from([g for g in range(1, channels + 1) if channels % g == 0]))
    out = groups * draw(st.integers(1, 3))
    op = Conv2d(
        kernel_size=kernel,
        stride=draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        padding=draw(st.tuples(*(st.integers(0, 3) for _ in range(4)))),
        dilation=draw(st.tuples(st.integers(1, 2), st.integers(1, 2))),
        groups=groups,
    )
    return out, op


@st.composite
def pools(draw: st.DrawFn, size: int) -> MaxPool2d:
    kernel = draw(st.tuples(st.integers(1, min(3, size)), st.integers(1, min(3, size))))
    return MaxPool2d(
        kernel_size=kernel,
        stride=draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        padding=tuple(draw(st.integers(0, kernel[i // 2] // 2)) for i in range(4)),  # type: ignore[arg-type]  # four sizes
    )


@st.composite
def chains(draw: st.DrawFn) -> Chain:
    """Draw a CNN of one to three window layers and up to two linear ones."""
    shape = (draw(st.integers(3, 9)), draw(st.integers(3, 9)), draw(st.integers(1, 4)))
    chain = Chain(
        shape,
        seed=draw(st.integers(0, 1 << 20)),
        zero_point=draw(st.integers(0, 255)),
        rule=draw(st.sampled_from(["fbgemm", "qnnpack"])),
    )
    for _ in range(draw(st.integers(1, 3))):
        size = min(chain.type.spatial)
        kind = draw(st.sampled_from(["conv", "conv", "max", "sum", "relu", "clamp"]))
        try:
            if kind == "conv":
                out, op = draw(convolutions(chain.type.channels, size))
                chain.conv(out, op, relu=draw(st.booleans()))
            elif kind == "max":
                chain.plain("pool", draw(pools(size)))
            elif kind == "sum":
                op = draw(pools(size))
                chain.average(SumPool2d(kernel_size=op.kernel_size, stride=op.stride, acc_width=1))
            elif kind == "relu":
                chain.plain("relu", Relu())
            else:
                low = draw(st.integers(0, 128))
                chain.plain("clamp", Clamp(minimum=low, maximum=draw(st.integers(low, 255))))
        except InferError:  # the window does not fit: leave this layer out
            continue
    if draw(st.booleans()):
        chain.plain("flat", Flatten())
        for _ in range(draw(st.integers(1, 2))):
            chain.linear(draw(st.integers(1, 6)), relu=draw(st.booleans()))
    elif not any(isinstance(node.op, Conv2d) for node in chain.builder.nodes):
        chain.conv(2, Conv2d(kernel_size=(1, 1)))
    return chain
