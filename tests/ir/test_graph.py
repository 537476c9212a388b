"""Names, arrays, graphs and the builder."""

from __future__ import annotations

import numpy as np
import pytest

from pyahir.ir.builder import GraphBuilder
from pyahir.ir.graph import NAME, Loc, Stage, legal_name, unique_name
from pyahir.ir.ops import InferError, Linear, MaxPool2d, Op, Relu, SumPool2d
from pyahir.ir.ranges import accumulator_bounds, magnitude_bound, numbers, signed_width
from pyahir.ir.types import ArrayData, Int
from tests.networks import small
from tests.op_cases import CASES, Case, u8


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("layer1.0.Conv1", "layer1_0_conv1"),
        ("conv__1_", "conv_1"),
        ("0.weight", "n0_weight"),
        ("", "value"),
        ("é", "value"),
        ("A b-c", "a_b_c"),
    ],
)
def test_legal_names(path: str, name: str) -> None:
    assert legal_name(path) == name
    assert NAME.match(name)


def test_unique_names_are_a_function_of_their_arguments() -> None:
    assert unique_name("a", set()) == "a"
    assert unique_name("a", {"a", "a_2"}) == "a_3"


def test_array_data_compares_every_bit() -> None:
    zero = ArrayData(np.array([0.0], np.float32))
    assert zero == ArrayData(np.array([0.0], np.float32))
    assert hash(zero) == hash(ArrayData(np.array([0.0], np.float32)))
    assert zero != ArrayData(np.array([-0.0], np.float32))
    assert zero != ArrayData(np.array([0.0]))
    assert zero != ArrayData(np.zeros((1, 1), np.float32))
    assert zero != 0
    assert repr(zero).startswith("ArrayData(float32(1,), ")


def test_array_data_does_not_follow_its_source() -> None:
    source = np.arange(3)
    data = ArrayData(source)
    source[0] = 9
    assert data.array.tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="read-only"):
        data.array[0] = 1


def test_locs() -> None:
    assert str(Loc()) == ""
    assert str(Loc(file="m.py", line=3)) == "m.py:3"
    assert str(Loc(path="conv1")) == "(conv1)"
    assert str(Loc(file="m.py", line=3, path="conv1")) == "m.py:3 (conv1)"


def test_graphs_know_their_names() -> None:
    graph = small().graph()
    assert list(graph.node_map()) == ["conv1_acc", "conv1", "pool2", "flat3", "fc4_acc", "fc4"]
    assert [node.name for node in graph.users()["conv1"]] == ["pool2"]
    assert "fc4" not in graph.users()
    assert graph.types()["x"] == graph.inputs[0].type
    assert graph.with_used_constants() is graph
    assert graph.update(nodes=graph.nodes[:1]).with_used_constants().constants == (
        graph.constants[0],
    )


def test_graphs_are_equal_when_they_are_built_alike_whatever_the_locs() -> None:
    graph = small().graph()
    assert graph == small().graph()
    assert hash(graph) == hash(small().graph())
    assert graph != small(seed=1).graph()


def test_the_builder_keeps_names_unique_and_checks_operands() -> None:
    builder = GraphBuilder("net", Stage.QUANTIZED)
    x = builder.input("x", u8(1, 4))
    assert builder.node("x", Relu(), [x], Loc()) == "x_2"
    assert builder.constant("x", np.zeros(2, np.int8)) == "x_3"
    with pytest.raises(InferError, match=r"^needs a feature map, not layout nc$"):
        builder.node("pool", MaxPool2d(kernel_size=(1, 1)), [x], Loc())


@pytest.mark.parametrize(
    ("low", "high", "width"),
    [(0, 0, 1), (0, 1, 2), (-1, 0, 1), (-2, 1, 2), (-128, 127, 8), (-129, 0, 9), (0, 128, 9)],
)
def test_signed_width(low: int, high: int, width: int) -> None:
    assert signed_width(low, high) == width
    assert Int(width).min <= low <= high <= Int(width).max


PRODUCTS = [
    case for case in CASES
    if case.quantized and type(case.op).__name__ in ("Conv2d", "Linear", "SumPool2d")
]  # fmt: skip


@pytest.mark.parametrize("case", PRODUCTS, ids=lambda case: case.name)
def test_accumulator_bounds_are_attained_by_the_worst_input(case: Case) -> None:
    """Per channel, taking an end of the range by the sign of each weight reaches the bound."""
    weight = case.constants[0] if case.constants else None
    if case.scaled:
        weight = numbers(case.constants[0], case.scaled[0][0])
    low, high = accumulator_bounds(case.op, case.x, weight)
    worst = [_worst(case.op, case, weight, channel) for channel in range(len(low))]
    assert low.tolist() == [pair[0] for pair in worst]
    assert high.tolist() == [pair[1] for pair in worst]
    if weight is not None:
        assert magnitude_bound(case.x, weight) >= max(-low.min(), high.max())


def _worst(op: Op, case: Case, weight: np.ndarray | None, channel: int) -> tuple[int, int]:
    values = {-1, 0, 1}
    if isinstance(case.x.element, Int):
        low, high = case.x.element.min, case.x.element.max
        values = {low - case.x.zero_point, high - case.x.zero_point, 0}
    if isinstance(op, SumPool2d):
        taps = [1] * (op.kernel_size[0] * op.kernel_size[1])
    else:
        assert weight is not None
        taps = [int(item) for item in weight[channel].ravel()]
    products = [[tap * value for value in values] for tap in taps]
    return sum(map(min, products)), sum(map(max, products))


def test_linear_layers_of_negative_weights_have_their_own_bounds() -> None:
    weight = np.array([[-3, -4]], np.int8)
    low, high = accumulator_bounds(Linear(acc_width=20), u8(1, 2), weight)
    assert (low.tolist(), high.tolist()) == ([-7 * 255], [0])
