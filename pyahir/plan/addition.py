"""The sum of two streams, element by element: what the hardware of a join computes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pyahir.ir.ops import QuantizedAdd, RealAdd
from pyahir.ir.ranges import signed_width

__all__ = ["Addition"]

Int64 = npt.NDArray[np.int64]
CODE = 255


def _none() -> Int64:
    return np.zeros((0, 3), np.int64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Addition:
    """The op, and of quantized integers the pairs (a, b, d) whose code is ``d`` more."""

    op: QuantizedAdd | RealAdd
    exceptions: Int64 = field(default_factory=_none)

    @property
    def width(self) -> int:
        """Bits of the scaled sum of quantized integers."""
        assert isinstance(self.op, QuantizedAdd)
        most = CODE * sum(self.op.multipliers) + self.op.offset
        least = min(self.op.offset, 0) - 1
        return max(signed_width(least, most), self.op.shift + 10)
