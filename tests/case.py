"""What a case is, and short names for types and arrays. The cases are in ``tests.op_cases``."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace

import numpy as np

from pyahir.ir.builder import GraphBuilder
from pyahir.ir.graph import Graph, Loc, Stage
from pyahir.ir.ops import Op, SumPool2d, WindowOp
from pyahir.ir.types import (
    Affine,
    Array,
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


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """One op on a data operand of type ``x``, followed by ``constants``.

    ``scaled``: element and exponent (None: no scale) of each constant; without it they follow
    their arrays. ``z``: the second data operand of an op that joins two branches.
    """

    name: str
    op: Op
    x: TensorType
    constants: tuple[Array, ...] = ()
    scaled: tuple[tuple[Element, int | None], ...] = ()
    z: TensorType | None = None
    result: TensorType

    @property
    def quantized(self) -> bool:
        whole = isinstance(self.x.element, Int | Bipolar)
        return whole or self.x.quantization is not None

    @property
    def seed(self) -> int:
        return zlib.crc32(self.name.encode())

    def graph(self) -> Graph:
        """Give the graph that holds this op only."""
        stage = Stage.QUANTIZED if self.quantized else Stage.FLOAT
        builder = GraphBuilder("case", stage)
        operands = [builder.input("x", self.x)]
        if self.z is not None:
            operands.append(builder.input("z", self.z))
        for i, item in enumerate(self.constants):
            element, scale = None, None
            if self.scaled:
                element, exponent = self.scaled[i]
                scale = None if exponent is None else PowerOfTwo(exponent=exponent)
            operands.append(builder.constant(f"c{i}", item, element, scale))
        loc = Loc(file="case.py", line=1, path=self.name)
        return builder.finish([builder.node("y", self.op, operands, loc)])

    def given(self, count: int) -> Array | dict[str, Array]:
        """Give what an evaluator takes: values of every data operand."""
        if self.z is None:
            return self.batch(count)
        second = replace(self, name=f"{self.name}-z", x=self.z)
        return {"x": self.batch(count), "z": second.batch(count)}

    def batch(self, count: int) -> Array:
        """Give random values of the operand, the extremes of its type among them."""
        rng = np.random.default_rng(self.seed)
        shape = (count, *self.x.shape[1:])
        if isinstance(self.x.element, Posit):
            codes = rng.integers(0, 256, shape).astype(np.uint8)
            codes.reshape(-1)[:4] = (127, 0, 129, 1)[: codes.size]
            codes[-1] = np.where(codes[-1] == 128, 64, codes[-1])  # an image without NaR
            return codes
        if isinstance(self.x.element, Bipolar):
            return rng.integers(0, 2, shape, dtype=np.uint8)
        if not isinstance(self.x.element, Int):
            dtype = np.float16 if isinstance(self.x.element, Float16) else np.float32
            return rng.normal(0, 2, shape).astype(dtype)
        low, high = self.x.element.min, self.x.element.max
        values = rng.integers(low, high + 1, shape)
        flat = values.reshape(-1)
        flat[:2] = (low, high)[: flat.size]
        return values


def u8(*shape: int, zero_point: int = 0, scale: float = 0.0625) -> TensorType:
    layout = Layout.NHWC if len(shape) == 4 else Layout.NC
    affine = Affine(scale=scale, zero_point=zero_point)
    return TensorType(shape=shape, element=Int(8, signed=False), layout=layout, quantization=affine)


def f32(*shape: int) -> TensorType:
    layout = Layout.NCHW if len(shape) == 4 else Layout.NC
    return TensorType(shape=shape, element=Float32(), layout=layout)


def acc(width: int, *shape: int) -> TensorType:
    layout = Layout.NHWC if len(shape) == 4 else Layout.NC
    return TensorType(shape=shape, element=Int(width), layout=layout)


def p8(es: int, *shape: int, exponent: int = 0) -> TensorType:
    return scaled(Posit(8, es), *shape, exponent=exponent)


def scaled(element: Element, *shape: int, exponent: int = 0) -> TensorType:
    """A type of the QUANTIZED stage with a power-of-two scale."""
    layout = Layout.NHWC if len(shape) == 4 else Layout.NC
    quantization = PowerOfTwo(exponent=exponent)
    return TensorType(shape=shape, element=element, layout=layout, quantization=quantization)


def bits(*shape: int) -> TensorType:
    layout = Layout.NHWC if len(shape) == 4 else Layout.NC
    return TensorType(shape=shape, element=Bipolar(), layout=layout)


def i8(*shape: int, seed: int = 0) -> Array:
    weight = np.random.default_rng(seed).integers(-127, 128, shape).astype(np.int8)
    weight.reshape(-1)[:2] = (127, -127)[: weight.size]
    return weight


def real(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(0, 0.5, shape).astype(np.float32)


def window_case(name: str, op: WindowOp, x: TensorType, height: int, width: int) -> Case:
    result = replace(x, shape=x.with_spatial(x.channels, height, width))
    if isinstance(op, SumPool2d):
        result = acc(op.acc_width, *result.shape)
    return Case(name=f"{op.mnemonic()}-{name}", op=op, x=x, result=result)
