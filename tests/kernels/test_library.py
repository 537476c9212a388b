"""The kernels as a library: names, headers, latencies, and what the verifier says of them."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from pyahir import kernels
from pyahir.backends.aa import ast
from pyahir.backends.aa.parser import parse
from pyahir.backends.aa.printer import to_text
from pyahir.backends.aa.verify import verify
from pyahir.kernels.fixed import fixed_to_posit8

NAMES = kernels.kernel_names()


def header(name: str) -> str:
    text = files("pyahir.kernels").joinpath(f"{name}.aa").read_text(encoding="utf-8")
    return "\n".join(line for line in text.splitlines() if line.startswith("//"))


def test_all_kernels_are_there() -> None:
    formats = ("f16", "f32")
    expected = {f"{form}_{what}" for form in formats for what in ("add", "mul")}
    expected |= {"f16_to_f32", "f32_to_f16"}
    for es in range(3):
        expected |= {f"posit8_to_{form}_es{es}" for form in (*formats, "fixed")}
        expected |= {f"{form}_to_posit8_es{es}" for form in formats}
        expected.add(f"posit8_pack_es{es}")
    assert set(NAMES) == expected


@pytest.mark.parametrize("name", NAMES)
def test_the_header_tells_the_truth(name: str) -> None:
    module, text = kernels.load(name), header(name)
    found = re.search(r"^// Latency (\d+), initiation interval 1\.$", text, re.MULTILINE)
    assert found is not None
    assert int(found[1]) == kernels.latency(name)
    inputs = ", ".join(item.name for item in module.inputs)
    outputs = ", ".join(item.name for item in module.outputs)
    assert text.startswith(f"// {name}({inputs}) -> {outputs}: ")


@pytest.mark.parametrize("name", NAMES)
def test_a_kernel_is_an_operator_that_the_verifier_accepts(name: str) -> None:
    module = kernels.load(name)
    assert module.kind is ast.ModuleKind.PIPELINE
    assert module.role is ast.ModuleRole.OPERATOR
    assert module.deterministic
    assert module.full_rate
    program = ast.Program(items=(module,))
    verify(program, emitted=True)
    assert parse(to_text(program)) == program


@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_registered(name: str) -> None:
    """The synthesis tools refuse a combinational output of a deterministic operator."""
    module = kernels.load(name)
    outputs = {item.name for item in module.outputs}
    made = {
        statement.target.name: statement.volatile
        for statement in module.body or ()
        if isinstance(statement, ast.Assign) and isinstance(statement.target, ast.Name)
    }
    assert {output: made[output] for output in outputs} == dict.fromkeys(outputs, False)


def test_a_kernel_is_parsed_once() -> None:
    assert kernels.load("f32_add") is kernels.load("f32_add")


def test_the_comment_of_a_kernel_is_the_first_sentence_of_its_header() -> None:
    assert kernels.load("f32_to_posit8_es1").comment == (
        "f32_to_posit8_es1(x, k) -> y: the posit<8,1> code nearest to x * 2^k"
    )


def test_the_adder_is_fast_enough_for_sixteen_partial_sums() -> None:
    """A loop through the adder, a pipe and a choice must close within 16 cycles."""
    assert kernels.latency("f32_add") <= 12
    assert kernels.latency("f16_add") <= 12


@pytest.mark.parametrize(("width", "point"), [(2, 0), (8, 4), (15, 0), (64, 24), (110, 48)])
def test_fixed_point_kernels_are_accepted_and_round_trip(width: int, point: int) -> None:
    module = fixed_to_posit8("from_fixed", width=width, point=point, es=2)
    program = ast.Program(items=(module,))
    verify(program, emitted=True)
    assert parse(to_text(program)) == program
