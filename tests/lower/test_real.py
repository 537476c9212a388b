"""Posit and float layers as hardware: every stored value is the golden model's, NaR included."""

from __future__ import annotations

import tempfile
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyahir.backends.aa.engine import AaEngine
from pyahir.compiler import Compiled, CompileOptions, compile_graph
from pyahir.errors import PlanError
from pyahir.ir.eval import Evaluator
from pyahir.ir.graph import Graph
from pyahir.ir.ops import AvgPool2d, Clamp, Conv2d, MaxPool2d, Relu
from pyahir.ir.types import Array, Float16, Float32, Posit
from pyahir.passes.pipeline import SIMPLIFY, Pipeline
from pyahir.plan.folding import Folding
from pyahir.plan.search import Options
from pyahir.quant.exponents import calibrate_exponents
from pyahir.quant.posit import quantize_real
from pyahir.quant.scheme import RealScheme
from pyahir.sim.engine import GhdlEngine
from tests.designs import drawn_foldings
from tests.quant.floats import FloatNet

SCHEMES = [
    *(RealScheme(arith=arith, es=es) for arith, es in product(("quire", "f32", "f16"), range(3))),
    RealScheme(arith="quire", es=1, weights="posit8"),
    RealScheme(arith="f32", es=2, weights="posit8"),
    RealScheme(arith="f16", weights="posit8", scale="1"),
    RealScheme(scheme="float16", arith="f16", scale="1"),
    RealScheme(scheme="float32", arith="f32", scale="1"),
]


def every_kind(seed: int = 0) -> FloatNet:
    """Every kind of layer; sums of fewer and of more than 16 taps, padding, a pool of 20 taps."""
    chain = FloatNet((2, 9, 8), seed=seed)
    chain.conv(4, Conv2d(kernel_size=(3, 3), stride=(2, 1), padding=(1, 1, 1, 0)))
    chain.plain("relu", Relu())
    chain.plain("pool", MaxPool2d(kernel_size=(2, 3), stride=(1, 1), padding=(1, 0, 1, 1)))
    chain.conv(3, Conv2d(kernel_size=(1, 2), dilation=(1, 2)))
    chain.plain("tanh", Clamp(minimum=-1.0, maximum=1.0))
    chain.plain("avg", AvgPool2d(kernel_size=(5, 4), padding=(0, 0, 1, 1)))
    chain.flatten()
    chain.linear(4)
    chain.plain("relu", Relu())
    chain.linear(3)
    return chain


def quantized(chain: FloatNet, scheme: RealScheme) -> Graph:
    graph = Pipeline(SIMPLIFY).run(chain.graph())
    exponents = None
    if scheme.calibrated:
        exponents = calibrate_exponents(graph, chain.images(32), scheme.es)
    return quantize_real(graph, scheme, exponents)


def any_codes(graph: Graph, count: int, seed: int = 0) -> Array:
    """Give frames of all codes that can be stored: half of the frames without NaR, NaN, infinity.

    There is one NaN: the kernels make no other, and images have none.
    """
    kind, rng = graph.inputs[0].type, np.random.default_rng(seed)
    shape = (count, *kind.shape[1:])
    if isinstance(kind.element, Posit):
        codes = rng.integers(0, 256, shape).astype(np.uint8)
        codes[::2][codes[::2] == 0x80] = 0
        return codes
    assert isinstance(kind.element, Float16 | Float32)
    dtype = np.float16 if isinstance(kind.element, Float16) else np.float32
    found = rng.normal(0, 1, shape) * 2.0 ** rng.integers(-12, 12, shape)
    found[rng.random(shape) < 0.1] = 0
    found = found.astype(dtype)
    for number in (np.nan, np.inf, -np.inf):
        found[1::2][rng.random(found[1::2].shape) < 0.004] = number
    return found


def bits(values: Array) -> Array:
    """Give floats as bit patterns, with the NaN of the kernels."""
    if values.dtype.kind != "f":
        return values
    one = np.where(np.isnan(values), values.dtype.type(np.nan), values)
    return one.view(f"u{values.dtype.itemsize}")


def design(graph: Graph, folder: Path, plan: Options, *, native: bool = False) -> Path:
    compiled: Compiled = compile_graph(graph, CompileOptions(plan=plan, native_floats=native))
    compiled.write(folder / "net.aa")
    return folder / "net.aa"


def check(graph: Graph, path: Path, codes: Array, order_seed: int | None = None) -> None:
    engine = AaEngine.open(path)
    names = [item["value"] for item in engine.layers]
    actual = engine.run(codes, keep=names, order_seed=order_seed)
    expected = Evaluator(graph).run(codes, keep=names)
    for name in names:
        np.testing.assert_array_equal(bits(expected[name]), actual[name], err_msg=name)


def is_fast(scheme: RealScheme) -> bool:
    """Choose one es of each arithmetic, and all that is not a posit with float weights."""
    own = scheme.posit and scheme.weights == "float"
    return not own or scheme.es == ("quire", "f32", "f16").index(scheme.arith)


@pytest.mark.parametrize(
    "scheme",
    [pytest.param(item, marks=() if is_fast(item) else pytest.mark.slow) for item in SCHEMES],
    ids=str,
)
def test_every_scheme(scheme: RealScheme, tmp_path: Path) -> None:
    graph = quantized(every_kind(), scheme)
    path = design(graph, tmp_path, Options(multipliers=90))
    check(graph, path, any_codes(graph, 2))


@pytest.mark.slow
@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_every_scheme_with_few_multipliers(scheme: RealScheme, tmp_path: Path) -> None:
    graph = quantized(every_kind(), scheme)
    path = design(graph, tmp_path, Options(multipliers=16))
    check(graph, path, any_codes(graph, 4))


def check_random_networks(data: st.DataObject) -> None:
    """Channels, windows, pools, schemes and foldings at random."""
    chain = FloatNet((data.draw(st.integers(1, 3)), 6, 5), seed=data.draw(st.integers(0, 99)))
    window = st.tuples(st.integers(1, 3), st.integers(1, 3))
    padding = st.integers(0, 1)
    for _ in range(data.draw(st.integers(1, 2))):
        pads = tuple(data.draw(padding) for _ in range(4))
        op = Conv2d(kernel_size=data.draw(window), padding=pads)  # type: ignore[arg-type]  # four
        if min(op.output_spatial(chain.type)) < 1:
            break
        chain.conv(data.draw(st.integers(1, 6)), op)
        if data.draw(st.booleans()):
            chain.plain("relu", Relu())
    pool = data.draw(st.sampled_from((MaxPool2d, AvgPool2d)))
    size = tuple(data.draw(st.integers(1, min(3, side))) for side in chain.type.spatial)
    stride = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    chain.plain("pool", pool(kernel_size=size, stride=stride))  # type: ignore[arg-type]  # two
    chain.flatten()
    chain.linear(data.draw(st.integers(1, 6)))
    graph = quantized(chain, data.draw(st.sampled_from(SCHEMES)))
    foldings = drawn_foldings(data, graph)
    with tempfile.TemporaryDirectory() as folder:
        path = design(graph, Path(folder), Options(foldings=foldings))
        check(graph, path, any_codes(graph, 2), order_seed=data.draw(st.integers(0, 1000)))


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_random_networks(data: st.DataObject) -> None:
    check_random_networks(data)


@pytest.mark.slow
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_many_random_networks(data: st.DataObject) -> None:
    check_random_networks(data)


def test_a_nar_is_one_of_its_pixel_only(tmp_path: Path) -> None:
    """One NaR in the input reaches the windows that hold it, and no others."""
    chain = FloatNet((1, 6, 6))
    chain.conv(2, Conv2d(kernel_size=(2, 2)))
    graph = quantized(chain, RealScheme(arith="quire"))
    codes = np.full((1, 6, 6, 1), 0x30, np.uint8)
    codes[0, 2, 3, 0] = 0x80
    path = design(graph, tmp_path, Options(multipliers=8))
    found = AaEngine.open(path).run(codes)["conv1"]
    places = {(row, column) for row in (1, 2) for column in (2, 3)}
    assert {(row, column) for _, row, column, _ in np.argwhere(found == 0x80).tolist()} == places
    check(graph, path, codes)


def test_memories_are_as_narrow_as_the_stored_numbers() -> None:
    """Weights of 8, 16 and 32 bits; activations of 8 bits are 4 times smaller than float32."""
    widths: dict[str, int] = {}
    lines: dict[str, int] = {}
    for scheme in (
        RealScheme(arith="quire", weights="posit8"),
        RealScheme(arith="quire"),
        RealScheme(scheme="float32", arith="f32", scale="1"),
    ):
        graph = quantized(every_kind(), scheme)
        compiled = compile_graph(graph, CompileOptions(plan=Options(multipliers=16)))
        rows = compiled.manifest["layers"]
        first = next(row for row in rows if row["multipliers"])
        widths[str(scheme)] = first["weight_bits"] // first["multipliers"]
        lines[str(scheme)] = sum(row["line_bits"] for row in rows)
    posits, integers, floats = widths.values()
    assert integers == 2 * posits
    steps = 32  # 18 taps, filled up to a multiple of 16
    assert floats == steps * 32 * 4 // 4
    assert list(lines.values())[2] == 4 * next(iter(lines.values()))


def test_what_has_no_hardware_is_refused() -> None:
    chain = FloatNet((2, 4, 4))
    chain.conv(4, Conv2d(kernel_size=(2, 2), groups=2))
    graph = quantized(chain, RealScheme(arith="f16"))
    with pytest.raises(PlanError, match="in 2 groups has an order of its own for each group"):
        compile_graph(graph, CompileOptions())


def test_sums_of_floats_take_one_element_at_a_time() -> None:
    graph = quantized(every_kind(), RealScheme(arith="f32"))
    plan = Options(foldings={"conv1": Folding(pe=2, simd=3)})
    with pytest.raises(PlanError, match=r"conv1: simd=3; accepted: 1, as sums of floats"):
        compile_graph(graph, CompileOptions(plan=plan))


def test_native_floats_are_ahirs_operators(tmp_path: Path) -> None:
    graph = quantized(every_kind(), RealScheme(scheme="float32", arith="f32", scale="1"))
    path = design(graph, tmp_path, Options(multipliers=16), native=True)
    text = path.read_text()
    assert "$float<8,23>" in text
    assert "[f32_add]" not in text
    check(graph, path, any_codes(graph, 2))


@pytest.mark.ghdl
@pytest.mark.parametrize(
    "scheme",
    [
        RealScheme(arith="quire"),
        pytest.param(RealScheme(arith="quire", es=2, weights="posit8"), marks=pytest.mark.slow),
        pytest.param(RealScheme(arith="f16", es=1), marks=pytest.mark.slow),
        pytest.param(RealScheme(arith="f32"), marks=pytest.mark.slow),
        pytest.param(RealScheme(scheme="float16", arith="f16", scale="1"), marks=pytest.mark.slow),
        pytest.param(RealScheme(scheme="float32", arith="f32", scale="1"), marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_simulated_at_the_planned_cycles(scheme: RealScheme, tmp_path: Path) -> None:
    graph = quantized(every_kind(), scheme)
    path = design(graph, tmp_path, Options(multipliers=20))
    engine, codes = GhdlEngine.open(path), any_codes(graph, 4)
    (found,) = engine.run(codes, stalls=engine.after_weights()).values()
    expected = Evaluator(graph).run(codes)[graph.outputs[0]]
    np.testing.assert_array_equal(bits(expected), found)
    planned = engine.files.manifest["totals"]["cycles_per_frame"]
    assert engine.cycles.interval <= planned
