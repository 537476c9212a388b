"""``python -m benchmarks.peers``: LeNet-5 of NNgen beside ours, measured in one run.

Cycles a frame (simulated), seconds to generate, lines, and the area of the same yosys script. Then
how the time to compile grows with a network, and how fast GHDL simulates. A part whose tool is
missing is left out with one line.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks import nngen_peer
from benchmarks.growth import show_growth
from benchmarks.models import quantized_lenet
from benchmarks.nngen_peer import Figures
from pyahir.backends.vhdl import TOP, to_vhdl
from pyahir.compiler import Compiled, CompileOptions, compile_graph
from pyahir.engines import input_codes
from pyahir.errors import PyahirError
from pyahir.frontend import load_model
from pyahir.ir.graph import Graph
from pyahir.plan.search import Options
from pyahir.sim.engine import GhdlEngine
from pyahir.synth import area_of, synthesize

CONSOLE = Console(width=160)
OURS = (26, 64, 100, 128, 400)
THEIRS = (1, 2)
FAMILY = "xc7"
FRAMES = 5
RUNS = 3
PATH = click.Path(path_type=Path)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--environment", type=PATH, help="Where NNgen is or will be.  [default: temporary]")
@click.option("--without-nngen", is_flag=True, help="Measure ours only.")
@click.option(
    "--multipliers", default=",".join(map(str, OURS)), show_default=True, help="Budgets of ours."
)
@click.option("--simulation-limit", default=900.0, show_default=True, help="Seconds for Icarus.")
@click.option("--area-limit", default=3600.0, show_default=True, help="Seconds for each yosys.")
@click.option(
    "--area-of",
    "area_names",
    default="ours,1",
    show_default=True,
    help="Whose area: 'ours', NNgen's 1 (the smallest), 2; empty for none. NNgen's takes long.",
)
def main(
    environment: Path | None,
    without_nngen: bool,
    multipliers: str,
    simulation_limit: float,
    area_limit: float,
    area_names: str,
) -> None:
    """Measure LeNet-5 of NNgen beside ours."""
    torch.set_num_threads(1)
    areas = area_names.split(",")
    with tempfile.TemporaryDirectory(prefix="pyahir_") as name:
        folder = Path(name)
        images = np.random.default_rng(0).random((64, 1, 28, 28), dtype=np.float32)
        graph = load_model(quantized_lenet("fbgemm", images, folder)).graph
        codes = input_codes(graph, images[:FRAMES])
        ours: list[Figures] = []
        for budget in map(int, multipliers.split(",")):
            limit = area_limit if "ours" in areas else None
            ours.append(measured(graph, budget, codes, folder, limit))
        theirs: list[Figures] = []
        if not without_nngen:
            place = environment or folder / "nngen"
            theirs = nngen(place, folder, simulation_limit, area_limit, areas)
        show(theirs, ours)
        show_growth(CONSOLE, RUNS)


def attempt(what: str, figures: Figures, work: Callable[[Figures], Figures]) -> Figures:
    """Measure one thing more; what cannot be measured is one line."""
    try:
        return work(figures)
    except PyahirError as error:
        CONSOLE.print(f"left out: {figures.name}, {what}: {error}")
        return figures


def measured(
    graph: Graph, budget: int, codes: np.ndarray, folder: Path, limit: float | None
) -> Figures:
    """Compile, simulate and map one design of ours."""
    times: list[float] = []
    for _ in range(RUNS):
        start = time.perf_counter()
        made = compile_graph(graph, CompileOptions(plan=Options(multipliers=budget)))
        vhdl = to_vhdl(made.design.program)
        times.append(time.perf_counter() - start)
    compiled, text = made, vhdl
    found = Figures(
        name=f"pyahir {budget}",
        multipliers=compiled.plan.multipliers,
        planned=compiled.plan.cycles_per_frame,
        seconds=min(times),
        lines=text.count("\n"),
        aa_lines=compiled.text.count(b"\n"),
    )
    path = folder / f"lenet_{budget}.aa"
    compiled.write(path)
    found = attempt("simulation", found, lambda item: _simulated(item, path, codes))
    if limit is not None:
        found = attempt("area", found, lambda item: _mapped(item, compiled, text, limit))
    return found


def _simulated(figures: Figures, path: Path, codes: np.ndarray) -> Figures:
    engine = GhdlEngine.open(path)
    start = time.perf_counter()
    engine.run(codes)
    seconds = time.perf_counter() - start
    rate = engine.cycles.ends[-1] / seconds
    return replace(figures, cycles=engine.cycles.interval, note="GHDL", simulated_rate=rate)


def _mapped(figures: Figures, compiled: Compiled, vhdl: str, limit: float) -> Figures:
    layers = [layer["name"] for layer in compiled.manifest["layers"]]
    netlist = synthesize(vhdl, TOP, FAMILY, timeout=limit)
    return replace(figures, area=area_of(netlist, layers, FAMILY).total)


def nngen(
    place: Path, folder: Path, simulation_limit: float, area_limit: float, areas: Sequence[str]
) -> list[Figures]:
    """Generate, simulate and map NNgen's designs."""
    try:
        python = nngen_peer.environment(place)
    except PyahirError as error:
        CONSOLE.print(f"left out: NNgen: {error}")
        return []
    found: list[Figures] = []
    for parallel in THEIRS:
        own = folder / f"nngen_{parallel}"
        figures = nngen_peer.generate(python, parallel, own, RUNS)
        figures = attempt(
            "simulation",
            figures,
            lambda item, own=own: nngen_peer.simulate(item, own, simulation_limit),
        )
        if str(parallel) in areas:
            figures = attempt(
                "area",
                figures,
                lambda item, own=own: nngen_peer.area(item, own, FAMILY, area_limit),
            )
        found.append(figures)
    return found


COLUMNS = (
    "",
    "multipliers",
    "planned cycles",
    "cycles a frame",
    "simulated by",
    "generate, s",
    "HDL lines",
    "Aa lines",
    "LUT",
    "FF",
    "DSP",
    "18k RAM",
    "simulated cycles/s",
)


def show(theirs: Sequence[Figures], ours: Sequence[Figures]) -> None:
    """Print the designs, then ours as ratios to NNgen's."""
    table = Table(title="LeNet-5, 28x28, padding 2", title_justify="left")
    for column in COLUMNS:
        table.add_column(column, justify="left" if column in ("", "simulated by") else "right")
    for rows in (theirs, ours):
        for item in rows:
            table.add_row(*_row(item))
        table.add_section()
    CONSOLE.print(table)
    for item in theirs:
        _show_ratios(item, ours)


def _row(item: Figures) -> list[str]:
    area = item.area
    parts = (None,) * 4 if area is None else (area.lut, area.ff, area.dsp, area.block_ram)
    return [
        item.name,
        f"{item.multipliers:,}",
        _number(item.planned),
        _number(item.cycles),
        item.note or "-",
        f"{item.seconds:.2f}",
        f"{item.lines:,}",
        _number(item.aa_lines),
        *map(_number, parts),
        _number(item.simulated_rate),
    ]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _show_ratios(other: Figures, ours: Sequence[Figures]) -> None:
    title = f"{other.name} ({other.multipliers} multipliers) divided by ours: more is better for us"
    table = Table(title=title, title_justify="left")
    for column in ("", "multipliers", "cycles", "generate", "HDL lines", "Aa lines", "LUT", "FF"):
        table.add_column(column, justify="right" if column else "left")
    for item in ours:
        pairs: list[tuple[float | None, float | None]] = [
            (other.multipliers, item.multipliers),
            (other.cycles, item.cycles),
            (other.seconds, item.seconds),
            (other.lines, item.lines),
            (other.lines, item.aa_lines),
            (other.area and other.area.lut, item.area and item.area.lut),
            (other.area and other.area.ff, item.area and item.area.ff),
        ]
        table.add_row(item.name, *(_ratio(left, right) for left, right in pairs))
    CONSOLE.print(table)


def _ratio(left: float | None, right: float | None) -> str:
    return f"{left / right:.2f}" if left and right else "-"


if __name__ == "__main__":
    main()
