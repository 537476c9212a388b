"""LeNet-5 for 28x28 digits, ready for PyTorch's eager-mode static quantization."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.ao.quantization import DeQuantStub, QuantStub, fuse_modules

Pool = Literal["max", "avg"]


class LeNet5(nn.Module):
    """Map digits [n, 1, 28, 28] in [0, 1] to ten logits.

    The stubs at both ends mark where quantized arithmetic starts and stops; in float they are the
    identity. Every ReLU is a module of its own, as `fuse` needs it.
    """

    def __init__(self, pool: Pool = "max") -> None:
        super().__init__()
        if pool not in ("max", "avg"):
            raise ValueError(f"pool={pool!r} is not known; use 'max' or 'avg'")
        pooling = nn.MaxPool2d if pool == "max" else nn.AvgPool2d
        self.quant = QuantStub()
        self.conv1 = nn.Conv2d(1, 6, kernel_size=5, padding=2)
        self.relu1 = nn.ReLU()
        self.pool1 = pooling(2)
        self.conv2 = nn.Conv2d(6, 16, kernel_size=5)
        self.relu2 = nn.ReLU()
        self.pool2 = pooling(2)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.relu3 = nn.ReLU()
        self.fc2 = nn.Linear(120, 84)
        self.relu4 = nn.ReLU()
        self.fc3 = nn.Linear(84, 10)
        self.dequant = DeQuantStub()

    def forward(self, x: Tensor) -> Tensor:
        x = self.quant(x)
        x = self.pool1(self.relu1(self.conv1(x)))
        x = self.pool2(self.relu2(self.conv2(x)))
        x = torch.flatten(x, 1)
        x = self.relu3(self.fc1(x))
        x = self.relu4(self.fc2(x))
        x = self.fc3(x)
        return self.dequant(x)

    def fuse(self) -> "LeNet5":
        """Return a copy in eval mode in which each ReLU is part of the layer before it."""
        pairs = [["conv1", "relu1"], ["conv2", "relu2"], ["fc1", "relu3"], ["fc2", "relu4"]]
        return fuse_modules(self.eval(), pairs)


def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Return the share of digits whose largest logit is at their label."""
    with torch.no_grad():
        return (model(x).argmax(dim=1) == y).double().mean().item()
