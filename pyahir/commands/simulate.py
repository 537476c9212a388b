"""``pyahir simulate``: words into a program's pipes, words out, with their clock cycles.

In: an Aa program, hand-written or compiled from a network, and files of words or images. Out: a
table or JSON, files of words. Exit status 1 when golden words differ.
Not here: the simulators (``pyahir.sim``), what the files mean (``pyahir.commands.pipes``).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pyahir.commands.options import PATH, json_option
from pyahir.errors import PyahirError

if TYPE_CHECKING:
    from pyahir.commands.pipes import Border
    from pyahir.sim.run import SimulationResult

__all__ = ["simulate_command"]

SHOWN = 8  # values of a pipe in the table
FREE_RUN = 1_000_000  # cycles, where no number of words ends the run


@click.command("simulate")
@click.argument("program", type=PATH)
@click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="[PIPE=]FILE",
    help="Words of an input pipe: .npy, or .txt with one integer a line. For a network float32 "
    "images or uint8 codes (N,C,H,W).",
)
@click.option("--expect", "counts", multiple=True, metavar="PIPE=COUNT", help="Words to wait for.")
@click.option(
    "--golden", multiple=True, metavar="PIPE=FILE", help="Compare the words of a pipe with these."
)
@click.option(
    "-o", "--output", "outputs", multiple=True, metavar="PIPE=FILE", help="Write .npy or .txt."
)
@click.option(
    "--engine",
    default="ghdl",
    show_default=True,
    help="ghdl, verilator, ahir, or aa: no clock.",
)
@click.option("--wave", type=PATH, help="Write waves: .vcd, .ghw or .fst.")
@click.option(
    "--stalls",
    metavar="SHARE",
    default="0",
    show_default=True,
    help="Random gaps in this share of the cycles, or IN,OUT for inputs and outputs.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--patience",
    type=click.IntRange(min=1),
    default=20_000,
    show_default=True,
    help="Cycles without a word before the run ends.",
)
@click.option("--cycles", type=click.IntRange(min=1), help="Most cycles of the run.")
@click.option("--fills", is_flag=True, help="Measure how full each pipe became.")
@click.option("--vhdl", type=PATH, help="Write the VHDL text.")
@click.option(
    "--levels",
    type=click.IntRange(min=1),
    help="Most operators in a row between two registers of a loop.  [default: no bound]",
)
@json_option
def simulate_command(
    program: Path,
    inputs: tuple[str, ...],
    counts: tuple[str, ...],
    golden: tuple[str, ...],
    outputs: tuple[str, ...],
    engine: str,
    wave: Path | None,
    stalls: str,
    seed: int,
    patience: int,
    cycles: int | None,
    fills: bool,
    vhdl: Path | None,
    levels: int | None,
    as_json: bool,
) -> int:
    """Simulate PROGRAM, Aa text, with words from files; show the words that come out."""
    from pyahir.backends.aa.files import write_files
    from pyahir.backends.vhdl import loops, to_vhdl
    from pyahir.commands.pipes import Border
    from pyahir.sim.ghdl import check_wave
    from pyahir.sim.registry import ENGINES, Request
    from pyahir.sim.run import parse_stalls

    if engine not in ENGINES:
        raise PyahirError(f"--engine {engine}: no such engine; accepted: {', '.join(ENGINES)}")
    if wave is not None:
        check_wave(wave)
    shares = parse_stalls(stalls, seed)
    border = Border.open(program)
    words = border.input_words(inputs)
    expected = border.golden_words(golden)
    targets = border.targets(outputs)
    wanted = border.counts(counts, words, expected)
    ours = engine in ("ghdl", "verilator")
    for option, given in (("--vhdl", vhdl), ("--levels", levels)):
        if given is not None and not ours:
            raise PyahirError(
                f"{option}: only with --engine ghdl or verilator, whose VHDL is pyahir's own"
            )
    text = to_vhdl(border.program, levels=levels) if ours else None
    result = ENGINES[engine](
        Request(
            program=border.program,
            inputs=words,
            expect=wanted,
            golden=expected,
            stalls=shares,
            patience=patience,
            limit=cycles or (None if any(wanted.values()) else FREE_RUN),
            vhdl=text,
            wave=wave,
            monitor=fills,
        )
    )
    contents = {path: border.contents(pipe, path, result) for pipe, path in targets}
    if vhdl is not None and text is not None:
        contents[vhdl] = text.encode()
    write_files(contents)
    if as_json:
        click.echo(json.dumps(_summary(border, result, engine), sort_keys=True))
    else:
        _show(border, result, engine)
        for path in (*(path for _, path in targets), wave, vhdl):
            if path is not None:
                click.echo(f"wrote {path}")
        for loop in loops(border.program, levels=levels) if ours else ():
            if loop.interval > 1:
                rate = f"a new iteration only every {loop.interval} cycles"
                click.echo(f"{loop.module}: {rate}: {loop.reason}")
        if expected:
            click.echo(_verdict(result, sum(map(len, expected.values()))))
    return 1 if result.mismatches else 0


def _verdict(result: SimulationResult, compared: int) -> str:
    if not result.mismatches:
        return f"simulate: PASSED: {compared:,} golden words, 0 differ"
    lines = [f"  {item}" for item in result.mismatches.values()]
    differing = sum(item.count for item in result.mismatches.values())
    return "\n".join(
        [f"simulate: FAILED: {differing:,} of {compared:,} golden words differ", *lines]
    )


def _figures(border: Border, pipe: str, result: SimulationResult) -> dict[str, Any]:
    """Give what the table shows of one output pipe."""
    cycles = result.cycles.get(pipe) or []
    rate = (cycles[-1] - cycles[0]) / (len(cycles) - 1) if len(cycles) > 1 else None
    return {
        "words": len(result.outputs[pipe]),
        "first_cycle": cycles[0] if cycles else None,
        "last_cycle": cycles[-1] if cycles else None,
        "cycles_per_word": rate,
        "values": border.values(pipe, result.outputs[pipe]),
    }


def _summary(border: Border, result: SimulationResult, engine: str) -> dict[str, Any]:
    return {
        "engine": engine,
        "outputs": {pipe: _figures(border, pipe, result) for pipe in result.outputs},
        "mismatches": [str(item) for item in result.mismatches.values()],
        "passed": result.passed,
        "notes": result.notes,
        "fills": {
            name: {"depth": item.depth, "peak": item.peak, "final": item.final}
            for name, item in result.fills.items()
        },
    }


def _show(border: Border, result: SimulationResult, engine: str) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 110)
    table = Table(title=f"output pipes, engine {engine}", title_justify="left", header_style="bold")
    table.add_column("pipe")
    for column in ("words", "first cycle", "last cycle", "cycles/word"):
        table.add_column(column, justify="right")
    table.add_column("values")
    for pipe in result.outputs:
        row = _figures(border, pipe, result)
        rate = "-" if row["cycles_per_word"] is None else f"{row['cycles_per_word']:,.2f}"
        ends = [
            "-" if row[key] is None else f"{row[key]:,}" for key in ("first_cycle", "last_cycle")
        ]
        values = " ".join(map(str, row["values"][:SHOWN]))
        more = " ..." if len(row["values"]) > SHOWN else ""
        table.add_row(pipe, f"{row['words']:,}", *ends, rate, values + more)
    console.print(table)
    if result.fills:
        fills = Table(title="pipes", title_justify="left", header_style="bold")
        fills.add_column("pipe")
        for column in ("depth", "peak", "at the end", "words", "cycles full"):
            fills.add_column(column, justify="right")
        for fill in result.fills.values():
            figures = (fill.depth, fill.peak, fill.final, fill.words, fill.full)
            fills.add_row(fill.pipe, *(f"{figure:,}" for figure in figures))
        console.print(fills)
    for note in result.notes:
        click.echo(f"note: {note}")
