"""The order of a stream's elements where it is not that of the value that it carries.

In: a row of the manifest, and elements of frames. Out: the same elements in the other order. A
flattened feature map is a vector in the order channel, row, column, but its stream is still that of
the map, in which the channel runs fastest. Not here: elements to words and back (``packing``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pyahir.ir.types import Array

__all__ = ["in_stream_order", "in_value_order"]


def in_stream_order(row: Mapping[str, Any], values: Array) -> Array:
    """Give values (N, *shape) in the order in which their stream comes."""
    flattened = row.get("flattened")
    if flattened is None:
        return values
    maps = values.reshape(len(values), *flattened)
    return np.moveaxis(maps, 1, -1).reshape(values.shape)


def in_value_order(row: Mapping[str, Any], elements: Array) -> Array:
    """Give the elements (N, *shape) of a stream in the order of its value."""
    flattened = row.get("flattened")
    if flattened is None:
        return elements
    channels, height, width = flattened
    maps = elements.reshape(len(elements), height, width, channels)
    return np.moveaxis(maps, -1, 1).reshape(elements.shape)
