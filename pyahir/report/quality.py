"""How far the integers of a design are from the float model: signal to quantization noise.

In: the design's graph, the float graph, and values of both on the same images. Out:
``QualityRow`` for the input and for each layer. The two graphs are matched by what they compute
(the third convolution is the third convolution), since tools rename layers when they quantize.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pyahir.errors import DataError
from pyahir.ir.eval import dequantize, quantize, to_nchw
from pyahir.ir.graph import Graph
from pyahir.ir.ops import AvgPool2d, Conv2d, Flatten, Linear, MaxPool2d, Op
from pyahir.ir.types import Array, TensorType
from pyahir.report.model import QualityRow
from pyahir.sim.design import stream_type

__all__ = ["float_values", "quality_row", "sqnr"]

Float64 = npt.NDArray[np.float64]
EXACT = 120.0  # dB; float32 has 24 bits, 144 dB
ELEMENTWISE = "elementwise"
KINDS: dict[type[Op], str] = {
    Conv2d: "matvec",
    Linear: "matvec",
    MaxPool2d: "max_pool",
    AvgPool2d: "sum_pool",
}


def float_values(manifest: Mapping[str, Any], graph: Graph) -> dict[str, str]:
    """Name for each layer of a design the value of the float ``graph`` that it stands for.

    That is the last one before the next convolution, linear layer or pool, ReLU included. A layer
    whose own value is not the last of its group, as one that a separate ReLU follows, is left out.
    """
    wanted = _groups([(row["name"], row["kind"]) for row in manifest["layers"]])
    found = _groups(
        [
            (node.name, KINDS.get(type(node.op), ELEMENTWISE))
            for node in graph.nodes
            if not isinstance(node.op, Flatten)
        ]
    )
    if [kind for _, kind in wanted] != [kind for _, kind in found]:
        raise DataError(
            f"{graph.name}: the float model computes {_listed(found)}, the design "
            f"{_listed(wanted)}; give the float model that the design was quantized from"
        )
    return {layer: value for (layer, _), (value, _) in zip(wanted, found, strict=True)}


def _groups(items: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Give name of the last member and kind of the first one of each group."""
    found: list[tuple[str, str]] = []
    for name, kind in items:
        if kind == ELEMENTWISE and found:
            found[-1] = (name, found[-1][1])
        else:
            found.append((name, kind))
    return found


def _listed(groups: Sequence[tuple[str, str]]) -> str:
    return ", ".join(kind for _, kind in groups) or "nothing"


def quality_row(row: Mapping[str, Any], codes: Array, real: Array) -> QualityRow:
    """Compare a stream's codes, in its layout, with float values in the model's order."""
    kind = stream_type(row)
    values = to_nchw(dequantize(codes, kind), kind).astype(np.float64)
    if values.shape != real.shape:
        raise DataError(
            f"{row['name']}: the float model gives shape {real.shape[1:]}, the design "
            f"{values.shape[1:]}; give the float model that the design was quantized from"
        )
    signal = real.astype(np.float64)
    return QualityRow(
        layer=row["name"],
        sqnr=sqnr(signal, values - signal),
        rounding=sqnr(signal, _rounded(signal, kind) - signal),
    )


def _rounded(real: Float64, kind: TensorType) -> Float64:
    """Give the numbers that the codes of ``real`` stand for."""
    return dequantize(quantize(real.astype(np.float32), kind), kind).astype(np.float64)


def sqnr(signal: Float64, noise: Float64) -> float | None:
    """``10 log10(power of the signal / power of the noise)``; None without signal or noise.

    Noise below float32's own rounding is none.
    """
    powers = [float(np.square(values).mean()) for values in (signal, noise)]
    found = 10 * math.log10(powers[0] / powers[1]) if all(powers) else math.inf
    return found if found < EXACT else None
