"""ResNet-18 at full size: every residual join against PyTorch, and the golden model's speed.

In: nothing but the width; weights are random, batch norms have seen random images. Out: a table.
Not here: training, hardware.
"""

from __future__ import annotations

import resource
import sys
import time
import warnings
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch.ao.quantization import convert, get_default_qconfig, prepare

from pyahir.frontend.source import SourceModel, from_module
from pyahir.frontend.torchrun import engine, quiet
from pyahir.ir.eval import Evaluator, from_nchw, quantize, to_nchw
from pyahir.ir.ops import QuantizedAdd
from pyahir.passes.eliminate_exceptions import count_exceptions

__all__ = ["differing", "quantized_resnet", "show_residual"]

EXAMPLE = Path(__file__).parents[1] / "examples" / "resnet18"
SHAPE = (3, 32, 32)
CALIBRATION = 32
WARM_UP = 8


def example(name: str) -> ModuleType:
    """Import a module of the example, which is no package."""
    sys.path.insert(0, str(EXAMPLE))
    try:
        return __import__(name)
    finally:
        sys.path.remove(str(EXAMPLE))


def quantized_resnet(width: int, rule: str, *, seed: int = 0) -> torch.nn.Module:
    """Give a quantized ResNet-18 of random weights, whose batch norms saw random images."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    x = torch.rand(CALIBRATION, *SHAPE, generator=generator)
    model = example("model").ResNet18(width=width, quantizable=True)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(4):
            model.train()(x)
        torch.backends.quantized.engine = rule
        model = model.fuse()
        model.qconfig = get_default_qconfig(rule)
        model = prepare(model)
        model(x)
        return convert(model)


def differing(source: SourceModel, images: np.ndarray) -> dict[str, int]:
    """Count for every value that PyTorch has the codes that differ in the golden model."""
    expected = source.run(images)
    kinds, start = source.graph.types(), source.graph.inputs[0]
    codes = from_nchw(expected[start.name], start.type)
    actual = Evaluator(source.graph).run(codes, keep=expected.keys())
    return {
        name: int(np.count_nonzero(to_nchw(actual[name], kinds[name]) != values))
        for name, values in expected.items()
    }


def show_residual(console: Console, *, width: int = 64, count: int = 64, runs: int = 3) -> None:
    """Print differences and images a second, for the rules of fbgemm and qnnpack."""
    title = f"ResNet-18, width {width}, 3x32x32, {count} images, one thread"
    table = Table(title=title, title_justify="left")
    for name in ("rule", "joins", "exceptions", "differ at joins", "differ anywhere"):
        table.add_column(name, justify="right")
    for name in ("torch images/s", "golden images/s", "ratio", "peak MB"):
        table.add_column(name, justify="right")
    images = np.random.default_rng(5).random((count, *SHAPE), np.float32)
    for rule in ("fbgemm", "qnnpack"):
        table.add_row(*_row(rule, width, images, runs))
    console.print(table)


def _row(rule: str, width: int, images: np.ndarray, runs: int) -> list[str]:
    with quiet():
        model = quantized_resnet(width, rule)
        source = from_module(model, torch.from_numpy(images[:1]), quantized_engine=rule)
    joins = [node.name for node in source.graph.nodes if isinstance(node.op, QuantizedAdd)]
    found, exceptions = differing(source, images), count_exceptions(source.graph)
    theirs, ours = _torch_rate(model, rule, images, runs), _golden_rate(source, images, runs)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return [
        rule,
        str(len(joins)),
        str(sum(exceptions[name] for name in joins)),
        str(sum(found[name] for name in joins)),
        str(sum(found.values())),
        f"{theirs:.1f}",
        f"{ours:.1f}",
        f"{ours / theirs:.2f}",
        str(peak),
    ]


def _torch_rate(model: torch.nn.Module, rule: str, images: np.ndarray, runs: int) -> float:
    x, best = torch.from_numpy(images), 0.0
    with engine(rule):
        model(x[:WARM_UP])
        for _ in range(runs):
            start = time.perf_counter()
            model(x)
            best = max(best, len(images) / (time.perf_counter() - start))
    return best


def _golden_rate(source: SourceModel, images: np.ndarray, runs: int) -> float:
    evaluator, kind, best = Evaluator(source.graph), source.graph.inputs[0].type, 0.0
    codes = quantize(from_nchw(images, kind), kind)
    evaluator.run(codes[:WARM_UP])
    for _ in range(runs):
        start = time.perf_counter()
        evaluator.run(codes)
        best = max(best, len(images) / (time.perf_counter() - start))
    return best


if __name__ == "__main__":
    torch.set_num_threads(1)  # NumKong, the golden model's products, takes one as well
    show_residual(Console())
