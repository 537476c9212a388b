"""What is done with a sum of few-bit numbers: counted against thresholds, or left as it is.

In: a convolution or linear layer of few-bit numbers, its weights, and the ``MultiThreshold`` behind
it, if there is one. Out: ``Levels``. Where both factors are one bit the hardware counts the
positions that agree: of K products ``sum = 2 * count - K``, so that ``T < sum`` is
``floor((T + K) / 2) < count``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pyahir.ir.graph import Node
from pyahir.ir.ops import Conv2d, Linear, MultiThreshold
from pyahir.ir.ranges import accumulator_bounds, numbers, signed_width
from pyahir.ir.types import Array, Bipolar, TensorType

__all__ = ["Levels", "levels_of"]

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Levels:
    """``y = base + #{i : thresholds[c, i] < sum}``; without thresholds the sum itself.

    ``acc`` is the width of a sum in the hardware, and of a threshold; ``width`` that of a result.
    ``agreeing`` is the number of products where the sum counts those that agree, else None.
    """

    thresholds: Int64 | None
    base: int
    width: int
    acc: int
    agreeing: int | None

    @property
    def bits(self) -> int:
        """Bits of a channel's parameters in memory."""
        return 0 if self.thresholds is None else self.thresholds.shape[1] * self.acc


def levels_of(
    node: Node, last: Node, x: TensorType, weight: tuple[Array, TensorType], steps: Array | None
) -> Levels:
    """Describe the sum ``node``; ``last`` is the threshold node behind it, or the node itself."""
    assert isinstance(node.op, Conv2d | Linear)
    array, kind = weight
    both = isinstance(x.element, Bipolar) and isinstance(kind.element, Bipolar)
    products = array[0].size
    if both:
        low, high = 0, products
    else:
        lows, highs = accumulator_bounds(node.op, x, numbers(array, kind.element))
        low, high = int(lows.min()), int(highs.max())
    thresholds: Int64 | None = None
    base = 0
    if isinstance(last.op, MultiThreshold):
        assert steps is not None
        base = last.op.base
        wide = np.broadcast_to(steps.astype(np.int64), (len(array), steps.shape[1]))
        if both:
            wide = (wide + products) // 2
        thresholds = np.clip(wide, low - 1, high)
    factors = x.element.width + kind.element.width
    return Levels(
        thresholds=thresholds,
        base=base,
        width=last.type.element.width,
        acc=max(signed_width(low - 1, high), 0 if both else factors + 1),
        agreeing=products if both else None,
    )
