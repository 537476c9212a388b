"""Refuses exported programs that could run code of their own while torch loads them.

``torch.export.load`` of torch 2.13 unpickles weights, constants and sample inputs when the file
asks for it, evaluates symbolic expressions, compiles guards and names as Python text, and resolves
the target of a node to any attribute of ``torch``. An ordinary file needs none of this, so what is
not on the lists below is refused unless the user trusts the file. These are the routes that we
know; torch itself promises nothing for a file from a stranger.
"""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pyahir.errors import ImportModelError

__all__ = ["check_program", "no_pickles"]

TARGET = re.compile(
    r"torch\.ops\.[a-z]\w*\.(?!__)\w+\.(?!__)\w+"
    r"|torch\.sym_[a-z]+"
    r"|math\.[a-z]+"
    r"|_operator\.(add|and_|eq|floordiv|ge|getitem|gt|le|lt|mod|mul|ne|neg|not_|or_|pow|sub|truediv)"
)
RESOLVED = ("torch", "math", "_operator", "#")  # other targets stay plain strings
EXPRESSION = re.compile(r"[\w\s'=,.()+\-*/<>]*")
EXPRESSION_WORDS = frozenset(
    [
        "Add",
        "CeilDiv",
        "Eq",
        "Equality",
        "False",
        "FloorDiv",
        "GreaterThan",
        "Integer",
        "LessThan",
        "Max",
        "Min",
        "Mod",
        "Mul",
        "Ne",
        "Pow",
        "Rational",
        "StrictGreaterThan",
        "StrictLessThan",
        "Symbol",
        "True",
        "int_oo",
        "integer",
        "negative",
        "nonnegative",
        "nonzero",
        "positive",
        "zero",
    ]
)
SYMBOL = re.compile(r"[suz]\d+")
IDENTIFIER = re.compile(r"[\w.]*")
TREE = re.compile(r"[\w\s\[\]{}\",.:\\-]*")  # JSON of a pytree: no call can be written in it
TEXTS = {"name": IDENTIFIER, "as_name": IDENTIFIER, "in_spec": TREE, "out_spec": TREE}
PAYLOAD = re.compile(r"(weight|tensor)_\d+")
FORCE = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"


def check_program(path: str | os.PathLike[str]) -> None:
    """Raise ``ImportModelError`` for an exported program that needs trust."""
    try:
        reason = _archive_reason(path)
    except (zipfile.BadZipFile, ValueError) as error:
        raise ImportModelError(f"{path}: damaged: {error}; save or copy the file again") from None
    if reason is not None:
        raise ImportModelError(
            f"{path}: the exported program {reason}, which may run code from the file; if you "
            "trust it, add --trust-pickle"
        )


def _archive_reason(path: str | os.PathLike[str]) -> str | None:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if len({name.lower() for name in names}) < len(names):  # torch may read the other one
            return "holds two members of one name"
        for name in names:
            if name.lower().endswith(".json"):
                for reason in _reasons(json.loads(archive.read(name))):
                    return reason
    return None


def _reasons(item: Any) -> Iterator[str]:
    """Find what is out of the ordinary anywhere in the file's JSON."""
    if isinstance(item, list):
        for part in item:
            yield from _reasons(part)
    if not isinstance(item, dict):
        return
    for key, value in item.items():
        if key == "use_pickle" and value:
            yield "holds a pickle"
        elif key == "path_name" and not PAYLOAD.fullmatch(str(value)):
            yield f"holds the object {value!r}"
        elif key == "expr_str" and not _plain_expression(str(value)):
            yield f"holds the expression {value!r}"
        elif key == "guards_code" and value:
            yield "holds guards"
        elif key in TEXTS and isinstance(value, str) and not TEXTS[key].fullmatch(value):
            yield f"holds the {key} {value!r}"
        elif key == "target" and not _plain_target(value):
            yield f"calls {value!r}"
        yield from _reasons(value)


def _plain_target(value: Any) -> bool:
    resolved = isinstance(value, str) and value.startswith(RESOLVED)
    return not resolved or TARGET.fullmatch(value) is not None


def _plain_expression(text: str) -> bool:
    words = re.findall(r"[A-Za-z_]\w*", text)
    known = all(word in EXPRESSION_WORDS or SYMBOL.fullmatch(word) for word in words)
    return bool(EXPRESSION.fullmatch(text)) and known


@contextmanager
def no_pickles() -> Iterator[None]:
    """Let ``torch.load`` read tensors only, whatever its caller asks for."""
    before = os.environ.get(FORCE)
    os.environ[FORCE] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[FORCE]
        else:
            os.environ[FORCE] = before
