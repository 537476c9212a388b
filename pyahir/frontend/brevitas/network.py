"""A topology and its tensors as a ``FewBitNetwork``: weights quantized, batch norms as numbers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pyahir.frontend.brevitas.topologies import Section, Topology
from pyahir.ir.graph import legal_name
from pyahir.quant.few_bit import Activation, FewBitLayer, FewBitNetwork, Pool
from pyahir.quant.thresholds import BatchNorm

__all__ = ["batch_norm", "network_of", "weight_levels"]


def network_of(topology: Topology, state: Mapping[str, Tensor]) -> FewBitNetwork:
    """Give the network that Brevitas computes with these tensors."""
    return FewBitNetwork(
        name=legal_name(topology.name),
        input_shape=topology.input_shape,
        input_path=topology.input_path,
        input_width=topology.input_bits,
        layers=tuple(_layer(topology, section, state) for section in topology.sections),
    )


def _layer(topology: Topology, section: Section, state: Mapping[str, Tensor]) -> FewBitLayer:
    levels = weight_levels(state[f"{section.path}.weight"], topology.weight_bits)
    parts = [state[f"{section.norm}.{name}"] for name in ("weight", "bias")]
    parts += [state[f"{section.norm}.running_{name}"] for name in ("mean", "var")]
    last = section.activation is None
    return FewBitLayer(
        path=section.path,
        weight=levels,
        weight_width=topology.weight_bits,
        norm=batch_norm(*parts, eps=section.eps),
        activation=None if last else Activation(width=topology.act_bits),
        pool=None if section.pool is None else Pool(path=section.pool),
    )


def weight_levels(weight: Tensor, width: int) -> npt.NDArray[np.int8]:
    """Quantize as Brevitas does with a scale of 1.

    One bit: +1 where w >= 0, else -1. Two bits: w rounded half to even, within -1 to 1.
    """
    real = weight.detach().numpy().astype(np.float32)
    if width == 1:
        return np.where(real >= 0, 1, -1).astype(np.int8)
    return np.clip(np.rint(real), -1, 1).astype(np.int8)


def batch_norm(
    gamma: Tensor, beta: Tensor, mean: Tensor, variance: Tensor, *, eps: float
) -> BatchNorm:
    parts = [item.detach().to(torch.float64).reshape(-1).numpy() for item in (gamma, beta)]
    parts += [item.detach().to(torch.float64).reshape(-1).numpy() for item in (mean, variance)]
    return BatchNorm(gamma=parts[0], beta=parts[1], mean=parts[2], variance=parts[3], eps=eps)
