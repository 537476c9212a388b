"""``parse(to_text(tree)) == tree``, and what the text looks like."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from pyahir.backends.aa import ast as aa
from pyahir.backends.aa import types as ty
from pyahir.backends.aa.parser import parse
from pyahir.backends.aa.printer import to_text
from pyahir.backends.aa.verify import verify
from tests.backends.aa import strategies

PROGRAMS = sorted((Path(__file__).parent / "programs").glob("*.aa"))
QUICK = settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))


@QUICK
@given(strategies.programs())
def test_programs(program: aa.Program) -> None:
    assert parse(to_text(program)) == program


@QUICK
@given(strategies.expressions())
def test_expressions(expr: aa.Expr) -> None:
    body = (aa.Assign(aa.Name("z"), expr),)
    program = aa.Program(items=(aa.Module(name="m", body=body),))
    assert parse(to_text(program)) == program


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_files(path: Path) -> None:
    program = parse(path.read_text(encoding="utf-8"), path.name)
    verify(program)
    assert parse(to_text(program)) == program


@pytest.mark.parametrize(
    ("literal", "expected"),
    [
        (aa.Literal(0), "0"),
        (aa.Literal(2**31 - 1), "2147483647"),
        (aa.Literal(2**31), "_h80000000"),
        (aa.Literal(-5), "-5"),
        (aa.Literal(-5, ty.Int(32)), "-5"),
        (aa.Literal(-5, ty.Int(33)), "_h1FFFFFFFB"),
        (aa.Literal(-1, ty.Int(64)), "_hFFFFFFFFFFFFFFFF"),
        (aa.FloatLiteral(1.5), "_f1.5e+00"),
        (aa.FloatLiteral(-0.1), "_f-1.0e-01"),
    ],
)
def test_literals(literal: aa.Literal | aa.FloatLiteral, expected: str) -> None:
    body = (aa.Assign(aa.Name("z"), literal),)
    text = to_text(aa.Program(items=(aa.Module(name="m", body=body),)))
    assert f"  z := {expected}\n" in text


@pytest.mark.parametrize(
    ("value", "type_"), [(256, ty.UInt(8)), (-1, ty.UInt(8)), (-129, ty.Int(8)), (256, ty.Int(8))]
)
def test_literal_out_of_range(value: int, type_: ty.UInt | ty.Int) -> None:
    message = f"^{value} does not fit the 8 bits of the literal's type$"
    with pytest.raises(ValueError, match=message):
        aa.Literal(value, type_)


def test_comments_and_layout() -> None:
    program = aa.Program(
        comment="made by a test\nin two lines",
        items=(
            aa.Pipe(name="x_in", type=ty.UInt(8), depth=2, comment="input x (model.py:3)"),
            aa.Storage(name="w", type=ty.Array((4, 2), ty.Int(8)), comment="weights"),
            aa.Module(name="m", body=(aa.Null(),), comment="node conv1"),
        ),
    )
    assert to_text(program) == (
        "// made by a test\n"
        "// in two lines\n"
        "// input x (model.py:3)\n"
        "$pipe x_in : $uint<8> $depth 2\n"
        "// weights\n"
        "$storage w : $array[4][2] $of $int<8>\n"
        "// node conv1\n"
        "$module [m] $in () $out () $is\n"
        "{\n"
        "  $null\n"
        "}\n"
    )


def test_a_declaration_of_several_names_becomes_several_nodes() -> None:
    program = parse("$pipe a b : $uint<8> $depth 2\n")
    assert [pipe.name for pipe in program.pipes()] == ["a", "b"]
    assert [str(pipe.loc) for pipe in program.pipes()] == ["<text>:1:7", "<text>:1:9"]
