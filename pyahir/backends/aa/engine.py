"""The engine ``aa``: runs a design from its written files through the Aa interpreter.

In: the three files, and input codes. Out: the codes of every layer's output pipe. It shares no
arithmetic with the golden model: what it computes comes from the text alone.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from pyahir.backends.aa.files import DesignFiles, read_design
from pyahir.backends.aa.interp import Simulator
from pyahir.backends.aa.packing import pack_frames, unpack_frames
from pyahir.backends.aa.parser import parse
from pyahir.backends.aa.verify import verify
from pyahir.ir.types import Array

__all__ = ["AaEngine"]


class AaEngine:
    """A design that can be run; weights are loaded with the first frames, as in hardware."""

    def __init__(self, files: DesignFiles) -> None:
        self.files = files
        program = parse(files.text, str(files.path))
        verify(program)
        self.simulator = Simulator(program)
        self.loaded = False

    @classmethod
    def open(cls, path: Path) -> AaEngine:
        return cls(read_design(path))

    @property
    def layers(self) -> list[dict[str, Any]]:
        """The manifest's layers, in stream order."""
        return list(self.files.manifest["layers"])

    def run(
        self, codes: Array, *, keep: Collection[str] | None = None, order_seed: int | None = None
    ) -> dict[str, Array]:
        """Run frames (N, H, W, C) or (N, I) of uint8 codes.

        Gives the codes of the layers in ``keep`` (default: the last), each (N, *shape).
        """
        source = self.files.manifest["input"]
        output = self.layers[-1]
        wanted = {output["name"]} if keep is None else set(keep) | {output["name"]}
        taps = {item["pipe"] for item in self.layers[:-1] if item["name"] in wanted}
        inputs: dict[str, Any] = {source["pipe"]: pack_frames(codes, source["lanes"])}
        if not self.loaded and self.files.items:
            inputs["weights_in"] = self.files.items
        size = int(np.prod(output["shape"])) // output["lanes"]
        result = self.simulator.run(
            inputs, {output["pipe"]: size * len(codes)}, taps=taps, order_seed=order_seed
        )
        self.loaded = True
        streams = {**result.taps, **result.outputs}
        return {
            item["name"]: unpack_frames(streams[item["pipe"]], item["lanes"], item["shape"])
            for item in self.layers
            if item["name"] in wanted
        }
