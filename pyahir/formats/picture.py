"""Pictures of any size as CIFAR-10 images, the way BNN-PYNQ's host program prepares them.

In: a picture file that Pillow reads. Out: uint8 (3, 32, 32). Pillow is wanted here only.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pyahir.errors import DataError
from pyahir.formats.cifar import SIDE
from pyahir.formats.idx import Bytes

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["prepare", "read_picture", "thumbnail_size"]

WHITE = (255, 255, 255, 0)


def read_picture(path: Path) -> Bytes:
    """Read a picture as an image (3, 32, 32): made smaller, and centred on white."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ModuleNotFoundError:
        raise DataError(f"{path}: reading pictures needs Pillow: pip install pillow") from None
    try:
        with Image.open(path) as picture:
            picture.load()
            return prepare(picture)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, UnidentifiedImageError):
        raise DataError(f"{path}: not a picture that Pillow reads") from None


def prepare(picture: Image) -> Bytes:
    """Give the planes (3, 32, 32) of a picture."""
    from PIL import Image

    width, height = thumbnail_size(*picture.size)
    if (width, height) != picture.size:
        # Not thumbnail(), which since Pillow 7 reduces in two steps and gives other pixels.
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    canvas = Image.new("RGBA", (SIDE, SIDE), WHITE)
    canvas.paste(picture, ((SIDE - width) // 2, (SIDE - height) // 2))
    return np.ascontiguousarray(np.asarray(canvas)[:, :, :3].transpose(2, 0, 1))


def thumbnail_size(width: int, height: int) -> tuple[int, int]:
    """Give the size within 32x32 that keeps the aspect, rounded down after each side in turn."""
    if width > SIDE:
        width, height = SIDE, max(height * SIDE // width, 1)
    if height > SIDE:
        width, height = max(width * SIDE // height, 1), SIDE
    return width, height
