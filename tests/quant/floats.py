"""Float networks with seeded random weights, built without torch."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pyahir.ir.builder import GraphBuilder
from pyahir.ir.graph import Graph, Loc, Stage
from pyahir.ir.ops import (
    Add,
    AvgPool2d,
    BatchNorm,
    Conv2d,
    Flatten,
    Linear,
    MaxPool2d,
    Op,
    Relu,
)
from pyahir.ir.types import TensorType
from pyahir.ir.verify import verify
from tests.op_cases import f32


@dataclass
class FloatNet:
    """Adds layers one after the other; ``shape`` is (C, H, W) or (I,)."""

    shape: tuple[int, ...]
    seed: int = 0
    count: int = 0
    builder: GraphBuilder = field(default_factory=lambda: GraphBuilder("net", Stage.FLOAT))

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.value = self.builder.input("x", f32(1, *self.shape))

    @property
    def type(self) -> TensorType:
        return self.builder.types[self.value]

    def constant(self, name: str, array: np.ndarray) -> str:
        return self.builder.constant(name, array.astype(np.float32))

    def plain(self, stem: str, op: Op, *constants: str) -> str:
        self.count += 1
        name = f"{stem}{self.count}"
        loc = Loc(file="net.py", line=self.count, path=name)
        self.value = self.builder.node(name, op, [self.value, *constants], loc)
        return self.value

    def weighted(self, stem: str, op: Op, shape: tuple[int, ...]) -> str:
        spread = np.sqrt(2.0 / np.prod(shape[1:]))
        rows = self.rng.uniform(0.3, 1.5, (shape[0], *(1,) * (len(shape) - 1)))
        weight = self.constant("weight", self.rng.normal(0, spread, shape) * rows)
        bias = self.constant("bias", self.rng.normal(0, 0.1, shape[0]))
        return self.plain(stem, op, weight, bias)

    def conv(self, out: int, op: Conv2d) -> str:
        shape = (out, self.type.channels // op.groups, *op.kernel_size)
        return self.weighted("conv", op, shape)

    def linear(self, out: int) -> str:
        return self.weighted("fc", Linear(), (out, self.type.channels))

    def flatten(self) -> str:
        return self.plain("flat", Flatten())

    def norm(self) -> str:
        channels = self.type.channels
        rows = [self.rng.normal(0, 1, channels) for _ in range(3)]
        rows.append(self.rng.uniform(0.1, 2, channels))
        return self.plain("bn", BatchNorm(eps=1e-5), *(self.constant("bn", row) for row in rows))

    def graph(self) -> Graph:
        return verify(self.builder.finish([self.value]))

    def images(self, count: int, seed: int = 1) -> np.ndarray:
        shape = (count, *self.shape)
        return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


def residual_free() -> Graph:
    """A CNN that no simplification changes."""
    return cnn().graph()


def cnn(seed: int = 0) -> FloatNet:
    """Conv, ReLU, pool, conv with groups, ReLU, flatten, two linear layers."""
    net = FloatNet((3, 12, 11), seed=seed)
    net.conv(8, Conv2d(kernel_size=(3, 3), padding=(1, 1, 1, 1)))
    net.plain("relu", Relu())
    net.plain("pool", MaxPool2d(kernel_size=(2, 2), stride=(2, 2)))
    net.conv(12, Conv2d(kernel_size=(3, 2), groups=2))
    net.plain("relu", Relu())
    net.flatten()
    net.linear(20)
    net.plain("relu", Relu())
    net.linear(10)
    return net


def residual(seed: int = 0) -> FloatNet:
    """Two residual blocks: an identity beside two convolutions, and a 1x1 convolution of stride 2.

    Batch norms in every branch; a ReLU after each sum, whose result both branches of the next read.
    """
    net = FloatNet((3, 9, 8), seed=seed)
    net.conv(6, Conv2d(kernel_size=(3, 3), padding=(1, 1, 1, 1)))
    net.norm()
    start = net.plain("relu", Relu())
    for outputs, stride in ((6, 1), (10, 2)):
        net.conv(outputs, Conv2d(kernel_size=(3, 3), stride=(stride, stride), padding=(1, 1, 1, 1)))
        net.norm()
        net.plain("relu", Relu())
        net.conv(outputs, Conv2d(kernel_size=(3, 3), padding=(1, 1, 1, 1)))
        branch = net.norm()
        net.value = start
        if stride > 1:
            net.conv(outputs, Conv2d(kernel_size=(1, 1), stride=(stride, stride)))
            net.norm()
        net.value = branch if stride == 1 else net.value
        net.plain("sum", Add(), start if stride == 1 else branch)
        start = net.plain("relu", Relu())
    net.plain("avg", AvgPool2d(kernel_size=(5, 4)))
    net.flatten()
    net.linear(4)
    return net
