"""Words of pipes from files and into files, with the signs of the pipe's type.

In: a program's pipes, ``.npy`` arrays or ``.txt`` lists. Out: bit patterns for the simulator, and
values for a person. An Int pipe takes negative numbers; every other pipe takes bit patterns.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pyahir.backends.aa import ast as aa
from pyahir.backends.aa import types as ty
from pyahir.backends.aa.natural_types import scalar_width
from pyahir.backends.aa.scopes import build_scopes
from pyahir.errors import DataError
from pyahir.ir.types import Array

__all__ = ["SUFFIXES", "Word", "array_file", "read_array", "read_words", "word_types", "words_file"]

SUFFIXES = (".npy", ".txt")


@dataclass(frozen=True, slots=True)
class Word:
    """What one word of a pipe can hold."""

    pipe: str
    width: int
    signed: bool

    @property
    def low(self) -> int:
        """The least value."""
        return -(1 << self.width - 1) if self.signed else 0

    @property
    def high(self) -> int:
        """The greatest value."""
        return (1 << self.width - self.signed) - 1

    def encode(self, value: int) -> int:
        """Turn a value into its bits."""
        return value % (1 << self.width)

    def decode(self, bits: int) -> int:
        """Turn bits into their value."""
        return bits - (1 << self.width) if bits > self.high else bits


def word_types(program: aa.Program) -> dict[str, Word]:
    """Describe the words of every pipe of a program."""
    scopes = build_scopes(program)
    found: dict[str, Word] = {}
    for pipe in program.pipes():
        kind = scopes.resolve(pipe.type)
        found[pipe.name] = Word(pipe.name, scalar_width(kind), isinstance(kind, ty.Int))
    return found


def read_words(path: Path, word: Word) -> list[int]:
    """Read the bits of a pipe's words from a file; at least one, all in the type's range."""
    if path.suffix == ".npy":
        values = _plain_integers(path, read_array(path))
    elif path.suffix == ".txt":
        values = _lines(path)
    else:
        raise _unknown(path)
    if not values:
        raise DataError(f"{path}: no words; at least one is needed")
    for number, value in enumerate(values):
        if not word.low <= value <= word.high:
            raise DataError(
                f"{path}: word {number} is {value}; pipe '{word.pipe}' holds "
                f"{word.low} to {word.high} ({'' if word.signed else 'un'}signed, "
                f"{word.width} bits)"
            )
    return [word.encode(value) for value in values]


def read_array(path: Path) -> Array:
    """Read an ``.npy`` file of plain numbers."""
    try:
        loaded: Any = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, ValueError, EOFError):
        loaded = None
    if not isinstance(loaded, np.ndarray):
        raise DataError(f"{path}: not an .npy file of plain numbers; write it with np.save")
    return loaded  # pyright: ignore[reportUnknownVariableType] (NumPy does not say of what)


def _plain_integers(path: Path, array: Array) -> list[int]:
    if array.dtype.kind not in "iub":
        raise DataError(f"{path}: the array is {array.dtype}; accepted: integers of any size")
    return [int(value) for value in array.ravel().tolist()]


def _lines(path: Path) -> list[int]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: not text; accepted: one integer a line") from None
    except OSError as error:
        raise DataError(f"{path}: cannot read: {error.strerror}") from None
    values: list[int] = []
    for number, line in enumerate(text.splitlines(), start=1):
        digits = line.partition("#")[0].strip()
        if not digits:
            continue
        try:
            values.append(int(digits, 16 if "x" in digits.lower() else 10))
        except ValueError:
            raise DataError(
                f"{path}:{number}: '{digits}' is no integer; accepted: one a line, as 12, -12 or "
                "0x0c"
            ) from None
    return values


def words_file(path: Path, values: Sequence[int], word: Word) -> bytes:
    """Give the contents of a file of a pipe's values."""
    if path.suffix == ".txt":
        return "".join(f"{value}\n" for value in values).encode("ascii")
    if path.suffix != ".npy":
        raise _unknown(path)
    return array_file(np.array(values, _dtype(word)))


def array_file(array: Array) -> bytes:
    """Give the contents of an ``.npy`` file."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _dtype(word: Word) -> np.dtype[Any]:
    """Choose the smallest integer that holds a word."""
    kinds: Iterable[str] = ("i1", "i2", "i4", "i8") if word.signed else ("u1", "u2", "u4", "u8")
    for kind in kinds:
        if 8 * int(kind[1:]) >= word.width:
            return np.dtype(kind)
    raise DataError(
        f"pipe '{word.pipe}' has {word.width} bits, more than NumPy's integers hold; "
        "accepted: a .txt file"
    )


def _unknown(path: Path) -> DataError:
    return DataError(
        f"{path}: no kind of words ends in '{path.suffix}'; accepted: {', '.join(SUFFIXES)}"
    )
