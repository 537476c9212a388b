"""Types of the IR: element types, layouts, quantization parameters, tensors, constants.

Everything is immutable, checks itself when made, and compares structurally. No operator and no
graph is known here.
"""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

import numpy as np
import numpy.typing as npt

__all__ = [
    "Affine",
    "Array",
    "ArrayData",
    "Bipolar",
    "Element",
    "Float16",
    "Float32",
    "Int",
    "Layout",
    "Posit",
    "PowerOfTwo",
    "Quantization",
    "TensorType",
    "element_of",
]

Array = npt.NDArray[np.generic]
MOST_EXPONENT = 1000  # the scale and its inverse are finite float64 numbers


class Layout(Enum):
    """Axis order of a tensor; part of its type, so that mixing two orders fails to verify."""

    NCHW = "nchw"
    NHWC = "nhwc"
    NC = "nc"
    PLAIN = "plain"  # weights and parameters: the order that the op's docstring names

    @property
    def channel_axis(self) -> int:
        return {Layout.NCHW: 1, Layout.NHWC: 3, Layout.NC: 1, Layout.PLAIN: 0}[self]


@dataclass(frozen=True, slots=True)
class Float32:
    """IEEE-754 binary32."""

    width: ClassVar[int] = 32

    def __str__(self) -> str:
        return "f32"


@dataclass(frozen=True, slots=True)
class Float16:
    """IEEE-754 binary16."""

    width: ClassVar[int] = 16

    def __str__(self) -> str:
        return "f16"


@dataclass(frozen=True, slots=True)
class Int:
    """An integer of ``width`` bits, two's complement when ``signed``."""

    width: int
    signed: bool = True

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"an integer needs at least 1 bit, not {self.width}")

    @property
    def min(self) -> int:
        return -(1 << (self.width - 1)) if self.signed else 0

    @property
    def max(self) -> int:
        return (1 << (self.width - self.signed)) - 1

    def __str__(self) -> str:
        return f"{'i' if self.signed else 'u'}{self.width}"


@dataclass(frozen=True, slots=True)
class Posit:
    """``posit<width, es>``: an 8-bit posit stores an activation between layers."""

    width: int
    es: int

    def __post_init__(self) -> None:
        if self.width < 2 or self.es < 0:
            raise ValueError(f"posit<{self.width},{self.es}> does not exist")

    def __str__(self) -> str:
        return f"posit{self.width}_{self.es}"


@dataclass(frozen=True, slots=True)
class Bipolar:
    """One bit: 0 means -1, 1 means +1 (XNOR networks)."""

    width: ClassVar[int] = 1

    def __str__(self) -> str:
        return "bipolar"


Element = Float32 | Float16 | Int | Posit | Bipolar


def element_of(text: str) -> Element | None:
    """Read an element type as it prints; None for what is none."""
    named: dict[str, Element] = {"f32": Float32(), "f16": Float16(), "bipolar": Bipolar()}
    if text in named:
        return named[text]
    if match := re.fullmatch(r"posit(\d+)_(\d+)", text):
        return Posit(int(match[1]), int(match[2]))
    if match := re.fullmatch(r"([iu])(\d+)", text):
        return Int(int(match[2]), signed=match[1] == "i")
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Affine:
    """``real = scale * (q - zero_point)``, per tensor. ``scale`` is a float32 value."""

    scale: float
    zero_point: int

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise ValueError(f"a scale is a positive finite number, not {self.scale}")

    def __str__(self) -> str:
        return f"affine({self.scale!r}, {self.zero_point})"


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerOfTwo:
    """``real = 2**exponent * number``, per tensor: posits, floats and fixed-point integers.

    A float that has one belongs to a QUANTIZED graph: its arithmetic has a fixed order.
    """

    exponent: int

    def __post_init__(self) -> None:
        if abs(self.exponent) > MOST_EXPONENT:
            raise ValueError(f"an exponent is at most {MOST_EXPONENT}, not {self.exponent}")

    @property
    def scale(self) -> float:
        return math.ldexp(1.0, self.exponent)

    @property
    def zero_point(self) -> int:
        return 0

    def __str__(self) -> str:
        return f"pow2({self.exponent})"


Quantization = Affine | PowerOfTwo


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorType:
    """Shape, element type, layout and quantization. Axis 0 is the batch: size 1."""

    shape: tuple[int, ...]
    element: Element
    layout: Layout = Layout.PLAIN
    quantization: Quantization | None = None

    def __post_init__(self) -> None:
        least = 0 if self.layout is Layout.PLAIN else 1  # a table may be empty, a tensor not
        if any(size < least for size in self.shape):
            raise ValueError(f"an axis has at least {least} element(s): {self.shape}")
        rank = {Layout.NCHW: 4, Layout.NHWC: 4, Layout.NC: 2}.get(self.layout)
        if rank is not None and rank != len(self.shape):
            raise ValueError(f"layout {self.layout.value} has rank {rank}, the shape {self.shape}")
        if isinstance(self.quantization, Affine) and not isinstance(self.element, Int):
            raise ValueError(f"{self.element} takes no affine quantization")
        if isinstance(self.quantization, PowerOfTwo) and isinstance(self.element, Bipolar):
            raise ValueError(f"{self.element} takes no scale")

    @property
    def channels(self) -> int:
        return self.shape[self.layout.channel_axis]

    @property
    def spatial(self) -> tuple[int, int]:
        """Height and width; 1x1 for a vector."""
        match self.layout:
            case Layout.NCHW:
                return self.shape[2], self.shape[3]
            case Layout.NHWC:
                return self.shape[1], self.shape[2]
            case _:
                return 1, 1

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def zero_point(self) -> int:
        return self.quantization.zero_point if self.quantization else 0

    def with_spatial(self, channels: int, height: int, width: int) -> tuple[int, ...]:
        """Give the shape of this layout with other channels, height and width."""
        if self.layout is Layout.NCHW:
            return (self.shape[0], channels, height, width)
        return (self.shape[0], height, width, channels)

    def __str__(self) -> str:
        words = ["x".join(map(str, self.shape)) or "scalar", str(self.element)]
        if self.layout is not Layout.PLAIN:
            words.append(self.layout.value)
        if self.quantization is not None:
            words.append(str(self.quantization))
        return " ".join(words)


class ArrayData:
    """A read-only array that compares exactly (shape, type, every bit) and can be hashed."""

    __slots__ = ("array", "digest")

    array: Array
    digest: str

    def __init__(self, array: Array) -> None:
        frozen = np.ascontiguousarray(array).reshape(array.shape)
        if frozen.flags.writeable:
            frozen = frozen.copy()
            frozen.flags.writeable = False
        self.array = frozen
        header = f"{frozen.dtype.str}{frozen.shape}".encode()
        self.digest = hashlib.sha256(header + frozen.tobytes()).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ArrayData) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"ArrayData({self.array.dtype}{self.array.shape}, {self.digest[:12]})"
