"""How the time to compile grows: a chain of convolutions whose channels are doubled each time."""

from __future__ import annotations

import time

import numpy as np
from rich.console import Console
from rich.table import Table

from pyahir.backends.vhdl import to_vhdl
from pyahir.compiler import CompileOptions, compile_graph
from pyahir.ir.builder import GraphBuilder
from pyahir.ir.graph import Graph, Loc, Stage
from pyahir.ir.ops import Conv2d
from pyahir.ir.types import Affine, Int, Layout, TensorType
from pyahir.ir.verify import verify
from pyahir.plan.search import Options
from pyahir.quant.integer import Target, add_accumulator, requantize_by_rule
from pyahir.quant.rules import Fbgemm

__all__ = ["show_growth"]

CHANNELS = (16, 32, 64)
MULTIPLIERS = (64, 256, 1024)
SIZE = 16
LAYERS = 3


def show_growth(console: Console, runs: int) -> None:
    """Print seconds to Aa and VHDL, and lines, as the network and the hardware grow."""
    title = f"{LAYERS} convolutions 3x3 on {SIZE}x{SIZE}, from the quantized graph to Aa and VHDL"
    table = Table(title=title, title_justify="left")
    for column in ("channels", "MACs", "multipliers", "seconds", "Aa lines", "VHDL lines"):
        table.add_column(column, justify="right")
    for channels in CHANNELS:
        graph = convolutions(channels)
        for multipliers in MULTIPLIERS:
            times: list[float] = []
            aa, vhdl, macs, used = 0, 0, 0, 0
            for _ in range(runs):
                start = time.perf_counter()
                made = compile_graph(graph, CompileOptions(plan=Options(multipliers=multipliers)))
                vhdl = to_vhdl(made.design.program).count("\n")
                times.append(time.perf_counter() - start)
                aa, macs, used = made.text.count(b"\n"), made.plan.macs, made.plan.multipliers
            figures = (channels, macs, used)
            row = [f"{figure:,}" for figure in figures]
            table.add_row(*row, f"{min(times):.2f}", f"{aa:,}", f"{vhdl:,}")
        table.add_section()
    console.print(table)


def convolutions(channels: int) -> Graph:
    """Build a quantized chain with random weights."""
    rng = np.random.default_rng(0)
    builder = GraphBuilder("chain", Stage.QUANTIZED)
    affine = Affine(scale=1 / 128, zero_point=0)
    kind = TensorType(
        shape=(1, SIZE, SIZE, channels),
        element=Int(8, signed=False),
        layout=Layout.NHWC,
        quantization=affine,
    )
    value = builder.input("x", kind)
    for index in range(1, LAYERS + 1):
        op = Conv2d(kernel_size=(3, 3), padding=(1, 1, 1, 1))
        weight = rng.integers(-127, 128, (channels, channels, 3, 3)).astype(np.int8)
        name = f"conv{index}"
        acc = add_accumulator(builder, name, op, value, weight, Loc())
        rule = Fbgemm(
            act_times_weight=np.full(channels, 1e-5, np.float32),
            bias=np.zeros(channels, np.float32),
            scale=np.float32(1 / 128),
            zero_point=0,
        )
        value = requantize_by_rule(builder, name, acc, rule, Target(quantization=affine), Loc())
    return verify(builder.finish([value]))
