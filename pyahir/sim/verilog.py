"""Verilog as GHDL 2.0 writes it, with two faults mended.

``ghdl --synth --out=verilog`` writes a constant of more than 32 bits that stands within an
expression as ``"0101..."``: a string of characters to every tool that reads Verilog, and a bit of
it as ``"0101..."[3]``, which is no Verilog at all. And it writes an arithmetic shift to the right
as ``$signed(a) >> n``, which is a logical one: ``>>>`` is meant.
"""

from __future__ import annotations

import re

__all__ = ["mended"]

_CONSTANT = re.compile(r'"([01XZxz]+)"(?:\[(\d+)\])?')
_SHIFT = re.compile(r"(.signed\([^()]*\)) >> ")


def mended(verilog: str) -> str:
    """Write wide constants as numbers of their width, and shifts of signed numbers with ``>>>``."""
    return _SHIFT.sub(r"\1 >>> ", _CONSTANT.sub(_number, verilog))


def _number(found: re.Match[str]) -> str:
    bits, place = found[1], found[2]
    if place is None:
        return f"{len(bits)}'b{bits}"
    return f"1'b{bits[-1 - int(place)]}"
