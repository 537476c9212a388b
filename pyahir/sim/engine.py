"""Engines that simulate a design from its written files, and ``ghdl``, the one with our own VHDL.

In: the files of a design, and input codes. Out: the codes of the last layer, and clock cycles.
The whole text goes through the VHDL back end: nothing is shared with the Aa interpreter but the
parser, the type rules and the packing of words.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

from pyahir.backends.aa.checked import checked_program
from pyahir.backends.aa.feed import feed, most_late
from pyahir.backends.aa.files import Codes, DesignFiles, read_design
from pyahir.ir.types import Array
from pyahir.sim.design import frame_words, layout_codes, words_of_codes
from pyahir.sim.run import SimulationError, SimulationResult, Stalls, simulate
from pyahir.sim.testbench import UNDEFINED

__all__ = ["DesignEngine", "FrameCycles", "GhdlEngine", "Words"]


@dataclass(frozen=True, slots=True)
class FrameCycles:
    """The clock cycle in which the last word of each frame was taken from the design.

    ``starts``: those in which the first word of each frame was taken by the design. ``flushed``:
    the last frames of a design with streamed weights, which come while no more weights are sent for
    the layers before, and so faster.
    """

    ends: tuple[int, ...]
    starts: tuple[int, ...] = ()
    flushed: int = 0

    @property
    def first(self) -> int:
        """Cycles until the first frame was out, loading of the weights included."""
        return self.ends[0]

    @property
    def intervals(self) -> tuple[int, ...]:
        """Cycles from the end of each frame to the end of the next."""
        return tuple(later - earlier for earlier, later in pairwise(self.ends))

    @property
    def steady(self) -> tuple[int, ...]:
        """The intervals before the design is flushed."""
        found = self.intervals
        return found[: max(0, len(found) - self.flushed)]

    @property
    def period(self) -> int | None:
        """The number of intervals after which the last ones repeat; None when they do not."""
        found = self.steady
        for count in range(1, len(found) // 2 + 1):
            if found[-count:] == found[-2 * count : -count]:
                return count
        return None

    @property
    def interval(self) -> float:
        """Cycles a frame once the design has settled; NaN with fewer than two frames.

        Without stalls a design of blocking pipes is a timed marked graph: its frames end, after a
        transient in which pipes fill and weights load, in a pattern that repeats every few frames.
        So when the last intervals repeat (``period``), the mean over one repetition is the exact
        figure, and no later frame changes it. Else (too few frames, random stalls) it is the
        median of the last half of the intervals: the transient is at the beginning, and a single
        long gap does not move a median as it moves a mean.
        """
        found = self.steady
        if not found:
            return float("nan")
        if self.period is not None:
            return statistics.fmean(found[-self.period :])
        return float(statistics.median(found[len(found) // 2 :]))

    @property
    def latencies(self) -> tuple[int, ...]:
        """Cycles from the first word of each frame going in to its last word coming out."""
        return tuple(end - start for start, end in zip(self.starts, self.ends, strict=False))

    @property
    def latency(self) -> int | None:
        """Latency of the first frame: where the weights were there before it, of one frame alone.

        Frames that follow do not change it: they are behind it everywhere.
        """
        return self.latencies[0] if self.latencies else None


Words = Mapping[str, Sequence[int]]
Simulate = Callable[[Words, Mapping[str, int], Words | None, int], SimulationResult]


class DesignEngine:
    """A design that can be simulated; every run begins with reset and loads the weights."""

    name: ClassVar[str]

    def __init__(self, files: DesignFiles) -> None:
        self.files = files
        self.program = checked_program(files.text, str(files.path))
        self.cycles = FrameCycles(())
        self.result: SimulationResult | None = None

    @property
    def layers(self) -> list[dict[str, Any]]:
        """The manifest's layers, in stream order."""
        return list(self.files.manifest["layers"])

    @property
    def output(self) -> dict[str, Any]:
        """The manifest's row of what the design computes."""
        return dict(self.files.manifest["output"])

    def after_weights(self, stalls: Stalls | None = None) -> Stalls:
        """Hold the frames back until the weights that stay on the chip have been loaded."""
        count = int(self.files.manifest["weights"]["loaded_items"])
        pipes = [str(row["pipe"]) for row in self.files.inputs] if count else []
        hold = tuple((pipe, "weights_in", count) for pipe in pipes)
        return replace(stalls or Stalls(), hold=hold)

    def simulated(
        self,
        codes: Codes,
        keep: Collection[str] | None,
        golden: Array | None,
        simulate: Simulate,
    ) -> dict[str, Array]:
        """Pack frames and weights, simulate, unpack the last layer's codes and the cycles.

        ``simulate`` takes the words to give, the counts to expect, golden words and the patience.
        """
        manifest, output = self.files.manifest, self.output
        for name in keep or ():
            if name != output["value"]:
                raise SimulationError(
                    f"engine {self.name}: '{name}' is inside the design; "
                    f"accepted: {output['value']}"
                )
        pipe, frames = output["pipe"], self.files.frames(codes)
        count = len(frames[0][1])
        inputs: dict[str, Any] = {row["pipe"]: words_of_codes(row, part) for row, part in frames}
        if len(self.files.words):
            inputs["weights_in"] = feed(manifest, self.files.words, count).tolist()
        words = frame_words(output)
        wanted = None if golden is None else {pipe: words_of_codes(output, golden)}
        patience = 20_000 + 20 * int(manifest["totals"]["cycles_per_frame"])
        self.result = simulate(inputs, {pipe: words * count}, wanted, patience)
        starts = [self.result.taken[row["pipe"]][:: frame_words(row)] for row, _ in frames]
        self.cycles = FrameCycles(
            ends=tuple(self.result.cycles[pipe][words - 1 :: words]),
            starts=tuple(min(cycles) for cycles in zip(*starts, strict=True)),
            flushed=most_late(manifest),
        )
        stream = self.result.outputs[pipe]
        if UNDEFINED in stream:
            raise SimulationError(f"simulation: {self.result.mismatches[pipe]}")
        return {output["value"]: layout_codes(output, stream)}


class GhdlEngine(DesignEngine):
    """A design as our own VHDL."""

    name = "ghdl"

    @classmethod
    def open(cls, path: Path) -> GhdlEngine:
        """Read the files of a design."""
        return cls(read_design(path))

    def run(
        self,
        codes: Codes,
        *,
        keep: Collection[str] | None = None,
        stalls: Stalls | None = None,
        vhdl: str | None = None,
        golden: Array | None = None,
        wave: Path | None = None,
        monitor: bool = False,
    ) -> dict[str, Array]:
        """Run frames (N, H, W, C) or (N, I) of codes; give the last layer's (N, *shape).

        Those of several inputs are given by their values' names. Streams inside the design cannot
        be seen: ``keep`` may name the last layer's value only.
        ``golden`` codes of the last layer are compared in VHDL: see ``result.mismatches``.
        """

        def go(
            inputs: Words, expect: Mapping[str, int], wanted: Words | None, patience: int
        ) -> SimulationResult:
            return simulate(
                self.program,
                inputs,
                expect,
                stalls=stalls,
                patience=patience,
                vhdl=vhdl,
                golden=wanted,
                wave=wave,
                monitor=monitor,
            )

        return self.simulated(codes, keep, golden, go)
