"""Verilog as GHDL 2.0 writes it, with two faults mended and memories made short.

``ghdl --synth --out=verilog`` writes a constant of more than 32 bits that stands within an
expression as ``"0101..."``: a string of characters to every tool that reads Verilog, and a bit of
it as ``"0101..."[3]``, which is no Verilog at all. And it writes an arithmetic shift to the right
as ``$signed(a) >> n``, which is a logical one: ``>>>`` is meant.

It sets each word of a memory in a statement of its own. Of 70,000 words Verilator makes 90 MB of
C++ in one function, for which g++ takes many minutes and gigabytes; a loop says the same.
"""

from __future__ import annotations

import re

__all__ = ["mended"]

_CONSTANT = re.compile(r'"([01XZxz]+)"(?:\[(\d+)\])?')
_SHIFT = re.compile(r"(.signed\([^()]*\)) >> ")
_WORD = r"    (\w+)\[(\d+)\] = ([^;\n]+);\n"
_MEMORY = re.compile(rf"  initial begin\n((?:{_WORD})+)    end\n")
LEAST_WORDS = 4  # a loop is shorter


def mended(verilog: str) -> str:
    """Write wide constants as numbers, shifts of signed numbers with ``>>>``, memories as loops."""
    numbers = _CONSTANT.sub(_number, verilog)
    return _MEMORY.sub(_loop, _SHIFT.sub(r"\1 >>> ", numbers))


def _number(found: re.Match[str]) -> str:
    bits, place = found[1], found[2]
    if place is None:
        return f"{len(bits)}'b{bits}"
    return f"1'b{bits[-1 - int(place)]}"


def _loop(found: re.Match[str]) -> str:
    """Set the words of a memory in a loop, where they are all of them and all the same."""
    words = re.findall(_WORD, found[1])
    names, places = {name for name, _, _ in words}, {int(place) for _, place, _ in words}
    values = {value for _, _, value in words}
    count = len(words)
    if count < LEAST_WORDS or len(names) + len(values) > 2 or places != set(range(count)):
        return found[0]
    (name,), (value,) = names, values
    block = f"memory__{found.start()}"  # names of VHDL have no two underscores in a row
    return (
        f"  initial begin : {block}\n    integer word__;\n"
        f"    for (word__ = 0; word__ < {count}; word__ = word__ + 1) {name}[word__] = {value};\n"
        "    end\n"
    )
