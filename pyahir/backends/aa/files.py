"""The files of a design: ``NAME.aa``, ``NAME.weights`` and the manifest ``NAME.json``.

Everything is a function of the design: no clock, no path, no order of a set. Files are written
under a temporary name and renamed together, so that nothing half-written is left behind.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from pyahir.errors import DataError, OutputError
from pyahir.ir.types import Array

__all__ = ["MAGIC", "Codes", "DesignFiles", "read_design", "weights_bytes", "write_files"]

MAGIC = b"PYAHIRW1"
HEADER = 64
FORMAT = 1
Codes = Array | Mapping[str, Array]  # of the only input, or of each by its value's name


def weights_bytes(items: npt.NDArray[np.uint64]) -> bytes:
    """Give the contents of a ``.weights`` file: 64 bytes of header, then the items.

    Header: magic (8 bytes), number of items (uint64), SHA-256 of the items (32 bytes), 16 zero
    bytes. All little-endian.
    """
    payload = items.astype("<u8").tobytes()
    header = MAGIC + len(items).to_bytes(8, "little") + hashlib.sha256(payload).digest()
    return header.ljust(HEADER, b"\0") + payload


@dataclass(frozen=True, slots=True, kw_only=True)
class DesignFiles:
    """A design read back: the text, the loader's items as the file holds them, the manifest."""

    path: Path
    text: str
    words: npt.NDArray[np.uint64]
    manifest: Mapping[str, Any]

    @property
    def items(self) -> tuple[int, ...]:
        """The loader's items as numbers."""
        return tuple(self.words.tolist())

    @property
    def inputs(self) -> list[Mapping[str, Any]]:
        """The streams that come in: one, or those of a join alone."""
        return list(self.manifest.get("inputs") or [self.manifest["input"]])

    def frames(self, codes: Codes) -> list[tuple[Mapping[str, Any], Array]]:
        """Give each stream that comes in its frames; an array alone stands for the only stream."""
        rows = self.inputs
        if not isinstance(codes, Mapping):
            codes = {rows[0]["value"]: codes}
        accepted = [str(row["value"]) for row in rows]
        if set(codes) != set(accepted):
            raise DataError(
                f"{self.path}: codes of {', '.join(codes)}; accepted: of {', '.join(accepted)}"
            )
        if len({len(part) for part in codes.values()}) > 1:
            found = ", ".join(f"{len(codes[name])} of {name}" for name in accepted)
            raise DataError(f"{self.path}: frames: {found}; accepted: as many of each")
        return [(row, codes[row["value"]]) for row in rows]


def write_files(contents: Mapping[Path, bytes]) -> None:
    """Write all files or none: ``OutputError`` names the one that cannot be written."""
    ready: list[tuple[str, Path]] = []
    try:
        for path, data in contents.items():
            ready.append((_write_beside(path, data), path))
        for temporary, path in ready:
            os.replace(temporary, path)
        ready.clear()
    finally:
        for temporary, _ in ready:
            Path(temporary).unlink(missing_ok=True)


def _write_beside(path: Path, data: bytes) -> str:
    if not path.parent.is_dir():
        raise OutputError(f"{path}: cannot write: the folder {path.parent} does not exist")
    if path.is_dir():
        raise OutputError(f"{path}: cannot write: it is a folder; name a file")
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise OutputError(
            f"{path}: cannot write: {error.strerror}; choose another folder"
        ) from None
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(temporary, 0o644)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OutputError(f"{path}: cannot write: {error.strerror}") from None
        raise
    return temporary


def read_design(path: Path) -> DesignFiles:
    """Read ``NAME.aa`` with its manifest and weights; check format and checksums."""
    try:
        text = _read(path).decode("utf-8")
    except UnicodeDecodeError:
        raise DataError(
            f"{path}: not the text of a design; give the .aa file that 'pyahir compile' wrote"
        ) from None
    manifest_path, weights_path = path.with_suffix(".json"), path.with_suffix(".weights")
    try:
        manifest: Any = json.loads(_read(manifest_path))
    except json.JSONDecodeError as error:
        raise DataError(f"{manifest_path}: not JSON (line {error.lineno}): compile again") from None
    known = cast("dict[str, Any]", manifest) if isinstance(manifest, dict) else {}
    if known.get("format") != FORMAT:
        raise DataError(f"{manifest_path}: not a manifest of format {FORMAT}: compile again")
    return DesignFiles(path=path, text=text, words=_words(weights_path), manifest=known)


def _read(path: Path, most: int = -1) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(most)
    except FileNotFoundError:
        raise DataError(
            f"{path}: no such file; 'pyahir compile MODEL -o {path.with_suffix('.aa')}' makes it"
        ) from None
    except OSError as error:
        raise DataError(f"{path}: cannot read: {error.strerror}") from None


def _words(path: Path) -> npt.NDArray[np.uint64]:
    """Map the items of a weights file into memory; they are read where they are used."""
    header = _read(path, HEADER)
    if len(header) < HEADER or header[: len(MAGIC)] != MAGIC:
        raise DataError(
            f"{path}: not a weights file (it begins with {header[:8]!r}): compile again"
        )
    count, size = int.from_bytes(header[8:16], "little"), path.stat().st_size - HEADER
    if size != 8 * count:
        raise DataError(
            f"{path}: truncated: {size} bytes of items, {8 * count} expected: compile again"
        )
    if not count:
        return np.zeros(0, np.dtype("<u8"))
    words = np.memmap(path, np.dtype("<u8"), mode="r", offset=HEADER, shape=(count,))
    if hashlib.sha256(words.data).digest() != header[16:48]:
        raise DataError(f"{path}: the checksum of the items is wrong: compile again")
    return words
