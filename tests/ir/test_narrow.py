"""The narrow form against the slow definitions, int64 products and the wide form."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import numkong
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pyahir.ir.builder import GraphBuilder
from pyahir.ir.eval import EvaluationError, Evaluator
from pyahir.ir.eval.core import wide_form
from pyahir.ir.eval.evaluator import chosen_form
from pyahir.ir.eval.narrow import narrow_form, registered_narrow
from pyahir.ir.eval.narrow.form import narrow
from pyahir.ir.eval.narrow.product import multiply_rows
from pyahir.ir.eval.quant import ExactRequantize
from pyahir.ir.graph import Graph, Loc, Stage
from pyahir.ir.ops import (
    Conv2d,
    InferError,
    Linear,
    MultiThreshold,
    Recode,
    Relu,
    Requantize,
)
from pyahir.ir.types import Array, Int, TensorType
from tests.case import Case, acc, f32, i8, scaled, u8
from tests.ir.slow import RULES
from tests.networks import Chain, chains, convolutions, lenet, small
from tests.op_cases import CASES

Int64 = npt.NDArray[np.int64]
NARROW = [case for case in CASES if narrow_form(case.graph()) is not None]
FAMILIES = ("sapphireamx", "sapphire", "genoa", "icelake", "alder", "skylake", "haswell")


def evaluated(graph: Graph) -> Evaluator:
    form = narrow_form(graph)
    assert form is not None
    return Evaluator(graph, form)


def values(graph: Graph, images: Array) -> tuple[dict[str, Array], dict[str, Array]]:
    names = [node.name for node in graph.nodes]
    wide = Evaluator(graph, wide_form(graph)).run(images, keep=names)
    return wide, evaluated(graph).run(images, keep=names)


@pytest.mark.parametrize("case", NARROW, ids=lambda case: case.name)
def test_an_op_is_its_definition(case: Case) -> None:
    batch = case.given(3)
    if isinstance(batch, dict):
        kinds, parts = (case.x, case.z), (batch["x"], batch["z"])
        expected = RULES[type(case.op)](case.op, kinds, parts, case.constants, case.result)
    else:
        expected = RULES[type(case.op)](case.op, case.x, batch, case.constants, case.result)
    wide = Evaluator(case.graph(), wide_form(case.graph())).run(batch)["y"]
    actual = evaluated(case.graph()).run(batch)["y"]
    np.testing.assert_array_equal(expected, actual)
    assert actual.dtype == wide.dtype


def test_every_narrow_op_has_cases_that_take_it() -> None:
    assert {type(case.op) for case in NARROW} == registered_narrow()
    assert len(NARROW) >= 60


@given(data=st.data(), zero_point=st.sampled_from([0, 3, 128, 255]), channels=st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_convolutions_are_their_definition(
    data: st.DataObject, zero_point: int, channels: int
) -> None:
    out, op = data.draw(convolutions(channels, 7))
    op = replace(op, acc_width=32)
    builder = GraphBuilder("net", Stage.QUANTIZED)
    x = builder.input("x", u8(1, 8, 9, channels, zero_point=zero_point))
    weight = i8(out, channels // op.groups, *op.kernel_size, seed=zero_point)
    try:
        y = builder.node("y", op, [x, builder.constant("w", weight)], Loc())
    except InferError:  # a dilated kernel may be larger than the map
        assume(False)
        return
    batch = np.random.default_rng(out).integers(0, 256, (3, 8, 9, channels))
    types = builder.types
    expected = RULES[Conv2d](op, types[x], batch, (weight,), types[y])
    found = evaluated(builder.finish([y])).run(batch)["y"]
    np.testing.assert_array_equal(expected, found)


@given(chain=chains())
@settings(max_examples=60, deadline=None)
def test_random_networks_are_the_same_in_both_forms(chain: Chain) -> None:
    wide, found = values(chain.graph(), chain.images(5))
    for name, expected in wide.items():
        np.testing.assert_array_equal(expected, found[name], err_msg=name)
        assert expected.dtype == found[name].dtype


@pytest.mark.parametrize("rule", ["fbgemm", "qnnpack"])
def test_a_network_over_several_chunks(rule: str) -> None:
    chain = lenet(rule=rule)
    wide, found = values(chain.graph(), chain.images(300))
    for name, expected in wide.items():
        np.testing.assert_array_equal(expected, found[name], err_msg=name)


@pytest.fixture(params=range(len(FAMILIES) + 1), ids=("all", *FAMILIES))
def without(request: pytest.FixtureRequest) -> Iterator[None]:
    """Take families of instructions from NumKong, from the newest on: the last is plain C."""
    before = numkong.get_capabilities()
    gone = [name for name in FAMILIES[: request.param] if before[name]]
    for name in gone:
        numkong.disable_capability(name)
    yield
    for name in gone:
        numkong.enable_capability(name)


@pytest.mark.usefixtures("without")
@pytest.mark.parametrize("length", [1, 27, 64, 577, 4608, 33_000])
def test_products_of_extremes(length: int) -> None:
    """Every pair of extremes, all equal or in turns; a sum of 33,000 is beyond 2**29."""
    row = np.array([-128, 127])
    rows = np.stack([np.full(length, low) for low in (-128, 127, -1, 0)] + [np.resize(row, length)])
    for repeated in (1, 7):  # full tiles and parts of them
        left = np.repeat(rows, repeated, axis=0).astype(np.int8)
        sums = np.empty((len(left), len(rows)), np.int32)
        multiply_rows(rows.astype(np.int8))(left, sums)
        np.testing.assert_array_equal(left.astype(np.int64) @ rows.T, sums)


@pytest.mark.parametrize("zero_point", [0, 1, 128, 255])
@pytest.mark.parametrize("length", [1, 512, 4608])
def test_layers_of_extremes(zero_point: int, length: int) -> None:
    weight = np.stack([np.full(length, value) for value in (-128, 127, 1)]).astype(np.int8)
    case = Case(
        name="extreme",
        op=Linear(acc_width=32),
        x=u8(1, length, zero_point=zero_point),
        constants=(weight,),
        result=acc(32, 1, 3),
    )
    batch = np.stack([np.full(length, value) for value in (0, 255, zero_point)]).astype(np.uint8)
    expected = (batch.astype(np.int64) - zero_point) @ weight.T.astype(np.int64)
    np.testing.assert_array_equal(expected, evaluated(case.graph()).run(batch)["y"])


SHIFT = 30
MOST = (1 << 25) - 1  # of an accumulator


def requantizing(zero_point: int) -> Case:
    """Scales from 2**-1 down to 2**-14, offsets of many codes, exceptions beside steps."""
    rng = np.random.default_rng(zero_point)
    factor = np.exp2(SHIFT - np.arange(1, 15)).astype(np.int64) + 1
    offset = rng.integers(-(400 << SHIFT), 400 << SHIFT, 14)
    fine = range(10, 14)  # whose exceptions lie within 2**-10 of a step
    step = [-((offset[c] - ((5 + c) << SHIFT)) // -factor[c]) for c in fine]
    rows = np.array([(c, -at, 1) for c, at in zip(fine, step, strict=True)], np.int64)
    op = Requantize(shift=SHIFT, quant_min=3, quant_max=250, scale=1.0, zero_point=zero_point)
    return Case(
        name="steps",
        op=op,
        x=acc(26, 1, 2, 4, 14),
        constants=(factor, offset, rows[np.abs(rows[:, 1]) <= MOST]),
        result=u8(1, 2, 4, 14, zero_point=zero_point, scale=1.0),
    )


@pytest.mark.parametrize("zero_point", [0, 128, 255])
def test_requantize_at_its_steps(zero_point: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Accumulators on, below and above steps, and far outside the limits."""
    case = requantizing(zero_point)
    factor, offset, exceptions = (part.astype(np.int64) for part in case.constants)
    rng = np.random.default_rng(1)
    codes = rng.integers(-20, 280, (4000, 2, 4, 14))
    near = rng.random(codes.shape) < 0.1
    spread = (rng.random(codes.shape) * (1 << SHIFT)).astype(np.int64)
    batch = ((codes << SHIFT) - offset + np.where(near, 0, spread)) // factor
    batch += rng.integers(-1, 3, codes.shape)
    batch[0], batch[1] = -MOST - 1, MOST
    for channel, value, _ in exceptions.tolist():
        batch[2:4, :, :, channel] = value
    batch = np.clip(batch, -MOST - 1, MOST)
    repeated: list[int] = []
    inner = ExactRequantize.__call__

    def counting(self: ExactRequantize, values: Int64, channel: Int64) -> Int64:
        repeated.append(values.size)
        return inner(self, values, channel)

    evaluator = evaluated(case.graph())
    monkeypatch.setattr(ExactRequantize, "__call__", counting)
    found = evaluator.run(batch)["y"]
    assert 0 < sum(repeated) < batch.size / 3  # the others were right in float32
    monkeypatch.undo()
    parts = case.constants
    expected = RULES[Requantize](case.op, case.x, batch[:40], parts, case.result)
    np.testing.assert_array_equal(expected, found[:40])
    graph = case.graph()
    np.testing.assert_array_equal(Evaluator(graph, wide_form(graph)).run(batch)["y"], found)
    exact = ExactRequantize(evaluator.graph.nodes[0].op, *parts)  # type: ignore[arg-type]
    channel = np.broadcast_to(np.arange(14), batch.shape).ravel()
    np.testing.assert_array_equal(exact(batch.ravel(), channel), found.ravel())


@pytest.mark.parametrize("steps", [1, 8, 9, 200])
def test_tables_of_pixels(steps: int) -> None:
    rng = np.random.default_rng(steps)
    table = np.repeat(rng.permutation(256)[: steps + 1] - 128, -(-256 // (steps + 1)))[:256]
    op = Recode(width=8, exponent=0)
    x, result = u8(1, 256), scaled(Int(8), 1, 256)
    case = Case(name="table", op=op, x=x, constants=(table.astype(np.int8),), result=result)
    found = evaluated(case.graph()).run(np.arange(256, dtype=np.uint8)[None])["y"]
    np.testing.assert_array_equal(table[None], found)


@pytest.mark.parametrize("count", [2, 3, 20, 21, 100])
def test_many_thresholds(count: int) -> None:
    """Compared one by one, or searched; those beyond the accumulator never or always fire."""
    rng = np.random.default_rng(count)
    thresholds = np.sort(rng.integers(-140, 140, (4, count)), axis=1).astype(np.int64)
    thresholds[:, 0], thresholds[:, -1] = -(1 << 40), 1 << 40
    op = MultiThreshold(width=8, base=-50, exponent=0)
    x, result = acc(8, 1, 1, 3, 4), scaled(Int(8), 1, 1, 3, 4)
    case = Case(name="many", op=op, x=x, constants=(thresholds,), result=result)
    batch = rng.integers(-128, 128, (50, 1, 3, 4)).astype(np.int8)
    batch[0], batch[1] = -128, 127
    above = batch[..., None].astype(object) > thresholds
    np.testing.assert_array_equal(above.sum(axis=-1) - 50, evaluated(case.graph()).run(batch)["y"])


class Recorder:
    """Keeps what it is shown, as it was given."""

    def __init__(self) -> None:
        self.seen: list[Array] = []

    def wants(self, name: str) -> bool:
        return name == "conv1"

    def observe(self, name: str, kind: TensorType, values: Array) -> None:
        self.seen.append(values)


def test_values_that_are_given_out_stay_what_they_are() -> None:
    """Kernels write to the same memory again, for the next chunk and for other nodes."""
    chain = small()
    graph, images, listener = chain.graph(), chain.images(600), Recorder()
    evaluator = evaluated(graph)
    first = evaluator.run(images, keep=["conv1"], listeners=[listener])["conv1"]
    before = first.copy()
    evaluator.run(chain.images(600))
    np.testing.assert_array_equal(before, first)
    np.testing.assert_array_equal(before, np.concatenate(listener.seen))
    assert len(listener.seen) > 1


def test_inputs_outside_their_type_are_refused() -> None:
    chain = small()
    images = chain.images(2).astype(np.int64)
    images[1, 0, 0, 0] = 256
    message = f"x: values from {images.min()} to 256 leave the range of u8"
    with pytest.raises(EvaluationError, match=f"^{re.escape(message)}$"):
        evaluated(chain.graph()).run(images)


def test_inputs_of_any_integer_type_are_taken() -> None:
    chain = small()
    graph, images = chain.graph(), chain.images(4)
    expected = evaluated(graph).run(images)
    for given_as in (np.int64, np.int16, np.float64):
        found = evaluated(graph).run(images.astype(given_as))
        assert {name: item.tolist() for name, item in found.items()} == {
            name: item.tolist() for name, item in expected.items()
        }


ONES = np.ones(1, np.int64)
NO_EXCEPTIONS = np.zeros((0, 3), np.int64)
HALF = Requantize(shift=1, quant_min=0, quant_max=255, scale=1.0, zero_point=0)
REFUSED = {
    "floats": Case(name="relu", op=Relu(), x=f32(1, 3), result=f32(1, 3)),
    "a code outside its type": Case(
        name="exception",
        op=HALF,
        x=acc(10, 1, 1),
        constants=(ONES, 0 * ONES, np.array([[0, 511, 1]])),
        result=u8(1, 1, scale=1.0),
    ),
    "accumulators beyond int32": Case(
        name="wide",
        op=HALF,
        x=acc(33, 1, 1),
        constants=(ONES, 0 * ONES, NO_EXCEPTIONS),
        result=u8(1, 1, scale=1.0),
    ),
    "sums beyond int32": Case(
        name="sums",
        op=Linear(acc_width=33),
        x=u8(1, 70_000),
        constants=(np.full((1, 70_000), 127, np.int8),),
        result=acc(33, 1, 1),
    ),
    "weights of nine bits": Case(
        name="weights",
        op=Linear(acc_width=32),
        x=u8(1, 2),
        constants=(np.array([[255, 0]], np.int16),),
        result=acc(32, 1, 1),
    ),
    "activations of nine bits": Case(
        name="activations",
        op=Linear(acc_width=32),
        x=scaled(Int(9), 1, 2),
        constants=(np.array([[1, 0]], np.int8),),
        scaled=((Int(8), 0),),
        result=acc(32, 1, 1),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_narrow_form(name: str) -> None:
    assert narrow_form(REFUSED[name].graph()) is None


def test_the_form_that_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """NumKong's plain C is slower than float products: without vectors the wide form is taken."""
    graph = small().graph()
    images = small().images(3)
    fast, slow = {"serial": True, "haswell": True}, {"serial": True, "haswell": False}
    found: list[str] = []
    for here in (fast, slow):
        monkeypatch.setattr(numkong, "get_capabilities", lambda here=here: here)
        form = chosen_form(graph)
        found.append(form.admit("x", images).dtype.name)
    assert found == ["int8", "float32"]


def test_one_narrow_kernel_for_each_op() -> None:
    with pytest.raises(ValueError, match=r"^Relu has a narrow kernel already$"):
        narrow(Relu)(lambda op, site: None)
