"""Requantize: accumulator to activation, in integers; and the sum of two activations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from pyahir.ir.ops.base import Op, require
from pyahir.ir.types import Affine, Int, TensorType

__all__ = ["QuantizedAdd", "Requantize"]

CODES = Int(8, signed=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Requantize(Op):
    """``y = clamp((acc * M[c] + B[c]) >> shift, quant_min, quant_max) + d(c, acc)``.

    The shift is arithmetic (floor). With ``tie_bits`` > 0 the result of the shift is one less where
    the first ``tie_bits`` bits behind the point are all 0 (B holds the half, so this is a tie) and
    its last bit is not ``tie_parity``: round half to even, for divisions that meet ties.

    Operands: the accumulator, M and B of shape (C,) as int64, and the exceptions, int64 of shape
    (E, 3): rows (channel, acc, d) sorted, d = 0 for every other accumulator. ``y`` is an unsigned
    integer of ``width`` bits with the quantization named.
    """

    arity: ClassVar[int | tuple[int, int]] = 4

    shift: int
    quant_min: int
    quant_max: int
    scale: float
    zero_point: int
    width: int = 8
    tie_bits: int = 0
    tie_parity: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.tie_bits <= self.shift or self.tie_parity not in (0, 1):
            raise ValueError(f"{self.tie_bits} tie bits of {self.shift}, parity {self.tie_parity}")
        if not 0 <= self.shift < 63:
            raise ValueError(f"shift is 0 to 62, not {self.shift}")
        if not 0 <= self.quant_min <= self.quant_max < (1 << self.width):
            raise ValueError(f"codes {self.quant_min}..{self.quant_max} in {self.width} bits")

    def infer(self, operands: Sequence[TensorType]) -> TensorType:
        acc, multiplier, offset, exceptions = operands
        require(
            isinstance(acc.element, Int) and acc.quantization is None,
            f"requantize takes an integer accumulator, not {acc}",
        )
        for name, kind in (("multiplier", multiplier), ("offset", offset)):
            require(kind.shape == (acc.channels,), f"{name} has shape {kind.shape}, not (C,)")
            require(kind.element == Int(64), f"{name} is i64, not {kind.element}")
        require(
            len(exceptions.shape) == 2 and exceptions.shape[1] == 3,
            f"the exceptions have shape (E, 3), not {exceptions.shape}",
        )
        return TensorType(
            shape=acc.shape,
            element=Int(self.width, signed=False),
            layout=acc.layout,
            quantization=Affine(scale=self.scale, zero_point=self.zero_point),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizedAdd(Op):
    """The code of ``a + b``, whose scales and zero points may differ, where two branches join::

        t = a * M[0] + b * M[1] + offset
        y = clamp((t - away) >> shift, quant_min, quant_max) + d(a, b)

    a and b are the stored codes; ``offset`` holds both zero points, that of the result and the half
    that rounds. The shift is arithmetic (floor). ``away`` is 0 where the attribute ``away`` is
    false, else 1 for ``t < (zero_point << shift) + half``, half = ``1 << shift >> 1``: there the
    real sum is negative, so that its ties are rounded away from zero as those of a positive one are
    (QNNPACK's rule). With ``tie_bits`` > 0 the shifted number is one less where the first
    ``tie_bits`` bits behind the point are all 0 and its last bit is not ``tie_parity``: ties to
    even, as in ``Requantize``.

    Operands: a and b, u8 with an affine quantization and of one shape, and the exceptions, int64 of
    shape (E, 3): rows (a, b, d) sorted, d = 0 for every other pair. M has 31 bits, t at most 62. A
    ReLU is ``quant_min``. Source: torch quantized.add and quantized.add_relu.
    """

    arity: ClassVar[int | tuple[int, int]] = 3

    multipliers: tuple[int, int]
    offset: int
    shift: int
    quant_min: int
    quant_max: int
    scale: float
    zero_point: int
    away: bool = False
    tie_bits: int = 0
    tie_parity: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.tie_bits <= self.shift or self.tie_parity not in (0, 1):
            raise ValueError(f"{self.tie_bits} tie bits of {self.shift}, parity {self.tie_parity}")
        if self.away and self.tie_bits:
            raise ValueError("ties go to even or away from zero, not both")
        if not 0 <= self.shift < 53:
            raise ValueError(f"shift is 0 to 52, not {self.shift}")
        if not 0 <= self.quant_min <= self.quant_max <= CODES.max:
            raise ValueError(f"codes {self.quant_min}..{self.quant_max} in 8 bits")
        if not all(0 <= item < 1 << 31 for item in self.multipliers):
            raise ValueError(f"multipliers are 0 to 2**31 - 1, not {self.multipliers}")
        if abs(self.offset) >= 1 << 61:
            raise ValueError(f"an offset of 62 bits, not {self.offset}")

    def infer(self, operands: Sequence[TensorType]) -> TensorType:
        a, b, exceptions = operands
        for kind in (a, b):
            require(
                kind.element == CODES and isinstance(kind.quantization, Affine),
                f"quantized_add takes quantized u8, not {kind}",
            )
        require(
            (a.shape, a.layout) == (b.shape, b.layout),
            f"the operands have one shape, not {a} and {b}",
        )
        require(
            len(exceptions.shape) == 2 and exceptions.shape[1] == 3,
            f"the exceptions have shape (E, 3), not {exceptions.shape}",
        )
        return TensorType(
            shape=a.shape,
            element=CODES,
            layout=a.layout,
            quantization=Affine(scale=self.scale, zero_point=self.zero_point),
        )
