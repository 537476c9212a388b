"""The engine ``ghdl``: runs a design from its written files as VHDL in GHDL.

In: the three files, and input codes. Out: the codes of the last layer, and clock cycles a frame.
The whole text goes through the VHDL back end: nothing is shared with the Aa interpreter but the
parser, the type rules and the packing of words.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyahir.backends.aa.files import DesignFiles, read_design
from pyahir.backends.aa.packing import pack_frames, unpack_frames
from pyahir.backends.aa.parser import parse
from pyahir.backends.aa.verify import verify
from pyahir.ir.types import Array
from pyahir.sim.run import SimulationError, SimulationResult, Stalls, simulate

__all__ = ["FrameCycles", "GhdlEngine"]


@dataclass(frozen=True, slots=True)
class FrameCycles:
    """The clock cycle in which the last word of each frame was taken."""

    ends: tuple[int, ...]

    @property
    def first(self) -> int:
        """Cycles until the first frame was out, loading of the weights included."""
        return self.ends[0]

    @property
    def steady(self) -> float:
        """Cycles from the end of a frame to the end of the next, over all but the first."""
        if len(self.ends) < 2:
            return float("nan")
        return (self.ends[-1] - self.ends[0]) / (len(self.ends) - 1)


class GhdlEngine:
    """A design that can be simulated; every run begins with reset and loads the weights."""

    def __init__(self, files: DesignFiles) -> None:
        self.files = files
        self.program = parse(files.text, str(files.path))
        verify(self.program)
        self.cycles = FrameCycles(())
        self.result: SimulationResult | None = None

    @classmethod
    def open(cls, path: Path) -> GhdlEngine:
        """Read the files of a design."""
        return cls(read_design(path))

    @property
    def layers(self) -> list[dict[str, Any]]:
        """The manifest's layers, in stream order."""
        return list(self.files.manifest["layers"])

    def run(
        self,
        codes: Array,
        *,
        keep: Collection[str] | None = None,
        stalls: Stalls | None = None,
        vhdl: str | None = None,
    ) -> dict[str, Array]:
        """Run frames (N, H, W, C) or (N, I) of uint8 codes; give the last layer's (N, *shape).

        Streams inside the design cannot be seen: ``keep`` may name the last layer's value only.
        """
        source = self.files.manifest["input"]
        output = self.layers[-1]
        for name in keep or ():
            if name != output["value"]:
                raise SimulationError(
                    f"engine ghdl: '{name}' is inside the design; accepted: {output['value']}"
                )
        inputs: dict[str, Any] = {source["pipe"]: pack_frames(codes, source["lanes"])}
        if self.files.items:
            inputs["weights_in"] = self.files.items
        words = math.prod(output["shape"]) // output["lanes"]
        pipe = output["pipe"]
        patience = 20_000 + 20 * int(self.files.manifest["totals"]["cycles_per_frame"])
        self.result = simulate(
            self.program,
            inputs,
            {pipe: words * len(codes)},
            stalls=stalls,
            patience=patience,
            vhdl=vhdl,
        )
        cycles = self.result.cycles[pipe]
        self.cycles = FrameCycles(tuple(cycles[words - 1 :: words]))
        stream = self.result.outputs[pipe]
        return {output["value"]: unpack_frames(stream, output["lanes"], output["shape"])}
