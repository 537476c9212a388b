"""What a person reads on the terminal: tables, progress, verdicts. Numbers come from elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from pyahir.plan.streaming import bandwidth

if TYPE_CHECKING:
    from pyahir.engines import Comparison, LayerCheck, Timing

__all__ = [
    "comparison_json",
    "layers_json",
    "progress",
    "show_accuracy",
    "show_comparison",
    "show_design",
    "show_layers",
    "show_streams",
    "verdict",
]


def _console() -> Console:
    """Print to standard output, with room for whole rows when it is not a terminal."""
    return Console(width=None if sys.stdout.isatty() else 110, soft_wrap=False)


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        words = column in ("layer", "kind", "engines", "model")
        table.add_column(column, justify="left" if words else "right", no_wrap=True)
    return table


def show_design(manifest: Mapping[str, Any]) -> None:
    """Print the layers of a design with what the plan predicts."""
    columns = (
        "layer",
        "kind",
        "pe x simd",
        "MACs",
        "multipliers",
        "cycles",
        "busy",
        "memory bits",
        "exceptions",
    )
    table = _table(f"{manifest['name']}: predicted per frame", columns)
    totals = manifest["totals"]
    frame = totals["cycles_per_frame"]
    for row in manifest["layers"]:
        folding = f"{row['pe']} x {row['simd']}" if row["multipliers"] else "-"
        figures = [f"{row[key]:,}" for key in ("macs", "multipliers", "cycles")]
        figures.append(_share(row["macs"], row["multipliers"] * frame))
        figures += [f"{row[key]:,}" for key in ("memory_bits", "exceptions")]
        table.add_row(row["name"], row["kind"], folding, *figures)
    table.add_section()
    figures = [f"{totals[key]:,}" for key in ("macs", "multipliers", "cycles_per_frame")]
    figures.append(_share(totals["macs"], totals["multipliers"] * frame))
    figures += [f"{totals[key]:,}" for key in ("memory_bits", "exceptions")]
    table.add_row("all", "", "", *figures)
    _console().print(table)


def show_streams(manifest: Mapping[str, Any]) -> None:
    """Print which layers take their weights from outside, and how fast; nothing where none does."""
    names = [row["name"] for row in manifest["layers"] if row["streamed"]]
    if names:
        totals = manifest["totals"]
        rate = bandwidth(totals["weight_items_per_frame"], totals["cycles_per_frame"])
        _console().print(f"weights from outside for every frame: {', '.join(names)}: {rate}")


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"


def show_comparison(found: Sequence[Comparison]) -> None:
    """Print, per pair of engines and layer, how many codes were compared and differ."""
    table = _table("differing integers", ("layer", "engines", "compared", "differing"))
    pair = None
    for item in found:
        if pair not in (None, (item.left, item.right)):
            table.add_section()
        pair = (item.left, item.right)
        style = "red" if item.differing else None
        table.add_row(
            item.layer,
            f"{item.left} = {item.right}",
            f"{item.compared:,}",
            f"{item.differing:,}",
            style=style,
        )
    _console().print(table)


def verdict(
    found: Sequence[Comparison], engines: Sequence[str], compared: int, differing: int, frames: int
) -> str:
    """Give the last line of ``verify``."""
    names = " = ".join(engines)
    if not differing:
        return f"verify: PASSED: {names}: {compared:,} values on {frames} frames, 0 differ"
    worst = next(item for item in found if item.differing)
    return (
        f"verify: FAILED: {differing:,} of {compared:,} values differ; first in {worst.layer} "
        f"({worst.left} against {worst.right}), {worst.first}"
    )


def comparison_json(
    found: Sequence[Comparison], frames: int, timings: Sequence[Timing] = ()
) -> dict[str, Any]:
    """Give the comparison in JSON types."""
    return {
        "simulations": [timing.json() for timing in timings],
        "frames": frames,
        "compared": sum(item.compared for item in found),
        "differing": sum(item.differing for item in found),
        "layers": [
            {
                "layer": item.layer,
                "engines": [item.left, item.right],
                "compared": item.compared,
                "differing": item.differing,
                "first": str(item.first) if item.first else None,
            }
            for item in found
        ],
    }


def show_layers(checks: Sequence[LayerCheck]) -> None:
    """Print, per layer on its own and pair of engines, what differs; and its clock cycles."""
    columns = ("layer", "engines", "compared", "differing", "planned", "cycles", "one frame")
    table = _table("each layer on its own: differing integers, cycles a frame", columns)
    for check in checks:
        timings = {timing.engine: timing.frames for timing in check.timings}
        for item in check.comparisons:
            frames = timings.get(item.right) or timings.get(item.left)
            several = frames is not None and len(frames.ends) > 1
            table.add_row(
                check.layer,
                f"{item.left} = {item.right}",
                f"{item.compared:,}",
                f"{item.differing:,}",
                f"{check.predicted:,}",
                f"{frames.interval:,.0f}" if frames and several else "-",
                f"{frames.latency:,}" if frames and frames.latency is not None else "-",
                style="red" if item.differing else None,
            )
        table.add_section()
    _console().print(table)


def layers_json(checks: Sequence[LayerCheck], frames: int) -> dict[str, Any]:
    """Give the checks of single layers in JSON types."""
    parts = [comparison_json(check.comparisons, frames, check.timings) for check in checks]
    return {
        "frames": frames,
        "compared": sum(part["compared"] for part in parts),
        "differing": sum(part["differing"] for part in parts),
        "layers": [
            {"name": check.layer, "predicted_cycles": check.predicted, **part}
            for check, part in zip(checks, parts, strict=True)
        ],
    }


def show_accuracy(rows: Sequence[Mapping[str, Any]], images: int) -> None:
    """Print accuracy per engine."""
    table = _table(f"accuracy on {images:,} images", ("model", "correct", "accuracy", "images/s"))
    for row in rows:
        table.add_row(
            row["model"],
            f"{row['correct']:,}",
            f"{100 * row['accuracy']:.2f} %",
            f"{row['images_per_second']:,.0f}",
        )
    _console().print(table)


def progress(what: str) -> Callable[[int, int], None]:
    """Give a callback (done, total) that draws a bar on standard error while work goes on."""
    console = Console(stderr=True)
    bar = Progress(
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    task = bar.add_task(what, total=None)

    def update(done: int, total: int) -> None:
        if not bar.live.is_started:
            bar.start()
        bar.update(task, completed=done, total=total)
        if done >= total:
            bar.stop()

    return update
