"""``python -m benchmarks.hardware MODEL ...``: torch = ir = aa = ghdl, foldings, stalls, cycles.

For each model and budget of multipliers: digits streamed back to back through the simulated
hardware, without and with random stalls, every integer compared with the engine before; then the
clock cycles a frame beside the plan's, and how fast GHDL simulates.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from pyahir.backends.vhdl import to_vhdl
from pyahir.compiler import CompileOptions, compile_graph
from pyahir.data import Images, load_images
from pyahir.engines import compare, input_codes, run_aa, run_ir, run_simulator, run_torch
from pyahir.frontend import load_model
from pyahir.frontend.source import SourceModel
from pyahir.plan.search import Options
from pyahir.sim import Stalls

CONSOLE = Console(width=150)
COLUMNS = (
    "model",
    "multipliers",
    "stalls",
    "compared",
    "differing",
    "predicted",
    "cycles",
    "ratio",
    "one frame",
    "cycles/s",
    "Aa",
    "VHDL",
)


@click.command()
@click.argument("models", nargs=-1, type=click.Path(path_type=Path), required=True)
@click.option("--input", "images_path", type=click.Path(path_type=Path), required=True)
@click.option("--frames", default=3, show_default=True)
@click.option("--multipliers", default="26,64,400", show_default=True, help="Budgets.")
@click.option("--stalls", default="0,0.3", show_default=True, help="Shares of stalled cycles.")
def main(
    models: tuple[Path, ...], images_path: Path, frames: int, multipliers: str, stalls: str
) -> None:
    table = Table(title=f"{frames} frames back to back in GHDL", title_justify="left")
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == "model" else "right")
    differing = 0
    for path in models:
        source = load_model(path)
        images = load_images(images_path, source.input_shape)[:frames]
        for budget in map(int, multipliers.split(",")):
            for share in map(float, stalls.split(",")):
                row, found = _measure(source, images, budget, Stalls(7, share))
                differing += found
                table.add_row(path.name, *row)
                print(f"{path.name}: {' '.join(row)}", file=sys.stderr, flush=True)
    CONSOLE.print(table)
    sys.exit(1 if differing else 0)


def _measure(
    source: SourceModel, images: Images, budget: int, stalls: Stalls
) -> tuple[list[str], int]:
    """Run all engines once; give the row of the table, and how many integers differ."""
    graph = source.graph
    codes = input_codes(graph, images, source.engine)
    with tempfile.TemporaryDirectory(prefix="pyahir-") as folder:
        path = Path(folder) / "design.aa"
        compiled = compile_graph(graph, CompileOptions(plan=Options(multipliers=budget)))
        compiled.write(path)
        start = time.perf_counter()
        simulated, timing = run_simulator("ghdl", path, codes, stalls=stalls)
        seconds = time.perf_counter() - start
        results = {
            "torch": run_torch(source, images),
            "ir": run_ir(graph, codes),
            "aa": run_aa(path, codes),
            "ghdl": simulated,
        }
    found = compare(results, [item.name for item in (*graph.inputs, *graph.nodes)])
    differing = sum(item.differing for item in found)
    predicted, cycles = compiled.plan.cycles_per_frame, timing.frames
    aa_lines = compiled.text.count(b"\n")
    vhdl_lines = len(to_vhdl(compiled.design.program).splitlines())
    row = [
        str(compiled.plan.multipliers),
        f"{stalls.share:.1f}",
        f"{sum(item.compared for item in found):,}",
        f"{differing}",
        f"{predicted:,}",
        f"{cycles.interval:,.0f}",
        f"{cycles.interval / predicted:.3f}",
        f"{cycles.latency:,}",
        f"{cycles.ends[-1] / seconds:,.0f}",
        f"{aa_lines:,}",
        f"{vhdl_lines:,}",
    ]
    return row, differing


if __name__ == "__main__":
    main()
