"""Few-bit networks: pixels to their first codes, and accumulators to activations by thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from pyahir.ir.ops.base import Op, require
from pyahir.ir.types import Affine, Bipolar, Int, PowerOfTwo, TensorType

__all__ = ["PIXELS", "MultiThreshold", "Recode", "few_bit"]

PIXELS = 256  # the codes of an 8-bit input


def few_bit(width: int, exponent: int) -> tuple[Bipolar | Int, PowerOfTwo | None]:
    """Give element and scale of an activation of ``width`` bits: one bit is bipolar."""
    if width == 1:
        return Bipolar(), None
    return Int(width), PowerOfTwo(exponent=exponent)


def _check(width: int, exponent: int) -> None:
    if width < 1:
        raise ValueError(f"an activation has at least 1 bit, not {width}")
    if width == 1 and exponent:
        raise ValueError(f"one bit takes no scale, but the exponent is {exponent}")
    PowerOfTwo(exponent=exponent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recode(Op):
    """``y = table[x]``: how pixels become the first activation of a few-bit network.

    Operands: x, unsigned integers of 8 bits, and the table, a constant of shape (256,): u8 codes 0
    and 1 for ``width`` 1, whose result is bipolar, else signed integers of any width whose values
    fit in ``width`` bits. The result has the scale ``2**exponent``.
    """

    arity: ClassVar[int | tuple[int, int]] = 2

    width: int
    exponent: int

    def __post_init__(self) -> None:
        _check(self.width, self.exponent)

    def infer(self, operands: Sequence[TensorType]) -> TensorType:
        x, table = operands
        require(x.element == Int(8, signed=False), f"recode takes u8, not {x.element}")
        require(table.shape == (PIXELS,), f"the table has shape {table.shape}, not ({PIXELS},)")
        kind = table.element
        if self.width == 1:
            require(kind == Int(8, signed=False), f"the table of a bit is u8, not {kind}")
        else:
            require(
                isinstance(kind, Int) and kind.signed,
                f"the table of {self.width} bits holds signed integers, not {kind}",
            )
        element, quantization = few_bit(self.width, self.exponent)
        return TensorType(
            shape=x.shape, element=element, layout=x.layout, quantization=quantization
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiThreshold(Op):
    """``y[c] = base + #{i : T[c, i] < acc[c]}``: batch norm and activation as integer steps.

    Strictly greater: an accumulator equal to a threshold is below its step. Operands: the
    accumulator, whose integer is compared whatever its scale, and the thresholds, i32 or i64 of
    shape (C, n), or (1, n) for all channels, ascending along n. With ``width`` 1 there is one
    threshold, ``base`` is 0 and the result is bipolar, else a signed integer of ``width`` bits
    with the scale ``2**exponent``. Source: FINN's matrix-vector-threshold unit.
    """

    arity: ClassVar[int | tuple[int, int]] = 2

    width: int
    exponent: int
    base: int

    def __post_init__(self) -> None:
        _check(self.width, self.exponent)
        if self.width == 1 and self.base:
            raise ValueError(f"one bit counts from base 0, not {self.base}")
        if self.width > 1 and not Int(self.width).min <= self.base <= Int(self.width).max:
            raise ValueError(f"base {self.base} does not fit in {self.width} bits")

    def infer(self, operands: Sequence[TensorType]) -> TensorType:
        acc, thresholds = operands
        require(
            isinstance(acc.element, Int) and not isinstance(acc.quantization, Affine),
            f"multi_threshold takes an integer accumulator, not {acc}",
        )
        require(
            thresholds.element in (Int(32), Int(64)),
            f"the thresholds are i32 or i64, not {thresholds.element}",
        )
        shape = thresholds.shape
        require(
            len(shape) == 2 and shape[0] in (1, acc.channels) and shape[1] > 0,
            f"the thresholds have shape {shape}, not ({acc.channels}, n) or (1, n)",
        )
        element, quantization = few_bit(self.width, self.exponent)
        most = 1 if isinstance(element, Bipolar) else element.max
        require(
            self.base + shape[1] <= most,
            f"{shape[1]} thresholds count from {self.base} beyond {most}, "
            f"the greatest of {self.width} bits",
        )
        return TensorType(
            shape=acc.shape, element=element, layout=acc.layout, quantization=quantization
        )
