"""One layer cut out of a plan: the same hardware, with the values of the whole network."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyahir.compiler import CompileOptions, compile_plan
from pyahir.engines import LayerCheck, run_ir
from pyahir.errors import PlanError
from pyahir.ir.eval import from_nchw, quantize
from pyahir.ir.graph import Graph
from pyahir.ir.ops import AvgPool2d, Clamp, Conv2d, Flatten, MaxPool2d, Relu
from pyahir.ir.types import Array, Layout
from pyahir.layerwise import check_layer
from pyahir.passes.pipeline import SIMPLIFY, Pipeline
from pyahir.plan.folding import Folding
from pyahir.plan.plan import Plan
from pyahir.plan.search import Options, make_plan
from pyahir.plan.single import single_layer
from pyahir.quant import quantize as uint8
from pyahir.quant.calibrate import calibrate
from pyahir.quant.observers import OBSERVERS
from pyahir.quant.scheme import RealScheme
from tests.lower.test_few_bit import mixed
from tests.lower.test_real import every_kind, quantized
from tests.quant.floats import FloatNet

SCHEMES = [
    None,
    RealScheme(arith="quire"),
    RealScheme(arith="f16", es=1, weights="posit8"),
    RealScheme(scheme="float16", arith="f16", scale="1"),
]
CHOICES = ("folding", "lanes_in", "lanes_out", "input_major", "sweep", "cycles")
NAMES = ["uint8", "quire", "f16", "float16"]


def graph_of(chain: FloatNet, scheme: RealScheme | None) -> Graph:
    if scheme is not None:
        return quantized(chain, scheme)
    graph = Pipeline(SIMPLIFY).run(chain.graph())
    return uint8.quantize(graph, calibrate(graph, chain.images(16), OBSERVERS["minmax"]))


def flattened_first(scheme: RealScheme | None) -> tuple[FloatNet, Graph]:
    """A clamp between the flattening and the layer that reads it."""
    chain = FloatNet((2, 6, 5))
    chain.conv(4, Conv2d(kernel_size=(3, 3)))
    chain.plain("pool", MaxPool2d(kernel_size=(2, 2)))
    chain.flatten()
    chain.plain("tanh", Clamp(minimum=-0.5, maximum=0.5))
    chain.linear(3)
    return chain, graph_of(chain, scheme)


def codes_of(chain: FloatNet, graph: Graph) -> Array:
    kind = graph.inputs[0].type
    return quantize(from_nchw(chain.images(2), kind), kind)


def checks(graph: Graph, codes: Array, plan: Plan, folder: Path, *engines: str) -> list[LayerCheck]:
    """Compile and check every layer of a plan on its own."""
    golden = run_ir(graph, codes)
    found: list[LayerCheck] = []
    for planned in plan.layers:
        part = single_layer(plan, planned.name)
        path = folder / f"{planned.name}.aa"
        compile_plan(part, CompileOptions()).write(path)
        found.append(check_layer(part, path, golden, engines))
    return found


def assert_exact(plan: Plan, found: list[LayerCheck], engines: int) -> None:
    assert [check.layer for check in found] == [planned.name for planned in plan.layers]
    for planned, check in zip(plan.layers, found, strict=True):
        assert len(check.comparisons) == engines - 1
        for item in check.comparisons:
            assert (item.compared, item.differing) == (2 * planned.layer.y.size, 0), item
        assert check.predicted == planned.cycles


def few_floats() -> FloatNet:
    """A small network: the interpreter takes long for floats."""
    chain = FloatNet((1, 6, 5))
    chain.conv(2, Conv2d(kernel_size=(3, 3)))
    chain.plain("relu", Relu())
    chain.plain("pool", AvgPool2d(kernel_size=(2, 2)))
    chain.flatten()
    chain.linear(2)
    return chain


@pytest.mark.parametrize("scheme", SCHEMES, ids=NAMES)
def test_every_layer_is_exact(scheme: RealScheme | None, tmp_path: Path) -> None:
    chain = few_floats() if scheme and scheme.arith == "f16" else every_kind()
    graph = graph_of(chain, scheme)
    plan = make_plan(graph, Options(multipliers=40))
    assert_exact(plan, checks(graph, codes_of(chain, graph), plan, tmp_path, "ir", "aa"), 2)


@pytest.mark.parametrize("scheme", SCHEMES[:2], ids=NAMES[:2])
def test_a_layer_between_flattening_and_sum_works_on_the_map(
    scheme: RealScheme | None, tmp_path: Path
) -> None:
    chain, graph = flattened_first(scheme)
    plan = make_plan(graph, Options(multipliers=16))
    assert_exact(plan, checks(graph, codes_of(chain, graph), plan, tmp_path, "ir", "aa"), 2)
    layouts = {
        name: single_layer(plan, name).graph.inputs[0].type.layout
        for name in (planned.name for planned in plan.layers)
    }
    assert set(layouts.values()) == {Layout.NHWC}


def test_every_few_bit_layer_is_exact(tmp_path: Path) -> None:
    """Recoded pixels, bits, two bits, thresholds, raw sums behind a flattening."""
    net = mixed()
    graph = net.graph()
    plan = make_plan(graph, Options(multipliers=200))
    assert_exact(plan, checks(graph, net.images(2), plan, tmp_path, "ir", "aa"), 2)


def test_nothing_is_chosen_again() -> None:
    """Folding, order and words are those of the whole plan; alone, others would be chosen."""
    graph = graph_of(every_kind(), RealScheme(arith="quire"))
    fixed = {"fc8": Folding(pe=1, simd=2), "fc10": Folding(pe=1, simd=2)}
    options = Options(multipliers=40, foldings=fixed)
    plan = make_plan(graph, options)
    (lanes,) = plan.input_lanes
    for planned in plan.layers:
        part = single_layer(plan, planned.name)
        (alone,) = part.layers
        assert part.input_lanes == (lanes,)
        for choice in CHOICES:
            assert getattr(alone, choice) == getattr(planned, choice), (planned.name, choice)
        lanes = planned.lanes_out
    last = Options(foldings={"fc10": fixed["fc10"]})
    anew = make_plan(single_layer(plan, "fc10").graph, last)
    assert (plan.layers[-1].input_major, anew.layers[0].input_major) == (False, True)


def test_a_flattened_layer_begins_with_its_map() -> None:
    graph = graph_of(every_kind(), RealScheme(arith="quire"))
    plan = make_plan(graph, Options(multipliers=40))
    first = next(item for item in plan.layers if item.layer.vector_order is not None)
    part = single_layer(plan, first.name)
    assert isinstance(part.graph.nodes[0].op, Flatten)
    assert part.graph.inputs[0].name == plan.layers[plan.layers.index(first) - 1].layer.value
    assert [node.name for node in part.graph.nodes[1:]] == list(first.layer.nodes)


def test_a_difference_is_found(tmp_path: Path) -> None:
    """Other values in front of the layer than those that gave the golden results."""
    chain = every_kind()
    graph = graph_of(chain, None)
    plan = make_plan(graph, Options(multipliers=40))
    part = single_layer(plan, "conv1")
    compile_plan(part, CompileOptions()).write(tmp_path / "conv1.aa")
    golden = run_ir(graph, codes_of(chain, graph))
    golden["x"] = golden["x"][::-1]
    check = check_layer(part, tmp_path / "conv1.aa", golden, ("ir", "aa"))
    assert check.comparisons[0].differing > 0
    assert check.comparisons[0].first is not None


def test_an_unknown_layer_is_one_message() -> None:
    plan = make_plan(graph_of(every_kind(), None), Options(multipliers=40))
    accepted = ", ".join(planned.name for planned in plan.layers)
    with pytest.raises(PlanError, match=rf"^layer 'nope': no such layer; accepted: {accepted}$"):
        single_layer(plan, "nope")


@pytest.mark.ghdl
@pytest.mark.parametrize(
    "scheme", [SCHEMES[0], pytest.param(SCHEMES[1], marks=pytest.mark.slow)], ids=NAMES[:2]
)
def test_simulated_at_the_planned_cycles(scheme: RealScheme | None, tmp_path: Path) -> None:
    chain = every_kind()
    graph = graph_of(chain, scheme)
    plan = make_plan(graph, Options(multipliers=40))
    found = checks(graph, codes_of(chain, graph), plan, tmp_path, "ir", "ghdl")
    assert_exact(plan, found, 2)
    for check in found:
        (timing,) = check.timings
        assert timing.frames.interval <= check.predicted, check.layer
