"""Designs through the AHIR-V2 tools: the same integers as the golden model, the cycles of ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pyahir.backends.aa.parser import parse
from pyahir.ir.eval import Evaluator
from pyahir.ir.ops import Conv2d, MaxPool2d, Relu
from pyahir.sim import GhdlEngine, SimulationError, Stalls, simulate
from pyahir.sim.ahir import AhirEngine, simulate_ahir
from pyahir.sim.ahir_tools import AhirError, find_ahir, to_ahir_vhdl
from tests.designs import written
from tests.networks import Chain, lenet, small

pytestmark = [pytest.mark.ghdl, pytest.mark.ahir]

STALLS = Stalls(seed=5, share=0.3)
ACCUMULATOR = """\
$pipe p : $uint<8> $depth 2
$pipe o : $uint<8> $depth 2
$module [m] $in () $out () $is
{
  $branchblock [blk] {
    $dopipeline $depth 7 $fullrate
      $merge $entry $loopback
      $endmerge
      x := p
      acc := (acc + x)
      o := acc
    $while 1
  }
}
"""
WORDS = [7, 1, 250, 3, 9, 0, 255, 128]


def strided() -> Chain:
    """Two convolutions, the first with stride and padding, the second in groups."""
    chain = Chain((7, 6, 2), seed=3, zero_point=7)
    chain.conv(4, Conv2d(kernel_size=(3, 3), stride=(2, 1), padding=(1, 1, 1, 1)))
    chain.conv(4, Conv2d(kernel_size=(2, 2), groups=2), relu=False)
    chain.plain("relu", Relu())
    return chain


def pooled() -> Chain:
    """A wide pooling before a convolution of single pixels."""
    chain = Chain((6, 9, 3), seed=4, rule="qnnpack")
    chain.plain("pool", MaxPool2d(kernel_size=(2, 3), stride=(2, 2)))
    chain.conv(5, Conv2d(kernel_size=(1, 1)), relu=False)
    return chain


def check(chain: Chain, folder: Path, multipliers: int, frames: int = 3) -> AhirEngine:
    """Assert equal words and nearly equal cycles a frame, with stalls and without."""
    graph = chain.graph()
    _, path = written(graph, folder, multipliers=multipliers)
    ours, theirs = GhdlEngine.open(path), AhirEngine.open(path)
    images = chain.images(frames)
    last = ours.layers[-1]["value"]
    expected = Evaluator(graph).run(images, keep=[last])[last]
    for stalls in (None, STALLS):
        for engine in (ours, theirs):
            np.testing.assert_array_equal(expected, engine.run(images, stalls=stalls)[last])
        assert theirs.cycles.interval == pytest.approx(ours.cycles.interval, rel=0.05)
        print(multipliers, stalls, ours.cycles.interval, theirs.cycles.interval)
    return theirs


@pytest.mark.parametrize("multipliers", [pytest.param(4, marks=pytest.mark.slow), 64])
def test_small_network(tmp_path: Path, multipliers: int) -> None:
    engine = check(small(), tmp_path, multipliers)
    assert engine.result is not None
    assert engine.result.lines > 1000
    assert engine.result.tool_seconds > 0


@pytest.mark.slow
@pytest.mark.parametrize("make", [strided, pooled])
@pytest.mark.parametrize("multipliers", [3, 64])
def test_other_networks(tmp_path: Path, make: Callable[[], Chain], multipliers: int) -> None:
    check(make(), tmp_path, multipliers)


@pytest.mark.slow
def test_the_optimiser_leaves_the_words(tmp_path: Path) -> None:
    chain = small()
    graph = chain.graph()
    _, path = written(graph, tmp_path)
    engine = AhirEngine.open(path, optimise=())
    images = chain.images(2)
    last = engine.layers[-1]["value"]
    expected = Evaluator(graph).run(images, keep=[last])[last]
    np.testing.assert_array_equal(expected, engine.run(images, keep=[last])[last])


@pytest.mark.slow
def test_lenet(tmp_path: Path) -> None:
    chain = lenet()
    graph = chain.graph()
    _, path = written(graph, tmp_path)
    ours, theirs = GhdlEngine.open(path), AhirEngine.open(path)
    images = chain.images(2)
    last = ours.layers[-1]["value"]
    expected = Evaluator(graph).run(images, keep=[last])[last]
    for engine in (ours, theirs):
        np.testing.assert_array_equal(expected, engine.run(images)[last])
    assert theirs.cycles.interval == pytest.approx(ours.cycles.interval, rel=0.05)
    result = theirs.result
    assert result is not None
    print(
        f"LeNet: tools {result.tool_seconds:.1f} s, {result.lines} lines, "
        f"{theirs.cycles.interval} cycles a frame ({ours.cycles.interval} in our VHDL), "
        f"{theirs.cycles.ends[-1] / result.seconds:.0f} cycles/s"
    )


def test_streams_inside_cannot_be_kept(tmp_path: Path) -> None:
    _, path = written(small().graph(), tmp_path)
    engine = AhirEngine.open(path)
    names = [item["value"] for item in engine.layers]
    with pytest.raises(SimulationError, match=rf"^engine ahir: '{names[0]}' is .*: {names[-1]}$"):
        engine.run(small().images(1), keep=names)


def test_any_program(tmp_path: Path) -> None:
    path = tmp_path / "accumulator.aa"
    path.write_text(ACCUMULATOR)
    inputs, expect = {"p": WORDS}, {"o": len(WORDS)}
    ours = simulate(path, inputs, expect)
    for source in (path, parse(ACCUMULATOR, "accumulator.aa")):
        assert simulate_ahir(source, inputs, expect, stalls=STALLS).outputs == ours.outputs
    with pytest.raises(SimulationError, match=r"^simulation: nothing moves for 300 cycles; o gave"):
        simulate_ahir(path, inputs, {"o": len(WORDS) + 1}, patience=300)


def test_an_error_in_the_text_is_the_tools_message() -> None:
    text = ACCUMULATOR.replace("(acc + x)", "(acc + )")
    with pytest.raises(AhirError, match=r"^AaLinkExtMem refuses net\.aa:\n") as caught:
        to_ahir_vhdl(text, ["m"], find_ahir(), label="net.aa")
    assert "net.aa:10:21: unexpected token: )\n    acc := (acc + )" in str(caught.value)


def test_an_error_of_a_later_tool_is_read() -> None:
    with pytest.raises(AhirError, match=r"^vc2vhdl refuses net\.aa:\n  .*nosuch"):
        to_ahir_vhdl(ACCUMULATOR, ["nosuch"], find_ahir(), label="net.aa")
