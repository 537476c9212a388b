"""A network's design at its border: images to words of the input pipe, words back to codes.

In: the manifest of a design. Out: words as the hardware takes them. The manifest says all that is
needed: scale, zero point, layout, lanes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pyahir.backends.aa.packing import pack_frames, unpack_frames
from pyahir.backends.aa.streams import in_stream_order, in_value_order
from pyahir.data import check_images
from pyahir.errors import DataError
from pyahir.ir.eval import from_nchw, quantize, to_nchw
from pyahir.ir.types import (
    Affine,
    Array,
    Element,
    Layout,
    PowerOfTwo,
    Quantization,
    TensorType,
    element_of,
)

__all__ = [
    "codes_of_words",
    "frame_words",
    "image_codes",
    "image_shape",
    "layout_codes",
    "output_codes",
    "stream_type",
    "words_of_codes",
]


def stream_type(row: Mapping[str, Any]) -> TensorType:
    """Read the type of a stream from the manifest's description."""
    try:
        return TensorType(
            shape=(1, *row["shape"]),
            element=_element(row),
            layout=Layout(row["layout"]),
            quantization=_quantization(row),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"the manifest has no valid stream ({error}): compile again") from None


def _element(row: Mapping[str, Any]) -> Element:
    found = element_of(row["element"])
    if found is None:
        raise ValueError(f"no element type {row['element']!r}")
    return found


def _quantization(row: Mapping[str, Any]) -> Quantization | None:
    if row["element"] == "bipolar":
        return None
    if row["exponent"] is not None:
        return PowerOfTwo(exponent=row["exponent"])
    return Affine(scale=row["scale"], zero_point=row["zero_point"])


def frame_words(row: Mapping[str, Any]) -> int:
    """Count the words of one frame of a stream."""
    return math.prod(row["shape"]) // int(row["lanes"])


def image_shape(manifest: Mapping[str, Any]) -> tuple[int, ...]:
    """Give the shape of one image as the model takes it: (C, H, W) or (I,)."""
    return _model_shape(stream_type(manifest["input"]))


def _model_shape(kind: TensorType) -> tuple[int, ...]:
    return to_nchw(np.empty((1, *kind.shape[1:])), kind).shape[1:]


def image_codes(manifest: Mapping[str, Any], images: Array, where: Path) -> Array:
    """Give the codes of images (N, C, H, W): float32 is quantized, uint8 are codes already.

    Where the input is stored as floats there are no codes, and uint8 are numbers.
    """
    source = stream_type(manifest["input"])
    shape = _model_shape(source)
    if images.dtype == np.uint8 and source.element.width == 8:
        check_images(images.astype(np.float32), shape, str(where))
        return from_nchw(images, source)
    rule = str(manifest["made_from"].get("rule"))
    return quantize(from_nchw(check_images(images, shape, str(where)), source), source, rule=rule)


def output_codes(row: Mapping[str, Any], codes: Array, where: Path) -> Array:
    """Give codes (N, C, H, W) of a stream, as ``codes_of_words`` gave them, in its own layout."""
    kind = stream_type(row)
    shape = _model_shape(kind)
    accepted = np.dtype(unpack_frames([], 1, (1,), kind.element).dtype)
    if codes.dtype != accepted or codes.shape[1:] != shape:
        raise DataError(
            f"{where}: the array is {codes.dtype} of shape {codes.shape}; accepted: {accepted} "
            f"codes of shape {('N', *shape)}"
        )
    return from_nchw(codes, kind)


def words_of_codes(row: Mapping[str, Any], codes: Array) -> list[int]:
    """Pack codes in the hardware's layout (N, H, W, C) or (N, I) into words of a stream."""
    ordered = in_stream_order(row, codes)
    return pack_frames(ordered, int(row["lanes"]), stream_type(row).element)


def codes_of_words(row: Mapping[str, Any], words: Sequence[int]) -> Array:
    """Turn words of a stream into codes (N, C, H, W); words of an unfinished frame are left out."""
    return np.ascontiguousarray(to_nchw(layout_codes(row, words), stream_type(row)))


def layout_codes(row: Mapping[str, Any], words: Sequence[int]) -> Array:
    """Turn words of a stream into codes in the layout of its value, (N, H, W, C) or (N, I)."""
    element = stream_type(row).element
    elements = unpack_frames(words, int(row["lanes"]), row["shape"], element)
    return in_value_order(row, elements)
