"""``python -m benchmarks.posit_cost MODEL --calibrate DATA``: what 8-bit posits cost in hardware.

The same float network four times: uint8 as planned, uint8 with the foldings of the posit design,
and posits of a quire with weights of 16-bit integers and of 8-bit posits; beside them the memory of
float32 storage. Area is yosys's; cycles a frame are those of GHDL, where frames come back to back:
as many as planned, when the arithmetic takes a word in every cycle (initiation interval 1).
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from pyahir.backends.vhdl import TOP, to_vhdl
from pyahir.compiler import Compiled, CompileOptions, compile_graph, quantized_graph
from pyahir.data import Images, load_images
from pyahir.engines import compare, input_codes, run_ir, run_simulator
from pyahir.frontend import load_model
from pyahir.frontend.source import SourceModel
from pyahir.plan.search import Options
from pyahir.quant.scheme import RealScheme, real_scheme
from pyahir.synth import Resources, area_of, synthesize

PATH = click.Path(path_type=Path)
SUMS = ("ac_", "ar_", "pr_", "pt_", "ps_", "l0_", "l1_", "l2_", "l3_")  # pipes of a matvec
AREA = ("design", "multipliers", "planned", "in GHDL", "differing", "LUT", "FF", "DSP", "RAM18")
MEMORY = ("design", "bits a code", "weights", "line buffers", "all activations")


@click.command()
@click.argument("model", type=PATH)
@click.option("--calibrate", type=PATH, required=True, help="Images 'x'.")
@click.option("--input", "images_path", type=PATH, required=True, help="Frames to simulate.")
@click.option("--frames", default=3, show_default=True)
@click.option("--multipliers", default=64, show_default=True)
@click.option("--es", type=click.IntRange(0, 2), default=0, show_default=True)
def main(
    model: Path, calibrate: Path, images_path: Path, frames: int, multipliers: int, es: int
) -> None:
    source = load_model(model)
    images = load_images(images_path, source.input_shape)[:frames]
    calibration = load_images(calibrate, source.input_shape)
    plan = Options(multipliers=multipliers)

    def compiled(real: RealScheme | None, plan: Options = plan) -> Compiled:
        options = CompileOptions(plan=plan, real=real, calibration=calibration)
        return compile_graph(quantized_graph(source, options), options)

    integers = compiled(real_scheme("posit8", arith="quire", es=es))
    posits = compiled(real_scheme("posit8", arith="quire", es=es, weights="posit8"))
    foldings = {item.name: item.folding for item in integers.plan.layers if item.multipliers}
    same = Options(multipliers=multipliers, foldings=foldings)
    designs = {
        "uint8": compiled(None),
        "uint8, folded alike": compiled(None, same),
        f"posit<8,{es}>, weights i16": integers,
        f"posit<8,{es}>, weights posit8": posits,
    }
    memory = designs | {"float32": compiled(real_scheme("float32"))}
    _show_memory(memory)
    differing = _show_area(source, designs, images)
    sys.exit(1 if differing else 0)


def _show_area(source: SourceModel, designs: Mapping[str, Compiled], images: Images) -> int:
    table = _table(f"{len(images)} frames in GHDL; area on xc7", AREA)
    differing = 0
    for name, compiled in designs.items():
        cycles, found = _simulated(source, compiled, images)
        area = _area(compiled)
        differing += found
        cells = (
            f"{compiled.plan.multipliers}",
            f"{compiled.plan.cycles_per_frame:,}",
            f"{cycles:,.0f}",
            f"{found}",
            *(f"{part:,}" for part in (area.lut, area.ff, area.dsp, area.block_ram)),
        )
        table.add_row(name, *cells)
        print(f"{name}: {' '.join(cells)}", file=sys.stderr, flush=True)
    Console(width=120).print(table)
    return differing


def _simulated(source: SourceModel, compiled: Compiled, images: Images) -> tuple[float, int]:
    """Give the cycles a frame, and how many codes differ from the golden model's."""
    graph = compiled.graph
    codes = input_codes(graph, images, source.engine)
    with tempfile.TemporaryDirectory(prefix="pyahir-") as folder:
        path = Path(folder) / "design.aa"
        compiled.write(path)
        simulated, timing = run_simulator("ghdl", path, codes)
    results = {"ir": run_ir(graph, codes), "ghdl": simulated}
    found = compare(results, list(simulated))
    return timing.frames.interval, sum(item.differing for item in found)


def _area(compiled: Compiled) -> Resources:
    netlist = synthesize(to_vhdl(compiled.design.program), TOP, "xc7")
    names = [planned.name for planned in compiled.plan.layers]
    return area_of(netlist, names, "xc7").total


def _show_memory(designs: Mapping[str, Compiled]) -> None:
    table = _table("memory, bits", MEMORY)
    for name, compiled in designs.items():
        rows = compiled.manifest["layers"]
        weights = sum(row["weight_bits"] for row in rows)
        lines = sum(row["line_bits"] for row in rows)
        kinds = {row["name"]: row["kind"] for row in rows}
        pipes = [pipe for pipe in compiled.manifest["pipes"] if not _holds_sums(pipe, kinds)]
        activations = sum(pipe["width"] * pipe["depth"] for pipe in pipes)
        width = compiled.graph.inputs[0].type.element.width
        cells = (width, weights, lines, activations)
        table.add_row(name, *(f"{cell:,}" for cell in cells))
    Console(width=120).print(table)


def _holds_sums(pipe: Mapping[str, Any], kinds: Mapping[str, str]) -> bool:
    """Tell the pipes in which sums go round or wait from those of activations."""
    name: str = pipe["name"]
    if kinds.get(pipe["layer"]) != "matvec":
        return False
    return name.startswith(SUMS) or name.endswith("_parts")


def _table(title: str, columns: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="left" if column == "design" else "right")
    return table


if __name__ == "__main__":
    main()
