"""The engine ``torch`` of few-bit networks: real values of torch as the graph's codes.

In: images, a forward that gives values by path, and for each value how it is coded. Out: codes
under the graph's names, in torch's order. The forward sees pixels / 255, as the hardware's input
is pixels: an image that is no multiple of 1/255 is rounded to one first.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pyahir.frontend.torchrun import engine
from pyahir.ir.eval import from_nchw, quantize, to_nchw
from pyahir.ir.graph import legal_name
from pyahir.ir.types import Array
from pyahir.quant.few_bit import FewBitGraph, FewBitNetwork, pixel_type

__all__ = ["Coding", "FewBitRunner", "codings"]

CHUNK = 256
Forward = Callable[[Tensor], dict[str, Tensor]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Coding:
    """How values at ``path`` are coded: ``term`` and multiples of ``unit``; one bit is a sign."""

    path: str
    unit: float
    term: float = 0.0
    bit: bool = False
    dtype: str = "int8"

    def codes(self, values: Tensor) -> Array:
        if self.bit:
            return (values > 0).to(torch.uint8).numpy()
        return np.rint((values.double().numpy() - self.term) / self.unit).astype(self.dtype)


def codings(
    network: FewBitNetwork, compiled: FewBitGraph, activations: Mapping[str, str]
) -> dict[str, Coding]:
    """Map the graph's values to where torch has them; ``activations`` maps a layer to its path."""
    exponent = 0 if network.input_width <= 2 else 1 - network.input_width
    unit = 2.0**exponent
    found = {
        legal_name(network.input_path): Coding(
            path=network.input_path, unit=unit, bit=network.input_width == 1
        )
    }
    for layer in network.layers:
        if layer.activation is None:
            worth = unit * float(np.asarray(layer.scale).flat[0])
            if compiled.negated_scores:
                worth = -worth
            found[layer.name] = Coding(path=layer.path, unit=worth, dtype="int64")
            continue
        unit, bit = layer.activation.scale, layer.activation.width == 1
        coding = Coding(path=activations[layer.path], unit=unit, bit=bit)
        # A pooling that the source has before the activation leaves no value of its own.
        moved = layer.pool is not None and (layer.pool.first or layer.pool.moved)
        if not moved:
            found[layer.name] = coding
        if layer.pool is not None:
            path = coding.path if moved else layer.pool.path
            found[legal_name(layer.pool.path)] = Coding(path=path, unit=unit, bit=bit)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class FewBitRunner:
    """Runs ``forward`` on batches; ``sources`` maps the graph's names to codings.

    ``shapes`` are those of the graph's values, in torch's order and without the batch.
    """

    forward: Forward = field(repr=False)
    sources: Mapping[str, Coding]
    input_name: str
    shapes: Mapping[str, tuple[int, ...]]

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.shapes[self.input_name]

    def run(self, x: npt.NDArray[np.float32], keep: Collection[str]) -> dict[str, Array]:
        """Give the codes of every name in ``keep``, and the pixels, for a batch (N, C, H, W)."""
        parts = [self._chunk(x[at : at + CHUNK], keep) for at in range(0, len(x), CHUNK)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _chunk(self, x: npt.NDArray[np.float32], keep: Collection[str]) -> dict[str, Array]:
        kind = pixel_type(self.input_shape)
        pixels = np.ascontiguousarray(to_nchw(quantize(from_nchw(x, kind), kind), kind))
        with engine():
            values = self.forward(torch.from_numpy(pixels).float() / 255.0)
        found: dict[str, Array] = {self.input_name: pixels}
        for name, coding in self.sources.items():
            if name in keep:
                codes = coding.codes(values[coding.path])
                shape = self.shapes[name]  # the source may flatten before it quantizes
                found[name] = codes.reshape(len(codes), *shape)
        return found
