"""ResNet-18 at full size as hardware in every number system: seconds, memory, size of the design.

In: nothing but the width; weights are random, batch norms have seen random images. Out: a table.
Not here: what the hardware computes (``pyahir verify``), accuracy.
"""

from __future__ import annotations

import multiprocessing
import resource
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from benchmarks.residual import SHAPE, example
from pyahir.compiler import CompileOptions, compile_graph, quantized_graph
from pyahir.frontend.source import from_module
from pyahir.frontend.torchrun import quiet
from pyahir.plan.search import Options
from pyahir.quant.scheme import RealScheme, real_scheme

__all__ = ["SYSTEMS", "measured", "network", "options_of"]

Floats = npt.NDArray[np.float32]
IMAGES = 16  # to calibrate with
POSITS = [(arith, weights) for arith in ("quire", "f32", "f16") for weights in ("posit8", "float")]


def _posit(arith: str, weights: str) -> RealScheme | None:
    return real_scheme("posit8", arith=arith, es=0, weights=weights, scale="auto")


SYSTEMS: dict[str, RealScheme | None] = {
    "uint8": None,
    **{f"posit8, {arith}, weights {kind}": _posit(arith, kind) for arith, kind in POSITS},
    "float16": real_scheme("float16"),
    "float32": real_scheme("float32"),
}


def _memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def network(width: int) -> tuple[nn.Module, Floats]:
    """Give a network of random weights whose batch norms have seen the random images beside it."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    images = np.random.default_rng(0).standard_normal((IMAGES, *SHAPE), np.float32)
    model = example("model").ResNet18(width=width, channels=3).train()
    with torch.no_grad():
        for _ in range(3):
            model(torch.from_numpy(images))
    return model.eval(), images


def options_of(system: str, images: Floats, multipliers: int) -> CompileOptions:
    """Give the options of a number system, calibrated from images where it is."""
    real = SYSTEMS[system]
    calibration = images if real is None or real.calibrated else None
    return CompileOptions(calibration=calibration, real=real, plan=Options(multipliers=multipliers))


def measured(system: str, width: int, multipliers: int) -> list[str]:
    """Import, quantize, compile and write one network; give a row of the table."""
    torch_alone = _memory()
    model, images = network(width)
    options = options_of(system, images, multipliers)
    times = [time.perf_counter()]
    with quiet():
        source = from_module(model, torch.zeros(1, *SHAPE))
    times.append(time.perf_counter())
    graph = quantized_graph(source, options)
    times.append(time.perf_counter())
    with tempfile.TemporaryDirectory(prefix="pyahir-") as folder:
        made = compile_graph(graph, options)
        made.write(Path(folder) / "resnet18.aa")
    times.append(time.perf_counter())
    seconds = [f"{later - before:.1f}" for before, later in pairwise(times)]
    text, plan = made.text.count(b"\n"), made.plan
    return [
        system,
        *seconds,
        f"{_memory() - torch_alone:,}",
        f"{text:,}",
        f"{len(made.weights) / 1e6:.1f}",
        f"{plan.multipliers}",
        f"{plan.cycles_per_frame:,}",
    ]


@click.command()
@click.option("--width", type=click.IntRange(min=1), default=64, show_default=True)
@click.option("--multipliers", type=click.IntRange(min=1), default=512, show_default=True)
def main(width: int, multipliers: int) -> None:
    """Print a row for each number system, each measured in a process of its own."""
    table = Table(title=f"ResNet-18, width {width}, 3x32x32, one thread", title_justify="left")
    table.add_column("numbers")
    for name in ("import s", "quantize s", "compile s", "MB beyond torch", "lines of Aa"):
        table.add_column(name, justify="right")
    for name in ("weights MB", "multipliers", "cycles a frame"):
        table.add_column(name, justify="right")
    for system in SYSTEMS:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            table.add_row(*pool.apply(measured, (system, width, multipliers)))
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
