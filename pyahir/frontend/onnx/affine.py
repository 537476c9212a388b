"""The real map between an accumulator and the next quantizer, as one batch norm.

Scales, batch norms and biases in any order come in, one after the other; a positive scale of the
sum and ``BatchNorm`` go out. The arithmetic is float64: one batch norm alone, and a bias before it,
stay what they are in the file (a second batch norm needs a root, which is rounded once).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from pyahir.quant.thresholds import BatchNorm

__all__ = ["AffineMap"]

Float64 = npt.NDArray[np.float64]


def _zero() -> Float64:
    return np.zeros(1)


def _one() -> Float64:
    return np.ones(1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AffineMap:
    """``gamma * (scale * acc - mean) / sqrt(variance + eps) + beta``, numbers or one a channel."""

    scale: Float64 = field(default_factory=_one)
    gamma: Float64 = field(default_factory=_one)
    beta: Float64 = field(default_factory=_zero)
    mean: Float64 = field(default_factory=_zero)
    variance: Float64 = field(default_factory=_one)
    eps: float = 0.0

    @property
    def begun(self) -> bool:
        """Whether there is more than the positive scale."""
        parts = ((self.gamma, 1), (self.beta, 0), (self.mean, 0), (self.variance, 1))
        return self.eps != 0 or any(bool((part != plain).any()) for part, plain in parts)

    @property
    def normed(self) -> bool:
        return self.eps != 0 or bool((self.variance != 1).any()) or bool((self.mean != 0).any())

    def times(self, factor: Float64) -> AffineMap:
        if not self.begun and bool((factor > 0).all()):
            return replace(self, scale=self.scale * factor)
        return replace(self, gamma=self.gamma * factor, beta=self.beta * factor)

    def plus(self, term: Float64) -> AffineMap:
        return replace(self, beta=self.beta + term)

    def then(self, norm: BatchNorm) -> AffineMap:
        """Append a batch norm."""
        if self.normed or bool((self.gamma == 0).any()):
            factor = norm.gamma / norm.deviation
            return self.times(factor).plus(norm.beta - norm.mean * factor)
        return replace(
            self,
            gamma=norm.gamma * self.gamma,
            beta=norm.beta,
            mean=(norm.mean - self.beta) / self.gamma,
            variance=norm.variance,
            eps=norm.eps,
        )

    def norm(self, channels: int) -> BatchNorm:
        """Give the map without its scale for that many channels."""
        gamma, beta, mean, variance = (
            np.broadcast_to(part, channels).astype(np.float64)
            for part in (self.gamma, self.beta, self.mean, self.variance)
        )
        return BatchNorm(gamma=gamma, beta=beta, mean=mean, variance=variance, eps=self.eps)

    @property
    def uniform(self) -> bool:
        """Whether every channel has the same map."""
        parts = (self.scale, self.gamma, self.beta, self.mean, self.variance)
        return all(np.unique(part).size == 1 for part in parts)
