"""Verilog as GHDL 2.0 writes it, with two faults mended.

``ghdl --synth --out=verilog`` writes a constant of more than 32 bits that stands within an
expression as ``"0101..."``: a string of characters to every tool that reads Verilog, and a bit of
it as ``"0101..."[3]``, which is no Verilog at all. And it writes an arithmetic shift to the right
as ``$signed(a) >> n``, which is a logical one: ``>>>`` is meant.

It also writes a memory that begins with zeros as an assignment for each word, of which Verilator
makes a statement for each 32 bits: more C++ than all the rest. ``looped`` writes a loop instead.
"""

from __future__ import annotations

import re

__all__ = ["looped", "mended"]

_CONSTANT = re.compile(r'"([01XZxz]+)"(?:\[(\d+)\])?')
_SHIFT = re.compile(r"(.signed\([^()]*\)) >> ")
_FILL = re.compile(
    r"^  initial begin\n    (\w+)\[(\d+)\] = (\S+);\n"
    r"((?:    \1\[\d+\] = \3;\n){15,})    end\n",
    re.MULTILINE,
)


def mended(verilog: str) -> str:
    """Write wide constants as numbers of their width, and shifts of signed numbers with ``>>>``."""
    return _SHIFT.sub(r"\1 >>> ", _CONSTANT.sub(_number, verilog))


def looped(verilog: str) -> str:
    """Write the initial values of memories as loops, where all words are equal."""
    return _FILL.sub(_loop, verilog)


def _loop(found: re.Match[str]) -> str:
    memory, last, value, rest = found.groups()
    if rest.count("\n") != int(last):
        return found[0]
    return (
        f"  initial begin : {memory}_fill\n    integer place;\n"
        f"    for (place = 0; place <= {last}; place = place + 1) {memory}[place] = {value};\n"
        "    end\n"
    )


def _number(found: re.Match[str]) -> str:
    bits, place = found[1], found[2]
    if place is None:
        return f"{len(bits)}'b{bits}"
    return f"1'b{bits[-1 - int(place)]}"
