"""State dicts of the named networks: random weights, batch norms that fit their sums."""

from __future__ import annotations

import zlib

import numpy as np
import torch
from torch import Tensor

from pyahir.frontend.brevitas.reference import Reference, quantized
from pyahir.frontend.brevitas.topologies import Topology


def random_images(topology: Topology, count: int, seed: int = 0) -> np.ndarray:
    """Pixels over 255, as ToTensor gives them."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (count, *topology.input_shape))
    return (pixels.astype(np.float32) / np.float32(255)).astype(np.float32)


def untrained(topology: Topology) -> dict[str, Tensor]:
    """Weights in [-1, 1], batch norms as torch makes them: many sums lie on a step."""
    generator = torch.Generator().manual_seed(zlib.crc32(topology.name.encode()))
    state: dict[str, Tensor] = {}
    for key, shape in topology.keys().items():
        name = key.rsplit(".", 1)[1]
        if key.removesuffix(".weight") in {section.path for section in topology.sections}:
            state[key] = torch.rand(shape, generator=generator) * 2 - 1
        else:
            state[key] = torch.full(shape, float(name in ("weight", "running_var")))
    return state


def calibrated(topology: Topology, *, images: int = 8) -> dict[str, Tensor]:
    """Batch norms with the statistics of their sums, and weights of both signs."""
    state = untrained(topology)
    generator = torch.Generator().manual_seed(zlib.crc32(topology.name.encode()) + 1)
    reference = Reference(topology, state)
    x = torch.from_numpy(random_images(topology, images, seed=99))
    x = quantized(2 * x - 1, topology.input_bits)
    for section in topology.sections:
        sums = reference._sum(section, x)  # pyright: ignore[reportPrivateUsage]  # as it computes
        axes = [axis for axis in range(sums.ndim) if axis != 1]
        size = (1,) if section.activation is None else section.shape[:1]
        if section.activation is None:
            mean, variance = sums.mean().reshape(1), sums.var().reshape(1)
        else:
            mean, variance = sums.mean(axes), sums.var(axes)
        gamma = torch.rand(size, generator=generator) * 1.5 + 0.25
        gamma *= torch.where(torch.rand(size, generator=generator) < 0.4, -1.0, 1.0)
        state[f"{section.norm}.weight"] = gamma
        state[f"{section.norm}.bias"] = torch.rand(size, generator=generator) - 0.5
        state[f"{section.norm}.running_mean"] = mean
        state[f"{section.norm}.running_var"] = variance + 0.01
        if section.activation is None:
            break
        normal = reference._normalized(section, sums)  # pyright: ignore[reportPrivateUsage]
        x = quantized(normal, topology.act_bits)
        if section.pool is not None:
            x = torch.nn.functional.max_pool2d(x, 2)
    return state
