"""Literals of every form, constants, parameters and what the tools fold from them.

In: nothing. Out: ``BATCHES``: rows ``(name, expression, type)`` like those of ``operators``.
"""

from __future__ import annotations

from tests.semantics.operators import Row, packed, samples
from tests.semantics.table import Batch, Part

__all__ = ["BATCHES"]

_LIGHT = (8, 33)
_HEAVY = (1, 31, 32, 64)


def _decimals(kind: str, width: int) -> list[int]:
    top = (1 << width - 1) - 1 if kind == "int" else (1 << width) - 1
    values = {0, 1, 2, 5, 100, top // 2, top}
    if kind == "int":
        values |= {-value for value in values} | {-top - 1}
    low = -top - 1 if kind == "int" and width <= 32 else 0
    return sorted(value for value in values if low <= value <= min(top, (1 << 32) - 1))


def _name(value: int) -> str:
    return f"minus_{-value}" if value < 0 else str(value)


def _rows(kind: str, width: int) -> list[Row]:
    own = f"${kind}<{width}>"
    mask = (1 << width) - 1
    rows: list[Row] = []
    for value in _decimals(kind, width):
        rows.append((f"plus_{_name(value)}", f"(a + {value})", own))
        rows.append((f"lt_{_name(value)}", f"(a < {value})", "$uint<1>"))
        rows.append((f"mul_{_name(value)}", f"(b * {value})", own))
        rows.append((f"bitcast_{_name(value)}", f"(a ^ ($bitcast ({own}) {value}))", own))
    for value in sorted({0, 1, mask, mask >> 1, 0x5A5A5A5A5A5A5A5A5A5A5A5A5 & mask}):
        rows.append((f"hex_{value:x}", f"(a ^ _h{value:X})", own))
        rows.append((f"hex_lower_{value:x}", f"(a + _h{value:x})", own))
        rows.append((f"binary_{value:x}", f"(a ^ _b{value:b})", own))
        rows.append((f"hex_ge_{value:x}", f"(a >= _h{value:X})", "$uint<1>"))
        rows.append((f"hex_zeros_{value:x}", f"(a - _h000{value:X})", own))
    rows.append(("literal_first", "(1 - a)" if (kind, width) != ("int", 1) else "(0 - a)", own))
    rows.append(("mux_literals", "(a ^ ($mux (a < b) 0 _b1))", own))
    rows.append(("reduce_literal", "($reduce + a _b1 b)", own))
    rows.append(("prioritymux_literals", "($prioritymux (a < b) a $default 0)", own))
    if kind == "uint":
        rows.append(("zero", f"(a | $zero<{width}>)", own))
        rows.append(("one", f"(a - $one<{width}>)", own))
        rows.append(("concat_one", "($concat $one<3> a $zero<2>)", f"$uint<{width + 5}>"))
    rows += _declared(kind, width)
    return rows


def _declared(kind: str, width: int) -> list[Row]:
    own, prefix = f"${kind}<{width}>", f"k_{kind}{width}"
    rows = [
        ("constant", f"(a + {prefix}_c)", own),
        ("constant_first", f"({prefix}_c - a)", own),
        ("constant_top", f"(a ^ {prefix}_top)", own),
        ("constant_sum", f"(a + ({prefix}_c + {prefix}_top))", own),
        ("constant_difference", f"(a ^ ({prefix}_c - {prefix}_top))", own),
        ("constant_product", f"(a + ({prefix}_c * {prefix}_top))", own),
        ("constant_and", f"(a ^ ({prefix}_c & {prefix}_top))", own),
        ("constant_xnor", f"(a ^ ({prefix}_c ~^ {prefix}_top))", own),
        ("constant_inverted", f"(a + (~ {prefix}_c))", own),
        ("constant_eq", f"(($slice a 0 0) ^ ({prefix}_c == {prefix}_top))", "$uint<1>"),
        ("constant_slice", f"(($slice a 0 0) ^ ($slice {prefix}_c 0 0))", "$uint<1>"),
        ("constant_bitcast", f"(a ^ ($bitcast ({own}) {prefix}_c))", own),
        ("constant_mux", f"($mux ({prefix}_c == {prefix}_top) a b)", own),
    ]
    if kind == "uint":
        rows += [
            ("constant_lt", f"(($slice a 0 0) ^ ({prefix}_c < {prefix}_top))", "$uint<1>"),
            ("constant_concat", f"({prefix}_c && a)", f"$uint<{2 * width}>"),
            ("constant_cast", f"(a ^ ($cast ({own}) {prefix}_c))", own),
            (
                "constant_wider",
                f"(($bitcast ($uint<{width + 3}>) {prefix}_top) "
                f"+ ($bitcast ($uint<{width + 3}>) a))",
                f"$uint<{width + 3}>",
            ),
        ]
    if width > 1:
        rows.append(("parameter", f"(a + {prefix}_one)", own))
        rows.append(("parameter_expression", f"(a + {{{prefix}_one + {{{prefix}_one * 0}}}})", own))
    if width > 7:
        rows.append(
            ("parameter_slice", f"($slice a {{{prefix}_three + 2}} {prefix}_three)", "$uint<3>")
        )
        rows.append(("parameter_mul", f"(a * {{{{{prefix}_three << 3}} - 1}})", own))
    return rows


def _part(kind: str, width: int) -> Part:
    own, prefix = f"${kind}<{width}>", f"k_{kind}{width}"
    mask = (1 << width) - 1
    head = (
        f"$parameter {prefix}_one 1\n$parameter {prefix}_three 3\n"
        f"$constant {prefix}_c : {own} := _h{0x9A9A9A9A9A9A9A9A9A9A9A9A9 & mask:X}\n"
        f"$constant {prefix}_top : {own} := _h{mask:X}\n"
        f"$constant {prefix}_small : {own} := _b1\n"
    )
    return packed(f"literal_{kind}{width}", own, _rows(kind, width), samples(width), head=head)


def _batch(name: str, widths: tuple[int, ...], *, heavy: bool) -> Batch:
    parts = [_part(kind, width) for kind in ("uint", "int") for width in widths]
    return Batch(name, tuple(parts), heavy=heavy)


BATCHES = (
    _batch("literals", _LIGHT, heavy=False),
    _batch("literals_more", _HEAVY, heavy=True),
)
