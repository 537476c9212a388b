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

_EXTENDED = re.compile(
    r"^  assign (\w+) = \{\{\d+\{(\w+)\[\d+\]\}\}, (\w+)\}; // sext$", re.MULTILINE
)
_PRODUCT = re.compile(r"^  assign (\w+) = (\w+) \* (\w+); // smul$", re.MULTILINE)
_MODULE = re.compile(r"^endmodule$", re.MULTILINE)


def narrow_products(verilog: str) -> str:
    """Write each product of sign-extended operands as one of signed operands."""
    return "endmodule".join(_in_module(text) for text in _MODULE.split(verilog))


def _in_module(text: str) -> str:
    short = {name: source for name, sign, source in _EXTENDED.findall(text) if sign == source}

    def product(match: re.Match[str]) -> str:
        result, left, right = match.groups()
        factors = " * ".join(f"$signed({short.get(name, name)})" for name in (left, right))
        return f"  assign {result} = {factors}; // smul"

    return _PRODUCT.sub(product, text)
