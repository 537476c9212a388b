"""The user's cache: files that cost much to make, each by a name with the hash of its making.

In: a name and a file. Out: a copy of it, later. A cache that cannot be read or written is none:
what is not there is made again. Not here: what the hash must hold (who makes the file).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

__all__ = ["cache_folder", "fetch", "store"]


def cache_folder() -> Path:
    """Give the folder of pyahir's caches: in ``XDG_CACHE_HOME``, or in ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pyahir"


def fetch(name: str, target: Path) -> bool:
    """Copy a file out of the cache, so that nobody can remove it under its user."""
    source = cache_folder() / name
    with contextlib.suppress(OSError):
        shutil.copy(source, target)
        os.utime(source)
        return True
    return False


def store(path: Path, name: str, *, group: str, most: int) -> None:
    """Put a copy of ``path`` into the cache, whole or not at all.

    Of the files whose names begin with ``group`` the ``most`` that were used last stay.
    """
    folder = cache_folder()
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        handle, unfinished = tempfile.mkstemp(dir=folder, prefix=".building-")
        os.close(handle)
        try:
            shutil.copy(path, unfinished)
            os.replace(unfinished, folder / name)
        finally:
            Path(unfinished).unlink(missing_ok=True)
        found = [(item.stat().st_mtime, item) for item in folder.glob(f"{group}*")]
        for _, item in sorted(found, reverse=True)[most:]:
            item.unlink(missing_ok=True)
