"""The parts of a few-bit chain: a layer that is read, the pixels, and the finished chain."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from pyahir.frontend.onnx.affine import AffineMap
from pyahir.frontend.onnx.model import Item
from pyahir.ir.ops.threshold import PIXELS
from pyahir.quant.few_bit import Activation, FewBitLayer, FewBitNetwork, Pixels, Pool
from pyahir.quant.thresholds import BatchNorm

__all__ = ["Chain", "OpenLayer", "finished", "recoded"]

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """x"""

    network: FewBitNetwork
    recoded: str
    activations: Mapping[str, str]
    pools: Mapping[str, str]
    scores: str
    term: float


@dataclass(slots=True, kw_only=True)
class OpenLayer:
    """The layer that is read; ``path`` and ``value`` are those of the sum."""

    item: Item
    path: str
    levels: npt.NDArray[np.int8]
    width: int
    map: AffineMap = field(default_factory=AffineMap)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    activation: Activation | None = None
    norm: BatchNorm | None = None
    pool: Pool | None = None
    relu: bool = False
    rising: Float64 | None = None  # the sign of the map before the pooling that came too early
    value: str = ""
    term: Float64 = field(default_factory=lambda: np.zeros(1))


def recoded(activation: Activation, factor: Fraction, term: Fraction) -> Pixels:
    """Quantize the 256 pixels of an image in [0, 1], mapped by ``factor * x + term``, exactly."""
    real = [factor * Fraction(pixel, 255) + term for pixel in range(PIXELS)]
    steps, least = activation.levels()
    if activation.width == 1:
        step = Fraction(float(steps.flat[0]))
        table = np.array([x >= step for x in real], np.uint8)
    elif activation.steps is not None:
        row = [Fraction(step) for step in steps[0].tolist()]
        table = np.array([least + sum(x >= step for step in row) for x in real], np.int16)
    else:
        unit, most = Fraction(activation.scale), least + len(steps)
        table = np.array([min(max(round(x / unit), least), most) for x in real], np.int16)
    if table.dtype == np.int16 and table.min() >= -128 and table.max() < 128:
        table = table.astype(np.int8)
    mantissa, exponent = math.frexp(activation.scale)
    return Pixels(
        width=activation.width,
        table=table,
        exponent=exponent - 1 if activation.width > 1 and mantissa == 0.5 else 0,
        unit=activation.scale,
    )


def finished(layer: OpenLayer) -> FewBitLayer:
    """Give the layer, its map as the scale of its weights and a batch norm."""
    scale = layer.map.scale
    return FewBitLayer(
        path=layer.path,
        weight=layer.levels,
        weight_width=layer.width,
        scale=float(scale[0]) if np.unique(scale).size == 1 else scale,
        norm=layer.norm,
        activation=layer.activation,
        pool=layer.pool,
        stride=layer.stride,
        padding=layer.padding,
    )
