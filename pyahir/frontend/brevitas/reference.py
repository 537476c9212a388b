"""A few-bit network in plain torch, in float: what Brevitas computes, written once more.

In: a topology, its tensors, images in [0, 1]. Out: what every quantizer, every pooling and the last
layer give, by path. No thresholds and no integers: batch norm is torch's own, the quantizers are
the sign and a rounding. ``tests/frontend/brevitas`` compares it with Brevitas.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
import torch.nn.functional as torch_functions
from torch import Tensor

from pyahir.frontend.brevitas.topologies import Section, Topology

__all__ = ["Reference"]


class Reference:
    """The network; weights are quantized once."""

    def __init__(self, topology: Topology, state: Mapping[str, Tensor]) -> None:
        self.topology, self.state = topology, state
        self.weights = {
            section.path: quantized(state[f"{section.path}.weight"], topology.weight_bits)
            for section in topology.sections
        }

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """Run a batch (N, C, H, W); give the values by path."""
        return dict(self._values(images))

    def _values(self, images: Tensor) -> Iterator[tuple[str, Tensor]]:
        bits = self.topology.input_bits
        x = quantized(2.0 * images - 1.0, bits)
        yield self.topology.input_path, x
        for section in self.topology.sections:
            x = self._sum(section, x)
            if section.activation is None:
                yield section.path, x
                return
            x = quantized(self._normalized(section, x), self.topology.act_bits)
            yield section.activation, x
            if section.pool is not None:
                x = torch_functions.max_pool2d(x, 2)
                yield section.pool, x

    def _sum(self, section: Section, x: Tensor) -> Tensor:
        weight = self.weights[section.path]
        if weight.ndim == 4:
            return torch_functions.conv2d(x, weight)
        return torch_functions.linear(x.flatten(1), weight)

    def _normalized(self, section: Section, x: Tensor) -> Tensor:
        gamma, beta, mean, variance = (
            self.state[f"{section.norm}.{name}"]
            for name in ("weight", "bias", "running_mean", "running_var")
        )
        return torch_functions.batch_norm(x, mean, variance, gamma, beta, eps=section.eps)


def quantized(x: Tensor, bits: int) -> Tensor:
    """One bit: the sign, that of 0 is +1. Two: -1, 0, 1. Eight: multiples of 1/128, Q1.7."""
    if bits == 1:
        return torch.where(x >= 0, 1.0, -1.0)
    if bits == 2:
        return x.round().clamp(-1.0, 1.0)
    return (x.clamp(-1.0, 1.0 - 2.0**-7) * 128.0).round() / 128.0
