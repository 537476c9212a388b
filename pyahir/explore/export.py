"""A front as files: a picture (SVG, PNG), JSON with every folding, CSV.

In: ``Front``. Out: bytes; ``write_front`` writes them. Files hold all plans, in their order.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pyahir.backends.aa.files import write_files
from pyahir.errors import OutputError
from pyahir.explore.front import Front, Point
from pyahir.plan.file import FORMAT, folding_fields

__all__ = ["FORMATS", "check_path", "draw", "front_json", "write_front"]

FIELDS: tuple[str, ...] = (
    "number",
    "multipliers",
    "cycles",
    "frames_per_second",
    "adders",
    "requantizers",
    "memory_bits",
    "ram_blocks",
    "utilization",
    "bound_distance",
    "best_in",
)


def check_path(path: Path) -> None:
    """Refuse a file that cannot be written, before the work is done."""
    if path.suffix not in FORMATS:
        raise OutputError(
            f"{path}: a front is written as {', '.join(FORMATS)}; "
            "to write a design, say which plan with --compile NUMBER"
        )
    if not path.parent.is_dir():
        raise OutputError(f"{path}: cannot write: the folder {path.parent} does not exist")


def write_front(front: Front, path: Path, clock: float | None) -> None:
    """Write all points in the format that the name asks for."""
    check_path(path)
    write_files({path: FORMATS[path.suffix](front, path, clock)})


def figures(front: Front, number: int, clock: float | None) -> dict[str, Any]:
    """Give one plan's figures by name."""
    point = front.points[number - 1]
    values = (
        number,
        point.multipliers,
        point.cycles,
        None if clock is None else clock / point.cycles,
        point.adders,
        point.requantizers,
        point.memory_bits,
        point.ram_blocks,
        front.utilization(point),
        front.bound_distance(point),
        front.best_in(point),
    )
    return dict(zip(FIELDS, values, strict=True))


def front_json(front: Front, clock: float | None) -> dict[str, Any]:
    """Give a front in JSON types; each item of ``plans`` is a plan file too."""
    plans = [
        {
            "format": FORMAT,
            **figures(front, number, clock),
            "layers": {name: folding_fields(item) for name, item in point.foldings.items()},
        }
        for number, point in enumerate(front.points, start=1)
    ]
    return {"model": front.name, "macs": front.macs, "clock_hz": clock, "plans": plans}


def _json(front: Front, path: Path, clock: float | None) -> bytes:
    return (json.dumps(front_json(front, clock), indent=2) + "\n").encode()


def _csv(front: Front, path: Path, clock: float | None) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, FIELDS, lineterminator="\n")
    writer.writeheader()
    for number in range(1, len(front.points) + 1):
        writer.writerow(figures(front, number, clock))
    return text.getvalue().encode()


def _picture(front: Front, path: Path, clock: float | None) -> bytes:
    # Slow to import, so only where a picture is drawn.
    from matplotlib import (
        rc_context,  # pyright: ignore[reportUnknownVariableType] (partly typed)
    )

    contents = io.BytesIO()
    # The same front gives the same file: no random names, no date.
    metadata = {"Date": None} if path.suffix == ".svg" else {}
    with rc_context({"svg.hashsalt": front.name}):
        draw(front).savefig(
            contents, format=path.suffix[1:], dpi=150, metadata=metadata, bbox_inches="tight"
        )
    return contents.getvalue()


def draw(front: Front) -> Any:
    """Draw cycles against multipliers, memory as colour, and the bound as a line."""
    from matplotlib.figure import Figure

    figure: Any = Figure(figsize=(8, 5.5))  # partly typed
    axes = figure.add_subplot()
    points = sorted(front.points, key=_multipliers)
    across = [point.multipliers for point in points]
    if front.macs:
        bound = [front.macs / number for number in across]
        label = f"bound: {front.macs:,} MACs / multipliers"
        axes.plot(across, bound, color="black", linewidth=1, label=label)
    dots = axes.scatter(
        across,
        [point.cycles for point in points],
        c=[point.memory_bits / 1000 for point in points],
        s=18,
        label=f"{len(points)} plans",
        zorder=3,
    )
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="multipliers",
        ylabel="clock cycles a frame",
        title=f"{front.name}: plans that no other plan beats",
    )
    axes.grid(visible=True, which="both", linewidth=0.3)
    axes.legend()
    figure.colorbar(dots, ax=axes, label="memory, kbit")
    return figure


def _multipliers(point: Point) -> int:
    return point.multipliers


FORMATS: Mapping[str, Callable[[Front, Path, float | None], bytes]] = {
    ".svg": _picture,
    ".png": _picture,
    ".json": _json,
    ".csv": _csv,
}
