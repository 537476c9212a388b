"""Every operator in GHDL, against the Aa interpreter: one program a type, one pipe an operator."""

from __future__ import annotations

import random

import pytest

from pyahir.backends.aa.interp import Simulator
from pyahir.backends.aa.parser import parse
from pyahir.backends.aa.verify import verify
from pyahir.sim import simulate

pytestmark = pytest.mark.ghdl

BINARY = ["+", "-", "*", "&", "|", "^", "~&", "~|", "~^", "<<", ">>", "<o<", ">o>"]
COMPARE = ["==", "!=", "<", "<=", ">", ">="]
UNSIGNED = {
    "decode": ("($decode ($slice a 2 0))", "$uint<8>"),
    "penc": ("($p_encode a)", None),
    "bits_or": ("($bitreduce | a)", "$uint<1>"),
    "bits_and": ("($bitreduce & a)", "$uint<1>"),
    "bits_xor": ("($bitreduce ^ a)", "$uint<1>"),
    "both": ("($slice (a && b) 6 1)", "$uint<6>"),
    "many": ("($concat ($slice a 3 1) ($slice b 2 2) ($slice a 0 0))", "$uint<5>"),
}


def expressions(kind: str, width: int) -> dict[str, tuple[str, str]]:
    """Give name, text and type of every expression for operands of one type."""
    own = f"${kind}<{width}>"
    found = {f"bin{i}": (f"(a {op} b)", own) for i, op in enumerate(BINARY)}
    found |= {f"cmp{i}": (f"(a {op} b)", "$uint<1>") for i, op in enumerate(COMPARE)}
    for amount in (0, 1, width - 1):
        for i, op in enumerate(("<<", ">>", "<o<", ">o>")):
            found[f"by{amount}n{i}"] = (f"(a {op} {amount})", own)
    found["inv"] = ("(~ a)", own)
    found["bit"] = ("(a [] b)", "$uint<1>")
    found["slice"] = (f"($slice (a + b) {width - 1} 1)", f"$uint<{width - 1}>")
    found["mux"] = ("($mux (a > b) a (a + b))", own)
    found["prio"] = ("($prioritymux (a > b) a (a == b) (a - b) $default b)", own)
    found["excl"] = ("($excmux (a > b) a (a < b) b)", own)
    for i, op in enumerate(["+", "*", "&", "|", "^"]):
        found[f"red{i}"] = (f"($reduce {op} a b (a + 1))", own)
    for target in ("uint", "int"):
        for size in (1, width - 2, width, width + 3):
            found[f"cast{target}{size}"] = (f"($cast (${target}<{size}>) a)", f"${target}<{size}>")
            found[f"bits{target}{size}"] = (
                f"($bitcast (${target}<{size}>) a)",
                f"${target}<{size}>",
            )
    wide = f"$int<{2 * width}>"
    found["ext"] = (f"(($cast ({wide}) a) * ($bitcast ({wide}) b))", wide)
    found["ext2"] = (f"(($bitcast ({wide}) a) * ($cast ({wide}) b))", wide)
    if kind == "uint":
        found |= {name: (text, type_ or own) for name, (text, type_) in UNSIGNED.items()}
    return found


def program(kind: str, width: int) -> str:
    """Make a program that reads two operands and writes every expression of them."""
    table = expressions(kind, width)
    own = f"${kind}<{width}>"
    pipes = "".join(f"$pipe o_{name} : {type_} $depth 4\n" for name, (_, type_) in table.items())
    lines = "".join(
        f"      x_{name} := {text}\n      o_{name} := x_{name}\n"
        for name, (text, _) in table.items()
    )
    return (
        f"$pipe p : {own} $depth 2\n$pipe q : {own} $depth 2\n{pipes}"
        f"$module [ops] $in () $out () $is\n{{\n  $branchblock [blk] {{\n"
        f"    $dopipeline $depth 7 $fullrate $merge $entry $loopback $endmerge\n"
        f"      a := p\n      b := q\n{lines}    $while 1\n  }}\n}}\n"
    )


@pytest.mark.parametrize(("kind", "width"), [("uint", 8), ("int", 8), ("uint", 35), ("int", 35)])
def test_operators_equal_the_interpreter(kind: str, width: int) -> None:
    parsed = parse(program(kind, width))
    verify(parsed)
    generator = random.Random(width)
    top = 1 << width
    special = [0, 1, 2, width - 1, width, top // 2 - 1, top // 2, top - 1]
    pairs = [(x, y) for x in special for y in special]
    pairs += [(generator.randrange(top), generator.randrange(top)) for _ in range(60)]
    pairs += [(generator.randrange(top), generator.randrange(width + 2)) for _ in range(30)]
    inputs = {"p": [x for x, _ in pairs], "q": [y for _, y in pairs]}
    expect = {f"o_{name}": len(pairs) for name in expressions(kind, width)}
    wanted = Simulator(parsed).run(inputs, expect).outputs
    found = simulate(parsed, inputs, expect).outputs
    table = expressions(kind, width)
    for name in table:
        pipe = f"o_{name}"
        size = int(table[name][1].split("<")[1].rstrip(">"))
        patterns = [value % (1 << size) for value in wanted[pipe]]
        assert found[pipe] == patterns, f"{table[name][0]} of {kind}<{width}>"
