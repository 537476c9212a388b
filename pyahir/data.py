"""Arrays from files: inputs (``.npy``) and labelled sets (``.npz`` with ``x`` and ``y``)."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from pyahir.errors import DataError
from pyahir.ir.types import Array

__all__ = ["check_images", "load_images", "load_labelled", "random_images"]

Images = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


def load_images(path: Path, shape: Sequence[int]) -> Images:
    """Read images (N, *shape) as the model takes them from ``.npy``, or ``x`` of an ``.npz``."""
    loaded = _load(path)
    if isinstance(loaded, dict):
        if "x" not in loaded:
            raise DataError(f"{path}: no array 'x'; it has {sorted(loaded)}; save it as x=...")
        loaded = loaded["x"]
    return check_images(loaded, shape, str(path))


def load_labelled(path: Path, shape: Sequence[int]) -> tuple[Images, Labels]:
    """Read ``x`` (N, *shape) and ``y`` (N,) from an ``.npz``."""
    loaded = _load(path)
    if not isinstance(loaded, dict) or not {"x", "y"} <= loaded.keys():
        raise DataError(f"{path}: needs arrays 'x' and 'y' in an .npz file: np.savez(f, x=x, y=y)")
    x = check_images(loaded["x"], shape, str(path))
    y = loaded["y"]
    if y.dtype.kind not in "iu" or y.shape != (len(x),):
        raise DataError(
            f"{path}: array 'y' is {y.dtype} of shape {_sizes(y.shape)}; accepted are "
            f"{len(x)} integer labels"
        )
    return x, y.astype(np.int64)


def check_images(array: Array, shape: Sequence[int], where: str) -> Images:
    """Check dtype, shape, size and finiteness; give the array as contiguous float32."""
    wanted = "x".join(["N", *map(str, shape)])
    if array.dtype != np.float32:
        raise DataError(
            f"{where}: the array is {array.dtype}; accepted is float32 of shape {wanted}"
        )
    if array.shape[1:] != tuple(shape):
        raise DataError(
            f"{where}: the array has shape {_sizes(array.shape)}; the model takes {wanted}"
        )
    if not len(array):
        raise DataError(f"{where}: the array is empty; at least one image is needed")
    if not np.isfinite(array).all():
        bad = np.argwhere(~np.isfinite(array))[0].tolist()
        raise DataError(f"{where}: NaN or infinity at index {bad}; images hold finite numbers")
    return np.ascontiguousarray(array, dtype=np.float32)


def random_images(shape: Sequence[int], count: int, seed: int) -> Images:
    """Make uniform images in [0, 1): for a check when the user has given none."""
    return np.random.default_rng(seed).random((count, *shape), dtype=np.float32)


def _sizes(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _load(path: Path) -> Array | dict[str, Array]:
    try:
        loaded: Any = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return cast("Array", loaded)
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        raise DataError(
            f"{path}: not a NumPy file of plain numbers; write it with np.save or np.savez"
        ) from None
