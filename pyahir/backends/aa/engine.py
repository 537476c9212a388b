"""The engine ``aa``: runs a design from its written files through the Aa interpreter.

In: the three files, and input codes. Out: the codes of every layer's output pipe. It shares no
arithmetic with the golden model: what it computes comes from the text alone.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pyahir.backends.aa.feed import feed
from pyahir.backends.aa.files import Codes, DesignFiles, read_design
from pyahir.backends.aa.interp import Simulator
from pyahir.backends.aa.packing import pack_frames, unpack_frames
from pyahir.backends.aa.parser import parse
from pyahir.backends.aa.verify import verify
from pyahir.ir.types import Array, Element, element_of

__all__ = ["AaEngine"]

PATIENCE = 100_000  # steps that a design may take to come to rest, beyond ten times its run


class AaEngine:
    """A design that can be run; weights are loaded with the first frames, as in hardware."""

    def __init__(self, files: DesignFiles) -> None:
        self.files = files
        program = parse(files.text, str(files.path))
        verify(program)
        self.simulator = Simulator(program)
        self.loaded = False
        self.ahead: dict[str, list[int]] = {}  # words of the next frame that came early

    @classmethod
    def open(cls, path: Path) -> AaEngine:
        return cls(read_design(path))

    @property
    def layers(self) -> list[dict[str, Any]]:
        """The manifest's layers, in stream order."""
        return list(self.files.manifest["layers"])

    def run(
        self, codes: Codes, *, keep: Collection[str] | None = None, order_seed: int | None = None
    ) -> dict[str, Array]:
        """Run frames (N, H, W, C) or (N, I) of codes, of several inputs by their values' names.

        Gives the codes of the layers in ``keep`` (default: the last), each (N, *shape).
        """
        frames = self.files.frames(codes)
        count = len(frames[0][1])
        output = self.layers[-1]
        wanted = [item for item in self.layers if keep is None or item["value"] in keep]
        wanted = wanted if output in wanted else [*wanted, output]
        taps = [item["pipe"] for item in wanted if item is not output]
        inputs: dict[str, Any] = {
            row["pipe"]: pack_frames(part, row["lanes"], _element(row)) for row, part in frames
        }
        items = feed(self.files.manifest, self.files.words, count, load=not self.loaded)
        if len(items):
            inputs["weights_in"] = items.tolist()
        self.loaded = True
        counts = {item["pipe"]: _words(item) * count for item in wanted}
        result = self.simulator.run(
            inputs, {output["pipe"]: counts[output["pipe"]]}, taps=taps, order_seed=order_seed
        )
        # A later layer may not need the last words of a frame: let those come to rest as well.
        limit = 10 * result.steps + PATIENCE
        rest = self.simulator.run({}, {}, taps=taps, order_seed=order_seed, max_steps=limit)
        found: dict[str, Array] = {}
        for item in wanted:
            pipe = item["pipe"]
            stream = self.ahead.pop(pipe, [])
            for part in (result.outputs, result.taps, rest.taps):
                stream += part.get(pipe, [])
            self.ahead[pipe] = stream[counts[pipe] :]
            found[item["value"]] = unpack_frames(
                stream[: counts[pipe]], item["lanes"], item["shape"], _element(item)
            )
        return found


def _element(row: Mapping[str, Any]) -> Element:
    element = element_of(row["element"])
    assert element is not None, f"the manifest has an element type {row['element']!r}"
    return element


def _words(layer: dict[str, Any]) -> int:
    """Count the words of one frame of a layer's stream."""
    return math.prod(layer["shape"]) // layer["lanes"]
