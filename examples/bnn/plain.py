"""The networks in plain PyTorch: the arithmetic and the state dicts of Brevitas' bnn_pynq.

Quantizers have constant scales and hold no numbers: 1 bit is the sign, 2 bits are -1, 0 and 1, the
input of CNV is a multiple of 1/128. Gradients pass their roundings unchanged; weights are kept
within [-1, 1] by clipping.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

DROPOUT = 0.2
CLASSES = 10
PIXELS = 28 * 28
CHANNELS = (64, 64, 128, 128, 256, 256)
POOLED = (1, 3)  # convolutions that a pooling follows
FEATURES = (256, 512, 512)

Quantizer = Callable[[Tensor], Tensor]


class _Straight(torch.autograd.Function):
    """A rounding whose gradient is the identity."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rounding: Quantizer) -> Tensor:
        return rounding(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None


def straight(x: Tensor, rounding: Quantizer) -> Tensor:
    """Return the rounded tensor; gradients pass as if it were not rounded."""
    return _Straight.apply(x, rounding)  # pyright: ignore[reportReturnType]  # torch says Any


def sign(x: Tensor) -> Tensor:
    """Return +1 where x >= 0, else -1."""
    return torch.where(x >= 0, 1.0, -1.0)


def ternary(x: Tensor) -> Tensor:
    """Return the nearest of -1, 0 and 1; halves round to even."""
    return x.clamp(-1, 1).round()


ROUNDING: dict[int, Quantizer] = {1: sign, 2: ternary}


class Activation(nn.Module):
    """Quantize to 1 or 2 bits.

    Gradients stop where the clamp works: with 1 bit before the sign, beyond [-1, 1]; with 2 bits
    after the rounding, beyond [-1.5, 1.5].
    """

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = bits

    def forward(self, x: Tensor) -> Tensor:
        if self.bits == 1:
            return straight(x.clamp(-1, 1), sign)
        return straight(x, torch.round).clamp(-1, 1)


class FixedPoint(nn.Module):
    """Quantize to multiples of 1/128 from -1 to 127/128."""

    def forward(self, x: Tensor) -> Tensor:
        return straight(x.clamp(-1, 1 - 2**-7), lambda values: (values * 128).round() / 128)


class Linear(nn.Linear):
    """A linear layer without bias whose weights are quantized."""

    def __init__(self, inputs: int, outputs: int, bits: int) -> None:
        super().__init__(inputs, outputs, bias=False)
        self.rounding = ROUNDING[bits]
        nn.init.uniform_(self.weight, -1, 1)

    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return nn.functional.linear(x, straight(self.weight, self.rounding))


class Conv2d(nn.Conv2d):
    """A 3x3 convolution without padding and bias whose weights are quantized."""

    def __init__(self, inputs: int, outputs: int, bits: int) -> None:
        super().__init__(inputs, outputs, kernel_size=3, bias=False)
        self.rounding = ROUNDING[bits]
        nn.init.uniform_(self.weight, -1, 1)

    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return nn.functional.conv2d(x, straight(self.weight, self.rounding))


class TensorNorm(nn.Module):
    """Batch norm with one mean, variance, weight and bias for the whole tensor."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, eps: float = 1e-4, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(1))
        self.bias = nn.Parameter(torch.zeros(1))
        self.register_buffer("running_mean", torch.zeros(1))
        self.register_buffer("running_var", torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        mean, variance = self.running_mean, self.running_var
        if self.training:
            mean, variance = x.mean(), x.var(unbiased=False)
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(x.var(unbiased=True), self.momentum)
        return (x - mean) / (variance + self.eps).sqrt() * self.weight + self.bias


class _Clipped(nn.Module):
    def clip_weights(self, min_val: float, max_val: float) -> None:
        """Bring the quantized weights into a range."""
        with torch.no_grad():
            for module in self.modules():
                if isinstance(module, Linear | Conv2d):
                    module.weight.clamp_(min_val, max_val)


class FC(_Clipped):
    """Fully connected layers on pixels in [0, 1]."""

    def __init__(self, hidden: Sequence[int], weight_bits: int, act_bits: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [Activation(act_bits), nn.Dropout(DROPOUT)]
        width = PIXELS
        for outputs in hidden:
            layers += [Linear(width, outputs, weight_bits), nn.BatchNorm1d(outputs)]
            layers += [Activation(act_bits), nn.Dropout(DROPOUT)]
            width = outputs
        layers += [Linear(width, CLASSES, weight_bits), TensorNorm()]
        self.features = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.features(2 * x.flatten(1) - 1)


class CNV(_Clipped):
    """Six convolutions and three fully connected layers on 32x32 colours in [0, 1]."""

    def __init__(self, weight_bits: int, act_bits: int) -> None:
        super().__init__()
        convolutions: list[nn.Module] = [FixedPoint()]
        width = 3
        for index, channels in enumerate(CHANNELS):
            convolutions += [Conv2d(width, channels, weight_bits)]
            convolutions += [nn.BatchNorm2d(channels, eps=1e-4), Activation(act_bits)]
            convolutions += [nn.MaxPool2d(2)] if index in POOLED else []
            width = channels
        linears: list[nn.Module] = []
        for inputs, outputs in pairwise(FEATURES):
            linears += [Linear(inputs, outputs, weight_bits)]
            linears += [nn.BatchNorm1d(outputs, eps=1e-4), Activation(act_bits)]
        linears += [Linear(FEATURES[-1], CLASSES, weight_bits), TensorNorm()]
        self.conv_features = nn.Sequential(*convolutions)
        self.linear_features = nn.Sequential(*linears)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear_features(self.conv_features(2 * x - 1).flatten(1))
