"""``python -m benchmarks.streaming``: the full-size ResNet-18 with less and less weight memory.

In: nothing; weights are random. Out: a table of plans: cycles a frame beside the bound of the
multipliers, memory on the chip, what comes through ``weights_in``, and the time of compiling.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.residual import SHAPE, quantized_resnet
from pyahir.compiler import CompileOptions, compile_graph
from pyahir.frontend.source import from_module
from pyahir.frontend.torchrun import quiet
from pyahir.ir.graph import Graph
from pyahir.plan.cost import weight_bits
from pyahir.plan.search import Options

__all__ = ["show_streaming"]

MULTIPLIERS = 512
BUDGETS = (None, 75, 55, 30, 20)  # Mbit
COLUMNS = (
    "--weight-memory",
    "streamed layers",
    "weights and tiles, Mbit",
    "all memory, Mbit",
    "items a frame",
    "cycles a frame",
    "over the bound",
    "bytes a cycle",
    "lines of Aa",
    "compile, s",
)


def show_streaming(console: Console, *, width: int = 64) -> None:
    """Print one plan a row, of ``MULTIPLIERS`` multipliers."""
    rule = "qnnpack"
    with quiet():
        model = quantized_resnet(width, rule)
        example = torch.from_numpy(np.zeros((1, *SHAPE), np.float32))
        graph = from_module(model, example, quantized_engine=rule).graph
    table = Table(
        title=f"ResNet-18, width {width}, {MULTIPLIERS} multipliers", title_justify="left"
    )
    for name in COLUMNS:
        table.add_column(name, justify="right")
    for budget in BUDGETS:
        table.add_row(*_row(graph, budget))
    console.print(table)


def _row(graph: Graph, budget: int | None) -> list[str]:
    bits = None if budget is None else budget * 10**6
    start = time.perf_counter()
    options = CompileOptions(plan=Options(multipliers=MULTIPLIERS, weight_memory=bits))
    made = compile_graph(graph, options)
    seconds = time.perf_counter() - start
    plan, totals = made.plan, made.manifest["totals"]
    bound = plan.macs / MULTIPLIERS
    return [
        "-" if budget is None else f"{budget}Mbit",
        str(len(plan.streamed)),
        f"{sum(map(weight_bits, plan.layers)) / 1e6:.1f}",
        f"{totals['memory_bits'] / 1e6:.1f}",
        f"{plan.packets.items:,}",
        f"{plan.cycles_per_frame:,}",
        f"{plan.cycles_per_frame / bound - 1:.1%}",
        f"{8 * plan.packets.items / plan.cycles_per_frame:.2f}",
        f"{len(made.text.splitlines()):,}",
        f"{seconds:.1f}",
    ]


if __name__ == "__main__":
    show_streaming(Console(width=140))
