"""The sections of the page: what each shows, and which sentences go with it.

In: a ``Report``. Out: ``Section``s with a picture, sentences and tables of text, for any format.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pyahir.report import pictures, tables
from pyahir.report.advice import fill_advice, pace_advice, quality_advice, timeline_advice
from pyahir.report.model import Report
from pyahir.report.tables import Table

__all__ = ["Fact", "Section", "facts", "origin", "sections", "subtitle"]


@dataclass(frozen=True, slots=True)
class Fact:
    """One figure of the whole design."""

    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A heading and what is below it; ``picture`` is SVG, ``notes`` are warnings."""

    anchor: str
    title: str
    sentences: Sequence[str] = ()
    picture: Markup | None = None
    caption: str = ""
    tables: Sequence[Table] = ()
    notes: Sequence[str] = ()


def subtitle(report: Report) -> str:
    """Say in a line what was looked at."""
    seen = report.simulated
    if seen is None:
        return "The plan's figures of this design; it was not simulated."
    gaps = f", with random gaps in {seen.stalls:.0%} of the cycles" if seen.stalls else ""
    return (
        f"The plan's figures, and those of a GHDL simulation of {seen.frames} frames "
        f"({seen.images}){gaps}."
    )


def facts(report: Report) -> list[Fact]:
    """Give the figures that one wants to see first."""
    seen, totals = report.simulated, report.totals
    used = "-" if report.utilization is None else f"{report.utilization:.1%}"
    what = "planned" if seen is None else "measured"
    found = [Fact(f"cycles a frame, {what}", f"{report.interval:,.0f}")]
    if seen is not None:
        found.append(Fact("one frame alone, cycles", f"{seen.latency:,}"))
    return [
        *found,
        Fact("slowest layer", report.bottleneck.name),
        Fact("multipliers", f"{totals['multipliers']:,}"),
        Fact("of their cycles used", used),
        Fact("memory, kbit", f"{totals['memory_bits'] / 1000:,.1f}"),
        Fact("18-kbit block RAM", f"{totals['ram_blocks']:,}"),
    ]


def sections(report: Report) -> list[Section]:
    """Give all sections in their order."""
    return [
        _pace(report),
        _timeline(report),
        _fill(report),
        _memory(report),
        _dataflow(report),
        _quality(report),
        _loops(report),
    ]


def _pace(report: Report) -> Section:
    return Section(
        anchor="pace",
        title="Work and pace",
        sentences=pace_advice(report),
        picture=Markup(pictures.pace_picture(report)),
        caption=(
            "Cycles a frame that each layer needs. The longest bar (orange) sets the pace of the "
            "network, the dashed line. The upright mark is what its multiplications alone need, "
            "MACs / multipliers: where it is short of the bar's end, the layer loses cycles "
            "to something else than multiplying. A short bar: its multipliers have time left, so "
            "it could do with fewer."
        ),
        tables=[tables.layers(report)],
    )


NOT_SIMULATED = (
    "Not simulated (--no-simulation): without that option, 'pyahir report' runs the design in GHDL "
    "and shows here "
)


def _timeline(report: Report) -> Section:
    title = "Timeline"
    line = report.timeline
    if line is None:
        return Section(
            anchor="timeline",
            title=title,
            notes=[NOT_SIMULATED + "which layer works when, over two frames."],
        )
    first, second = (frame + 1 for frame in line.shown)
    last = ""
    if report.simulated is not None and second == report.simulated.frames:
        last = " No frame comes after them, so that the first layers end early."
    exact = "" if line.bin_cycles == 1 else f" Times are exact to {line.bin_cycles} cycles."
    return Section(
        anchor="timeline",
        title=title,
        sentences=timeline_advice(report),
        picture=Markup(pictures.timeline_picture(report)),
        caption=(
            f"Frames {first} (blue) and {second} (orange) in the simulation. A bar reaches "
            "from the first word of a frame that a layer takes to the last one that it gives; the "
            "number is its length in cycles. The green area below tells how fast the layer worked, "
            "by the words that it took: full height is the speed that the plan counts with, a gap "
            "is time in which it waits for its neighbours. Bars of one colour that overlap are "
            f"layers at work on the same frame.{last}{exact}"
        ),
    )


def _fill(report: Report) -> Section:
    title = "FIFO fill"
    if report.simulated is None:
        return Section(
            anchor="fill",
            title=title,
            notes=[NOT_SIMULATED + "how full each pipe became."],
            tables=[tables.pipes(report)],
        )
    data = [row for row in report.pipes if row.layer is not None]
    most = pictures.MOST_PIPES
    cut = f" The {most} pipes with the most bits are shown." if len(data) > most else ""
    return Section(
        anchor="fill",
        title=title,
        sentences=fill_advice(report),
        picture=Markup(pictures.fill_picture(report)),
        caption=(
            "Depth of each pipe (frame) and the most words that it held (filled), on a logarithmic "
            "scale. A pipe that is full (orange) stops its writer; one that is never more than "
            "half full could be smaller, if no other input fills it." + cut
        ),
        tables=[tables.pipes(report)],
    )


def _memory(report: Report) -> Section:
    largest = max(report.layers, key=lambda row: row.memory_bits)
    total = report.totals["memory_bits"]
    sentences: list[str] = []
    if total:
        sentences.append(
            f"{largest.name} has the most memory: {largest.memory_bits:,} of {total:,} bits "
            f"({largest.memory_bits / total:.0%}), {largest.weight_bits:,} of them weights."
        )
    sentences.append(
        f"All FIFOs of data together, small ones too, hold {report.totals['pipe_bits']:,} bits. "
        "Block RAM is an estimate: memories of few words become lookup tables; 'pyahir synth' "
        "counts what synthesis makes of the design."
    )
    return Section(
        anchor="memory", title="Memory", sentences=sentences, tables=[tables.memory(report)]
    )


def _dataflow(report: Report) -> Section:
    measured = "most words held of its depth" if report.simulated else "depth"
    full = " Orange ones were full: their writers waited." if report.simulated else ""
    return Section(
        anchor="dataflow",
        title="Dataflow",
        picture=Markup(pictures.dataflow_picture(report).replace("<svg", '<svg class="long"', 1)),
        caption=(
            f"The processes of each layer and the pipes between them, with width and {measured}. "
            f"The sign \u21ba marks a pipe that brings words back to its own process.{full} "
            "The loader of the weights and the signals that start the layers are left out."
        ),
    )


QUALITY_HELP = (
    "Not measured. Give the model that the design was compiled from and the float model: pyahir "
    "report DESIGN.aa -o DIR --model QUANTIZED.pt --float FLOAT.pt2 --input IMAGES.npz. With "
    "labels (--data DATA.npz, arrays x and y) the accuracy comes along. A design that was compiled "
    "from a float model needs --model FLOAT.pt2 --calibrate DATA.npz."
)


def _quality(report: Report) -> Section:
    title = "Quantization error"
    found = report.quality
    if found is None:
        return Section(anchor="quality", title=title, notes=[QUALITY_HELP])
    if not found.rows:
        return Section(
            anchor="quality",
            title=title,
            sentences=quality_advice(report),
            tables=[tables.accuracy(found)],
            notes=["The error of each layer needs the float model: --float FLOAT.pt2."],
        )
    listed = [tables.quality(found)]
    if found.accuracy:
        listed.append(tables.accuracy(found))
    return Section(
        anchor="quality",
        title=title,
        sentences=quality_advice(report),
        picture=Markup(pictures.quality_picture(report)),
        caption=(
            f"Signal to quantization noise on {found.images:,} images ({found.source}): the "
            "dequantized integers against the float model's activations. 6 dB are one bit. The "
            "upright mark is what rounding the float activations to the layer's codes would leave; "
            "the distance to it came from the layers before it and from the weights."
        ),
        tables=listed,
    )


def _loops(report: Report) -> Section:
    slow = [row for row in report.loops if row.interval > 1]
    sentence = "Every loop begins an iteration in every cycle: none of them slows the design down."
    if slow:
        sentence = f"{len(slow)} of {len(report.loops)} loops do not begin one in every cycle."
    return Section(
        anchor="loops", title="Loops", sentences=[sentence], tables=[tables.loops(report)]
    )


def origin(report: Report) -> list[str]:
    """Say which files the figures belong to."""
    versions = report.made_from.get("versions", {})
    listed = ", ".join(f"{name} {versions[name]}" for name in sorted(versions))
    found = [f"Aa text SHA-256 {report.hashes['aa_sha256']}."]
    if report.made_from.get("model_sha256"):
        found.append(f"Model SHA-256 {report.made_from['model_sha256']}.")
    return [*found, f"Compiled with {listed}."] if listed else found
