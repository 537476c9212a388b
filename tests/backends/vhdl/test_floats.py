"""``$float`` in VHDL: IEEE-754 to the last bit, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from pyahir.backends.aa.interp import Simulator
from pyahir.backends.aa.parser import parse
from pyahir.sim import simulate

pytestmark = pytest.mark.ghdl

TEXT = """
$pipe a : $uint<{bits}> $depth 2
$pipe b : $uint<{bits}> $depth 2
$pipe sums : $uint<{bits}> $depth 2
$pipe products : $uint<{bits}> $depth 2
$module [main] $in () $out () $is
{{
  $branchblock [blk] {{
    $dopipeline $depth 31 $buffering 2 $fullrate
      $merge $entry $loopback
      $endmerge
      x := a
      y := b
      $volatile fx := ($bitcast ($float<{format}>) x)
      $volatile fy := ($bitcast ($float<{format}>) y)
      s := (fx + fy)
      p := (fx * fy)
      sums := ($bitcast ($uint<{bits}>) s)
      products := ($bitcast ($uint<{bits}>) p)
    $while 1
  }}
}}
"""


@pytest.mark.parametrize(
    ("bits", "form", "real", "word"),
    [(16, "5,10", np.float16, np.uint16), (32, "8,23", np.float32, np.uint32)],
)
def test_add_and_multiply(bits: int, form: str, real: type, word: type) -> None:
    rng = np.random.default_rng(bits)
    edges = np.array([0.0, -0.0, 1.0, -1.5, np.inf, -np.inf, np.finfo(real).tiny, 6e4], real)
    left = np.concatenate(
        [np.repeat(edges, len(edges)).view(word), rng.integers(0, 1 << bits, 300, dtype=word)]
    )
    right = np.concatenate(
        [np.tile(edges, len(edges)).view(word), rng.integers(0, 1 << bits, 300, dtype=word)]
    )
    program = parse(TEXT.format(bits=bits, format=form))
    inputs = {"a": left.tolist(), "b": right.tolist()}
    counts = {"sums": len(left), "products": len(left)}
    with np.errstate(all="ignore"):
        wanted = {
            "sums": left.view(real) + right.view(real),
            "products": left.view(real) * right.view(real),
        }
    found = simulate(program, inputs, counts)
    interpreted = Simulator(program).run(inputs, counts).outputs
    for pipe, values in wanted.items():
        number = ~np.isnan(values)
        for outputs in (found.outputs, interpreted):
            words = np.array(outputs[pipe], word)
            np.testing.assert_array_equal(np.isnan(words.view(real)), ~number)
            np.testing.assert_array_equal(words[number], values.view(word)[number])
    assert found.cycles["sums"][-1] - found.cycles["sums"][0] == len(left) - 1
