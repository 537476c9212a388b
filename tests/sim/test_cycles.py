"""Cycle figures of frames: the transient at the beginning does not count."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from pyahir.backends.vhdl import to_vhdl
from pyahir.ir.eval import Evaluator
from pyahir.sim import GhdlEngine, SimulationError, Stalls
from pyahir.sim.engine import FrameCycles
from tests.designs import written
from tests.networks import small


def frames(*intervals: int, first: int = 500) -> FrameCycles:
    ends = [first]
    for interval in intervals:
        ends.append(ends[-1] + interval)
    return FrameCycles(tuple(ends))


@pytest.mark.parametrize(
    ("cycles", "period", "interval"),
    [
        (frames(40, 90, 100, 100), 1, 100.0),
        (frames(300, 100, 100), 1, 100.0),
        (frames(7, 99, 101, 99, 101), 2, 100.0),
        (frames(7, 99, 100, 101, 99, 100, 101), 3, 100.0),
        (frames(40, 60, 80, 90, 95), None, 90.0),
        (frames(40, 60, 80, 90, 9000, 91), None, 91.0),
        (frames(70), None, 70.0),
    ],
)
def test_the_settled_interval(cycles: FrameCycles, period: int | None, interval: float) -> None:
    assert cycles.period == period
    assert cycles.interval == interval


def test_one_frame_has_no_interval() -> None:
    assert frames().period is None
    assert math.isnan(frames().interval)


def test_latency() -> None:
    cycles = FrameCycles(ends=(500, 600, 700), starts=(10, 400, 450))
    assert cycles.latencies == (490, 200, 250)
    assert cycles.latency == 490
    assert frames(1, 2).latency is None


@pytest.mark.ghdl
def test_a_frame_alone_takes_as_long_as_the_first_of_many(tmp_path: Path) -> None:
    chain = small()
    _, path = written(chain.graph(), tmp_path, multipliers=16)
    engine = GhdlEngine.open(path)
    images = chain.images(4)
    after_weights = engine.after_weights()
    engine.run(images, stalls=after_weights)
    many = engine.cycles
    assert many.starts[0] > len(engine.files.items)
    engine.run(images[:1], stalls=after_weights)
    assert engine.cycles.latency == many.latency
    assert many.latency is not None
    assert many.interval < many.latency < 2.5 * many.interval


@pytest.mark.ghdl
def test_a_network_settles(tmp_path: Path) -> None:
    chain = small()
    _, path = written(chain.graph(), tmp_path, multipliers=16)
    engine = GhdlEngine.open(path)
    engine.run(chain.images(6))
    few = engine.cycles
    assert few.period is not None
    assert few.starts[0] == 11  # the first cycle after reset
    assert list(few.starts) == sorted(few.starts)
    assert all(latency > 0 for latency in few.latencies)
    engine.run(chain.images(12))
    assert engine.cycles.interval == few.interval
    assert engine.cycles.ends[:6] == few.ends
    engine.run(chain.images(6), stalls=Stalls(2, 0.4))
    assert engine.cycles.interval >= few.interval


@pytest.mark.ghdl
def test_golden_codes_are_compared_in_the_testbench(tmp_path: Path) -> None:
    chain = small()
    graph = chain.graph()
    _, path = written(graph, tmp_path)
    engine = GhdlEngine.open(path)
    images = chain.images(2)
    last = engine.layers[-1]["value"]
    expected = Evaluator(graph).run(images, keep=[last])[last]
    found = engine.run(images, golden=expected)[last]
    np.testing.assert_array_equal(expected, found)
    assert engine.result is not None
    assert engine.result.passed
    wrong = expected.copy()
    wrong[1, 2] ^= 128
    np.testing.assert_array_equal(expected, engine.run(images, golden=wrong)[last])
    assert not engine.result.passed
    (mismatch,) = engine.result.mismatches.values()
    assert (mismatch.number, mismatch.expected) == (5, wrong[1, 2])


@pytest.mark.ghdl
def test_undefined_codes_are_an_error(tmp_path: Path) -> None:
    chain = small()
    _, path = written(chain.graph(), tmp_path)
    engine = GhdlEngine.open(path)
    pipe = engine.layers[-1]["pipe"]
    text = to_vhdl(engine.program).replace(
        f"{pipe}_pipe_read_data <= {pipe}_read_data;",
        f"{pipe}_pipe_read_data <= (others => 'U');",
    )
    images = chain.images(1)
    golden = np.zeros((1, *engine.layers[-1]["shape"]), np.uint8)
    with pytest.raises(SimulationError) as caught:
        engine.run(images, vhdl=text, golden=golden)
    assert "00 expected, xx found; 3 words differ" in str(caught.value)
    with pytest.raises(SimulationError) as caught:
        engine.run(images, vhdl=text)
    assert str(caught.value) == f"simulation: word 0 of {pipe} is undefined: xx"
