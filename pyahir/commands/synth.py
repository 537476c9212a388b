"""``pyahir synth``: LUTs, flip-flops, DSP blocks and RAM of each layer, with GHDL and yosys.

In: a design's Aa text, and its manifest where there is one. Out: a table, or JSON. The figures are
yosys's: good for comparing designs and finding what is large, not a vendor's result.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from pyahir.commands.options import PATH, json_option

if TYPE_CHECKING:
    from pyahir.backends.aa import ast as aa
    from pyahir.synth import Area, Netlist, Resources

__all__ = ["synth_command"]

FAMILIES = ("xc7", "ice40", "ecp5")
_COLUMNS = ("LUT", "as RAM", "FF", "DSP", "block RAM")


@click.command("synth")
@click.argument("design", type=PATH)
@click.option(
    "--family",
    type=click.Choice(FAMILIES),
    default="xc7",
    show_default=True,
    help="Xilinx series 7, Lattice iCE40 or ECP5.",
)
@click.option("--keep", type=PATH, metavar="DIR", help="Leave VHDL, Verilog and yosys's log here.")
@click.option(
    "--top-limit",
    type=click.IntRange(min=0),
    default=5,
    show_default=True,
    help="How many of the largest parts to list.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=1),
    default=3600.0,
    show_default=True,
    help="Seconds for each tool.",
)
@json_option
def synth_command(
    design: Path, family: str, keep: Path | None, top_limit: int, timeout: float, as_json: bool
) -> None:
    """Tell the area of DESIGN, a compiled .aa, layer by layer."""
    from pyahir.backends.vhdl import TOP, to_vhdl
    from pyahir.synth import area_of, synthesize

    program, layers = _read(design)
    netlist = synthesize(to_vhdl(program), TOP, family, keep=keep, timeout=timeout)
    area = area_of(netlist, layers, family)
    if as_json:
        click.echo(json.dumps(_json(area, netlist, family), sort_keys=True))
    else:
        _show(design, area, netlist, family, top_limit)


def _read(path: Path) -> tuple[aa.Program, list[str]]:
    """Read a design with its layers; a text without a manifest has none."""
    from pyahir.backends.aa.files import read_design
    from pyahir.runner import is_design
    from pyahir.sim.run import load_program

    names: list[str] = []
    if is_design(path):
        names = [layer["name"] for layer in read_design(path).manifest["layers"]]
    return load_program(path), names


def _json(area: Area, netlist: Netlist, family: str) -> dict[str, Any]:
    return {
        "family": family,
        "layers": {name: asdict(row) for name, row in area.by_row().items()},
        "kinds": {name: asdict(row) for name, row in area.by_kind().items()},
        "parts": [asdict(part) for part in area.parts],
        "total": asdict(area.total),
        "latches": list(netlist.latches),
        "seconds": dict(netlist.seconds),
    }


def _show(design: Path, area: Area, netlist: Netlist, family: str, most: int) -> None:
    from pyahir import synth

    largest = sorted(area.parts, key=lambda part: -(part.resources.lut + part.resources.ff))
    shown = {f"{part.kind} {part.name}": part.resources for part in largest[:most]}
    block = synth.FAMILIES[family].block_bits
    table = Table(
        title=f"{design.name} on {family}: block RAM in {block // 1024} kbit",
        title_justify="left",
        header_style="bold",
    )
    table.add_column("layer", no_wrap=True)
    for column in _COLUMNS:
        table.add_column(column, justify="right", no_wrap=True)
    _add(table, area.by_row())
    _add(table, {"all": area.total})
    _add(table, {f"of these: {name}": row for name, row in area.by_kind().items()})
    if shown:
        _add(table, shown)
    Console(width=None if sys.stdout.isatty() else 110).print(table)
    click.echo(", ".join(f"{name} {spent:.1f} s" for name, spent in netlist.seconds.items()))
    if netlist.latches:
        first = ", ".join(netlist.latches[:3])
        click.echo(f"warning: {len(netlist.latches)} signals became latches: {first}")


def _add(table: Table, rows: Mapping[str, Resources]) -> None:
    for name, row in rows.items():
        figures: Sequence[int] = (row.lut, row.ram_lut, row.ff, row.dsp, row.block_ram)
        table.add_row(name, *(f"{figure:,}" for figure in figures))
    table.add_section()
