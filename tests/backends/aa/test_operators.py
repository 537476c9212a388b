"""Every operator, width and signedness through the interpreter, against an oracle on bit patterns.

The oracle below knows only unsigned bit patterns and widths, as the language reference states the
hardware's meaning; it shares nothing with the interpreter.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

from pyahir.backends.aa.interp import Simulator
from pyahir.backends.aa.parser import parse

Oracle = Callable[[int, int, int, bool], int]


@cache
def simulator(inputs: tuple[str, ...], result: str, expression: str, volatile: str) -> Simulator:
    """Make a module ``f`` that computes one expression of its arguments a, b, c."""
    arguments = " ".join(f"{name} : {type_}" for name, type_ in zip("abc", inputs, strict=False))
    text = (
        f"$module [f] $in ({arguments}) $out (r : {result}) $is\n"
        f"{{\n  {volatile} r := {expression}\n}}\n"
    )
    return Simulator(parse(text))


def run(
    inputs: tuple[str, ...], result: str, expression: str, *args: int, volatile: str = ""
) -> int:
    (value,) = simulator(inputs, result, expression, volatile).call("f", *args)
    return value


def signed(value: int, width: int) -> int:
    return value - (1 << width) if value >> (width - 1) else value


def samples(width: int) -> list[int]:
    top = 1 << width
    if width <= 3:
        return list(range(top))
    chosen = {0, 1, 2, top // 2 - 1, top // 2, top // 2 + 1, top - 1, top - 2}
    generator = random.Random(width)
    return sorted(chosen | {generator.randrange(top) for _ in range(4)})


def compare(test: Callable[[int, int], bool]) -> Oracle:
    def oracle(a: int, b: int, width: int, is_signed: bool) -> int:
        if is_signed:
            a, b = signed(a, width), signed(b, width)
        return int(test(a, b))

    return oracle


def reach(amount: int, width: int) -> int:
    """The hardware looks at one bit more of an amount than the width needs."""
    return amount % 2 ** ((width - 1).bit_length() + 1)


def shift_right(a: int, b: int, width: int, is_signed: bool) -> int:
    fill = "1" if is_signed and a >> (width - 1) else "0"
    bits = format(a, f"0{width}b")
    return int((fill * min(reach(b, width), width) + bits)[:width], 2)


def shift_left(a: int, b: int, width: int, is_signed: bool) -> int:
    bits = format(a, f"0{width}b") + "0" * min(reach(b, width), width)
    return int(bits[-width:], 2)


def rotate_left(a: int, b: int, width: int, is_signed: bool) -> int:
    bits = format(a, f"0{width}b")
    turn = reach(b, width) % width
    return int(bits[turn:] + bits[:turn], 2)


def rotate_right(a: int, b: int, width: int, is_signed: bool) -> int:
    bits = format(a, f"0{width}b")
    turn = reach(b, width) % width
    return int(bits[width - turn :] + bits[: width - turn], 2)


BINARY: dict[str, Oracle] = {
    "+": lambda a, b, w, s: (a + b) % 2**w,
    "-": lambda a, b, w, s: (a - b) % 2**w,
    "*": lambda a, b, w, s: (a * b) % 2**w,
    "&": lambda a, b, w, s: a & b,
    "|": lambda a, b, w, s: a | b,
    "^": lambda a, b, w, s: a ^ b,
    "~&": lambda a, b, w, s: 2**w - 1 - (a & b),
    "~|": lambda a, b, w, s: 2**w - 1 - (a | b),
    "~^": lambda a, b, w, s: 2**w - 1 - (a ^ b),
    "<<": shift_left,
    ">>": shift_right,
    "<o<": rotate_left,
    ">o>": rotate_right,
}
COMPARISONS: dict[str, Oracle] = {
    "==": compare(lambda a, b: a == b),
    "!=": compare(lambda a, b: a != b),
    "<": compare(lambda a, b: a < b),
    "<=": compare(lambda a, b: a <= b),
    ">": compare(lambda a, b: a > b),
    ">=": compare(lambda a, b: a >= b),
    "[]": lambda a, b, w, s: a >> (b % 2 ** (w - 1).bit_length()) & 1,
}
WIDTHS = [1, 2, 3, 7, 8, 16, 33, 64]


@pytest.mark.parametrize("kind", ["uint", "int"])
@pytest.mark.parametrize("operator", [*BINARY, *COMPARISONS])
def test_binary(operator: str, kind: str) -> None:
    for width in WIDTHS:
        type_ = f"${kind}<{width}>"
        result = type_ if operator in BINARY else "$uint<1>"
        oracle = (BINARY | COMPARISONS)[operator]
        for a, b in itertools.product(samples(width), repeat=2):
            expected = oracle(a, b, width, kind == "int")
            actual = run((type_, type_), result, f"(a {operator} b)", a, b)
            assert expected == actual, (a, b, width)


@pytest.mark.parametrize("kind", ["uint", "int"])
@pytest.mark.parametrize("operator", ["<<", ">>", "<o<", ">o>"])
def test_shift_by_literal(operator: str, kind: str) -> None:
    for amount in (0, 1, 6, 7, 8, 9, 100):
        for a in samples(8):
            expected = BINARY[operator](a, amount, 8, kind == "int")
            actual = run((f"${kind}<8>",), f"${kind}<8>", f"(a {operator} {amount})", a)
            assert expected == actual, (a, amount)


def test_sums_and_products_wrap_only_at_the_end_but_right() -> None:
    expression = "(((a * b) + (a - b)) * ((a * a) - b))"
    for a, b in itertools.product(samples(8), repeat=2):
        expected = ((a * b + a - b) * (a * a - b)) % 256
        for kind in ("uint", "int"):
            assert expected == run((f"${kind}<8>",) * 2, f"${kind}<8>", expression, a, b)


def cast_oracle(value: int, source: int, target: int, to_int: bool) -> int:
    """``$cast``: zero-extends or truncates to unsigned; to signed, resizes keeping the sign."""
    if not to_int:
        return value % 2**target
    sign = value >> (source - 1)
    if target >= source:
        return int(str(sign) * (target - source) + format(value, f"0{source}b"), 2)
    return sign << (target - 1) | value % 2 ** (target - 1)


@pytest.mark.parametrize("source_kind", ["uint", "int"])
@pytest.mark.parametrize("target_kind", ["uint", "int"])
def test_casts(source_kind: str, target_kind: str) -> None:
    for source, target in itertools.product([1, 2, 7, 8, 16, 40], repeat=2):
        from_type, to_type = f"${source_kind}<{source}>", f"${target_kind}<{target}>"
        for value in samples(source):
            bits = run((from_type,), to_type, f"($bitcast ({to_type}) a)", value)
            assert value % 2**target == bits, (value, source, target)
            expected = cast_oracle(value, source, target, target_kind == "int")
            actual = run((from_type,), to_type, f"($cast ({to_type}) a)", value)
            assert expected == actual, (value, source, target)


@pytest.mark.parametrize(
    ("source", "target", "value", "expected"),
    [
        ("$int<8>", "$uint<16>", 254, 254),
        ("$uint<8>", "$int<16>", 128, 0xFF80),
        ("$uint<1>", "$int<8>", 1, 0xFF),
        ("$int<16>", "$int<8>", 200, 72),
    ],
)
def test_casts_of_the_reference(source: str, target: str, value: int, expected: int) -> None:
    assert expected == run((source,), target, f"($cast ({target}) a)", value)


@pytest.mark.parametrize(
    ("inputs", "result", "expression", "args", "expected"),
    [
        (("$uint<8>",), "$uint<8>", "(~ a)", (0x0F,), 0xF0),
        (("$int<8>",), "$int<8>", "(~ a)", (0x0F,), 0xF0),
        (("$uint<1>",), "$uint<1>", "(~ (a == 1))", (1,), 0),
        (("$uint<3>",), "$uint<8>", "($decode a)", (5,), 32),
        (("$uint<8>",), "$uint<3>", "($encode a)", (32,), 5),
        (("$uint<8>",), "$uint<3>", "($encode a)", (0b110,), 3),
        (("$uint<8>",), "$uint<8>", "($p_encode a)", (10,), 8),
        (("$uint<8>",), "$uint<8>", "($p_encode a)", (0,), 0),
        (("$uint<4>", "$uint<3>"), "$uint<7>", "(a && b)", (0b1010, 0b011), 0b1010011),
        (("$uint<4>", "$uint<1>"), "$uint<9>", "($concat a b a)", (0b1001, 1), 0b100111001),
        (("$uint<8>",), "$uint<12>", "(($bitcast ($uint<4>) 5) && a)", (0xAB,), 0x5AB),
        (("$uint<8>",), "$uint<4>", "($slice a 5 2)", (0b10110100,), 0b1101),
        (("$int<8>",), "$uint<4>", "($slice a 7 4)", (0x9C,), 0x9),
        (("$uint<8>",), "$uint<1>", "($bitreduce | a)", (0,), 0),
        (("$uint<8>",), "$uint<1>", "($bitreduce & a)", (255,), 1),
        (("$int<8>",), "$uint<1>", "($bitreduce & a)", (255,), 1),
        (("$uint<8>",), "$uint<1>", "($bitreduce ^ a)", (0b111,), 1),
        (("$uint<8>",) * 3, "$uint<8>", "($reduce + a b c 5)", (250, 3, 4), 6),
        (("$int<8>",) * 2, "$int<8>", "($reduce * a b a)", (0xFF, 5), 5),
        (("$uint<8>",) * 2, "$uint<8>", "($reduce ^ a b 255)", (3, 5), 249),
        (("$uint<8>",) * 3, "$uint<8>", "($reduce & a b c)", (7, 14, 12), 4),
        (("$uint<8>",) * 3, "$uint<8>", "($reduce | a b c)", (1, 2, 8), 11),
        (("$uint<1>", "$uint<8>", "$uint<8>"), "$uint<8>", "($mux a b c)", (1, 2, 3), 2),
        (("$uint<1>", "$uint<8>", "$uint<8>"), "$uint<8>", "($mux a b c)", (0, 2, 3), 3),
        (
            ("$uint<2>", "$uint<8>"),
            "$uint<8>",
            "($prioritymux (a > 1) b (a > 0) 7 $default 9)",
            (2, 40),
            40,
        ),
        (("$uint<2>",), "$uint<8>", "($prioritymux (a > 1) 1 (a > 0) 7 $default 9)", (1,), 7),
        (("$uint<2>",), "$uint<8>", "($prioritymux (a > 1) 1 (a > 0) 7 $default 9)", (0,), 9),
        (("$uint<2>", "$uint<8>"), "$uint<8>", "($excmux (a > 1) b (a > 0) 3)", (2, 40), 43),
        (("$uint<2>", "$uint<8>"), "$uint<8>", "($excmux (a > 1) b (a > 0) 3)", (0, 40), 0),
        (("$uint<8>",), "$uint<8>", "($bitcast ($uint<8>) $one<3>)", (0,), 1),
        (("$uint<64>",), "$uint<64>", "(a + _hFFFFFFFFFFFFFFFF)", (0,), 2**64 - 1),
        (("$int<64>",), "$int<64>", "(a + _hFFFFFFFFFFFFFFFE)", (1,), 2**64 - 1),
    ],
)
def test_others(
    inputs: tuple[str, ...], result: str, expression: str, args: tuple[int, ...], expected: int
) -> None:
    assert expected == run(inputs, result, expression, *args)


def test_bitmap_permutes() -> None:
    expression = "($bitmap a 0 2 1 0 2 1)"
    for value in range(8):
        expected = (value & 1) << 2 | value >> 1 & 1 | (value >> 2 & 1) << 1
        assert expected == run(("$uint<3>",), "$uint<3>", expression, value, volatile="$volatile")


FLOATS = [
    ("$float<5,10>", np.float16, np.uint16, 16),
    ("$float<8,23>", np.float32, np.uint32, 32),
    ("$float<11,52>", np.float64, np.uint64, 64),
]

FLOAT_ORACLE: dict[str, Callable[[np.floating, np.floating], np.floating | np.bool_ | bool]] = {
    "+": lambda x, y: x + y,
    "-": lambda x, y: x - y,
    "*": lambda x, y: x * y,
    "<": lambda x, y: x < y,
    "==": lambda x, y: x == y,
    "><": lambda x, y: np.isnan(x) or np.isnan(y),
}


@pytest.mark.parametrize(("type_", "real", "integer", "width"), FLOATS)
@pytest.mark.parametrize("operator", ["+", "-", "*", "<", "==", "><"])
def test_floats(type_: str, real: type, integer: type, width: int, operator: str) -> None:
    numbers = np.random.default_rng(7).integers(0, 2**width, (150, 2), dtype=np.uint64)
    numbers[:4] = [[0, 1 << (width - 1)], [1, 1], [0, 0], [1 << (width - 1), 3]]
    result = type_ if operator in "+-*" else "$uint<1>"
    for a, b in numbers:
        x, y = integer(a).view(real), integer(b).view(real)
        actual = run((type_, type_), result, f"(a {operator} b)", int(a), int(b))
        with np.errstate(all="ignore"):
            outcome = FLOAT_ORACLE[operator](x, y)
        if result == type_:
            value = integer(actual).view(real)
            same = np.isnan(value) and np.isnan(outcome)
            assert same or int(real(outcome).view(integer)) == actual, (a, b)
        else:
            assert bool(outcome) == bool(actual), (a, b)


@pytest.mark.parametrize(("type_", "real", "integer", "width"), FLOATS)
def test_conversions_from_integers_round_once(
    type_: str, real: type, integer: type, width: int
) -> None:
    generator = random.Random(3)
    for value in [
        0,
        1,
        -1,
        2**24 + 1,
        2**60 + 2**36 + 1,
        *(generator.getrandbits(64) - 2**63 for _ in range(60)),
    ]:
        actual = run(("$int<65>",), type_, f"($cast ({type_}) a)", value % 2**65)
        with np.errstate(over="ignore"):
            exact = (
                float(value)
                if width == 64
                else float(np.longdouble(value))
                if abs(value) < 2**53
                else None
            )
            expected = real(np.longdouble(value)) if exact is None else real(exact)
        assert int(expected.view(integer)) == actual, value


def test_conversions_to_integers_cut_toward_zero() -> None:
    for value, expected in [(2.75, 2), (-2.75, -2), (-0.5, 0), (100.0, 100)]:
        bits = int(np.float32(value).view(np.uint32))
        actual = run(("$float<8,23>",), "$int<16>", "($cast ($int<16>) a)", bits)
        assert expected % 2**16 == actual


def test_float_literal_and_bits() -> None:
    half = int(np.float32(1.5).view(np.uint32))
    assert half == run((), "$float<8,23>", "_f1.5e+0")
    assert half == run(("$uint<32>",), "$float<8,23>", "($bitcast ($float<8,23>) a)", half)
