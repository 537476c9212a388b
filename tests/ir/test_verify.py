"""The verifier: a valid graph, one thing broken at a time, the whole message."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from pyahir.ir.builder import GraphBuilder
from pyahir.ir.graph import Constant, Graph, Input, Loc, Node, Stage
from pyahir.ir.ops import BatchNorm, Conv2d, Flatten, Linear, Relu, Requantize
from pyahir.ir.types import Affine, ArrayData, Float32, Int, Layout, TensorType
from pyahir.ir.verify import VerifyError, verify
from tests.op_cases import acc, f32, u8


def quantized() -> Graph:
    """x -> conv_acc -> conv -> flat; small enough to write down every message."""
    builder = GraphBuilder("net", Stage.QUANTIZED)
    x = builder.input("x", u8(1, 2, 2, 1, zero_point=5))
    weight = builder.constant("weight", np.array([[[[100]]], [[[-100]]]], np.int8))
    convolution = Conv2d(kernel_size=(1, 1), acc_width=16)
    conv_acc = builder.node("conv_acc", convolution, [x, weight], Loc())
    constants = [
        builder.constant("multiplier", np.array([1 << 20, 1 << 20])),
        builder.constant("offset", np.array([0, 0])),
        builder.constant("exceptions", np.array([[0, 3, 1], [1, -2, -1]])),
    ]
    op = Requantize(shift=26, quant_min=0, quant_max=255, scale=0.5, zero_point=0)
    conv = builder.node("conv", op, [conv_acc, *constants], Loc())
    flat = builder.node("flat", Flatten(), [conv], Loc())
    return builder.finish([flat])


def floating() -> Graph:
    builder = GraphBuilder("net", Stage.FLOAT)
    x = builder.input("x", f32(1, 2))
    weight = builder.constant("weight", np.ones((1, 2), np.float32))
    bias = builder.constant("bias", np.ones(1, np.float32))
    return builder.finish([builder.node("fc", Linear(), [x, weight, bias], Loc())])


def with_node(graph: Graph, node_name: str, /, **changes: object) -> Graph:
    nodes = tuple(
        replace(node, **changes) if node.name == node_name else node  # type: ignore[arg-type]  # fields
        for node in graph.nodes
    )
    return graph.update(nodes=nodes)


def with_constant(graph: Graph, name: str, array: np.ndarray, **changes: object) -> Graph:
    def changed(item: Constant) -> Constant:
        kind = replace(item.type, shape=array.shape, **changes)  # type: ignore[arg-type]  # fields
        return replace(item, type=kind, data=ArrayData(array))

    constants = tuple(changed(item) if item.name == name else item for item in graph.constants)
    return graph.update(constants=constants)


def renamed_input(graph: Graph, name: str) -> Graph:
    return graph.update(inputs=(Input(name=name, type=graph.inputs[0].type),))


def appended(graph: Graph, node: Node) -> Graph:
    return graph.update(nodes=(*graph.nodes, node))


def batch_of_two(graph: Graph) -> Graph:
    kind = TensorType(shape=(2, 2), element=Float32(), layout=Layout.NC)
    return renamed_type(graph, kind)


def renamed_type(graph: Graph, kind: TensorType) -> Graph:
    return graph.update(inputs=(Input(name="x", type=kind),))


FLAT = u8(1, 8, scale=0.5)
CONV_ACC = acc(16, 1, 2, 2, 2)
Break = Callable[[], Graph]

BROKEN: list[tuple[Break, list[str]]] = [
    (
        lambda: renamed_input(quantized(), "conv"),
        ["the name 'conv' is defined 2 times", "conv_acc: reads 'x' before it is defined"],
    ),
    (
        lambda: with_node(quantized(), "flat", name="Flat").update(outputs=("Flat",)),
        ["the name 'Flat' is not lower case words joined by single underscores"],
    ),
    (
        lambda: with_node(quantized(), "flat", name="a__b").update(outputs=("a__b",)),
        ["the name 'a__b' is not lower case words joined by single underscores"],
    ),
    (
        lambda: with_node(quantized(), "flat", name="a\n").update(outputs=("a\n",)),
        ["the name 'a\\n' is not lower case words joined by single underscores"],
    ),
    (
        lambda: quantized().update(nodes=quantized().nodes[::-1]),
        ["flat: reads 'conv' before it is defined", "conv: reads 'conv_acc' before it is defined"],
    ),
    (lambda: quantized().update(outputs=()), ["the graph has no output"]),
    (lambda: quantized().update(outputs=("y",)), ["the output 'y' does not exist"]),
    (lambda: quantized().update(outputs=("weight",)), ["the output 'weight' does not exist"]),
    (
        lambda: with_node(quantized(), "flat", inputs=("conv", "conv")),
        ["flat: flatten takes 1 to 1 operands"],
    ),
    (lambda: with_node(quantized(), "flat", inputs=()), ["flat: flatten takes 1 to 1 operands"]),
    (
        lambda: with_node(quantized(), "flat", type=u8(1, 4, scale=0.5)),
        ["flat: has type 1x4 u8 nc affine(0.5, 0), but 1x8 u8 nc affine(0.5, 0) is inferred"],
    ),
    (
        lambda: with_node(quantized(), "flat", type=u8(1, 8, scale=0.25)),
        ["flat: has type 1x8 u8 nc affine(0.25, 0), but 1x8 u8 nc affine(0.5, 0) is inferred"],
    ),
    (
        lambda: with_node(quantized(), "flat", op=Conv2d(kernel_size=(1, 1))),
        ["flat: conv2d takes 2 to 3 operands"],
    ),
    (
        lambda: with_node(
            quantized(),
            "conv_acc",
            op=Conv2d(kernel_size=(1, 1), acc_width=15),
            type=acc(15, 1, 2, 2, 2),
        ),
        ["conv_acc: sums from -25000 to 25000 overflow i15"],
    ),
    (
        lambda: with_constant(quantized(), "weight", np.full((2, 1, 1, 1), 1000), element=Int(16)),
        ["conv_acc: sums from -5000 to 250000 overflow i16"],
    ),
    (lambda: with_constant(quantized(), "weight", np.full((2, 1, 1, 1), 100)), []),
    (
        lambda: with_constant(quantized(), "weight", np.full((2, 1, 1, 1), 200)),
        [
            "weight: values 200 to 200 do not fit i8",
            "conv_acc: sums from -1000 to 50000 overflow i16",
        ],
    ),
    (
        lambda: with_constant(quantized(), "weight", np.full((2, 1, 1, 1), 0.5)),
        ["weight: an integer constant holds integers, not float64"],
    ),
    (
        lambda: with_constant(quantized(), "multiplier", np.array([1 << 50, 1 << 50])),
        ["conv: acc * M + B needs more than 64 bits"],
    ),
    (
        lambda: with_constant(quantized(), "offset", np.array([-(1 << 63), 0])),
        ["conv: acc * M + B needs more than 64 bits"],
    ),
    (
        lambda: with_constant(quantized(), "exceptions", np.array([[1, -2, 1], [0, 3, 1]])),
        ["conv: the exceptions are not sorted by channel and accumulator"],
    ),
    (
        lambda: with_constant(quantized(), "exceptions", np.array([[0, 3, 1], [0, 3, 2]])),
        ["conv: the exceptions are not sorted by channel and accumulator"],
    ),
    (
        lambda: with_constant(quantized(), "exceptions", np.array([[2, 3, 1]])),
        ["conv: an exception of a channel that does not exist"],
    ),
    (lambda: with_constant(quantized(), "exceptions", np.zeros((0, 3), np.int64)), []),
    (
        lambda: with_node(quantized(), "conv", inputs=("x", "multiplier", "offset", "exceptions")),
        ["conv: requantize takes an integer accumulator, not 1x2x2x1 u8 nhwc affine(0.0625, 5)"],
    ),
    (
        lambda: with_node(quantized(), "conv_acc", inputs=("x", "x")),
        ["conv_acc: the weight's window (2, 1) is not kernel_size (1, 1)"],
    ),
    (
        lambda: appended(
            quantized(),
            Node(name="fc", op=Linear(acc_width=30), inputs=("flat", "v"), type=acc(30, 1, 1)),
        ).update(
            inputs=(
                *quantized().inputs,
                Input(name="v", type=TensorType(shape=(1, 8), element=Int(8), layout=Layout.NC)),
            )
        ),
        ["fc: the weight is not a constant"],
    ),
    (
        lambda: quantized().update(stage=Stage.FLOAT),
        [
            "x: an element of u8 in a float graph",
            "x: layout nhwc in a float graph",
            "conv_acc: an element of i16 in a float graph",
            "conv_acc: layout nhwc in a float graph",
            "conv: an element of u8 in a float graph",
            "conv: layout nhwc in a float graph",
            "flat: an element of u8 in a float graph",
        ],
    ),
    (
        lambda: floating().update(stage=Stage.QUANTIZED),
        [
            "x: an element of f32 in a quantized graph",
            "weight: a float32 constant in a quantized graph",
            "bias: a float32 constant in a quantized graph",
            "fc: an element of f32 in a quantized graph",
        ],
    ),
    (
        lambda: batch_of_two(floating()),
        [
            "fc: has type 1x1 f32 nc, but 2x1 f32 nc is inferred",
            "x: axis 0 is the batch and has size 1, not 2",
        ],
    ),
    (
        lambda: with_constant(floating(), "weight", np.full((1, 2), np.nan, np.float32)),
        ["weight: a float32 constant holds finite float32 numbers"],
    ),
    (
        lambda: with_constant(floating(), "weight", np.full((1, 2), np.inf, np.float32)),
        ["weight: a float32 constant holds finite float32 numbers"],
    ),
    (
        lambda: with_constant(floating(), "weight", np.ones((1, 2))),
        ["weight: a float32 constant holds finite float32 numbers"],
    ),
    (
        lambda: floating().update(
            constants=tuple(
                replace(item, data=ArrayData(np.ones((2, 2), np.float32)))
                if item.name == "weight"
                else item
                for item in floating().constants
            )
        ),
        ["weight: an array of shape (2, 2) for the type 1x2 f32"],
    ),
    (
        lambda: renamed_type(floating(), u8(1, 2)),
        ["fc: the weight is a signed integer, not f32", "x: an element of u8 in a float graph"],
    ),
]


def messages(error: VerifyError) -> list[str]:
    lines = str(error).splitlines()[1:]
    return [line.strip() for line in lines if line.startswith("  ") and line[2] != " "]


@pytest.mark.parametrize(("broken", "expected"), BROKEN, ids=range(len(BROKEN)))
def test_each_rule_has_its_message(broken: Break, expected: list[str]) -> None:
    graph = broken()
    if not expected:
        assert verify(graph) is graph
        return
    with pytest.raises(VerifyError) as caught:
        verify(graph)
    assert expected == messages(caught.value)


def test_batch_norm_belongs_to_float() -> None:
    """It cannot even be typed on integers, so only its own rule and the stage are broken."""
    graph = with_node(quantized(), "flat", op=BatchNorm(eps=0.1))
    with pytest.raises(VerifyError) as caught:
        verify(graph)
    assert messages(caught.value) == [
        "flat: batch_norm takes 5 to 5 operands",
        "flat: batch_norm in a quantized graph",
    ]


def test_the_valid_graphs_are_valid() -> None:
    for graph in (quantized(), floating()):
        assert verify(graph) is graph


def test_the_message_names_the_pass_and_shows_the_lines_around() -> None:
    builder = GraphBuilder("net", Stage.QUANTIZED)
    value = builder.input("x", u8(1, 4))
    for number in range(30):
        value = builder.node(f"relu{number}", Relu(), [value], Loc(file="m.py", line=number))
    graph = with_node(builder.finish([value]), "relu15", type=FLAT)
    with pytest.raises(VerifyError) as caught:
        verify(graph, after="fold_batch_norm")
    lines = str(caught.value).splitlines()
    assert lines[0] == "2 violation(s) in graph 'net' after fold_batch_norm:"
    assert lines[1] == (
        "  relu15: has type 1x8 u8 nc affine(0.5, 0), but 1x4 u8 nc affine(0.0625, 0) is inferred"
    )
    around = lines[2:23]
    assert around[0].startswith("      %relu5: ")
    assert around[10] == (
        "    > %relu15: 1x8 u8 nc affine(0.5, 0) = relu(%relu14) " + 'loc("m.py":15, "")'
    )
    assert around[20].startswith("      %relu25: ")
    assert re.match("  relu16: has type", lines[23])


def test_a_weight_that_only_just_fits() -> None:
    """-100 * (0 - 5) .. 100 * 250: 16 bits hold it, and the bound is tight."""
    weight = np.array([[[[131]]], [[[-131]]]])
    graph = with_constant(quantized(), "weight", weight, element=Int(9))
    assert verify(graph) is graph
    wider = with_constant(quantized(), "weight", weight + 1, element=Int(9))
    with pytest.raises(VerifyError, match="sums from -32500 to 33000 overflow i16"):
        verify(wider)


def test_a_type_says_its_affine() -> None:
    assert str(replace(FLAT, quantization=Affine(scale=0.1, zero_point=3))) == (
        "1x8 u8 nc affine(0.1, 3)"
    )
