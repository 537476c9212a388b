"""The idx files of MNIST and its relatives, plain or gzip-compressed.

In: a file, or a folder with the four files of a data set. Out: uint8 arrays. Not here: scaling.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pyahir.errors import DataError

__all__ = ["Bytes", "read_idx", "read_idx_set"]

Bytes = npt.NDArray[np.uint8]
UNSIGNED_BYTE = 8
PARTS = {"train": "train", "test": "t10k"}


def read_idx(path: Path) -> Bytes:
    """Read the array of bytes in one idx file."""
    data = _content(path)
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] != UNSIGNED_BYTE:
        raise DataError(f"{path}: not an idx file of bytes, which begins with 00 00 08")
    rank = data[3]
    if len(data) < 4 + 4 * rank:
        raise DataError(f"{path}: truncated: its {rank} sizes are not complete")
    shape = struct.unpack_from(f">{rank}I", data, 4)
    found = len(data) - 4 - 4 * rank
    if found != math.prod(shape):
        sizes = "x".join(map(str, shape))
        raise DataError(
            f"{path}: {found} bytes of content; {sizes}, as it begins, takes {math.prod(shape)}"
        )
    return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape)


def read_idx_set(folder: Path, part: str) -> tuple[Bytes, Bytes]:
    """Read images (N, H, W) and labels (N,) of the part ``train`` or ``test`` of a data set."""
    prefix = PARTS[part]
    images = read_idx(_find(folder, f"{prefix}-images-idx3-ubyte"))
    labels = read_idx(_find(folder, f"{prefix}-labels-idx1-ubyte"))
    if images.ndim != 3 or labels.shape != images.shape[:1]:
        raise DataError(
            f"{folder}: images of shape {images.shape} and labels of shape {labels.shape} do not "
            "belong together; accepted are (N, H, W) and (N,)"
        )
    return images, labels


def _find(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise DataError(f"{folder}: has neither {name} nor {name}.gz; give the folder that holds them")


def _content(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot read: {error}") from None
