"""What the AHIR-V2 tools compile into something else, or crash on: the verifier refuses it.

Each program is checked as text that pyahir is about to emit. The same form with a variable in the
place of the constant, or with the value that the tools take rightly, passes.
"""

from __future__ import annotations

import pytest

from pyahir.backends.aa.parser import parse
from pyahir.backends.aa.verify import verify
from pyahir.errors import AaError
from tests.semantics.calls import CLASSES
from tests.semantics.table import loop

_HEAD = """\
$constant ku : $uint<8> := 200
$constant lu : $uint<8> := 3
$constant ki : $int<8> := -100
$constant li : $int<8> := 3
$parameter three 3
$pipe p : $uint<8> $depth 2
$pipe s : $int<8> $depth 2
$pipe o : $uint<8> $depth 2
"""
_PERMUTED = "0 7 1 6 2 5 3 4 4 3 5 2 6 1 7 0"

# Lines of a loop after ``x := p`` and ``y := s``, and what is said of them.
REFUSED = {
    **{
        f"(ku {op} lu)": f"is constant: the tools fold '{op}' wrongly"
        for op in ("<=", ">=", "<<", ">>", "<o<", ">o>", "[]")
    },
    **{
        f"(ki {op} li)": f"is constant and signed: the tools fold '{op}' as unsigned"
        for op in ("<", ">", "<=", ">=", ">>")
    },
    **{
        f"(ki {op} li)": f"is constant: the tools fold '{op}' wrongly"
        for op in ("<<", "<o<", ">o>", "[]")
    },
    "(ku << 2)": "is constant: the tools fold '<<' wrongly",
    "(ku >= three)": "is constant: the tools fold '>=' wrongly",
    "((ku + lu) >> 2)": "is constant: the tools fold '>>' wrongly",
    "((~ ki) < li)": "is constant and signed: the tools fold '<' as unsigned",
    "($bitreduce | ku)": "is constant: the tools crash when they fold it",
    "($bitreduce ^ (ku + lu))": "is constant: the tools crash when they fold it",
    "($bitreduce & ki)": "is constant: the tools crash when they fold it",
    "($cast ($int<16>) ku)": "is constant: the tools fold the cast without the sign",
    "($cast ($int<16>) ki)": "is constant: the tools fold the cast without the sign",
    "($cast ($int<4>) ki)": "is constant: the tools fold the cast without the sign",
    "($bitcast ($int<16>) ki)": "is constant: the tools fold the bitcast with the sign",
    "($bitcast ($uint<16>) ki)": "is constant: the tools fold the bitcast with the sign",
    "(x / lu)": "the tools have no hardware for division",
    "(x ** lu)": "the tools have no hardware for power",
    "(($cast ($int<40>) y) + -5)": "write _hFFFFFFFFFB",
    "(($bitcast ($uint<40>) x) + 4294967296)": "write _h100000000",
    "($bitmap x 0 0 0 1 1 2 1 3 2 4 2 5 3 6 3 7)": "accepted: each source bit 0 to 7 once",
    "($bitmap x 0 7 1 6 2 5 3 4)": "accepted: each target bit 0 to 7 once",
    f"($bitmap x {_PERMUTED})": "bitmap in a registered statement",
    "($decode ($slice x 2 0))": "decode of '($slice x 2 0)'; accepted: a plain name",
    "($encode ($bitcast ($uint<4>) x))": "encode of '($bitcast ($uint<4>) x)'; accepted: a plain",
}

CONSTANT = (
    *(f"(ku {op} lu)" for op in ("+", "-", "*", "&", "|", "^", "~&", "~|", "~^", "==", "!=")),
    *(f"(ki {op} li)" for op in ("+", "-", "*", "&", "|", "^", "~&", "~|", "~^", "==", "!=")),
    *(f"(ku {op} lu)" for op in ("<", ">")),
    "($bitcast ($uint<16>) ku)",
    "($bitcast ($int<4>) ki)",
    "($bitcast ($int<16>) 200)",
    "($slice ki 3 0)",
    "($mux (ku == lu) ku lu)",
)
ACCEPTED = (
    *(f"(x {op} lu)" for op in ("<=", ">=", "<<", ">>", "<o<", ">o>", "[]")),
    *(f"(y {op} li)" for op in ("<", ">", "<=", ">=", "<<", ">>", "<o<", ">o>", "[]")),
    "(ki >> ($bitcast ($int<8>) x))",
    "($bitreduce | x)",
    "($decode x)",
)


def program(lines: str, functions: str = "") -> str:
    body = "".join(f"      {line.strip()}\n" for line in lines.split(";"))
    return _HEAD + functions + loop("m", f"      x := p\n      y := s\n{body}")


def adder(head: str) -> str:
    return f"{head} [f] $in (a b : $uint<8>) $out (r : $uint<8>) $is\n{{\n  r := (a + b)\n}}\n"


def errors(text: str) -> str:
    with pytest.raises(AaError) as caught:
        verify(parse(text, "m.aa"), emitted=True)
    return str(caught.value)


@pytest.mark.parametrize("expression", REFUSED)
def test_expression_is_refused(expression: str) -> None:
    assert REFUSED[expression] in errors(program(f"z := {expression}"))


@pytest.mark.parametrize("expression", ACCEPTED)
def test_expression_is_accepted(expression: str) -> None:
    verify(parse(program(f"z := {expression}")), emitted=True)


@pytest.mark.parametrize("expression", CONSTANT)
def test_constant_is_folded_rightly_but_is_no_variable(expression: str) -> None:
    text = program(f"z := {expression}")
    verify(parse(text))
    said = "variable 'z' is constant: the tools use its value before its definition"
    assert errors(text).count("m.aa") == 1
    assert said in errors(text)


@pytest.mark.parametrize("operator", ["*", "<<", ">>"])
@pytest.mark.parametrize("kind", ["uint", "int"])
def test_wide_volatile_operators_are_refused(kind: str, operator: str) -> None:
    """Products and shifts by a variable take a register of their own beyond 64 bits."""
    for width, fits in ((64, True), (65, False)):
        own = f"${kind}<{width}>"
        text = program(f"w := ($cast ({own}) x);$volatile v := (w {operator} w)")
        if fits:
            verify(parse(text), emitted=True)
        else:
            said = f"volatile '{operator}' on {own}; accepted: at most 64 bits"
            assert said in errors(text)
    shifted = program("w := ($cast ($uint<65>) x);$volatile v := (w << 3)")
    verify(parse(shifted), emitted=True)


@pytest.mark.parametrize("kind", ["plain", "pipeline", "operator", "deterministic", "macro"])
def test_late_argument_is_refused(kind: str) -> None:
    function = adder(CLASSES[kind][0])
    said = "argument 'c' is defined further down: the tools read it iterations late"
    assert said in errors(program("$call f (x c) (z);c := (z + 1)", function))
    verify(parse(program("d := c;$call f (x d) (z);c := (z + 1)", function)), emitted=True)


def test_late_argument_in_an_expression_is_refused() -> None:
    function = "$module [f] $in (a : $uint<8>) $out (r : $uint<8>) $is\n{\n  r := (a + 1)\n}\n"
    said = "argument 'z' is defined further down: the tools read it iterations late"
    assert said in errors(program("z := (($call f (z)) ^ x)", function))


def test_first_value_of_a_deterministic_result_is_refused() -> None:
    function = adder(CLASSES["deterministic"][0])
    said = "the previous value of 'z', a result of 'f', is not 0 at first"
    assert said in errors(program("d := (z + 1);$call f (x 3) (z)", function))
    said = "guarded call of 'f': its results are not 0 at first"
    assert said in errors(program("g := ($slice x 0 0);$guard (g) $call f (x 3) (z)", function))
    verify(parse(program("d := (e + 1);$call f (x 3) (z);e := z", function)), emitted=True)
