"""Few-bit layers as hardware: XNOR and counts, thresholds, raw sums, recoded pixels."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyahir.backends.aa.engine import AaEngine
from pyahir.compiler import CompileOptions, compile_graph
from pyahir.errors import PlanError
from pyahir.frontend.brevitas.network import network_of
from pyahir.frontend.brevitas.topologies import topology
from pyahir.ir.builder import GraphBuilder
from pyahir.ir.eval import Evaluator
from pyahir.ir.graph import Graph, Loc, Stage
from pyahir.ir.ops import Conv2d, Flatten, Linear, MaxPool2d, MultiThreshold, Op, Recode
from pyahir.ir.ranges import accumulator_bounds, numbers, signed_width
from pyahir.ir.types import Array, Bipolar, Element, Int, PowerOfTwo, TensorType
from pyahir.ir.verify import verify
from pyahir.plan.search import Options
from pyahir.quant.few_bit import few_bit_graph, input_table, pixel_type
from pyahir.sim.engine import GhdlEngine
from tests.designs import check_against_golden, drawn_foldings
from tests.frontend.brevitas.states import calibrated, random_images
from tests.networks import small

BIT, TWO = Bipolar(), Int(2)


@dataclass
class FewBit:
    """Adds layers one after the other; thresholds lie where sums are."""

    shape: tuple[int, ...]
    seed: int = 0
    builder: GraphBuilder = field(default_factory=lambda: GraphBuilder("net", Stage.QUANTIZED))

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.value = self.builder.input("x", pixel_type(self.shape))
        self.count = 0

    @property
    def type(self) -> TensorType:
        return self.builder.types[self.value]

    def add(self, stem: str, op: Op, *constants: str) -> str:
        self.count += 1
        name = f"{stem}{self.count}"
        self.value = self.builder.node(name, op, [self.value, *constants], Loc(path=name))
        return self.value

    def recode(self, width: int) -> None:
        table, exponent = input_table(width)
        kind: Element = Int(8, signed=False) if width == 1 else Int(8)
        constant = self.builder.constant("table", table, kind)
        self.add("pixels", Recode(width=width, exponent=exponent), constant)

    def matvec(self, op: Conv2d | Linear, shape: tuple[int, ...], element: Element) -> None:
        """Add a layer with random weights; its width holds every sum."""
        if isinstance(element, Bipolar):
            weight: Array = self.rng.integers(0, 2, shape).astype(np.uint8)
            name = self.builder.constant("weight", weight, element)
        else:
            weight = self.rng.integers(-1, 2, shape).astype(np.int8)
            name = self.builder.constant("weight", weight, element, PowerOfTwo(exponent=0))
        lows, highs = accumulator_bounds(op, self.type, numbers(weight, element))
        self.bounds = int(lows.min()), int(highs.max())
        width = signed_width(*self.bounds)
        fields = {key: value for key, value in op.attributes().items() if key != "acc_width"}
        self.add("sum", type(op)(**fields, acc_width=width), name)  # type: ignore[arg-type]

    def threshold(self, width: int, count: int, base: int, *, far: bool = False) -> None:
        """Add thresholds within the range of the sums, or also beyond it."""
        low, high = self.bounds
        spread = 3 * (high - low) if far else 0
        size = (self.type.channels, count)
        steps = np.sort(self.rng.integers(low - 1 - spread, high + 1 + spread, size), axis=1)
        name = self.builder.constant("steps", steps.astype(np.int32), Int(32))
        self.add("act", MultiThreshold(width=width, exponent=0, base=base), name)

    def graph(self) -> Graph:
        return verify(self.builder.finish([self.value]))

    def images(self, count: int) -> Array:
        kind = self.builder.types["x"]
        shape = (count, *kind.shape[1:])
        return np.random.default_rng(self.seed + 1).integers(0, 256, shape).astype(np.uint8)


def design(graph: Graph, folder: Path, plan: Options) -> Path:
    compile_graph(graph, CompileOptions(plan=plan)).write(folder / "net.aa")
    return folder / "net.aa"


LEVELS = {1: (1, 1, 0), 2: (2, 2, -1), 4: (4, 15, -8)}  # by bits: width, thresholds, base


def check_random_networks(data: st.DataObject) -> None:
    """Bits of inputs, weights and activations, windows, pools and foldings at random."""
    net = FewBit((data.draw(st.integers(1, 3)), 6, 7), seed=data.draw(st.integers(0, 99)))
    net.recode(data.draw(st.sampled_from((1, 2, 8))))
    far = data.draw(st.booleans())
    for _ in range(data.draw(st.integers(0, 2))):
        element = data.draw(st.sampled_from((BIT, TWO)))
        window = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
        padded = not isinstance(net.type.element, Bipolar) and data.draw(st.booleans())
        op = Conv2d(kernel_size=window, padding=(1, 0, 0, 1) if padded else (0, 0, 0, 0))
        if min(op.output_spatial(net.type)) < 2:
            break
        outputs = data.draw(st.integers(1, 6))
        net.matvec(op, (outputs, net.type.channels, *window), element)
        net.threshold(*LEVELS[data.draw(st.sampled_from(tuple(LEVELS)))], far=far)
    if data.draw(st.booleans()):
        net.add("pool", MaxPool2d(kernel_size=(2, 2), stride=(2, 2)))
    net.add("flat", Flatten())
    for last in (False, True):
        outputs = data.draw(st.integers(1, 9))
        shape = (outputs, net.type.channels)
        net.matvec(Linear(), shape, data.draw(st.sampled_from((BIT, TWO))))
        if not last or data.draw(st.booleans()):
            net.threshold(*LEVELS[data.draw(st.sampled_from(tuple(LEVELS)))], far=far)
    graph = net.graph()
    foldings = drawn_foldings(data, graph)
    with tempfile.TemporaryDirectory() as folder:
        path = design(graph, Path(folder), Options(foldings=foldings))
        seed = data.draw(st.integers(0, 1000))
        check_against_golden(graph, path, net.images(2), order_seed=seed)


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_random_networks(data: st.DataObject) -> None:
    check_random_networks(data)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_many_random_networks(data: st.DataObject) -> None:
    check_random_networks(data)


@pytest.mark.parametrize("width", [1, 2, 8])
def test_every_pixel_is_recoded(width: int, tmp_path: Path) -> None:
    net = FewBit((1, 16, 16))
    net.recode(width)
    graph = net.graph()
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    path = design(graph, tmp_path, Options())
    (found,) = AaEngine.open(path).run(pixels).values()
    np.testing.assert_array_equal(Evaluator(graph).run(pixels)[graph.outputs[0]], found)
    assert len(np.unique(found)) == {1: 2, 2: 3, 8: 255}[width]


def test_a_table_of_many_steps_is_refused() -> None:
    net = FewBit((1, 4, 4))
    table = np.random.default_rng(0).integers(-8, 8, 256).astype(np.int8)
    constant = net.builder.constant("table", table, Int(8))
    net.add("pixels", Recode(width=4, exponent=0), constant)
    with pytest.raises(PlanError, match=r"a table of codes with \d+ steps; hardware is made"):
        compile_graph(net.graph(), CompileOptions())


def test_words_of_the_input_are_as_wide_as_the_target_asks() -> None:
    """A vector comes element by element, or in words of up to 64 bits where that is too slow."""
    net = FewBit((1, 8, 8))
    net.recode(1)
    net.add("flat", Flatten())
    net.matvec(Linear(), (8, 64), BIT)
    graph = net.graph()
    lanes = {
        cycles: compile_graph(graph, CompileOptions(plan=Options(cycles=cycles))).plan.input_lanes
        for cycles in (64, 32, 8)
    }
    assert lanes == {64: (1,), 32: (2,), 8: (8,)}
    with pytest.raises(PlanError, match="needs at least 8 a frame"):
        compile_graph(graph, CompileOptions(plan=Options(cycles=7)))
    window = small().graph()
    plan = compile_graph(window, CompileOptions()).plan
    assert plan.input_lanes == (window.inputs[0].type.channels,)


def test_a_memory_holds_one_bit_a_weight() -> None:
    net = FewBit((1, 8, 8))
    net.recode(1)
    net.add("flat", Flatten())
    net.matvec(Linear(), (8, 64), BIT)
    compiled = compile_graph(net.graph(), CompileOptions(plan=Options(cycles=64)))
    (memory,) = compiled.manifest["weights"]["memories"]
    assert memory["words"] * memory["width"] == 8 * 64


@pytest.mark.parametrize("name", ["TFC_1W1A", "TFC_1W2A", "TFC_2W2A"])
def test_a_published_network(name: str, tmp_path: Path) -> None:
    network = topology(name)
    graph = few_bit_graph(network_of(network, calibrated(network))).graph
    path = design(graph, tmp_path, Options(multipliers=512))
    pixels = np.rint(random_images(network, 3) * 255).astype(np.uint8)
    check_against_golden(graph, path, np.moveaxis(pixels, 1, -1))


def mixed() -> FewBit:
    """Convolutions of an 8-bit input, of bits and of two bits, pools, thresholds, raw sums."""
    net = FewBit((2, 8, 8), seed=3)
    net.recode(8)
    net.matvec(Conv2d(kernel_size=(3, 3)), (4, 2, 3, 3), BIT)
    net.threshold(*LEVELS[1])
    net.matvec(Conv2d(kernel_size=(2, 2)), (6, 4, 2, 2), BIT)
    net.threshold(*LEVELS[2])
    net.add("pool", MaxPool2d(kernel_size=(2, 2), stride=(2, 2)))
    net.matvec(Conv2d(kernel_size=(2, 2)), (4, 6, 2, 2), TWO)
    net.threshold(*LEVELS[1])
    net.add("flat", Flatten())
    net.matvec(Linear(), (5, net.type.channels), TWO)
    return net


@pytest.mark.ghdl
@pytest.mark.parametrize("multipliers", [20, 200])
def test_simulated_at_the_planned_cycles(multipliers: int, tmp_path: Path) -> None:
    net = mixed()
    graph, images = net.graph(), net.images(5)
    engine = GhdlEngine.open(design(graph, tmp_path, Options(multipliers=multipliers)))
    (found,) = engine.run(images, stalls=engine.after_weights()).values()
    np.testing.assert_array_equal(Evaluator(graph).run(images)[graph.outputs[0]], found)
    assert engine.cycles.interval <= engine.files.manifest["totals"]["cycles_per_frame"]
