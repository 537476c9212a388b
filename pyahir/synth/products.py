"""Products of signed numbers in GHDL's Verilog, as narrow as they were in the VHDL.

GHDL 2.0 extends both operands to the width of the product with copies of the sign bit and writes
an unsigned product. yosys 0.23 cannot tell the copies from numbers, so a product of 16 by 14 bits
would be one of 30 by 30 and take three DSP blocks of series 7 instead of one.

In: Verilog as ``ghdl --synth`` writes it. Out: the same with signed products of the short operands,
which Verilog extends itself. What does not look like that stays as it is.
"""

from __future__ import annotations

import re

__all__ = ["narrow_products"]

_EXTENDED = re.compile(r"  assign (\w+) = \{\{\d+\{(\w+)\[\d+\]\}\}, (\w+)\}; // sext")
_PRODUCT = re.compile(r"  assign (\w+) = (\w+) \* (\w+); // smul")
_SIGNED = chr(36) + "signed"  # Verilog's; that character in a string is Aa's everywhere else


def narrow_products(verilog: str) -> str:
    """Write each product of sign-extended operands as one of signed operands."""
    short: dict[str, str] = {}
    lines: list[str] = []
    for line in verilog.split("\n"):
        if line == "endmodule":
            short = {}
        elif found := _EXTENDED.fullmatch(line):
            result, sign, source = found.groups()
            if sign == source:
                short[result] = source
        elif found := _PRODUCT.fullmatch(line):
            result, *names = found.groups()
            factors = " * ".join(f"{_SIGNED}({short.get(name, name)})" for name in names)
            line = f"  assign {result} = {factors}; // smul"
        lines.append(line)
    return "\n".join(lines)
