"""The golden model against the slow definitions, and its promises beyond single ops."""

from __future__ import annotations

import re

import numpy as np
import pytest

from pyahir.ir.builder import GraphBuilder
from pyahir.ir.eval import EvaluationError, Evaluator
from pyahir.ir.eval.core import carrier, evaluates, publish, wide_form
from pyahir.ir.graph import Graph, Loc, Stage
from pyahir.ir.ops import Conv2d, Flatten, Linear, MaxPool2d, Relu, Requantize, SumPool2d
from pyahir.ir.types import Array, Int, TensorType
from pyahir.ir.verify import verify
from tests.ir.slow import RULES
from tests.networks import small
from tests.op_cases import CASES, Case, acc, i8, u8


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_op_is_its_definition(case: Case) -> None:
    batch = case.given(3)
    if isinstance(batch, dict):
        kinds, values = (case.x, case.z), (batch["x"], batch["z"])
        expected = RULES[type(case.op)](case.op, kinds, values, case.constants, case.result)
    else:
        expected = RULES[type(case.op)](case.op, case.x, batch, case.constants, case.result)
    graph = case.graph()
    actual = Evaluator(graph, wide_form(graph)).run(batch)["y"]
    assert actual.shape == (3, *case.result.shape[1:])
    if case.quantized:
        np.testing.assert_array_equal(expected, actual)
    else:
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "case", [item for item in CASES if isinstance(item.result.element, Int)], ids=lambda c: c.name
)
def test_results_have_the_integer_type_of_the_graph(case: Case) -> None:
    element = case.result.element
    assert isinstance(element, Int)
    actual = Evaluator(case.graph()).run(case.given(1))["y"]
    if element.width > 64:
        assert {type(item) for item in actual.ravel().tolist()} == {int}
        return
    assert actual.dtype.kind == ("i" if element.signed else "u")
    assert 8 * actual.dtype.itemsize >= element.width


def test_extremes_of_accumulators_are_exact_beyond_float32() -> None:
    weight = np.stack([np.full(70_000, 127), np.full(70_000, -127)]).astype(np.int8)
    weight[:, 0] = 1  # odd sums: float32 could not hold them
    x = u8(1, 70_000)
    case = Case(
        name="wide", op=Linear(acc_width=33), x=x, constants=(weight,), result=acc(33, 1, 2)
    )
    actual = Evaluator(case.graph()).run(np.full((1, 70_000), 255, np.uint8))["y"]
    total = 255 * 127 * 69_999
    np.testing.assert_array_equal([[total + 255, -total + 255]], actual)


def test_a_sum_over_a_large_map_is_exact_beyond_float32() -> None:
    op = SumPool2d(kernel_size=(300, 300), acc_width=26)
    case = Case(name="sum", op=op, x=u8(1, 300, 300, 1), result=acc(26, 1, 1, 1, 1))
    batch = np.random.default_rng(0).integers(250, 256, (1, 300, 300, 1))
    actual = Evaluator(verify(case.graph())).run(batch)["y"]
    assert actual.item() == batch.sum()


def test_kernels_may_run_again_on_other_batch_sizes() -> None:
    """Scratch memory is kept between runs; a padded border must stay what it is."""
    op = Conv2d(kernel_size=(3, 3), padding=(1, 1, 1, 1), acc_width=32)
    x = u8(1, 4, 4, 2, zero_point=3)
    weight = i8(2, 2, 3, 3)
    case = Case(name="again", op=op, x=x, constants=(weight,), result=acc(32, 1, 4, 4, 2))
    evaluator = Evaluator(case.graph())
    for count in (5, 1, 5, 300):
        batch = np.random.default_rng(count).integers(0, 256, (count, 4, 4, 2))
        expected = RULES[Conv2d](op, x, batch, (weight,), case.result)
        np.testing.assert_array_equal(expected, evaluator.run(batch)["y"])


class Recorder:
    def __init__(self, *names: str) -> None:
        self.names = names
        self.seen: dict[str, list[Array]] = {}

    def wants(self, name: str) -> bool:
        return name in self.names

    def observe(self, name: str, kind: TensorType, values: Array) -> None:
        assert values.shape[1:] == kind.shape[1:]
        self.seen.setdefault(name, []).append(values)


def test_listeners_see_every_image_once_in_order() -> None:
    chain = small()
    graph = chain.graph()
    images = chain.images(300)
    listener = Recorder("x", "conv1", "conv1_acc")
    values = Evaluator(graph).run(images, keep=["conv1", "conv1_acc"], listeners=[listener])
    assert list(values) == ["conv1_acc", "conv1"]
    assert sorted(listener.seen) == ["conv1", "conv1_acc", "x"]
    np.testing.assert_array_equal(images, np.concatenate(listener.seen["x"]))
    for name, whole in values.items():
        np.testing.assert_array_equal(whole, np.concatenate(listener.seen[name]))


def test_a_batch_gives_what_its_images_give_alone() -> None:
    chain = small()
    graph = chain.graph()
    images = chain.images(7)
    whole = Evaluator(graph).run(images)
    for name, values in whole.items():
        alone = [Evaluator(graph).run(images[n : n + 1])[name] for n in range(7)]
        np.testing.assert_array_equal(values, np.concatenate(alone))


def test_two_readers_of_one_value_both_get_it() -> None:
    builder = GraphBuilder("fork", Stage.QUANTIZED)
    x = builder.input("x", u8(1, 2, 2, 1, zero_point=9))
    relu = builder.node("relu", Relu(), [x], Loc())
    pool = builder.node("pool", MaxPool2d(kernel_size=(2, 2)), [x], Loc())
    flat = builder.node("flat", Flatten(), [x], Loc())
    graph = verify(builder.finish([relu, pool, flat, x]))
    batch = np.array([1, 200, 9, 4], np.uint8).reshape(1, 2, 2, 1)
    values = Evaluator(graph).run({"x": batch})
    assert {name: item.ravel().tolist() for name, item in values.items()} == {
        "x": [1, 200, 9, 4],
        "relu": [9, 200, 9, 9],
        "pool": [200],
        "flat": [1, 200, 9, 4],
    }


def _overflowing() -> Graph:
    """An exception leads out of the range of uint8: the verifier cannot see it, publish does."""
    op = Requantize(shift=0, quant_min=0, quant_max=255, scale=1.0, zero_point=0)
    parameters = (np.ones(1, np.int64), np.zeros(1, np.int64), np.array([[0, 255, 1]]))
    x = acc(10, 1, 1)
    result = u8(1, 1, scale=1.0)
    return Case(name="out", op=op, x=x, constants=parameters, result=result).graph()


def test_a_value_outside_its_type_names_the_node() -> None:
    message = "y: values from 256 to 256 leave the range of u8"
    with pytest.raises(EvaluationError, match=f"^{re.escape(message)}$"):
        Evaluator(_overflowing()).run(np.array([[255]]))


def test_a_batch_of_the_wrong_shape_is_refused() -> None:
    graph = small().graph()
    message = "an array of shape (2, 5, 6, 2) for an input of type "
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        Evaluator(graph).run(np.zeros((2, 5, 6, 2), np.uint8))


def test_one_rule_for_each_op() -> None:
    with pytest.raises(ValueError, match=r"^Relu has an evaluation rule already$"):
        evaluates(Relu)(Evaluator)  # type: ignore[arg-type]  # never called


def test_carriers_are_exact_or_refused() -> None:
    assert carrier((1 << 24) - 1, "y") is np.float32
    assert carrier(1 << 24, "y") is np.float64
    with pytest.raises(AssertionError, match=r"^y: partial sums up to \d+ are not exact"):
        carrier(1 << 53, "y")


def test_publish_undoes_the_centering() -> None:
    plane = np.arange(-3, 3, dtype=np.float32).reshape(3, 1, 1, 2)  # (C, H, W, N)
    values = publish("y", plane, u8(1, 1, 1, 3, zero_point=10))
    assert values.dtype == np.uint8
    assert values.tolist() == [[[[7, 9, 11]]], [[[8, 10, 12]]]]
