"""Ops that move no numbers: flatten."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pyahir.ir.ops.base import Op
from pyahir.ir.types import Layout, TensorType

__all__ = ["Flatten"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flatten(Op):
    """A feature map as a vector, in the order channel, row, column whatever the layout.

    So a QUANTIZED graph (NHWC) gives torch's order; in hardware it costs nothing, because the
    weights of the next layer are packed in the order in which the stream comes.
    """

    def infer(self, operands: Sequence[TensorType]) -> TensorType:
        (x,) = operands
        shape = (x.shape[0], math.prod(x.shape[1:]))
        return replace(x, shape=shape, layout=Layout.NC)
