"""The engine ``aa``: runs a design from its written files through the Aa interpreter.

In: the three files, and input codes. Out: the codes of every layer's output pipe. It shares no
arithmetic with the golden model: what it computes comes from the text alone.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pyahir.backends.aa.checked import checked_program
from pyahir.backends.aa.feed import feed
from pyahir.backends.aa.files import Codes, DesignFiles, read_design
from pyahir.backends.aa.interp import Simulator
from pyahir.backends.aa.packing import pack_frames, unpack_frames
from pyahir.backends.aa.streams import in_value_order
from pyahir.ir.types import Array, Element, element_of

__all__ = ["AaEngine"]

PATIENCE = 100_000  # steps that a design may take to come to rest, beyond ten times its run


class AaEngine:
    """A design that can be run; weights are loaded with the first frames, as in hardware."""

    def __init__(self, files: DesignFiles) -> None:
        self.files = files
        self.simulator = Simulator(checked_program(files.text, str(files.path)))
        self.loaded = False
        self.ahead: dict[str, list[int]] = {}  # words of the next frame that came early

    @classmethod
    def open(cls, path: Path) -> AaEngine:
        return cls(read_design(path))

    @property
    def layers(self) -> list[dict[str, Any]]:
        """The manifest's layers, in stream order."""
        return list(self.files.manifest["layers"])

    @property
    def values(self) -> dict[str, dict[str, Any]]:
        """The manifest's rows of all values that can be seen: the layers', and the output."""
        output = self.files.manifest["output"]
        return {item["value"]: item for item in (*self.layers, output)}

    def run(
        self, codes: Codes, *, keep: Collection[str] | None = None, order_seed: int | None = None
    ) -> dict[str, Array]:
        """Run frames (N, H, W, C) or (N, I) of codes, of several inputs by their values' names.

        Gives the output, and the codes of the values in ``keep`` (default: all), each (N, *shape).
        """
        frames, output = self.files.frames(codes), self.files.manifest["output"]
        wanted = {
            name: item
            for name, item in self.values.items()
            if keep is None or name in keep or name == output["value"]
        }
        number = len(frames[0][1])
        words = {item["pipe"]: _words(item) * number for item in wanted.values()}
        taps = [pipe for pipe in words if pipe != output["pipe"]]
        inputs: dict[str, Any] = {
            row["pipe"]: pack_frames(part, row["lanes"], _element(row)) for row, part in frames
        }
        items = feed(self.files.manifest, self.files.words, number, load=not self.loaded)
        if len(items):
            inputs["weights_in"] = items.tolist()
        self.loaded = True
        result = self.simulator.run(
            inputs, {output["pipe"]: words[output["pipe"]]}, taps=taps, order_seed=order_seed
        )
        # A later layer may not need the last words of a frame: let those come to rest as well.
        limit = 10 * result.steps + PATIENCE
        rest = self.simulator.run({}, {}, taps=taps, order_seed=order_seed, max_steps=limit)
        streams: dict[str, list[int]] = {}
        for pipe, count in words.items():
            stream = self.ahead.pop(pipe, [])
            for part in (result.outputs, result.taps, rest.taps):
                stream += part.get(pipe, [])
            streams[pipe], self.ahead[pipe] = stream[:count], stream[count:]
        return {name: _values(item, streams[item["pipe"]]) for name, item in wanted.items()}


def _values(row: dict[str, Any], words: list[int]) -> Array:
    elements = unpack_frames(words, row["lanes"], row["shape"], _element(row))
    return in_value_order(row, elements)


def _element(row: Mapping[str, Any]) -> Element:
    element = element_of(row["element"])
    assert element is not None, f"the manifest has an element type {row['element']!r}"
    return element


def _words(layer: dict[str, Any]) -> int:
    """Count the words of one frame of a layer's stream."""
    return math.prod(layer["shape"]) // layer["lanes"]
