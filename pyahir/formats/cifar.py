"""CIFAR-10 files: the binary records, which BNN-PYNQ reads too, and the Python batches.

A record is one byte of label and 3072 of pixels: the red, green and blue plane, row by row.
In: files. Out: uint8 images (N, 3, 32, 32) and labels. Not here: scaling.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pyahir.errors import DataError
from pyahir.formats.idx import Bytes

__all__ = ["CHANNELS", "SIDE", "read_cifar_set", "read_records", "write_records"]

SIDE = 32
CHANNELS = 3
RECORD = 1 + CHANNELS * SIDE * SIDE
BATCHES = {"train": [f"data_batch_{number}" for number in range(1, 6)], "test": ["test_batch"]}


def read_records(path: Path) -> tuple[Bytes, Bytes]:
    """Read images (N, 3, 32, 32) and labels (N,) of a file of binary records."""
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot read: {error.strerror}") from None
    if not len(data) or len(data) % RECORD:
        raise DataError(
            f"{path}: {len(data)} bytes; CIFAR-10 records take {RECORD} each: a label, then the "
            "red, green and blue plane of 32x32"
        )
    records = data.reshape(-1, RECORD)
    return records[:, 1:].reshape(-1, CHANNELS, SIDE, SIDE), records[:, 0]


def write_records(path: Path, images: Bytes, labels: Bytes | Sequence[int]) -> None:
    """Write images (N, 3, 32, 32) and labels as binary records."""
    column = np.asarray(labels, np.uint8)
    if images.shape != (len(column), CHANNELS, SIDE, SIDE) or images.dtype != np.uint8:
        raise DataError(
            f"{path}: images of shape {images.shape} {images.dtype} with {len(column)} labels; "
            "accepted is (N, 3, 32, 32) uint8 with N labels"
        )
    flat = images.reshape(len(column), RECORD - 1)
    path.write_bytes(np.concatenate([column[:, None], flat], axis=1).tobytes())


def read_cifar_set(folder: Path, part: str, *, trust_pickle: bool = False) -> tuple[Bytes, Bytes]:
    """Read the part ``train`` or ``test`` of the binary or the Python version of CIFAR-10."""
    names = BATCHES[part]
    if all((folder / f"{name}.bin").is_file() for name in names):
        parts = [read_records(folder / f"{name}.bin") for name in names]
    elif all((folder / name).is_file() for name in names):
        if not trust_pickle:
            raise DataError(
                f"{folder}: the Python version of CIFAR-10 is pickled, and a pickle may run code: "
                "say --trust-pickle, or take the binary version"
            )
        parts = [_python_batch(folder / name) for name in names]
    else:
        raise DataError(
            f"{folder}: has neither {names[0]}.bin nor {names[0]}; give the folder that holds the "
            "CIFAR-10 batches"
        )
    images, labels = zip(*parts, strict=True)
    return np.concatenate(images), np.concatenate(labels)


def _python_batch(path: Path) -> tuple[Bytes, Bytes]:
    try:
        with path.open("rb") as stream:
            batch: dict[Any, Any] = pickle.load(stream, encoding="bytes")
        images = np.asarray(batch[b"data"], np.uint8).reshape(-1, CHANNELS, SIDE, SIDE)
        return images, np.asarray(batch[b"labels"], np.uint8)
    except (pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError):
        raise DataError(f"{path}: not a batch of CIFAR-10's Python version") from None
