"""A run of a design without a simulator: every layer needs ten cycles for a frame."""

from __future__ import annotations

from itertools import pairwise

from pyahir.report.build import Run
from pyahir.sim.design import frame_words
from pyahir.sim.engine import FrameCycles, GhdlEngine
from pyahir.sim.monitor import Activity, PipeFill
from pyahir.sim.run import SimulationResult

FRAMES = 4
STEP = 10  # cycles a frame and layer


def made_up_run(engine: GhdlEngine) -> Run:
    """Layer i works on frame f from cycle ``STEP * (f + i)`` for ``STEP`` cycles."""
    manifest = engine.files.manifest
    streams = [manifest["input"], *manifest["layers"]]
    length = STEP * (FRAMES + len(streams))
    counts = {row["name"]: ([0] * length, [0] * length) for row in manifest["pipes"]}
    counts["weights_in"] = ([0] * length, [0] * length)
    for place, (source, layer) in enumerate(pairwise(streams)):
        for frame in range(FRAMES):
            start = STEP * (frame + place)
            counts[source["pipe"]][1][start] += frame_words(source)
            counts[layer["pipe"]][0][start + STEP - 1] += frame_words(layer)
    fills = {
        name: PipeFill(
            name, 4, 4, 0, 0, length, sum(put), 3, activity=Activity(1, tuple(put), tuple(taken))
        )
        for name, (put, taken) in counts.items()
    }
    layers = len(manifest["layers"])
    ends = tuple(STEP * (frame + layers) for frame in range(FRAMES))
    starts = tuple(STEP * frame for frame in range(FRAMES))
    result = SimulationResult({}, fills=fills, end=length)
    return FrameCycles(ends, starts), result, "made up", 0.0
