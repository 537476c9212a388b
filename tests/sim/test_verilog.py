"""GHDL's wide constants in Verilog are mended: as text, and in what verilator computes."""

from __future__ import annotations

import pytest

from pyahir.backends.aa.interp import Simulator
from pyahir.backends.aa.parser import parse
from pyahir.sim.run import simulate
from pyahir.sim.verilator import simulate_verilator
from pyahir.sim.verilog import mended


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('a + "1100"', "a + 4'b1100"),
        ('{{2{"0110"[3]}}, "0110"}', "{{2{1'b0}}, 4'b0110}"),
        ('"0110"[1] "01X"', "1'b1 3'b01X"),
        ("a + 4'b1100", "a + 4'b1100"),
    ],
)
def test_constants(text: str, expected: str) -> None:
    assert mended(text) == expected


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
