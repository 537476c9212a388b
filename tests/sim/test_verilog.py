"""GHDL's wide constants in Verilog are mended: as text, and in what verilator computes."""

from __future__ import annotations

import re

import numpy as np
import pytest

from pyahir.backends.aa.interp import Simulator
from pyahir.backends.aa.parser import parse
from pyahir.kernels.fixed import fixed_to_posit8
from pyahir.sim.run import simulate
from pyahir.sim.verilator import simulate_verilator
from pyahir.sim.verilog import mended
from tests.kernels.support import bench


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('a + "1100"', "a + 4'b1100"),
        ('{{2{"0110"[3]}}, "0110"}', "{{2{1'b0}}, 4'b0110}"),
        ('"0110"[1] "01X"', "1'b1 3'b01X"),
        ("a + 4'b1100", "a + 4'b1100"),
        ("$signed(a) >> n", "$signed(a) >>> n"),
        ("a >> n", "a >> n"),
    ],
)
def test_constants(text: str, expected: str) -> None:
    assert mended(text) == expected


def memory(words: list[str]) -> str:
    last = len(words) - 1
    lines = "".join(f"    store[{last - place}] = {word};\n" for place, word in enumerate(words))
    head = f"  reg [7:0] store[{last}:0] ; // memory\n"
    return f"{head}  initial begin\n{lines}    end\n  assign x = y;\n"


def test_a_memory_of_equal_words_is_set_in_a_loop() -> None:
    found = mended(memory(["8'b00000000"] * 6))
    loop = "for (word__ = 0; word__ < 6; word__ = word__ + 1) store[word__] = 8'b00000000;"
    assert loop in found
    assert found.count("store[") == 2
    assert found.endswith("    end\n  assign x = y;\n")
    two = mended(memory(["8'b00000000"] * 6) * 2)
    assert len(set(re.findall(r"begin : (\w+)", two))) == 2


@pytest.mark.parametrize("words", [["8'b00000000"] * 3, ["8'b00000000"] * 5 + ["8'b00000001"]])
def test_other_memories_stay(words: list[str]) -> None:
    assert mended(memory(words)) == memory(words)


def test_words_of_half_a_memory_stay() -> None:
    text = memory(["8'b00000000"] * 6).replace("    store[0] = 8'b00000000;\n", "")
    assert mended(text) == text


WIDE = """
$pipe x_in : $int<40> $depth 2
$pipe y_out : $int<40> $depth 2
$module [m] $in () $out () $is
{
  $branchblock [b] {
    $dopipeline $depth 7 $buffering 2 $fullrate
      $merge $entry $loopback
      $endmerge
      x := x_in
      y := ((x + ($bitcast ($int<40>) _h45D964B800)) - ($bitcast ($int<40>) _h170CDC1E01))
      z := (y * ($bitcast ($int<40>) 3))
      y_out := z
    $while 1
  }
}
"""


@pytest.mark.ghdl
@pytest.mark.verilator
def test_wide_constants_are_numbers() -> None:
    program = parse(WIDE)
    words = [0, 1, 12345678901, (1 << 40) - 77]
    given, count = {"x_in": words}, {"y_out": len(words)}
    expected = Simulator(program).run(given, count).outputs["y_out"]
    assert simulate(program, given, count).outputs["y_out"] == expected
    assert simulate_verilator(program, given, count).outputs["y_out"] == expected


@pytest.mark.ghdl
@pytest.mark.verilator
@pytest.mark.parametrize(("width", "point", "es"), [(20, 8, 0), (70, 30, 2)])
def test_a_kernel_with_an_arithmetic_shift(width: int, point: int, es: int) -> None:
    """Negative numbers stay so: the regime of a posit is made by such a shift."""
    kernel = fixed_to_posit8("k_0", width=width, point=point, es=es, scaled=False)
    made = bench([kernel])
    generator = np.random.default_rng(0)
    numbers = [
        int(n) >> int(s)
        for n, s in zip(
            generator.integers(-(1 << 62), 1 << 62, 300),
            generator.integers(0, 62, 300),
            strict=True,
        )
    ]
    given = {"acc_in": [n % (1 << width) for n in numbers], "nar_in": [0] * len(numbers)}
    counts = dict.fromkeys(made.outputs, len(numbers))
    assert simulate_verilator(made.program, given, counts).outputs == made.interpreted(given)
