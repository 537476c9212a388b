"""A join cut out of a plan: a design with an input for each operand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pyahir.backends.aa.engine import AaEngine
from pyahir.compiler import CompileOptions, compile_plan
from pyahir.engines import LayerCheck, run_ir
from pyahir.errors import DataError, PlanError
from pyahir.ir.graph import Graph
from pyahir.ir.ops import Add, Conv2d
from pyahir.ir.types import Layout
from pyahir.layerwise import check_layer
from pyahir.plan.folding import Folding
from pyahir.plan.grouping import layers_of
from pyahir.plan.layers import LayerKind
from pyahir.plan.plan import Plan
from pyahir.plan.search import Options, make_plan
from pyahir.plan.single import single_layer
from pyahir.quant.scheme import RealScheme
from pyahir.sim.run import Stalls
from tests.lower.test_join import frames, quantized, residual
from tests.quant.floats import FloatNet

SCHEMES = {
    "uint8": None,
    "quire": RealScheme(arith="quire"),
    "f16": RealScheme(arith="f16"),
    "float16": RealScheme(scheme="float16", arith="f16", scale="1"),
}
WIDE = {  # words of 1, 4, 2 and 3 channels in front of the joins
    "conv1": Folding(pe=1, simd=1, requantizers=1),
    "conv5": Folding(pe=4, simd=1, requantizers=4),
    "conv10": Folding(pe=6, simd=1, requantizers=2),
    "conv11": Folding(pe=6, simd=1, requantizers=3),
}
COUNT = 3


def named(plan: Plan, foldings: dict[str, Folding]) -> dict[str, Folding]:
    """Give foldings by the names of layers: those of sums have the names of what encodes them."""
    nodes = {planned.layer.nodes[0]: planned.name for planned in plan.layers}
    names = {name.removesuffix("_acc"): layer for name, layer in nodes.items()}
    return {names[name]: folding for name, folding in foldings.items()}


def wide_plan(graph: Graph) -> Plan:
    plan = make_plan(graph, Options(multipliers=40))
    return make_plan(graph, Options(foldings=named(plan, WIDE)))


def joins(plan: Plan) -> list[str]:
    return [item.name for item in plan.layers if item.layer.kind == LayerKind.JOIN]


def checked(
    graph: Graph, plan: Plan, folder: Path, engine: str, stalls: Stalls | None = None
) -> list[LayerCheck]:
    """Check all joins of a plan: nothing differs."""
    golden = run_ir(graph, frames(graph, COUNT))
    found: list[LayerCheck] = []
    for name in joins(plan):
        part = single_layer(plan, name)
        path = folder / f"{name}.aa"
        compile_plan(part, CompileOptions()).write(path)
        check = check_layer(part, path, golden, ("ir", engine), stalls)
        (item,) = check.comparisons
        assert (COUNT * part.layers[0].layer.y.size, 0) == (item.compared, item.differing), item
        found.append(check)
    assert found
    return found


@pytest.mark.parametrize("lanes", ["planned", "wide"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_joins_are_exact(scheme: str, lanes: str, tmp_path: Path) -> None:
    """The second one has a convolution of 1x1 in its other branch."""
    graph = quantized(residual(), SCHEMES[scheme])
    plan = make_plan(graph, Options(multipliers=40)) if lanes == "planned" else wide_plan(graph)
    assert len(checked(graph, plan, tmp_path, "aa")) == 2


@pytest.mark.parametrize("scheme", ["uint8", "quire"])
def test_words_are_those_of_the_whole_plan(scheme: str, tmp_path: Path) -> None:
    """A stream takes a cycle a word: one that comes in narrow words is what the plan counts."""
    graph = quantized(residual(), SCHEMES[scheme])
    plan = wide_plan(graph)
    made = {item.layer.value: item for item in plan.layers}
    parts = [single_layer(plan, name) for name in joins(plan)]
    assert [part.input_lanes for part in parts] == [(4, 1), (2, 3)]
    for part in parts:
        (alone,) = part.layers
        planned = made[alone.layer.value]
        assert tuple(item.name for item in part.graph.inputs) == planned.layer.sources
        assert (alone.lanes_in, alone.folding) == (planned.lanes_in, planned.folding)
        assert part.cycles_per_frame == planned.layer.x.size // min(part.input_lanes)
        compile_plan(part, CompileOptions()).write(tmp_path / "join.aa")
        manifest = json.loads((tmp_path / "join.json").read_text())
        rows = manifest["inputs"]
        assert manifest["input"] == rows[0]
        assert [row["lanes"] for row in rows] == list(part.input_lanes)
        assert [row["pipe"] for row in rows] == [f"{row['value']}_in" for row in rows]


def doubled() -> FloatNet:
    """A value that is added to itself."""
    net = FloatNet((2, 5, 4))
    net.conv(3, Conv2d(kernel_size=(2, 2)))
    net.plain("add", Add(), net.value)
    net.flatten()
    net.linear(3)
    return net


def flattened() -> FloatNet:
    """A join of two maps that were flattened."""
    net = FloatNet((2, 6, 6))
    start = net.value
    net.conv(3, Conv2d(kernel_size=(3, 3), stride=(2, 2)))
    left = net.flatten()
    net.value = start
    net.conv(3, Conv2d(kernel_size=(2, 2), stride=(3, 3)))
    net.flatten()
    net.plain("add", Add(), left)
    net.linear(4)
    return net


@pytest.mark.parametrize("scheme", ["uint8", "quire"])
def test_a_value_added_to_itself_has_one_input(scheme: str, tmp_path: Path) -> None:
    graph = quantized(doubled(), SCHEMES[scheme])
    plan = make_plan(graph, Options(multipliers=8))
    checked(graph, plan, tmp_path, "aa")
    (name,) = joins(plan)
    part = single_layer(plan, name)
    assert (len(part.graph.inputs), len(part.input_lanes)) == (1, 1)
    assert "inputs" not in json.loads((tmp_path / f"{name}.json").read_text())


@pytest.mark.parametrize("scheme", ["uint8", "quire"])
def test_a_join_of_vectors_works_on_the_maps(scheme: str, tmp_path: Path) -> None:
    graph = quantized(flattened(), SCHEMES[scheme])
    plan = make_plan(graph, Options(multipliers=40))
    checked(graph, plan, tmp_path, "aa")
    part = single_layer(plan, joins(plan)[0])
    assert [item.type.layout for item in part.graph.inputs] == [Layout.NHWC, Layout.NHWC]


def test_a_flattened_pixel_is_a_vector(tmp_path: Path) -> None:
    """A map of 1x1 has the order of a vector: it may be added to one."""
    net = FloatNet((2, 3, 3))
    net.conv(4, Conv2d(kernel_size=(3, 3)))
    left = net.flatten()
    net.linear(4)
    net.plain("add", Add(), left)
    net.linear(3)
    graph = quantized(net, None)
    checked(graph, make_plan(graph, Options(multipliers=40)), tmp_path, "aa")


def test_operands_are_given_by_name(tmp_path: Path) -> None:
    graph = quantized(residual(), None)
    plan = make_plan(graph, Options(multipliers=40))
    part = single_layer(plan, "add6")
    path = tmp_path / "add6.aa"
    compile_plan(part, CompileOptions()).write(path)
    engine = AaEngine.open(path)
    codes = np.zeros((2, 8, 8, 4), np.uint8)
    with pytest.raises(DataError, match=rf"^{path}: codes of conv5; accepted: of conv5, conv1$"):
        engine.run(codes)
    uneven = {"conv5": codes, "conv1": codes[:1]}
    message = rf"^{path}: frames: 2 of conv5, 1 of conv1; accepted: as many of each$"
    with pytest.raises(DataError, match=message):
        engine.run(uneven)


def test_a_network_has_one_input() -> None:
    graph = quantized(residual(), None)
    part = single_layer(make_plan(graph, Options(multipliers=40)), "add6").graph
    message = r"^net_add6: 2 inputs and 1 outputs; hardware is made for networks with one of each$"
    with pytest.raises(PlanError, match=message):
        layers_of(part)


@pytest.mark.ghdl
@pytest.mark.parametrize("scheme", ["uint8", pytest.param("quire", marks=pytest.mark.slow)])
def test_simulated_at_the_planned_cycles(scheme: str, tmp_path: Path) -> None:
    graph = quantized(residual(), SCHEMES[scheme])
    for check in checked(graph, wide_plan(graph), tmp_path, "ghdl"):
        (timing,) = check.timings
        assert timing.frames.interval == check.predicted, check.layer


@pytest.mark.ghdl
@pytest.mark.parametrize("scheme", ["uint8", pytest.param("quire", marks=pytest.mark.slow)])
def test_stalls_change_nothing(scheme: str, tmp_path: Path) -> None:
    graph = quantized(residual(), SCHEMES[scheme])
    checked(graph, wide_plan(graph), tmp_path, "ghdl", Stalls(3, 0.4, 0.3))


@pytest.mark.ghdl
@pytest.mark.verilator
def test_verilator_takes_both_streams(tmp_path: Path) -> None:
    graph = quantized(residual(), None)
    for check in checked(graph, wide_plan(graph), tmp_path, "verilator"):
        (timing,) = check.timings
        assert timing.frames.interval == check.predicted, check.layer
