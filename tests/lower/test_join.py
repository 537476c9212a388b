"""Forks and joins as hardware: exact sums, branches of any length, pipes that are deep enough."""

from __future__ import annotations

import tempfile
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyahir.backends.aa.values import AaDeadlockError
from pyahir.compiler import CompileOptions, compile_graph
from pyahir.errors import PlanError
from pyahir.ir.eval import Evaluator
from pyahir.ir.graph import Graph
from pyahir.ir.ops import Add, AvgPool2d, Conv2d, Relu
from pyahir.ir.types import Int
from pyahir.passes.pipeline import SIMPLIFY, Pipeline
from pyahir.plan.branches import join_rooms
from pyahir.plan.search import Options, make_plan
from pyahir.quant.calibrate import calibrate
from pyahir.quant.exponents import calibrate_exponents
from pyahir.quant.observers import OBSERVERS
from pyahir.quant.posit import quantize_real
from pyahir.quant.quantize import quantize
from pyahir.quant.scheme import RealScheme
from pyahir.sim.engine import GhdlEngine
from tests.designs import drawn_foldings
from tests.lower.test_real import any_codes, bits, check, design
from tests.quant.floats import FloatNet

SCHEMES = [
    None,
    RealScheme(arith="quire"),
    RealScheme(arith="quire", es=2),
    RealScheme(arith="f32", es=1),
    RealScheme(arith="f16"),
    RealScheme(scheme="float16", arith="f16", scale="1"),
    RealScheme(scheme="float32", arith="f32", scale="1"),
]
FAST = (SCHEMES[0], SCHEMES[1], SCHEMES[5])  # integers, a quire, a float
SAME = (1, 1, 1, 1)


def block(net: FloatNet, out: int, stride: int, *, direct: bool, convolutions: int = 2) -> None:
    """Add a residual block: convolutions beside nothing, or beside one of 1x1."""
    start = net.value
    for number in range(convolutions):
        step = (stride, stride) if number == 0 else (1, 1)
        net.conv(out, Conv2d(kernel_size=(3, 3), stride=step, padding=SAME))
        if number + 1 < convolutions:
            net.plain("relu", Relu())
    left = net.value
    net.value = start
    if not direct:
        net.conv(out, Conv2d(kernel_size=(1, 1), stride=(stride, stride)))
    right = net.value
    net.value = left
    net.plain("add", Add(), right)
    net.plain("relu", Relu())


def residual(seed: int = 0) -> FloatNet:
    """Two blocks, the second with half the size; a pool over the whole map."""
    net = FloatNet((2, 8, 8), seed=seed)
    net.conv(4, Conv2d(kernel_size=(3, 3), padding=SAME))
    net.plain("relu", Relu())
    block(net, 4, 1, direct=True)
    block(net, 6, 2, direct=False)
    net.plain("pool", AvgPool2d(kernel_size=(4, 4)))
    net.flatten()
    net.linear(5)
    return net


def quantized(net: FloatNet, scheme: RealScheme | None) -> Graph:
    graph = Pipeline(SIMPLIFY).run(net.graph())
    if scheme is None:
        return quantize(graph, calibrate(graph, net.images(16), OBSERVERS["minmax"]))
    exponents = calibrate_exponents(graph, net.images(16), scheme.es) if scheme.calibrated else None
    return quantize_real(graph, scheme, exponents)


def frames(graph: Graph, count: int) -> np.ndarray:
    if isinstance(graph.inputs[0].type.element, Int):
        shape = (count, *graph.inputs[0].type.shape[1:])
        return np.random.default_rng(5).integers(0, 256, shape).astype(np.uint8)
    return any_codes(graph, count)


@pytest.mark.parametrize(
    "scheme",
    [item if item in FAST else pytest.param(item, marks=pytest.mark.slow) for item in SCHEMES],
    ids=str,
)
def test_every_scheme(scheme: RealScheme | None, tmp_path: Path) -> None:
    graph = quantized(residual(), scheme)
    path = design(graph, tmp_path, Options(multipliers=40))
    check(graph, path, frames(graph, 2))


def check_random_blocks(data: st.DataObject) -> None:
    """Lengths of branches, strides, channels and foldings at random; nothing waits for ever."""
    net = FloatNet((data.draw(st.integers(1, 3)), 7, 8), seed=data.draw(st.integers(0, 99)))
    channels = data.draw(st.sampled_from((2, 3, 4, 6)))
    net.conv(channels, Conv2d(kernel_size=(1, 1)))
    for _ in range(data.draw(st.integers(1, 2))):
        direct = data.draw(st.booleans())
        out = channels if direct else data.draw(st.sampled_from((2, 4, 6)))
        stride = 1 if direct else data.draw(st.integers(1, 2))
        block(net, out, stride, direct=direct, convolutions=data.draw(st.integers(1, 3)))
        channels = out
    graph = quantized(net, data.draw(st.sampled_from(SCHEMES)))
    foldings = drawn_foldings(data, graph)
    with tempfile.TemporaryDirectory() as folder:
        path = design(graph, Path(folder), Options(foldings=foldings))
        check(graph, path, frames(graph, 2), order_seed=data.draw(st.integers(0, 1000)))


@settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_random_blocks(data: st.DataObject) -> None:
    check_random_blocks(data)


@pytest.mark.slow
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_many_random_blocks(data: st.DataObject) -> None:
    check_random_blocks(data)


def test_a_join_without_room_is_a_deadlock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The room in front of a join is needed: without it the fork waits for the join."""
    graph = quantized(residual(), None)
    plan = make_plan(graph, Options(multipliers=40))
    rooms = join_rooms(plan)
    assert max(rooms.values()) > 2 * 8  # two rows of the map, for two windows of three
    lowering = import_module("pyahir.backends.aa.lower.lower")
    monkeypatch.setattr(lowering, "join_rooms", lambda _: dict.fromkeys(rooms, 0))
    path = design(graph, tmp_path, Options(multipliers=40))
    with pytest.raises(AaDeadlockError):
        check(graph, path, frames(graph, 1))


def test_a_forked_input_owns_its_pipes() -> None:
    """Those of a fork at the input are no layer's, whatever was emitted before them."""
    net = FloatNet((4, 8, 8))
    block(net, 4, 1, direct=True)
    options = CompileOptions(plan=Options(multipliers=40, streamed=frozenset({"conv1"})))
    design = compile_graph(quantized(net, None), options).design
    owners = {name: owner for name, owner, _, _ in design.pipes if name.startswith("fk")}
    assert owners == {"fk0_x": "x", "fk1_x": "x"}


def test_the_output_is_read_by_nobody_else() -> None:
    net = residual()
    graph = quantized(net, None)
    inner = graph.nodes[-1].inputs[0]
    several = graph.update(outputs=(inner,))
    with pytest.raises(PlanError, match="the output of hardware is read by nobody else"):
        compile_graph(several, CompileOptions())


@pytest.mark.ghdl
@pytest.mark.parametrize(
    "scheme", [None, pytest.param(RealScheme(arith="quire"), marks=pytest.mark.slow)], ids=str
)
def test_simulated_at_the_planned_cycles(scheme: RealScheme | None, tmp_path: Path) -> None:
    graph = quantized(residual(), scheme)
    engine = GhdlEngine.open(design(graph, tmp_path, Options(multipliers=40)))
    codes = frames(graph, 5)
    (found,) = engine.run(codes, stalls=engine.after_weights()).values()
    np.testing.assert_array_equal(bits(Evaluator(graph).run(codes)[graph.outputs[0]]), found)
    assert engine.cycles.interval <= 1.02 * engine.files.manifest["totals"]["cycles_per_frame"]
