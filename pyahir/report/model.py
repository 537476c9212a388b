"""What a report says, as data: the HTML page, the Markdown and the JSON show nothing else.

Cycles are clock cycles; bits are bits; shares are from 0 to 1. ``None`` stands for what was not
measured or has no meaning, as the utilization of a layer without multipliers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

__all__ = [
    "AccuracyRow",
    "LayerRow",
    "LoopRow",
    "PipeRow",
    "ProcessRow",
    "Quality",
    "QualityRow",
    "Report",
    "Simulated",
    "Span",
    "Timeline",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRow:
    """One layer: work, parts, time and memory.

    ``bound``: cycles that its multiplications alone need, MACs / multipliers, rounded up.
    ``utilization``: MACs / (multipliers * cycles a frame of the network). ``busy``: its cycles /
    those of the network. ``interval``: the longest initiation interval of its loops.
    """

    name: str
    kind: str
    source: str
    folding: str
    macs: int
    multipliers: int
    adders: int
    requantizers: int
    cycles: int
    bound: int
    utilization: float | None
    busy: float
    interval: int
    streamed: bool
    weight_bits: int
    parameter_bits: int
    line_bits: int
    pipe_bits: int
    memory_bits: int
    ram_blocks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PipeRow:
    """One FIFO; what the simulation saw is None without one. ``layer`` is None for control."""

    name: str
    layer: str | None
    writer: str | None
    reader: str | None
    width: int
    depth: int
    words: int | None = None
    peak: int | None = None
    full: int | None = None

    @property
    def bits(self) -> int:
        return self.width * self.depth

    @property
    def fill(self) -> float | None:
        """The share of the room that was used at most."""
        return None if self.peak is None else self.peak / self.depth


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRow:
    """A process (an Aa module) that carries data, and the pipes it reads and writes.

    ``memory``: whether it reads a memory of weights or parameters.
    """

    module: str
    layer: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    memory: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopRow:
    """A loop in the VHDL: an iteration begins every ``interval`` cycles; ``reason`` says why."""

    module: str
    layer: str | None
    loop: str
    stages: int
    interval: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """What the GHDL run measured; ``settled``: whether the frames end in a repeating pattern."""

    frames: int
    images: str
    stalls: float
    interval: float
    settled: bool
    latency: int
    first: int
    starts: tuple[int, ...]
    ends: tuple[int, ...]
    cycles: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """When a layer worked on a frame: first word taken to last word given."""

    layer: str
    frame: int
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """Who worked when. ``shown``: the two frames to look at, numbered from 0.

    ``activity``: for each layer and stretch of ``bin_cycles``, how fast it worked by the words that
    it took; 1 is its speed in the plan. Spans are exact to one stretch.
    """

    bin_cycles: int
    shown: tuple[int, int]
    spans: tuple[Span, ...]
    activity: Mapping[str, tuple[float, ...]]

    def span(self, layer: str, frame: int) -> Span:
        return next(item for item in self.spans if (item.layer, item.frame) == (layer, frame))


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityRow:
    """Signal against quantization error in dB; None where there is no error.

    ``rounding``: what it would be if the float values were only rounded to the layer's codes.
    """

    layer: str
    sqnr: float | None
    rounding: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyRow:
    """How many images a model puts into the right class."""

    model: str
    correct: int
    images: int

    @property
    def accuracy(self) -> float:
        return self.correct / self.images


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Integers against the float model, on as many ``images`` (what they are: ``source``)."""

    images: int
    source: str
    rows: tuple[QualityRow, ...]
    accuracy: tuple[AccuracyRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything. ``totals``, ``hashes`` and ``made_from`` are the manifest's own."""

    name: str
    layers: tuple[LayerRow, ...]
    totals: Mapping[str, Any]
    hashes: Mapping[str, Any]
    made_from: Mapping[str, Any]
    pipes: tuple[PipeRow, ...]
    processes: tuple[ProcessRow, ...]
    loops: tuple[LoopRow, ...]
    simulated: Simulated | None = None
    timeline: Timeline | None = None
    quality: Quality | None = None

    @property
    def planned(self) -> int:
        """Cycles a frame that the plan predicts."""
        return int(self.totals["cycles_per_frame"])

    @property
    def interval(self) -> float:
        """Cycles a frame: measured, or planned where nothing was simulated."""
        return self.planned if self.simulated is None else self.simulated.interval

    @property
    def utilization(self) -> float | None:
        """The share of the multipliers' cycles that does a multiplication of the network."""
        offered = self.totals["multipliers"] * self.interval
        return self.totals["macs"] / offered if offered else None

    @property
    def bottleneck(self) -> LayerRow:
        """The layer that needs the most cycles; the first of equals."""
        return max(self.layers, key=lambda row: row.cycles)

    def json(self) -> dict[str, Any]:
        """Give everything in JSON types."""
        found: dict[str, Any] = {**asdict(self), "format": 1}
        found["totals"] = {**self.totals, "utilization": self.utilization}
        found["bottleneck"] = self.bottleneck.name
        for row, pipe in zip(found["pipes"], self.pipes, strict=True):
            row["bits"] = pipe.bits
        return _finite(found)


def _finite(value: Any) -> Any:
    """Replace numbers that JSON does not know by None."""
    match value:
        case dict():
            return {str(key): _finite(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        case list() | tuple():
            return [_finite(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
        case float() if not math.isfinite(value):
            return None
        case _:
            return value
