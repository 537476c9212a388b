"""Small models, quantized in the process: random weights, calibrated on random data."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.ao import quantization

from pyahir.frontend.source import SourceModel
from pyahir.ir.eval import Evaluator, from_nchw, to_nchw
from pyahir.ir.verify import verify

torch.set_num_threads(1)


class Net(nn.Module):
    """A body between a quantize and a dequantize stub."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.quant = quantization.QuantStub()
        self.body = body
        self.dequant = quantization.DeQuantStub()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.dequant(self.body(self.quant(x)))


class LeNet(nn.Module):
    """LeNet-5, narrow: every variation of the issue is an argument."""

    def __init__(self, pool: str = "max", shape: str = "flatten", stubs: bool = True) -> None:
        super().__init__()
        pooling = nn.MaxPool2d if pool == "max" else nn.AvgPool2d
        self.quant = quantization.QuantStub() if stubs else nn.Identity()
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.relu1 = nn.ReLU()
        self.pool1 = pooling(2)
        self.conv2 = nn.Conv2d(6, 18, 5)
        self.relu2 = nn.ReLU()
        self.pool2 = pooling(2)
        self.fc1 = nn.Linear(162, 24)
        self.relu3 = nn.ReLU()
        self.drop = nn.Dropout(0.5)
        self.fc2 = nn.Linear(24, 10)
        self.dequant = quantization.DeQuantStub() if stubs else nn.Identity()
        self.shape: str = shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.quant(x)
        x = self.pool1(self.relu1(self.conv1(x)))
        x = self.pool2(self.relu2(self.conv2(x)))
        if self.shape == "flatten":
            x = torch.flatten(x, 1)
        elif self.shape == "view":
            x = x.contiguous().view(x.size(0), -1)
        else:
            x = x.reshape(x.shape[0], -1)
        x = self.drop(self.relu3(self.fc1(x)))
        return self.dequant(self.fc2(x))


LENET_SHAPE = (1, 20, 20)
LENET_FUSED = [["conv1", "relu1"], ["conv2", "relu2"], ["fc1", "relu3"]]


def quantized(
    model: nn.Module,
    shape: Sequence[int],
    engine: str = "fbgemm",
    fuse: list[list[str]] | None = None,
    seed: int = 0,
) -> nn.Module:
    """Quantize as eager-mode PTQ does; weights stay those of the model."""
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = engine
    generator = torch.Generator().manual_seed(seed)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = model.eval()
            if fuse:
                model = quantization.fuse_modules(model, fuse)
            model.qconfig = quantization.get_default_qconfig(engine)
            model = quantization.prepare(model)
            for _ in range(3):
                model(torch.randn(8, *shape, generator=generator))
            return quantization.convert(model)
    finally:
        torch.backends.quantized.engine = before


def saved(
    model: nn.Module,
    path: Path,
    shape: Sequence[int],
    engine: str = "fbgemm",
    scripted: bool = False,
) -> Path:
    """Save a quantized model as TorchScript."""
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = engine
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            example = torch.randn(1, *shape)
            script = torch.jit.script(model) if scripted else torch.jit.trace(model, example)
            torch.jit.save(script, path)
    finally:
        torch.backends.quantized.engine = before
    return path


def images(shape: Sequence[int], count: int = 64, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, *shape)).astype(np.float32)


def differing(source: SourceModel, x: np.ndarray) -> dict[str, int]:
    """Count, for every name that torch has, the values in which the golden model differs."""
    verify(source.graph)
    torch_values = source.run(x)
    types = source.graph.types()
    start = source.graph.inputs[0]
    ours = Evaluator(source.graph).run(
        from_nchw(torch_values[start.name], start.type), keep=torch_values.keys()
    )
    found: dict[str, int] = {}
    for name, expected in torch_values.items():
        actual = to_nchw(ours[name], types[name])
        assert (expected.shape, expected.dtype) == (actual.shape, actual.dtype), name
        found[name] = int((expected != actual).sum())
    return found


def assert_equal(source: SourceModel, x: np.ndarray) -> None:
    """Every activation of the graph is compared, and no value differs."""
    found = differing(source, x)
    named = {node.name for node in source.graph.nodes if not node.name.endswith("_acc")}
    assert named | {source.graph.inputs[0].name} == found.keys()
    assert dict.fromkeys(found, 0) == found
