"""Syntax errors: the whole message, with position, source line and caret."""

from __future__ import annotations

import pytest

from pyahir.backends.aa import ast as aa
from pyahir.backends.aa.parser import parse
from pyahir.errors import AaError

PARENTHESES = "a compound expression needs its own parentheses: (a + b)"
NO_PARENTHESES = "a pair of parentheses too many: a single value takes none"
UNARY_MINUS = "there is no unary minus on names: write (0 - a)"
ASSIGN = "an assignment needs ':='"
PHI_ON = "a phi source needs '$on' and an entry"
EMPTY = "a body needs at least one statement; '$null' will do"
BRANCH = (
    "'$if', '$switch', '$merge', '$place' and '$dopipeline' stand directly in a '$branchblock' only"
)
GUARD_NAME = "'$guard' takes one plain name, with '~' before it to invert it"
LOOP_MERGE = "a '$dopipeline' begins with '$merge $entry $loopback'"
SHIFT = "write a space between two closing '>': '>>' is the shift operator"
C_HEX = "'0x' numbers are for sizes only: write '_h'"
PIPE_ORDER = (
    "the order of a pipe's options is: depth, in or out, signal, synch, p2p, fullrate, bypass"
)
FLOAT = "a float literal is one digit, a point, digits, e, a sign, digits: _f1.5e+0"

# A statement, the column of its error, the message.
STATEMENTS = [
    ("z := a + b", 8, PARENTHESES),
    ("z := (a + b * c)", 13, "a compound expression needs its own parentheses: (a * b)"),
    ("z := (a)", 8, NO_PARENTHESES),
    ("z := (17)", 9, NO_PARENTHESES),
    ("z := (W[1])", 11, NO_PARENTHESES),
    ("z := ((a + b))", 14, NO_PARENTHESES),
    ("z := (-a)", 8, UNARY_MINUS),
    ("z := -a", 7, UNARY_MINUS),
    ("z = a", 3, ASSIGN),
    ("z a", 3, ASSIGN),
    ("z : a", 3, ASSIGN),
    ("_x := a", 1, "identifier '_x' begins with '_'"),
    ("z := _x", 6, "identifier '_x' begins with '_'"),
    ("_hello := a", 1, "identifier '_hello' begins with '_'"),
    ("z := a _b", 8, "identifier '_b' begins with '_'"),
    ("z := a;", 7, "there is no statement separator: remove ';'"),
    ("$do z := a", 1, "unknown keyword '$do'"),
    ("z := ($muxx c a b)", 7, "unknown keyword '$muxx'"),
    ("z := _f1.5", 6, FLOAT),
    ("z := `", 6, "unexpected character '`'"),
    ("z := 0x10", 6, C_HEX),
    ("z := (a + 0x10)", 11, C_HEX),
    ("z := (a [ ] i)", 11, "a bit index is written '[]' without a space"),
    ("z := ($prioritymux c a)", 23, "'$prioritymux' needs a '$default'"),
    ("$if a $then $null $endif", 1, BRANCH),
    ("$null $place [l]", 7, BRANCH),
    ("$guard ((a & b)) z := a", 9, GUARD_NAME),
    ("$guard g z := a", 8, GUARD_NAME),
    ("$volatile $guard (g) z := a", 11, "'$guard' comes before '$volatile'"),
    ("z := a $synch (l) $mark k", 19, "'$mark' comes before '$synch'"),
    ("$branchblock { $dopipeline z := a $while 1 }", 28, LOOP_MERGE),
    ("$branchblock { $merge $entry b $phi x := a $endmerge }", 44, PHI_ON),
    ("$branchblock { $merge $entry b $phi x := a c $on b $endmerge }", 44, PHI_ON),
    ("$branchblock { }", 16, EMPTY),
    ("$null $pipe q : $uint<8>", 7, "declarations come before statements"),
    ("$null $place", 7, BRANCH),
    ("z := $zero<>", 12, "unexpected '>'; expected '{' or a '0x' number or a name or a number"),
]
TEXTS = [
    (
        "$pipe a : $uint<8> // no newline",
        1,
        20,
        "a comment on the last line needs a newline at its end",
    ),
    ("$pipe p : $uint<8> $in $depth 2\n", 1, 24, PIPE_ORDER),
    ("$record [r] <$uint<8>>\n", 1, 21, SHIFT),
    ("$storage s : $pointer<$uint<8>>\n", 1, 30, SHIFT),
    ("\n$module m $in () $out ()\n", 2, 9, "a module's name stands in brackets: $module [m]"),
    ("$module [m] $in () $out () $is { }\n", 1, 34, EMPTY),
    ("pipe a\n", 1, 1, "unexpected 'pipe'"),
    ("$mutex", 1, 7, "unexpected end of text; expected a name"),
]


@pytest.mark.parametrize(("statement", "column", "message"), STATEMENTS)
def test_statement(statement: str, column: int, message: str) -> None:
    text = f"$module [m] $in () $out () $is\n{{\n{statement}\n}}\n"
    with pytest.raises(AaError) as caught:
        parse(text, "m.aa")
    caret = " " * (column - 1) + "^"
    assert str(caught.value) == f"m.aa:3:{column}: {message}\n  {statement}\n  {caret}"


@pytest.mark.parametrize(("text", "line", "column", "message"), TEXTS)
def test_text(text: str, line: int, column: int, message: str) -> None:
    with pytest.raises(AaError) as caught:
        parse(text)
    source = text.split("\n")[line - 1]
    caret = " " * (column - 1) + "^"
    assert str(caught.value) == f"<text>:{line}:{column}: {message}\n  {source}\n  {caret}"


def test_locations() -> None:
    text = "$module [m] $in () $out () $is\n{\n  z := (a + b)\n}\n"
    body = parse(text, "m.aa").module("m").body
    assert body is not None
    statement = body[0]
    assert isinstance(statement, aa.Assign)
    found = [str(node.loc) for node in (statement, statement.target, statement.value)]
    assert found == ["m.aa:3:3", "m.aa:3:3", "m.aa:3:8"]


def test_literals_with_signs_and_operators() -> None:
    body = parse("$module [m] $in () $out () $is { z := (a - -3) y := ($concat _b01 _hfF) }\n")
    first, second = body.module("m").body or ()
    minus = aa.Binary(aa.BinaryOp.SUB, aa.Name("a"), aa.Literal(-3))
    assert first == aa.Assign(aa.Name("z"), minus)
    assert second == aa.Assign(aa.Name("y"), aa.Concat((aa.Literal(1), aa.Literal(255))))
