"""ResNet-18 (He et al., "Deep Residual Learning for Image Recognition", 2015) of any width.

Two stems: `cifar` is one 3x3 convolution, for pictures of about 32x32; `imagenet` is a 7x7
convolution of stride 2 and a 3x3 max pool of stride 2. The quantizable form has the stubs and the
`FloatFunctional`s that PyTorch's eager-mode quantization needs; the weights of both are the same.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.ao.nn.quantized import FloatFunctional
from torch.ao.quantization import DeQuantStub, QuantStub, fuse_modules

Stem = Literal["cifar", "imagenet"]
WIDTH = 64
STAGES = 4
BLOCKS = 2


class Sum(nn.Module):
    """Add two feature maps and rectify the sum, in float."""

    def add_relu(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.relu(x + y)


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut: a 1x1 convolution where size or width change."""

    def __init__(self, inputs: int, outputs: int, stride: int, *, quantizable: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )
        self.sum = FloatFunctional() if quantizable else Sum()

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.sum.add_relu(y, self.shortcut(x))


class ResNet18(nn.Module):
    """Map images [n, channels, h, w] to logits [n, classes]. `width` is that of the first stage."""

    def __init__(
        self,
        *,
        channels: int = 3,
        classes: int = 10,
        width: int = WIDTH,
        stem: Stem = "cifar",
        quantizable: bool = False,
    ) -> None:
        super().__init__()
        if stem not in ("cifar", "imagenet"):
            raise ValueError(f"stem={stem!r} is not known; use 'cifar' or 'imagenet'")
        self.quant = QuantStub() if quantizable else nn.Identity()
        self.dequant = DeQuantStub() if quantizable else nn.Identity()
        large = stem == "imagenet"
        size, stride = (7, 2) if large else (3, 1)
        self.conv1 = nn.Conv2d(channels, width, size, stride, padding=size // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.pool1 = nn.MaxPool2d(3, stride=2, padding=1) if large else nn.Identity()
        blocks: list[nn.Module] = []
        inputs = width
        for stage in range(STAGES):
            outputs = width << stage
            for number in range(BLOCKS):
                step = 2 if stage > 0 and number == 0 else 1
                blocks.append(Block(inputs, outputs, step, quantizable=quantizable))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.quant(x)
        x = self.pool1(self.relu1(self.bn1(self.conv1(x))))
        x = self.pool(self.blocks(x))
        return self.dequant(self.fc(torch.flatten(x, 1)))

    def fuse(self) -> "ResNet18":
        """Return a copy in eval mode, each batch norm and ReLU part of the convolution before."""
        groups = [["conv1", "bn1", "relu1"]]
        for name, block in self.blocks.named_children():
            at = f"blocks.{name}"
            groups.append([f"{at}.conv1", f"{at}.bn1", f"{at}.relu1"])
            groups.append([f"{at}.conv2", f"{at}.bn2"])
            assert isinstance(block, Block)
            if len(block.shortcut):
                groups.append([f"{at}.shortcut.0", f"{at}.shortcut.1"])
        return fuse_modules(self.eval(), groups)


def small(*, channels: int = 1, width: int = WIDTH // 8, quantizable: bool = False) -> ResNet18:
    """Return the network an eighth as wide (8, 16, 32, 64 channels), with the CIFAR stem."""
    return ResNet18(channels=channels, width=width, quantizable=quantizable)


def accuracy(model: nn.Module, x: Tensor, y: Tensor, batch: int = 250) -> float:
    """Return the share of images whose largest logit is at their label."""
    with torch.no_grad():
        found = [model(part).argmax(dim=1) for part in x.split(batch)]
    return (torch.cat(found) == y).double().mean().item()
