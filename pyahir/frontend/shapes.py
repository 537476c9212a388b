"""Finds the shape of a model's input: as given, as traced, or by trying.

Only the sizes are found here; whether the model runs on one is asked of the caller.
"""

from __future__ import annotations

import math
import os
import pickletools
from collections.abc import Callable, Iterator

from pyahir.frontend.detect import archive_member

__all__ = ["Shape", "candidates", "first_that_runs", "text", "traced_shape"]

Shape = tuple[int, ...]
USUAL = (28, 32, 64, 96, 128, 224, 256)


def text(shape: Shape) -> str:
    """Write a shape as the command line takes it: ``1,28,28``."""
    return ",".join(map(str, shape))


def traced_shape(path: str | os.PathLike[str]) -> Shape | None:
    """Read the example that a traced file was made with, without the batch and without unpickling.

    ``traced_inputs.pkl`` maps a method to its tensors; a tensor's arguments are its storage, an
    offset, its sizes and its strides.
    """
    data = archive_member(path, "traced_inputs.pkl")
    if data is None:
        return None
    numbers: list[int] | None = None
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name == "BINPERSID":
            numbers = []
        elif numbers is not None and opcode.name.startswith(("BININT", "INT", "LONG")):
            numbers.append(int(argument or 0))
        elif numbers is not None and opcode.name.startswith("TUPLE") and len(numbers) > 1:
            sizes = tuple(numbers[1:])
            return sizes[1:] if len(sizes) in (2, 4) else None
    return None


def candidates(features: int, vector: bool, flattened: bool) -> Iterator[Shape]:
    """List shapes to try for a model whose first layer reads ``features`` channels or elements.

    ``flattened``: a feature map is flattened before a first linear; a square one is likely.
    """
    if not vector:
        yield from ((features, size, size) for size in USUAL)
        yield from ((features, size, size) for size in range(1, 257) if size not in USUAL)
        return
    for channels in (1, 3):
        side = math.isqrt(features // channels)
        if flattened and channels * side * side == features:
            yield (channels, side, side)
    yield (features,)


def first_that_runs(shapes: Iterator[Shape], runs: Callable[[Shape], bool]) -> Shape | None:
    return next((shape for shape in shapes if runs(shape)), None)
