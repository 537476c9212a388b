"""Float types as kernels: the interpreter's own arithmetic against the rewritten program's."""

from __future__ import annotations

import random

import numpy as np
import pytest

from pyahir.backends.aa import ast
from pyahir.backends.aa.interp import Simulator
from pyahir.backends.aa.parser import parse
from pyahir.backends.aa.verify import verify
from pyahir.errors import AaError
from pyahir.kernels.native import without_floats
from pyahir.sim import simulate
from tests.kernels.test_float import F16, F32, FORMS, Form, crossed, random_pairs

ARITHMETIC = {
    "add": "(fa + fb)",
    "sub": "(fa - fb)",
    "mul": "(fa * fb)",
    "nested": "((fa * fb) + (fa - _f1.5e+0))",
    "sum": "($reduce + fa fb fa)",
    "chosen": "($mux (fa < fb) (fa + fb) fb)",
}
COMPARED = {
    "eq": "(fa == fb)",
    "ne": "(fa != fb)",
    "lt": "(fa < fb)",
    "le": "(fa <= fb)",
    "gt": "(fa > fb)",
    "ge": "(fa >= fb)",
    "uno": "(fa >< fb)",
    "of_sums": "((fa + fb) < (fa * fb))",
}


def program(form: Form) -> ast.Program:
    kind = f"$float<{form.exponent},{form.fraction}>"
    word = f"$uint<{form.width}>"
    lines = [f"$pipe a_in b_in : {word} $depth 2"]
    body = ["a := a_in", "b := b_in", f"$volatile fa := ($bitcast ({kind}) a)"]
    body.append(f"$volatile fb := ($bitcast ({kind}) b)")
    for key, text in ARITHMETIC.items():
        lines.append(f"$pipe o_{key} : {word} $depth 2")
        body += [f"s_{key} := {text}", f"o_{key} := ($bitcast ({word}) s_{key})"]
    for key, text in COMPARED.items():
        lines.append(f"$pipe o_{key} : $uint<1> $depth 2")
        body += [f"s_{key} := {text}", f"o_{key} := s_{key}"]
    lines += ["$module [m] $in () $out () $is {", "$branchblock [blk] {"]
    lines += ["$dopipeline $depth 63 $buffering 2 $fullrate", "$merge $entry $loopback $endmerge"]
    parsed = parse("\n".join([*lines, *body, "$while 1", "}", "}", ""]))
    verify(parsed)
    return parsed


def canonical(form: Form, key: str, words: list[int]) -> list[int]:
    """Give every NaN one pattern: which one an operation makes is not defined."""
    if key in COMPARED:
        return words
    values = np.array(words, form.integer)
    return np.where(np.isnan(values.view(form.real)), form.nan, values).tolist()


def cases(form: Form, count: int) -> dict[str, list[int]]:
    edge, drawn = crossed(form, every=False), random_pairs(form, count)
    places = random.Random(count).sample(range(len(edge[0])), count)
    return {
        name: [int(edge[side][place]) for place in places] + drawn[side].tolist()
        for side, name in enumerate(("a_in", "b_in"))
    }


def check(form: Form, count: int, *, ghdl: bool) -> None:
    native, inputs = program(form), cases(form, count)
    expect = {f"o_{key}": 2 * count for key in (*ARITHMETIC, *COMPARED)}
    wanted = Simulator(native).run(inputs, expect).outputs
    rewritten = without_floats(native)
    verify(rewritten)
    run = simulate(rewritten, inputs, expect) if ghdl else Simulator(rewritten).run(inputs, expect)
    for key in (*ARITHMETIC, *COMPARED):
        pipe = f"o_{key}"
        found = canonical(form, key, run.outputs[pipe])
        assert found == canonical(form, key, wanted[pipe]), key


@pytest.mark.parametrize("form", FORMS)
def test_kernels_equal_float_types_in_the_interpreter(form: Form) -> None:
    check(form, 1500, ghdl=False)


@pytest.mark.ghdl
@pytest.mark.parametrize("form", FORMS)
def test_float_types_in_ghdl(form: Form) -> None:
    check(form, 250, ghdl=True)


CASTS = {"i": "$int<40>", "j": "$int<7>", "u": "$uint<33>", "v": "$uint<1>", "w": "$int<24>"}


def cast_program() -> ast.Program:
    """Cast floats to integers, integers to floats, and floats to the other format."""
    kinds = {"f": "$float<8,23>", "h": "$float<5,10>"}
    widths = {"f": 32, "h": 16}
    lines = [f"$pipe p_{key} : {kind} $depth 2" for key, kind in (kinds | CASTS).items()]
    body = [f"x_{key} := p_{key}" for key in kinds | CASTS]
    for made, kind in (kinds | CASTS).items():
        for given in kinds | CASTS if made in kinds else kinds:
            if made == given:
                continue
            out = f"o_{given}_{made}"
            bits = f"$uint<{widths[made]}>" if made in kinds else kind
            lines.append(f"$pipe {out} : {bits} $depth 2")
            body.append(f"s_{given}_{made} := ($cast ({kind}) x_{given})")
            body.append(f"{out} := ($bitcast ({bits}) s_{given}_{made})")
    lines += ["$module [m] $in () $out () $is {", "$branchblock [blk] {"]
    lines += ["$dopipeline $depth 63 $buffering 2 $fullrate", "$merge $entry $loopback $endmerge"]
    parsed = parse("\n".join([*lines, *body, "$while 1", "}", "}", ""]))
    verify(parsed)
    return parsed


def cast_inputs(count: int) -> dict[str, list[int]]:
    """Give integers of all lengths, and floats of all sizes, many of them near integers."""
    generator = random.Random(count)
    inputs: dict[str, list[int]] = {}
    for key, kind in CASTS.items():
        width = int(kind.split("<")[1].rstrip(">"))
        words = [0, 1, (1 << width) - 1, 1 << (width - 1), (1 << (width - 1)) - 1]
        while len(words) < count:
            size = generator.getrandbits(generator.randrange(1, width + 1))
            words.append(generator.choice((1, -1)) * size % (1 << width))
        inputs[f"p_{key}"] = [word % (1 << width) for word in words]
    for key, form in (("f", F32), ("h", F16)):
        bias = (1 << (form.exponent - 1)) - 1
        words = [int(word) for word in random_pairs(form, count)[0]]
        top = (1 << form.exponent) - 1
        for place in range(0, count, 2):
            exponent = min(top, bias + generator.randrange(-3, 50))
            words[place] = form.word(
                generator.getrandbits(1), exponent, words[place] & ((1 << form.fraction) - 1)
            )
        # Around the numbers that binary16 has: subnormal ones, ties, the largest.
        for place in range(1, count, 4):
            if key == "f":
                exponent = 127 + generator.randrange(-27, 18)
                fraction = generator.getrandbits(11) << 12 | generator.choice((0, 0, 1, 4095))
                words[place] = form.word(generator.getrandbits(1), exponent, fraction)
        inputs[f"p_{key}"] = words
    return inputs


def check_casts(count: int, *, ghdl: bool) -> None:
    native, inputs = cast_program(), cast_inputs(count)
    outputs = [pipe.name for pipe in native.pipes() if pipe.name.startswith("o_")]
    expect = dict.fromkeys(outputs, count)
    wanted = Simulator(native).run(inputs, expect).outputs
    rewritten = without_floats(native)
    verify(rewritten)
    run = simulate(rewritten, inputs, expect) if ghdl else Simulator(rewritten).run(inputs, expect)
    for output in outputs:
        form = {"f": F32, "h": F16}.get(output[-1])
        pair = [run.outputs[output], wanted[output]]
        if form is not None:
            pair = [canonical(form, "", words) for words in pair]
        else:
            width = int(CASTS[output[-1]].split("<")[1].rstrip(">"))
            pair = [[word % (1 << width) for word in words] for words in pair]
        assert pair[0] == pair[1], output


def test_casts_equal_float_types_in_the_interpreter() -> None:
    check_casts(3000, ghdl=False)


@pytest.mark.ghdl
def test_casts_in_ghdl() -> None:
    check_casts(600, ghdl=True)


def test_a_program_without_floats_is_left_alone() -> None:
    parsed = parse("$pipe p q : $uint<8>\n$module [m] $in () $out () $is { q := (p + 1) }\n")
    assert without_floats(parsed) is parsed


def test_float_pipes_and_guards() -> None:
    """Pipes of a float type keep their bits; a guarded sum writes only where the guard holds."""
    text = (
        "$pipe p q : $float<8,23> $depth 2\n$pipe y z : $float<8,23> $depth 2\n"
        "$module [m] $in () $out () $is {\n$branchblock [blk] {\n"
        "$dopipeline $depth 31 $fullrate $merge $entry $loopback $endmerge\n"
        "a := p\nb := q\n$volatile up := (a < b)\n$guard (up) y := (a + b)\nz := (a * b)\n"
        "$while 1\n}\n}\n"
    )
    rewritten = without_floats(parse(text))
    verify(rewritten)
    pairs = [(1.0, 2.0), (2.0, 1.0), (-1.0, 0.5), (0.0, -0.0)]
    inputs = {
        name: np.array([pair[side] for pair in pairs], np.float32).view(np.uint32).tolist()
        for side, name in enumerate("pq")
    }
    found = Simulator(rewritten).run(inputs, {"y": 2, "z": 4}).outputs
    results = {name: np.array(words, np.uint32).view(np.float32) for name, words in found.items()}
    assert results["y"].tolist() == [3.0, -0.5]
    assert results["z"].tolist() == [2.0, 2.0, -0.5, 0.0]
    assert [item.name for item in rewritten.modules()] == ["f32_add", "f32_mul", "m"]


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("s := (f / f)", "the operator '/' of float types"),
        ("s := (h + h)", "arithmetic of float<11,52>; accepted: <5,10> and <8,23>"),
        ("$volatile s := (f + f)", "float arithmetic in a combinational statement"),
    ],
)
def test_what_is_not_replaced_is_one_error(statement: str, what: str) -> None:
    text = (
        "$pipe p : $float<8,23>\n$pipe d : $float<11,52>\n$pipe o : $uint<1>\n"
        f"$module [m] $in () $out () $is {{\nf := p\nh := d\n{statement}\no := $zero<1>\n}}\n"
    )
    with pytest.raises(AaError, match=rf"^<text>:\d+:\d+: {what} is not supported by the VHDL"):
        without_floats(parse(text))


def test_conditions_constants_and_sums_over_iterations() -> None:
    """A sum with a constant start, a loop that runs while it is small, a choice behind it."""
    text = (
        "$constant half : $float<8,23> := _f5.0e-1\n"
        "$pipe p : $float<8,23> $depth 2\n$pipe y : $float<8,23> $depth 2\n"
        "$pipe z : $uint<1> $depth 2\n"
        "$module [m] $in () $out () $is {\n$branchblock [blk] {\n"
        "$dopipeline $depth 31 $fullrate $merge $entry $loopback\n"
        "$phi t := half $on $entry nt $on $loopback\n$endmerge\n"
        "a := p\nnt := (t + a)\ny := nt\n$while (nt < _f4.0e+0)\n"
        "$if (nt > _f8.0e+0) $then z := $one<1> $else z := $zero<1> $endif\n}\n}\n"
    )
    program = parse(text)
    numbers = [1.0, 2.0, 0.25, 0.75, 9.0, 4.0]
    inputs = {"p": np.array(numbers, np.float32).view(np.uint32).tolist()}
    expect = {"y": len(numbers), "z": 3}
    wanted = Simulator(program).run(inputs, expect).outputs
    sums = [1.5, 3.5, 3.75, 4.5, 9.5, 4.5]
    assert np.array(wanted["y"], np.uint32).view(np.float32).tolist() == sums
    assert wanted["z"] == [0, 1, 0]
    rewritten = without_floats(program)
    verify(rewritten)
    assert Simulator(rewritten).run(inputs, expect).outputs == wanted


def test_formats() -> None:
    assert (F16.nan, F32.nan) == (0x7E00, 0x7FC00000)
