"""Networks through VHDL and GHDL, against the golden model: the hardware's integers are right."""

from __future__ import annotations

import re
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from pyahir.backends.vhdl import to_vhdl
from pyahir.engines import run_simulator
from pyahir.ir.eval import Evaluator
from pyahir.sim import GhdlEngine, Stalls, require_tool
from pyahir.sim.run import SimulationError
from pyahir.sim.tools import ToolError, run_tool
from tests.designs import written
from tests.networks import Chain, chains, lenet, small

pytestmark = pytest.mark.ghdl

STALLS = Stalls(seed=5, share=0.3)


def differences(
    chain: Chain, folder: Path, *, frames: int = 2, multipliers: int = 64, stalls: Stalls | None
) -> tuple[int, GhdlEngine]:
    """Count the codes of the last layer that differ from the golden model."""
    graph = chain.graph()
    _, path = written(graph, folder, multipliers=multipliers)
    engine = GhdlEngine.open(path)
    images = chain.images(frames)
    last = engine.layers[-1]["value"]
    expected = Evaluator(graph).run(images, keep=[last])[last]
    found = engine.run(images, stalls=stalls)[last]
    assert found.shape == expected.shape
    return int((found != expected).sum()), engine


@pytest.mark.parametrize("stalls", [None, STALLS, Stalls(seed=6, share=0.6)])
@pytest.mark.parametrize("multipliers", [pytest.param(4, marks=pytest.mark.slow), 64])
def test_small_network(tmp_path: Path, stalls: Stalls | None, multipliers: int) -> None:
    count, _ = differences(small(), tmp_path, frames=3, multipliers=multipliers, stalls=stalls)
    assert count == 0


@seed(20)
@settings(max_examples=4, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(chains())
def test_random_networks(tmp_path_factory: pytest.TempPathFactory, chain: Chain) -> None:
    folder = tmp_path_factory.mktemp("net")
    for stalls in (None, STALLS):
        count, _ = differences(chain, folder, multipliers=16, stalls=stalls)
        assert count == 0


@pytest.mark.parametrize("multipliers", [64, pytest.param(16, marks=pytest.mark.slow), 4])
def test_steady_cycles_equal_the_plan(tmp_path: Path, multipliers: int) -> None:
    """The slowest layer decides: the pipes even out what borders of images do to the others."""
    chain = small()
    _, path = written(chain.graph(), tmp_path, multipliers=multipliers)
    engine = GhdlEngine.open(path)
    engine.run(chain.images(6))
    intervals = np.diff(engine.cycles.ends)
    assert intervals[-1] == engine.files.manifest["totals"]["cycles_per_frame"]


@pytest.mark.slow
@seed(21)
@settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(chain=chains(), multipliers=st.integers(3, 60))
def test_random_networks_keep_the_planned_cycles(
    tmp_path_factory: pytest.TempPathFactory, chain: Chain, multipliers: int
) -> None:
    folder = tmp_path_factory.mktemp("net")
    graph = chain.graph()
    _, path = written(graph, folder, multipliers=multipliers)
    engine = GhdlEngine.open(path)
    images = chain.images(10)
    last = engine.layers[-1]["value"]
    found = engine.run(images)[last]
    np.testing.assert_array_equal(Evaluator(graph).run(images, keep=[last])[last], found)
    planned = engine.files.manifest["totals"]["cycles_per_frame"]
    assert np.diff(engine.cycles.ends).max() <= planned


def test_a_changed_golden_vector_is_caught(tmp_path: Path) -> None:
    chain = small()
    graph = chain.graph()
    _, path = written(graph, tmp_path)
    engine = GhdlEngine.open(path)
    images = chain.images(2)
    last = engine.layers[-1]["value"]
    expected = Evaluator(graph).run(images, keep=[last])[last].copy()
    found = engine.run(images)[last]
    np.testing.assert_array_equal(found, expected)
    expected[-1, -1] ^= 1
    assert (found != expected).sum() == 1


def mutants(text: str) -> list[str]:
    """Change one operator or constant of the layers' processes each."""
    modules = text.index("entity m_")
    made: list[str] = []
    for pattern, replacement in (
        (r"= 5\)", "= 4)"),
        (r"_full\(1\) <= loop0_fire\(0\)", "_full(1) <= '1'"),
        (r" \+ 1\)", " + 2)"),
        (r"signed\(resize\(", "signed(not resize("),
        (r"> 255\)", "> 100)"),
    ):
        changed = re.sub(pattern, replacement, text[modules:], count=1)
        if changed != text[modules:]:
            made.append(text[:modules] + changed)
    return made


def test_mutants_of_the_vhdl_are_caught(tmp_path: Path) -> None:
    chain = small()
    graph = chain.graph()
    _, path = written(graph, tmp_path)
    engine = GhdlEngine.open(path)
    images = chain.images(2)
    last = engine.layers[-1]["value"]
    expected = Evaluator(graph).run(images, keep=[last])[last]
    made = mutants(to_vhdl(engine.program))
    killed = 0
    for text in made:
        try:
            found = engine.run(images, vhdl=text, stalls=STALLS)[last]
        except (SimulationError, ToolError):
            killed += 1
            continue
        killed += int((found != expected).any())
    print(f"{killed} of {len(made)} mutants caught")
    assert len(made) == 5
    assert killed == len(made)


def test_the_text_is_a_function_of_the_program(tmp_path: Path) -> None:
    _, path = written(small().graph(), tmp_path)
    first, second = GhdlEngine.open(path), GhdlEngine.open(path)
    assert to_vhdl(first.program) == to_vhdl(second.program)


def test_synthesis_accepts_the_text(tmp_path: Path) -> None:
    _, path = written(small().graph(), tmp_path)
    text = to_vhdl(GhdlEngine.open(path).program)
    (tmp_path / "design.vhd").write_text(text)
    command = [require_tool("ghdl"), "--synth", "--std=08", "design.vhd", "-e", "ahir_system"]
    assert "entity ahir_system" in run_tool(command, tmp_path)


@pytest.mark.slow
def test_lenet_digit(tmp_path: Path) -> None:
    start = time.perf_counter()
    count, engine = differences(lenet(), tmp_path, frames=2, stalls=STALLS)
    seconds = time.perf_counter() - start
    assert engine.result is not None
    print(f"LeNet: 2 digits, {engine.result.lines} lines, {seconds:.1f} s, {engine.cycles}")
    assert count == 0
    assert engine.result.lines < 15_000


@pytest.mark.slow
@pytest.mark.parametrize(("multipliers", "cycles"), [(64, 6960), (128, 3600), (400, 1100)])
def test_lenet_keeps_its_plan(tmp_path: Path, multipliers: int, cycles: int) -> None:
    """Every interval between frames is as planned; one frame alone takes few of them."""
    chain = lenet()
    graph = chain.graph()
    _, path = written(graph, tmp_path, multipliers=multipliers)
    images = chain.images(4)
    found, timing = run_simulator("ghdl", path, images)
    for last, codes in found.items():
        np.testing.assert_array_equal(Evaluator(graph).run(images, keep=[last])[last], codes)
    assert timing.frames.intervals == (cycles,) * 3
    assert timing.predicted == cycles
    assert timing.frames.latency is not None
    assert timing.frames.latency < 2.6 * cycles
