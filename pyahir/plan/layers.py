"""What one process of the hardware computes, and its geometry.

Which nodes of a graph become a layer is decided in ``plan.grouping``, how many multipliers it gets
in ``plan.search``.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pyahir.ir.graph import Loc
from pyahir.ir.ops import (
    Conv2d,
    RealConv2d,
)
from pyahir.ir.ops.window import WindowOp
from pyahir.ir.types import Element, Int, TensorType
from pyahir.plan.addition import Addition
from pyahir.plan.levels import Levels
from pyahir.plan.rounding import Rounding

__all__ = ["INT8", "Layer", "LayerKind", "Rescale"]

Int64 = npt.NDArray[np.int64]
INT8 = Int(8)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rescale:
    """A requantize on the *uncentered* sum ``sum x * w`` that the hardware forms.

    The zero point of the input is in ``offset`` and in the accumulators of ``exceptions``, so that
    padding with the zero point and multiplying plain codes gives the same integers.
    """

    multiplier: Int64
    offset: Int64
    shift: int
    quant_min: int
    quant_max: int
    exceptions: Int64
    low: int
    high: int
    tie_bits: int = 0
    tie_parity: int = 0

    @property
    def slots(self) -> int:
        """The most exceptions that one channel has: each needs a comparator."""
        if not len(self.exceptions):
            return 0
        return int(np.bincount(self.exceptions[:, 0]).max())


class LayerKind:
    """What a process does; the names appear in tables and in the manifest."""

    MATVEC = "matvec"
    MAX_POOL = "max_pool"
    SUM_POOL = "sum_pool"
    ELEMENTWISE = "elementwise"
    JOIN = "join"


KEEPS_ORDER = (LayerKind.ELEMENTWISE, LayerKind.JOIN)


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """One process. ``name`` is the layer's own, ``value`` the node whose values its pipe carries.

    They differ where a ReLU follows a layer and is done by its requantize. ``sources`` are the
    values that it reads, as streams: the first has the type ``x``, a join also reads one of type
    ``other``.

    ``weight`` is (outputs, inputs), columns in OIHW order; the weights are integers, codes or bit
    patterns, as ``weight_element`` says. ``flattened`` is (channels, height, width) of the feature
    map whose stream the layer reads as a vector. ``clamp`` is the range of an elementwise layer,
    ``table`` that of one that recodes. What is done with a sum is its ``rescale`` (integers), its
    ``rounding`` (posits and floats) or its ``levels`` (few bits).
    """

    name: str
    value: str
    kind: str
    loc: Loc
    nodes: tuple[str, ...]
    x: TensorType
    y: TensorType
    window: WindowOp | None = None
    weight: Int64 | None = None
    weight_element: Element = INT8
    rescale: Rescale | None = None
    rounding: Rounding | None = None
    levels: Levels | None = None
    table: Int64 | None = None
    sources: tuple[str, ...] = ()
    other: TensorType | None = None
    addition: Addition | None = None
    clamp: tuple[float, float] | None = None
    flattened: tuple[int, int, int] | None = None

    @cached_property
    def pixels(self) -> int:
        return math.prod(self.y.spatial)

    @cached_property
    def inputs(self) -> int:
        """The number of input elements of one output pixel (the columns of the weight matrix)."""
        if self.weight is not None:
            return int(self.weight.shape[1])
        return self.x.channels

    @cached_property
    def outputs(self) -> int:
        return self.y.channels

    @cached_property
    def vector_order(self) -> Int64 | None:
        """The index in the (channel, row, column) vector of each element of a flattened stream."""
        if self.flattened is None:
            return None
        index = np.arange(math.prod(self.flattened), dtype=np.int64).reshape(self.flattened)
        return np.moveaxis(index, 0, -1).ravel()

    @property
    def gives_flattened(self) -> tuple[int, int, int] | None:
        """The feature map in whose order the layer's own stream, a vector, comes."""
        return self.flattened if self.kind in KEEPS_ORDER else None

    @property
    def has_sums(self) -> bool:
        """Whether sums are formed, which something follows."""
        return not (self.rescale is None and self.rounding is None and self.levels is None)

    @property
    def floats(self) -> bool:
        """Whether the sums are IEEE-754 numbers, whose order is fixed."""
        return self.rounding is not None and self.rounding.arith != "quire"

    @cached_property
    def geometry(self) -> tuple[Hashable, ...]:
        """All that the cycles of a folding depend on; equal where only numbers differ."""
        return (
            self.kind,
            self.x.shape,
            self.x.layout,
            self.y.shape,
            self.window,
            self.inputs,
            self.floats,
            self.rounding is None,
        )

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates a frame that the network asks for (groups counted once)."""
        if self.weight is None:
            return 0
        groups = self.window.groups if isinstance(self.window, Conv2d | RealConv2d) else 1
        return self.pixels * self.inputs * self.outputs // groups
