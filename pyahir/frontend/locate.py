"""Where the user wrote an operation, out of what torch keeps: source ranges and stack traces.

The user's line is the innermost frame outside torch and pyahir. Only the file's name is kept, not
its folder: a graph must not depend on where a model was traced.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePath

from pyahir.ir.graph import Loc

__all__ = ["of_script", "of_stack_trace"]

TRACED = re.compile(r"^(.+?)\((\d+)\): ", re.MULTILINE)  # /path/file.py(12): forward
SCRIPTED = re.compile(r'^\s*(?:[\w.]*\s)?File "(.+?)", line (\d+)', re.MULTILINE)
TRACEBACK = re.compile(r'File "(.+?)", line (\d+), in')
LIBRARY = ("/torch/", "/torchao/", "/pyahir/frontend/", "\\torch\\")

Frame = tuple[str, int]


def of_script(ranges: Iterable[str], path: str) -> Loc:
    """Locate a TorchScript node; ``ranges`` are source ranges, innermost first."""
    for text in ranges:
        for frame in _frames(text):
            if not _in_library(frame[0]):
                return _loc(frame, path)
    return Loc(path=path)


def _frames(text: str) -> list[Frame]:
    text = text.split("Serialized", 1)[0]
    traced = [(m[1], int(m[2])) for m in TRACED.finditer(text) if m[1].endswith(".py")]
    return traced or [(m[1], int(m[2])) for m in SCRIPTED.finditer(text)]


def of_stack_trace(trace: str | None, path: str) -> Loc:
    """Locate a node of an exported program; the innermost frame of ``trace`` is the last."""
    for match in reversed(list(TRACEBACK.finditer(trace or ""))):
        if not _in_library(match[1]):
            return _loc((match[1], int(match[2])), path)
    return Loc(path=path)


def _in_library(file: str) -> bool:
    return file.startswith("<") or any(part in file for part in LIBRARY)


def _loc(frame: Frame, path: str) -> Loc:
    return Loc(file=PurePath(frame[0]).name, line=frame[1], path=path)
