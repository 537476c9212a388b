"""``pyahir explore``: every plan worth making, as a table, a picture or a list; any one compiled.

In: a model, as for ``compile``. Out: a table or JSON, a file of the front, or a design's files.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from pyahir import tables
from pyahir.commands.options import (
    PATH,
    compile_model,
    json_option,
    model_options,
    open_model,
)
from pyahir.errors import OutputError, PlanError, PyahirError

if TYPE_CHECKING:
    from pyahir.compiler import CompileOptions
    from pyahir.explore import Front, Point, Range, Runner
    from pyahir.frontend.source import SourceModel

__all__ = ["explore_command"]

COLUMNS: tuple[str, ...] = (
    "plan",
    "multipliers",
    "cycles",
    "adders",
    "requantizers",
    "memory bits",
    "block RAMs",
    "utilization",
    "x bound",
    "best in",
)


@click.command("explore")
@click.argument("model", type=PATH)
@click.option(
    "-o",
    "--output",
    type=PATH,
    help="Write the front (.svg, .png, .json, .csv); with --compile, the .aa file.",
)
@click.option("--compile", "chosen", type=int, metavar="NUMBER", help="Compile this plan into -o.")
@click.option("--between", metavar="A,B", help="Only plans with A to B multipliers.")
@click.option(
    "--most",
    type=click.IntRange(min=2),
    metavar="N",
    help="Print only N plans, spread evenly over the logarithm of multipliers.",
)
@click.option("--clock", metavar="FREQUENCY", help="Tell frames a second, for example at 100MHz.")
@click.option("--plan", type=PATH, help="Take foldings from this .plan.json.")
@click.option("--folding", multiple=True, metavar="LAYER=PExSIMD", help="Fix one layer's folding.")
@click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="Processes.  [default: 1]")
@click.option("--scheduler", metavar="ADDRESS", help="Work on the Dask cluster of this scheduler.")
@model_options
@json_option
def explore_command(
    model: Path,
    output: Path | None,
    chosen: int | None,
    between: str | None,
    most: int | None,
    clock: str | None,
    jobs: int | None,
    scheduler: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """List every plan of MODEL that none beats in cycles, multipliers and memory together."""
    from pyahir import explore
    from pyahir.compiler import quantized_graph, rounded_graph
    from pyahir.explore.export import front_json, write_front

    runner, wanted, hertz = _runner(jobs, scheduler), _range(between), _hertz(clock)
    _check_output(output, chosen)
    source, options = open_model(model, **given)
    graph = quantized_graph(source, options)
    job = explore.Job(
        graph=rounded_graph(graph, options), foldings=options.plan.foldings, between=wanted
    )
    front = explore.explore(job, runner, tables.progress("exploring"))
    if chosen is not None:
        assert output is not None
        _compile(source, options, front.numbered(chosen), chosen, output, as_json=as_json)
        return
    if output is not None:
        write_front(front, output, hertz)
    if as_json:
        click.echo(json.dumps(front_json(front, hertz), sort_keys=True))
        return
    _show(front, explore.spread(front.points, most or len(front.points)), hertz)
    if output is not None:
        click.echo(f"wrote {output}: {len(front.points)} plans")


def _check_output(output: Path | None, chosen: int | None) -> None:
    from pyahir.explore.export import check_path

    if chosen is not None and output is None:
        raise OutputError(f"--compile {chosen}: name the .aa file to write with -o")
    if chosen is not None and output is not None and output.suffix != ".aa":
        raise OutputError(f"{output}: --compile writes a design; end its name in .aa")
    if chosen is None and output is not None:
        check_path(output)


def _runner(jobs: int | None, scheduler: str | None) -> Runner:
    from pyahir.explore import on_dask, on_processes, serial

    if jobs is not None and scheduler is not None:
        raise PyahirError("--jobs and --scheduler: give one; a cluster has its own workers")
    if scheduler is not None:
        return on_dask(scheduler)
    return on_processes(jobs) if jobs is not None and jobs > 1 else serial


def _range(text: str | None) -> Range:
    from pyahir.explore import Range

    if text is None:
        return Range()
    ends = [part.strip() for part in text.split(",")]
    if len(ends) != 2 or not all(end.isdecimal() for end in ends) or int(ends[0]) > int(ends[1]):
        raise PlanError(
            f"--between {text}: accepted are two numbers, the smaller first, for example 20,200"
        )
    return Range(int(ends[0]), int(ends[1]))


def _hertz(text: str | None) -> float | None:
    from pyahir.plan.target import parse_quantity

    return None if text is None else parse_quantity("--clock", text, "Hz")


def _compile(
    source: SourceModel,
    options: CompileOptions,
    point: Point,
    number: int,
    output: Path,
    *,
    as_json: bool,
) -> None:
    """Compile with all foldings of a plan, as ``compile --plan`` would."""
    from dataclasses import replace

    from pyahir.plan.search import Options

    fixed = replace(options, plan=Options(foldings=point.foldings))
    compiled = compile_model(source, fixed)
    files = [str(path) for path in compiled.write(output)]
    if as_json:
        totals = compiled.manifest["totals"]
        click.echo(json.dumps({"plan": number, "files": files, **totals}, sort_keys=True))
        return
    tables.show_design(compiled.manifest)
    click.echo(f"wrote {', '.join(files)}: plan {number}")


def _show(front: Front, shown: Sequence[int], clock: float | None) -> None:
    columns = list(COLUMNS)
    if clock is not None:
        columns.insert(3, "frames/s")
    table = Table(
        title=f"{front.name}: plans that no other beats in cycles, multipliers and memory together",
        title_justify="left",
        header_style="bold",
    )
    for column in columns:
        justify = "left" if column == "best in" else "right"
        table.add_column(column, justify=justify)
    for index in shown:
        table.add_row(*_row(front, index, clock))
    Console(width=None if sys.stdout.isatty() else 140).print(table)
    click.echo(_legend(front, len(shown)))


def _row(front: Front, index: int, clock: float | None) -> list[str]:
    point = front.points[index]
    counts = [point.adders, point.requantizers, point.memory_bits, point.ram_blocks]
    row = [f"{index + 1}", f"{point.multipliers:,}", f"{point.cycles:,}"]
    if clock is not None:
        row.append(f"{clock / point.cycles:,.0f}")
    row += [f"{count:,}" for count in counts]
    row += [f"{front.utilization(point):.1%}", f"{front.bound_distance(point):.2f}"]
    return [*row, front.best_in(point)]


def _legend(front: Front, shown: int) -> str:
    count = f"{len(front.points)} plans"
    if shown < len(front.points):
        count = f"{shown} of {count}, spread evenly over the logarithm of multipliers"
    return (
        f"{count}. best in: no other plan that is as fast has as few multipliers, or as little "
        "memory, or\neither (both), or the two at once (together). "
        "x bound: how many times MACs / multipliers."
    )
