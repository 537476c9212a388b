"""What a simulation tells of the layers: when each worked on which frame, and how much.

In: ``SimulationResult`` of a monitored run, and the manifest. Out: ``Simulated``, ``Timeline``.
Words are counted, not planned: a frame begins at a layer with the word of its source that the
layer takes first, and ends with the last word that it gives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from pyahir.report.model import ProcessRow, Simulated, Span, Timeline
from pyahir.sim.design import frame_words
from pyahir.sim.engine import FrameCycles
from pyahir.sim.monitor import Activity, PipeFill
from pyahir.sim.run import SimulationResult

__all__ = ["LEAST_FRAMES", "simulated", "timeline"]

LEAST_FRAMES = 3  # one to fill the pipes, two to look at
Counts = npt.NDArray[np.int64]


def simulated(
    cycles: FrameCycles, result: SimulationResult, images: str, stalls: float
) -> Simulated:
    """Collect the clock cycles of a run of at least ``LEAST_FRAMES`` frames."""
    assert len(cycles.ends) >= LEAST_FRAMES
    assert cycles.latency is not None
    return Simulated(
        frames=len(cycles.ends),
        images=images,
        stalls=stalls,
        interval=cycles.interval,
        settled=cycles.period is not None or len(set(cycles.intervals)) == 1,
        latency=cycles.latency,
        first=cycles.first,
        starts=cycles.starts,
        ends=cycles.ends,
        cycles=result.end,
    )


def timeline(
    manifest: Mapping[str, Any],
    processes: Sequence[ProcessRow],
    fills: Mapping[str, PipeFill],
    frames: int,
) -> Timeline:
    """Say when each layer worked.

    Shown are the last two frames; the two before the last one, with a frame behind them, where
    these began after the weights were loaded.
    """
    seen = {name: fill.activity for name, fill in fills.items() if fill.activity is not None}
    streams = [manifest["input"], *manifest["layers"]]
    size = seen[streams[0]["pipe"]].bin_cycles
    spans = [
        span
        for source, layer in pairwise(streams)
        for span in _spans(layer["name"], source, layer, seen, frames)
    ]
    begins = [item.start for item in spans if item.layer == streams[1]["name"]]
    loader = fills.get(manifest["weights"]["pipe"])
    loaded = loader.last_cycle if loader else 0
    first = frames - LEAST_FRAMES if begins[frames - LEAST_FRAMES] >= loaded else frames - 2
    return Timeline(
        bin_cycles=size,
        shown=(first, first + 1),
        spans=tuple(spans),
        activity={
            layer["name"]: _activity(layer, processes, seen, frames) for layer in manifest["layers"]
        },
    )


def _spans(
    name: str,
    source: Mapping[str, Any],
    layer: Mapping[str, Any],
    seen: Mapping[str, Activity],
    frames: int,
) -> list[Span]:
    taken = np.cumsum(seen[source["pipe"]].taken)
    put = np.cumsum(seen[layer["pipe"]].put)
    size = seen[layer["pipe"]].bin_cycles
    found: list[Span] = []
    for frame in range(frames):
        begins = int(np.searchsorted(taken, frame * frame_words(source) + 1))
        ends = int(np.searchsorted(put, (frame + 1) * frame_words(layer)))
        found.append(Span(layer=name, frame=frame, start=begins * size, end=(ends + 1) * size))
    return found


def _activity(
    layer: Mapping[str, Any],
    processes: Sequence[ProcessRow],
    seen: Mapping[str, Activity],
    frames: int,
) -> tuple[float, ...]:
    """Tell how fast the layer worked in each stretch: 1 is the speed that the plan counts with.

    Its work is told by the words that one process takes: the busiest of those that read weights,
    else of all. Each word brings work for ``cycles / words a frame`` cycles, since a process may
    use it for several outputs; words that come together are worked on one after the other.
    """
    own = [process for process in processes if process.layer == layer["name"]]
    taken = [_words(process, seen) for process in own if process.memory] or [
        _words(process, seen) for process in own
    ]
    words = max(taken, key=lambda counts: int(counts.sum()))
    size = seen[layer["pipe"]].bin_cycles
    worth = layer["cycles"] * frames / max(1, int(words.sum()))
    shares: list[float] = []
    waiting = 0.0
    for count in words.tolist():
        waiting += count * worth
        done = min(float(size), waiting)
        waiting -= done
        shares.append(round(done / size, 4))
    return tuple(shares)


def _words(process: ProcessRow, seen: Mapping[str, Activity]) -> Counts:
    """Count the words that a process takes.

    A pipe that it writes and reads itself brings words back. Where weights are read, these take
    turns with new ones, for the next outputs; elsewhere (lines of a window) they come along with
    new ones, and would count twice.
    """
    length = len(next(iter(seen.values())).taken)
    counts = np.zeros(length, np.int64)
    for pipe in process.reads:
        if process.memory or pipe not in process.writes:
            counts += np.asarray(seen[pipe].taken)
    return counts
