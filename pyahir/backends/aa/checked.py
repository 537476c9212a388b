"""Parsed and verified programs, as the engines take them.

In: a text and its file's name. Out: the program, or an ``AaError``. Several engines run one text,
one after the other: the last program is kept, as programs never change.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from pyahir.backends.aa.parser import parse
from pyahir.backends.aa.verify import verify

if TYPE_CHECKING:
    from pyahir.backends.aa import ast as aa

__all__ = ["checked_program"]


@lru_cache(maxsize=1)
def checked_program(text: str, file: str) -> aa.Program:
    """Parse and verify a text."""
    program = parse(text, file)
    verify(program)
    return program
