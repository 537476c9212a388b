"""Every operator for both kinds of integers and many widths: one module a type, one case a result.

In: nothing. Out: ``BATCHES``. A module reads two operands an iteration, computes every expression
in a register of its own and writes all of them side by side into one wide word.
"""

from __future__ import annotations

import random

from tests.semantics.table import Batch, Field, Part, loop

__all__ = ["BATCHES", "Row", "packed", "samples"]

_WIDTHS = (1, 2, 7, 8, 9, 16, 31, 32, 33, 63, 64, 65, 100)
_LIGHT = (1, 8, 33)
_ARITHMETIC = {"add": "+", "sub": "-", "mul": "*"}
_LOGIC = {"and": "&", "or": "|", "xor": "^", "nand": "~&", "nor": "~|", "xnor": "~^"}
_SHIFT = {"shl": "<<", "shr": ">>", "rol": "<o<", "ror": ">o>"}
_COMPARE = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_REDUCE = {"add": "+", "mul": "*", "or": "|", "and": "&", "xor": "^"}
_VOLATILE = ("add", "sub", "mul", "shr", "ror", "lt", "inv", "mux", "bit", "wrap_then_compare")

Row = tuple[str, str, str]


def samples(width: int) -> tuple[list[int], list[int]]:
    """Give operands: all pairs of edges, random pairs, and random values with small amounts."""
    top = 1 << width
    edges = sorted({value % top for value in (0, 1, top // 2 - 1, top // 2, top - 1)})
    generator = random.Random(width)
    pairs = [(left, right) for left in edges for right in edges]
    pairs += [(generator.randrange(top), generator.randrange(top)) for _ in range(10)]
    amounts = [0, 1, 2, width - 1, width, width + 1]
    pairs += [(generator.randrange(top), amount % top) for amount in amounts]
    return [left for left, _ in pairs], [right for _, right in pairs]


def _fits(value: int, kind: str, width: int) -> bool:
    return value < 1 << (width - 1 if kind == "int" else width)


def _plain(kind: str, width: int) -> list[Row]:
    own = f"${kind}<{width}>"
    rows = [(name, f"(a {op} b)", own) for name, op in (_ARITHMETIC | _LOGIC | _SHIFT).items()]
    rows += [(name, f"(a {op} b)", "$uint<1>") for name, op in _COMPARE.items()]
    for amount in sorted({0, 1, width - 1, width, width + 1, 2 * width}):
        if _fits(amount, kind, width):
            rows += [
                (f"{name}_by_{amount}", f"(a {op} {amount})", own) for name, op in _SHIFT.items()
            ]
    for index in sorted({0, width - 1}):
        if _fits(index, kind, width):
            rows.append((f"bit_{index}", f"(a [] {index})", "$uint<1>"))
    rows.append(("bit", "(a [] b)", "$uint<1>"))
    rows.append(("inv", "(~ a)", own))
    rows += [(f"reduce_{name}", f"($reduce {op} a b (~ a))", own) for name, op in _REDUCE.items()]
    for name, op in (("or", "|"), ("and", "&"), ("xor", "^")):
        rows.append((f"bitreduce_{name}", f"($bitreduce {op} a)", "$uint<1>"))
        rows.append((f"bitreduce_{name}_expr", f"($bitreduce {op} (a - b))", "$uint<1>"))
    return rows


def _choices(kind: str, width: int) -> list[Row]:
    own = f"${kind}<{width}>"
    return [
        ("mux", "($mux (a < b) a b)", own),
        ("mux_bit", "($mux ($slice a 0 0) (a + b) (a - b))", own),
        ("mux_of_mux", "($mux (a > b) ($mux (a == b) a b) ($mux ($slice b 0 0) (~ a) b))", own),
        (
            "prioritymux",
            "($prioritymux (a < b) a ($slice b 0 0) (a - b) (a == b) (~ b) $default (a ^ b))",
            own,
        ),
        ("prioritymux_one", "($prioritymux (a <= b) (a + a) $default b)", own),
        ("excmux", "($excmux (a < b) a (a > b) b)", own),
        ("excmux_overlap", "($excmux ($slice a 0 0) a ($slice b 0 0) b (a < b) (~ b))", own),
        ("wrap_then_compare", "((a + b) < b)", "$uint<1>"),
        ("wrap_then_shift", "(((a * b) + a) >> 1)" if width > 1 else "(((a * b) + a) >> b)", own),
        ("nested", "((a + b) * ((a - b) ^ (~ a)))", own),
        ("inv_compare", "((~ a) < (a | b))", "$uint<1>"),
        ("negate", "(0 - a)", own),
    ]


def _bits(kind: str, width: int) -> list[Row]:
    rows: list[Row] = []
    bounds = {(width - 1, 0), (width - 1, width - 1), (0, 0)}
    if width > 2:
        bounds |= {(width - 2, 1), (width // 2, width // 2), (width - 1, 1)}
    for high, low in sorted(bounds):
        size = high - low + 1
        rows.append((f"slice_{high}_{low}", f"($slice a {high} {low})", f"$uint<{size}>"))
        text = f"($slice (a + b) {high} {low})"
        rows.append((f"slice_{high}_{low}_expr", text, f"$uint<{size}>"))
    if width > 2:
        text = f"($slice ($slice (a * b) {width - 1} 1) {width - 2} 1)"
        rows.append(("slice_of_slice", text, f"$uint<{width - 2}>"))
    size = min(width, 4)
    rows.append(("decode", "($decode nibble)", f"$uint<{1 << size}>"))
    rows.append(("encode_of_decode", "($encode ($decode nibble))", f"$uint<{size}>"))
    if size in (2, 4):
        rows.append(("encode", "($encode nibble)", f"$uint<{size // 2}>"))
    rows.append(("p_encode_nibble", "($p_encode nibble)", f"$uint<{size}>"))
    cast = "" if kind == "uint" else f"$bitcast ($uint<{width}>) "
    left, right = (f"({cast}a)", f"({cast}b)") if cast else ("a", "b")
    rows.append(("concat_pair", f"({left} && {right})", f"$uint<{2 * width}>"))
    text = f"($concat {left} ($slice b 0 0) {right} ($slice a {width - 1} {width - 1}))"
    rows.append(("concat_many", text, f"$uint<{2 * width + 2}>"))
    text = f"($concat ($bitcast ($uint<3>) 5) {left})"
    rows.append(("concat_literal", text, f"$uint<{width + 3}>"))
    rows.append(("p_encode", f"($p_encode {left})", f"$uint<{width}>"))
    return rows


def _casts(kind: str, width: int) -> list[Row]:
    rows: list[Row] = []
    sizes = {1, 2, 8, width - 1, width, width + 1, 2 * width, 64} - {0}
    for target in ("uint", "int"):
        for size in sorted(sizes):
            own = f"${target}<{size}>"
            for form in ("cast", "bitcast"):
                rows.append((f"{form}_{target}{size}", f"(${form} ({own}) a)", own))
    own = f"$int<{2 * width}>"
    for left in ("cast", "bitcast"):
        for right in ("cast", "bitcast"):
            text = f"((${left} ({own}) a) * (${right} ({own}) b))"
            rows.append((f"wide_mul_{left}_{right}", text, own))
    rows.append(("wide_sum", f"(($cast ({own}) a) + ($cast ({own}) b))", own))
    rows.append(("wide_difference", f"(($bitcast ({own}) a) - ($cast ({own}) b))", own))
    rows.append(("cast_of_sum", f"($cast ({own}) (a + b))", own))
    rows.append(
        ("bitcast_of_product", f"($bitcast ($uint<{2 * width}>) (a * b))", f"$uint<{2 * width}>")
    )
    other = "int" if kind == "uint" else "uint"
    text = f"(($bitcast (${other}<{width}>) a) < ($bitcast (${other}<{width}>) b))"
    rows.append(("lt_other_sign", text, "$uint<1>"))
    text = f"(($bitcast (${other}<{width}>) a) >> ($bitcast (${other}<{width}>) b))"
    rows.append(("shr_other_sign", text, f"${other}<{width}>"))
    return rows


def _volatile(kind: str, width: int, rows: list[Row]) -> list[Row]:
    wide = width > 64
    found = [
        (f"volatile_{name}", text, type_)
        for name, text, type_ in rows
        if name in _VOLATILE and not (wide and name in ("mul", "shr"))
    ]
    if width <= 16:
        moves = " ".join(f"{bit} {width - 1 - bit}" for bit in range(width))
        found.append(("volatile_bitmap_mirror", f"($bitmap a {moves})", f"${kind}<{width}>"))
        turn = " ".join(f"{bit} {(bit + 1) % width}" for bit in range(width))
        found.append(("volatile_bitmap_turn", f"($bitmap a {turn})", f"${kind}<{width}>"))
    return found


def _part(kind: str, width: int) -> Part:
    rows = [*_plain(kind, width), *_choices(kind, width), *_bits(kind, width), *_casts(kind, width)]
    rows += _volatile(kind, width, rows)
    prefix = f"{kind}{width}"
    nibble = f"      nibble := ($slice a {min(width, 4) - 1} 0)\n"
    return packed(prefix, f"${kind}<{width}>", rows, samples(width), nibble)


def packed(
    prefix: str,
    own: str,
    rows: list[Row],
    operands: tuple[list[int], list[int]],
    first: str = "",
    *,
    head: str = "",
) -> Part:
    """Make a part whose module computes all rows of operands a and b and packs the results."""
    reads = f"      a := {prefix}_p\n      b := {prefix}_q\n"
    body: list[str] = []
    cases: dict[str, tuple[Field, ...]] = {}
    terms: list[str] = []
    place = 0
    for number, (name, text, type_) in reversed(list(enumerate(rows))):
        width = int(type_.split("<")[1].rstrip(">"))
        if name.startswith("volatile_"):
            body.append(f"      $volatile v{number} := {text}")
            body.append(f"      x{number} := v{number}")
        else:
            body.append(f"      x{number} := {text}")
        signed = type_.startswith("$int")
        terms.insert(0, f"($bitcast ($uint<{width}>) x{number})" if signed else f"x{number}")
        cases[f"{prefix}-{name}"] = (Field(f"{prefix}_o", place, width),)
        place += width
    body.append(f"      {prefix}_o := ($concat {' '.join(terms)})")
    pipes = (
        f"$pipe {prefix}_p : {own} $depth 2\n$pipe {prefix}_q : {own} $depth 2\n"
        f"$pipe {prefix}_o : $uint<{place}> $depth 2\n"
    )
    text = head + pipes + loop(f"{prefix}_ops", reads + first + "\n".join(body) + "\n")
    inputs = {f"{prefix}_p": operands[0], f"{prefix}_q": operands[1]}
    return Part(prefix, text, inputs, {f"{prefix}_o": len(operands[0])}, cases)


def _batch(widths: tuple[int, ...], name: str, *, heavy: bool) -> Batch:
    parts = [_part(kind, width) for kind in ("uint", "int") for width in widths]
    return Batch(name, tuple(parts), heavy=heavy)


BATCHES = (
    _batch(_LIGHT, "operators", heavy=False),
    _batch(tuple(w for w in _WIDTHS if w not in _LIGHT), "operators_more", heavy=True),
)
