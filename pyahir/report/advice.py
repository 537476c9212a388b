"""What the figures mean, in sentences: which layer sets the pace, and what would make it faster.

In: a ``Report``. Out: lists of sentences, one topic each; the page shows them beside its pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from pyahir.plan.streaming import bandwidth
from pyahir.report.model import LayerRow, PipeRow, Report

__all__ = ["fill_advice", "pace_advice", "quality_advice", "timeline_advice"]

NEAR = 0.9  # of the slowest layer's cycles: such a layer is next in line
SLACK = 1.02  # cycles over the multiplications' own: more is time lost to something else
SPARE_BITS = 512


def pace_advice(report: Report) -> list[str]:
    """Name the slowest layer and what holds it."""
    slow, planned = report.bottleneck, report.planned
    found = [
        f"{slow.name} sets the pace: it needs {slow.cycles:,} of the {planned:,} cycles that the "
        "plan has for a frame.",
        _remedy(slow),
    ]
    others = [row for row in report.layers if row is not slow]
    near = [row for row in others if row.cycles >= NEAR * slow.cycles]
    if near:
        names = _listed([f"{row.name} ({row.cycles:,})" for row in near])
        second = max(row.cycles for row in near)
        gain = f"gains {1 - second / slow.cycles:.1%} at most"
        if second == slow.cycles:
            gain = "gains nothing"
        found.append(
            f"A faster {slow.name} alone {gain}: {names} {'comes' if len(near) == 1 else 'come'} "
            "next, so the plan is balanced, and a larger budget (--multipliers) is spread over "
            "these layers."
        )
    elif others:
        second = max(others, key=lambda row: row.cycles)
        found.append(
            f"There is room: the next slowest layer, {second.name}, needs {second.cycles:,} cycles "
            f"({second.busy:.0%})."
        )
    found += _streams(report) + _bound(report) + _measured(report) + _loops(report)
    return found


def _remedy(row: LayerRow) -> str:
    if not row.multipliers:
        return (
            f"{row.name} multiplies nothing: it takes one word a cycle, so that only wider words "
            "(more requantizers in the layer before it) make it faster."
        )
    if row.cycles <= SLACK * row.bound:
        return (
            f"Its {row.multipliers} multipliers work almost all the time ({row.bound:,} cycles "
            f"are {row.macs:,} MACs / {row.multipliers}): only more of them, a larger pe or simd "
            f"than {row.folding}, make it faster."
        )
    return (
        f"Its multiplications alone would take {row.bound:,} cycles; the rest is lost in words "
        f"that are not full or arrive late. Another folding of the same size than {row.folding}, "
        "wider words from the layer before it, or whole windows, can make it faster."
    )


def _streams(report: Report) -> list[str]:
    items = report.totals["weight_items_per_frame"]
    if not items:
        return []
    names = _listed([row.name for row in report.layers if row.streamed])
    text = f"The weights of {names} come from outside: {bandwidth(items, report.planned)}."
    if items < NEAR * report.planned:
        return [text]
    return [text, "Fewer streamed layers (--weight-memory, --stream) can make the design faster."]


def _bound(report: Report) -> list[str]:
    macs, multipliers = report.totals["macs"], report.totals["multipliers"]
    if not multipliers:
        return []
    least = -(-macs // multipliers)
    return [
        f"{macs:,} MACs on {multipliers:,} multipliers cannot take fewer than {least:,} cycles a "
        f"frame; the design reaches {report.utilization or 0:.1%} of that rate."
    ]


def _measured(report: Report) -> list[str]:
    seen = report.simulated
    if seen is None:
        return ["These are the plan's figures: nothing was simulated."]
    text = f"The simulation took {seen.interval:,.0f} cycles a frame"
    change = seen.interval / report.planned - 1
    if seen.stalls:
        text += f" with random gaps in {seen.stalls:.0%} of the cycles at the border"
    if abs(change) < 0.005:
        return [f"{text}, as planned."]
    more = "more" if change > 0 else "fewer"
    return [f"{text}, {abs(change):.1%} {more} than planned."]


def _loops(report: Report) -> list[str]:
    return [
        f"{loop.module} begins an iteration every {loop.interval} cycles, not in every one: "
        f"{loop.reason}."
        for loop in report.loops
        if loop.interval > 1
    ]


def timeline_advice(report: Report) -> list[str]:
    """Say how far the work on several frames overlaps."""
    seen, line = report.simulated, report.timeline
    if seen is None or line is None:
        return []
    longest = max(
        (item for item in line.spans if item.frame == line.shown[0]),
        key=lambda item: item.end - item.start,
    )
    found = [
        f"A frame alone takes {seen.latency:,} cycles from its first word in to its last word "
        f"out; behind it another one comes out every {seen.interval:,.0f}: it takes as long as "
        f"{seen.latency / seen.interval:.1f} of them.",
        f"{longest.layer} has each frame longest, {longest.end - longest.start:,} cycles from its "
        "first word to its last.",
    ]
    if not seen.settled:
        found.append(
            "The intervals between frames do not repeat yet: with more --frames the figure is more "
            "certain."
        )
    return found


def fill_advice(report: Report) -> list[str]:
    """Say which pipes were full, and which are deeper than this run needed."""
    seen = [row for row in report.pipes if row.peak is not None and row.layer is not None]
    if not seen:
        return []
    full = [row for row in seen if row.peak == row.depth]
    waits = "No pipe was ever full: nobody waited for room."
    if full:
        names = _listed([row.name for row in full])
        waits = (
            f"{names} {'was' if len(full) == 1 else 'were'} full at times: then the writer waits. "
            + _behind(report)
        )
    spare = sorted((row for row in seen if _spare(row) >= SPARE_BITS), key=_spare, reverse=True)
    found = [waits]
    if spare:
        bits = sum(_spare(row) for row in spare)
        names = _listed([f"{row.name} ({row.peak} of {row.depth})" for row in spare])
        found.append(
            f"Never more than half full: {names}; in this run {bits:,} bits of their room were "
            "not used. The plan sizes them for neighbours that work evenly all through a frame."
        )
    return found


def _behind(report: Report) -> str:
    """Say whether the slowest layer itself had to wait for room."""
    slow = report.bottleneck.name
    owner = {process.module: process.layer for process in report.processes}
    streams = [
        row
        for row in report.pipes
        if row.layer and owner.get(row.writer or "") == slow and owner.get(row.reader or "") != slow
    ]
    full = sum(row.full or 0 for row in streams)
    if full:
        return f"{slow}, the slowest layer, waited too: its stream was full in {full:,} cycles."
    return f"The stream of {slow}, the slowest layer, was never full: nothing behind it slows it."


def _spare(row: PipeRow) -> int:
    """Bits that were never used, where that is half of the room or more."""
    if row.peak is None or 2 * row.peak > row.depth:
        return 0
    return (row.depth - row.peak) * row.width


def quality_advice(report: Report) -> list[str]:
    """Name the layer that loses most, and what the accuracy says."""
    if report.quality is None:
        return []
    found: list[str] = []
    rows = [(row.layer, row.sqnr) for row in report.quality.rows[1:] if row.sqnr is not None]
    drops = [(before - after, layer) for (_, before), (layer, after) in pairwise(rows)]
    if drops and max(drops)[0] > 0:
        drop, layer = max(drops)
        found.append(
            f"The largest step down from a layer to the next is {drop:.1f} dB, at {layer}: look "
            "there first, at its weights and at the range of its output."
        )
    if len(report.quality.accuracy) > 1:
        first, last = report.quality.accuracy[0], report.quality.accuracy[-1]
        change = 100 * (last.accuracy - first.accuracy)
        found.append(
            f"Accuracy goes from {first.accuracy:.2%} to {last.accuracy:.2%} "
            f"({change:+.2f} percentage points) on {first.images:,} images."
        )
    return found


def _listed(names: Sequence[str], most: int = 6) -> str:
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"
