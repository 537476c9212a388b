"""Weights from outside: the same results, no deadlock in any order, the planned bandwidth."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyahir.backends.aa.engine import AaEngine
from pyahir.backends.aa.feed import feed, most_late
from pyahir.backends.aa.files import read_design
from pyahir.compiler import CompileOptions, compile_plan
from pyahir.errors import PlanError
from pyahir.ir.eval import Evaluator, to_nchw
from pyahir.ir.graph import Graph
from pyahir.ir.ops import Conv2d
from pyahir.ir.types import Array
from pyahir.layerwise import check_layer
from pyahir.plan.cost import weight_bits
from pyahir.plan.file import read_plan
from pyahir.plan.folding import Folding
from pyahir.plan.grouping import layers_of
from pyahir.plan.search import Options, make_plan
from pyahir.plan.single import single_layer
from pyahir.plan.streaming import ITEM_BITS, items_of, line_words, packets
from pyahir.quant.scheme import RealScheme
from pyahir.sim.engine import GhdlEngine
from tests.designs import check_against_golden, drawn_foldings, written
from tests.lower.test_few_bit import mixed
from tests.lower.test_join import block, frames, quantized, residual
from tests.lower.test_real import check, design, every_kind
from tests.networks import Chain, chains, lenet, small
from tests.quant.floats import FloatNet

FRAMES = 7  # more than the turns that two streamed layers behind the first are late
LENET = frozenset({"conv1", "conv3", "fc6", "fc7", "fc8"})


def streamed(foldings: dict[str, Folding], names: set[str] | None = None) -> dict[str, Folding]:
    """Stream the weights of all layers, or of those that are named."""
    return {
        name: replace(folding, streamed=names is None or name in names)
        for name, folding in foldings.items()
    }


def matvecs(graph: Graph) -> list[str]:
    return [layer.name for layer in layers_of(graph) if layer.weight is not None]


def check_random_network(chain: Chain, data: st.DataObject) -> None:
    graph = chain.graph()
    names = data.draw(st.sets(st.sampled_from(matvecs(graph)), min_size=1))
    foldings = streamed(drawn_foldings(data, graph), names)
    with tempfile.TemporaryDirectory() as folder:
        _, path = written(graph, Path(folder), foldings=foldings)
        seed = data.draw(st.integers(0, 1000))
        check_against_golden(graph, path, chain.images(FRAMES), order_seed=seed)


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(chain=chains(), data=st.data())
def test_random_networks(chain: Chain, data: st.DataObject) -> None:
    check_random_network(chain, data)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(chain=chains(), data=st.data())
def test_many_random_networks(chain: Chain, data: st.DataObject) -> None:
    check_random_network(chain, data)


def check_random_blocks(data: st.DataObject) -> None:
    """Branches whose layers are turns apart: what comes too early waits in front of the join."""
    net = FloatNet((2, 5, 6), seed=data.draw(st.integers(0, 99)))
    net.conv(4, Conv2d(kernel_size=(1, 1)))
    for _ in range(data.draw(st.integers(1, 2))):
        direct = data.draw(st.booleans())
        block(net, 4, 1, direct=direct, convolutions=data.draw(st.integers(1, 3)))
    graph = quantized(net, data.draw(st.sampled_from([None, RealScheme(arith="quire")])))
    names = data.draw(st.sets(st.sampled_from(matvecs(graph)), min_size=1))
    foldings = streamed(drawn_foldings(data, graph), names)
    with tempfile.TemporaryDirectory() as folder:
        path = design(graph, Path(folder), Options(foldings=foldings))
        check(graph, path, frames(graph, FRAMES), order_seed=data.draw(st.integers(0, 1000)))


@settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_random_blocks(data: st.DataObject) -> None:
    check_random_blocks(data)


@pytest.mark.slow
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_many_random_blocks(data: st.DataObject) -> None:
    check_random_blocks(data)


@pytest.mark.parametrize("weights", ["float", "posit8"])
def test_a_quire(weights: str, tmp_path: Path) -> None:
    graph = quantized(every_kind(), RealScheme(arith="quire", weights=weights))
    plan = Options(multipliers=30, streamed=frozenset(matvecs(graph)))
    check(graph, design(graph, tmp_path, plan), frames(graph, FRAMES))


def test_few_bits(tmp_path: Path) -> None:
    net = mixed()
    graph = net.graph()
    plan = Options(multipliers=60, streamed=frozenset(matvecs(graph)))
    check(graph, design(graph, tmp_path, plan), net.images(FRAMES))


def test_runs_one_after_the_other(tmp_path: Path) -> None:
    """Each run brings the weights of its own frames, the first one those that stay as well."""
    chain = lenet()
    graph, images = chain.graph(), chain.images(3)
    path = design(graph, tmp_path, Options(streamed=frozenset({"conv3", "fc6"})))
    engine, expected = AaEngine.open(path), Evaluator(graph).run(images)[graph.outputs[0]]
    for first, last in ((0, 1), (1, 3)):
        found = engine.run(images[first:last])[graph.outputs[0]]
        np.testing.assert_array_equal(expected[first:last], found)


def test_streamed_weights_take_no_memory(tmp_path: Path) -> None:
    graph = lenet().graph()
    kept, outside = (
        written(graph, tmp_path, foldings=streamed(foldings, names))[0]
        for foldings in [{"fc6": Folding(pe=4, simd=10)}]
        for names in (set[str](), {"fc6"})
    )
    saved = kept.manifest["totals"]["memory_bits"] - outside.manifest["totals"]["memory_bits"]
    assert saved == 8 * 120 * 400
    assert "w_fc6" not in outside.text.decode().split("$pipe", 1)[0]
    (stream,) = outside.manifest["weights"]["streams"]
    assert stream["words"] * stream["width"] == 8 * 120 * 400
    first = outside.manifest["weights"]["loaded_items"]
    assert len(outside.weights) == 64 + 8 * (first + stream["words"] * stream["items_per_word"])


@pytest.mark.parametrize(("words", "width"), [(48000, 8), (68, 288), (1, 40), (6, 1000), (105, 9)])
def test_lines_are_full(words: int, width: int) -> None:
    count = line_words(words, width)
    assert words % count == 0
    assert words // count * items_of(width * count) <= words * items_of(width)
    assert count > 1 or words == 1 or width > ITEM_BITS


def test_packets_are_as_short_as_can_be() -> None:
    found = packets([(100, 64), (40, 640)])
    longer = found.size - 1
    assert found.lines == (longer, longer // 10)
    assert found.counts == (-(-100 // found.lines[0]), -(-40 // found.lines[1]))
    assert 500 < found.items < 1.1 * 500
    assert packets([]).items == 0


def test_every_weight_comes_once_a_frame_in_turns(tmp_path: Path) -> None:
    """What ``weights_in`` takes, read by the headers alone."""
    path = design(lenet().graph(), tmp_path, Options(streamed=LENET))
    files = read_design(path)
    weights = files.manifest["weights"]
    size, streams = weights["packet_items"], weights["streams"]
    count = most_late(files.manifest) + 2
    items = feed(files.manifest, files.words, count)[weights["loaded_items"] :].reshape(-1, size)
    for number, stream in enumerate(streams):
        own = items[(items[:, 0] & np.uint64(0xFFFF)) == number]
        lengths = own[:, 0] >> np.uint64(32)
        payload = np.concatenate([row[1 : 1 + int(n)] for row, n in zip(own, lengths, strict=True)])
        total = stream["words"] * stream["items_per_word"]
        expected = files.words[stream["first_item"] :][:total]
        np.testing.assert_array_equal(np.tile(expected, count), payload)
    order = [int(number) for number in items[:, 0] & np.uint64(0xFFFF)]
    begins = [order.index(number) for number in range(len(streams))]
    assert begins == sorted(begins)
    assert [stream["late"] for stream in streams] == [0, 2, 4, 6, 8]


def test_the_largest_layers_are_streamed_until_the_others_fit() -> None:
    graph = lenet().graph()
    plan = make_plan(graph, Options(weight_memory=150_000))
    assert {layer.name for layer in plan.streamed} == {"fc6"}
    assert sum(map(weight_bits, plan.layers)) <= 150_000
    everything = make_plan(graph, Options(weight_memory=10**9))
    assert not everything.streamed
    with pytest.raises(PlanError, match=r"--weight-memory 500: .* nearest feasible number is \d+"):
        make_plan(graph, Options(weight_memory=500))
    stays = {"fc6": Folding(pe=1, simd=8, streamed=False)}
    with pytest.raises(PlanError, match="--weight-memory 150000"):
        make_plan(graph, Options(weight_memory=150_000, foldings=stays))


def test_the_pipe_can_be_the_slowest() -> None:
    """A frame is as long as its weights take to come; a target below that is refused."""
    graph = lenet().graph()
    plan = make_plan(graph, Options(multipliers=400, streamed=LENET))
    assert plan.packets.items <= plan.cycles_per_frame < 1.02 * plan.packets.items
    free = make_plan(graph, Options(multipliers=400))
    assert plan.cycles_per_frame > 5 * free.cycles_per_frame
    with pytest.raises(PlanError, match="--cycles 1000: the network needs at least"):
        make_plan(graph, Options(cycles=1000, streamed=LENET))


def test_what_cannot_be_streamed_is_refused() -> None:
    graph = quantized(every_kind(), RealScheme(arith="f32"))
    name = matvecs(graph)[0]
    with pytest.raises(PlanError, match=f"{name}: the weights of a layer of floats"):
        make_plan(graph, Options(streamed=frozenset({name})))
    with pytest.raises(PlanError, match="streamed weights of 'conv9': no such layer"):
        make_plan(lenet().graph(), Options(streamed=frozenset({"conv9"})))


def test_a_plan_file_says_which_layers_are_streamed(tmp_path: Path) -> None:
    graph = lenet().graph()
    path = design(graph, tmp_path, Options(streamed=frozenset({"fc6"})))
    foldings = read_plan(path.with_suffix(".plan.json"))
    assert [name for name, folding in foldings.items() if folding.streamed] == ["fc6"]
    again = design(graph, tmp_path, Options(foldings=foldings))
    assert json.loads(again.with_suffix(".json").read_text())["weights"]["streams"]


@pytest.mark.parametrize("name", ["conv3", "fc6"])
def test_a_layer_alone_takes_its_weights_from_outside(name: str, tmp_path: Path) -> None:
    chain = lenet()
    graph = chain.graph()
    part = single_layer(make_plan(graph, Options(streamed=LENET)), name)
    path = tmp_path / "layer.aa"
    compile_plan(part, CompileOptions()).write(path)
    values = {item.name for item in graph.nodes} | {graph.inputs[0].name}
    golden = Evaluator(graph).run(chain.images(3), keep=values)
    types = graph.types()
    shown = {value: to_nchw(array, types[value]) for value, array in golden.items()}
    (found,) = check_layer(part, path, shown, ["ir", "aa"]).comparisons
    assert (found.differing, found.compared > 0) == (0, True)


def check_simulated(
    graph: Graph, codes: Array, plan: Options, folder: Path, share: float = 0.0
) -> None:
    """Simulate in GHDL: exact; without stalls never longer than planned."""
    engine = GhdlEngine.open(design(graph, folder, plan))
    stalls = replace(engine.after_weights(), share=share, seed=3)
    (found,) = engine.run(codes, stalls=stalls).values()
    np.testing.assert_array_equal(Evaluator(graph).run(codes)[graph.outputs[0]], found)
    if not share:
        assert engine.cycles.steady
        assert engine.cycles.interval <= engine.files.manifest["totals"]["cycles_per_frame"]


@pytest.mark.ghdl
def test_simulated_at_the_planned_cycles(tmp_path: Path) -> None:
    chain = small()
    graph = chain.graph()
    plan = Options(multipliers=40, streamed=frozenset(matvecs(graph)[-3:]))
    check_simulated(graph, chain.images(7), plan, tmp_path)


@pytest.mark.ghdl
@pytest.mark.slow
def test_lenet_simulated(tmp_path: Path) -> None:
    chain = lenet()
    plan = Options(multipliers=125, streamed=frozenset({"conv1", "conv3"}))
    check_simulated(chain.graph(), chain.images(5), plan, tmp_path)


@pytest.mark.ghdl
@pytest.mark.slow
@pytest.mark.parametrize(("layers", "share"), [(3, 0.0), (None, 0.0), (None, 0.3)])
def test_residual_blocks_simulated(layers: int | None, share: float, tmp_path: Path) -> None:
    """The last layers streamed, or all of them."""
    graph = quantized(residual(), None)
    names = matvecs(graph)
    chosen = names if layers is None else names[-layers:]
    plan = Options(multipliers=40, streamed=frozenset(chosen))
    check_simulated(graph, frames(graph, 16), plan, tmp_path, share)
