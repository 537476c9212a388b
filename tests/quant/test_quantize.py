"""Post-training quantization: structure, numbers, quality, degenerate ranges, determinism."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pyahir.ir.builder import GraphBuilder
from pyahir.ir.eval import Evaluator, dequantize, from_nchw, to_nchw
from pyahir.ir.eval import quantize as codes_of
from pyahir.ir.graph import Graph, Loc, Stage
from pyahir.ir.ops import (
    AvgPool2d,
    BatchNorm,
    Clamp,
    Conv2d,
    Flatten,
    Linear,
    MaxPool2d,
    Relu,
    Requantize,
)
from pyahir.ir.printer import to_text
from pyahir.passes.eliminate_exceptions import count_exceptions
from pyahir.passes.pipeline import SIMPLIFY, Pipeline
from pyahir.quant.calibrate import calibrate
from pyahir.quant.observers import OBSERVERS, MinMax
from pyahir.quant.quantize import quantize, weight_scales
from tests.op_cases import f32
from tests.quant.floats import FloatNet, cnn


def quantized(net: FloatNet, observer: str = "minmax") -> tuple[Graph, Graph]:
    """Give the simplified float graph and its quantized form."""
    graph = Pipeline(SIMPLIFY).run(net.graph())
    return graph, quantize(graph, calibrate(graph, net.images(64), OBSERVERS[observer]))


def compared(graph: Graph, integers: Graph, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Run both on the same images; give the real outputs, in the model's order."""
    kind = integers.inputs[0].type
    codes = codes_of(from_nchw(images, kind), kind)
    (name,), (other,) = graph.outputs, integers.outputs
    expected = Evaluator(graph).run(images)[name]
    result = integers.types()[other]
    actual = dequantize(Evaluator(integers).run(codes)[other], result)
    return expected, to_nchw(actual, result)


def signal_to_noise(expected: np.ndarray, actual: np.ndarray) -> float:
    return float(10 * np.log10(np.sum(expected**2) / np.sum((expected - actual) ** 2)))


@pytest.mark.parametrize("observer", sorted(OBSERVERS))
@pytest.mark.parametrize("seed", range(3))
def test_a_cnn_keeps_its_answers(observer: str, seed: int) -> None:
    net = cnn(seed)
    graph, integers = quantized(net, observer)
    expected, actual = compared(graph, integers, net.images(400, seed=9))
    assert signal_to_noise(expected, actual) > (20 if observer == "percentile" else 28)
    agreed = np.mean(expected.argmax(axis=1) == actual.argmax(axis=1))
    assert agreed > 0.94


def everything(seed: int = 0) -> FloatNet:
    """Every op, fused and alone, with geometry that nobody tuned for."""
    net = FloatNet((4, 17, 15), seed=seed)
    net.conv(6, Conv2d(kernel_size=(5, 3), stride=(2, 1), padding=(0, 3, 1, 2)))
    net.norm()
    net.plain("relu6", Clamp(minimum=0.0, maximum=6.0))
    net.conv(6, Conv2d(kernel_size=(3, 3), groups=6, dilation=(1, 2), padding=(1, 1, 2, 2)))
    net.plain("pool", MaxPool2d(kernel_size=(3, 2), stride=(1, 2), padding=(1, 1, 0, 1)))
    net.plain("relu", Relu())
    net.plain("avg", AvgPool2d(kernel_size=(2, 2), padding=(1, 0, 0, 0)))
    net.plain("tanh", Clamp(minimum=-1.0, maximum=1.0))
    net.conv(9, Conv2d(kernel_size=(1, 1), groups=3))
    net.plain("pool", MaxPool2d(kernel_size=(1, 1), stride=(3, 3)))
    net.plain("clamp", Clamp(minimum=-0.7, maximum=0.9))
    net.flatten()
    net.linear(5)
    return net


@pytest.mark.parametrize("seed", range(4))
def test_every_op_is_quantized_well(seed: int) -> None:
    net = everything(seed)
    graph, integers = quantized(net)
    expected, actual = compared(graph, integers, net.images(100, seed=3))
    assert signal_to_noise(expected, actual) > 19


def test_the_structure() -> None:
    _, integers = quantized(everything())
    assert [(node.name, node.op.mnemonic()) for node in integers.nodes] == [
        ("conv1_acc", "conv2d"),
        ("conv1", "requantize"),
        ("conv4_acc", "conv2d"),
        ("conv4", "requantize"),
        ("pool5", "max_pool2d"),
        ("relu6", "relu"),
        ("avg7_acc", "sum_pool2d"),
        ("avg7", "requantize"),
        ("conv9_acc", "conv2d"),
        ("conv9", "requantize"),
        ("pool10", "max_pool2d"),
        ("clamp11", "clamp"),
        ("flat12", "flatten"),
        ("fc13_acc", "linear"),
        ("fc13", "requantize"),
    ]
    assert set(count_exceptions(integers).values()) == {0}
    types = integers.types()
    assert types["pool5"].quantization == types["conv4"].quantization == types["relu6"].quantization
    assert types["flat12"].quantization == types["conv9"].quantization
    assert str(types["x"]).startswith("1x17x15x4 u8 nhwc affine(")
    assert integers.node_map()["conv1"].loc == Loc(file="net.py", line=1, path="conv1")
    assert integers.node_map()["conv1_acc"].loc == Loc(file="net.py", line=1, path="conv1")


def requantize_of(graph: Graph, name: str) -> Requantize:
    op = graph.node_map()[name].op
    assert isinstance(op, Requantize)
    return op


def test_clamps_of_fused_activations() -> None:
    _, integers = quantized(everything())
    relu6, tanh = requantize_of(integers, "conv1"), requantize_of(integers, "avg7")
    assert (relu6.zero_point, relu6.quant_min) == (0, 0)
    assert relu6.quant_max == min(255, round(6.0 / relu6.scale))
    assert tanh.quant_min == max(0, round(-1 / tanh.scale) + tanh.zero_point)
    assert tanh.quant_max == min(255, round(1 / tanh.scale) + tanh.zero_point)
    plain = requantize_of(integers, "conv4")
    assert (plain.quant_min, plain.quant_max) == (0, 255)


def test_a_hard_tanh_is_clamped_on_both_sides() -> None:
    net = FloatNet((6,))
    net.linear(4)
    net.plain("tanh", Clamp(minimum=-1.0, maximum=1.0))
    graph = net.graph()
    op = requantize_of(quantize(graph, {"x": (-3.0, 3.0), "tanh2": (-2.0, 2.0)}), "fc1")
    assert op.zero_point in (127, 128)
    assert (op.quant_min, op.quant_max) == (op.zero_point - 64, op.zero_point + 64)


def test_clamps_that_exclude_each_other_leave_one_code() -> None:
    net = FloatNet((6,))
    net.linear(4)
    net.plain("relu", Relu())
    net.plain("clamp", Clamp(minimum=-2.0, maximum=-1.0))
    graph, integers = quantized(net)
    expected, actual = compared(graph, integers, net.images(5))
    assert set(expected.ravel()) == {-1.0}
    np.testing.assert_allclose(actual, -1.0, rtol=1e-6)


def test_a_fused_relu_is_unsigned_and_keeps_the_layer_name() -> None:
    net = cnn()
    _, integers = quantized(net)
    for name in ("conv1", "conv4", "fc7"):
        assert requantize_of(integers, name).zero_point == 0
    assert requantize_of(integers, "fc9").zero_point > 0
    assert integers.outputs == ("fc9",)
    assert "relu2" not in integers.types()


def test_a_fused_output_still_exists() -> None:
    net = FloatNet((4,))
    net.linear(3)
    net.plain("relu", Relu())
    _, integers = quantized(net)
    assert integers.outputs == ("fc1",)
    assert requantize_of(integers, "fc1").zero_point == 0


def test_a_relu_that_is_not_alone_stays() -> None:
    builder = GraphBuilder("net", Stage.FLOAT)
    x = builder.input("x", f32(1, 2))
    weight = builder.constant("w", np.array([[1, -1], [0.5, 2]], np.float32))
    bias = builder.constant("b", np.zeros(2, np.float32))
    fc = builder.node("fc", Linear(), [x, weight, bias], Loc())
    relu = builder.node("relu", Relu(), [fc], Loc())
    graph = builder.finish([fc, relu])
    images = np.random.default_rng(0).normal(0, 1, (50, 2)).astype(np.float32)
    integers = quantize(graph, calibrate(graph, images, MinMax))
    assert integers.outputs == ("fc", "relu")
    kind = integers.inputs[0].type
    values = Evaluator(integers).run(codes_of(images, kind))
    zero = integers.types()["fc"].zero_point
    assert zero > 0
    np.testing.assert_array_equal(np.maximum(values["fc"], zero), values["relu"])


def test_weights_are_symmetric_and_use_all_codes() -> None:
    graph, integers = quantized(cnn())
    for name in ("conv1", "conv4", "fc7", "fc9"):
        codes = integers.constant_map()[integers.node_map()[f"{name}_acc"].inputs[1]].array
        real = graph.constant_map()[graph.node_map()[name].inputs[1]].array
        rows, reals = codes.reshape(len(codes), -1), real.reshape(len(codes), -1)
        assert codes.dtype == np.int8
        np.testing.assert_array_equal(np.abs(rows.astype(int)).max(axis=1), 127)
        scale = np.abs(reals).max(axis=1, keepdims=True) / 127
        assert np.abs(rows * scale - reals).max() <= 0.5 * scale.max() * 1.0001


def test_zero_is_exact_so_that_padding_is() -> None:
    net = everything()
    _, integers = quantized(net)
    kind = integers.inputs[0].type
    zeros = codes_of(np.zeros((1, *kind.shape[1:]), np.float32), kind)
    assert np.all(zeros == kind.zero_point)
    assert not np.any(dequantize(zeros, kind))


def degenerate(weight: np.ndarray, bias: np.ndarray, images: np.ndarray) -> tuple[Graph, Graph]:
    builder = GraphBuilder("net", Stage.FLOAT)
    x = builder.input("x", f32(1, images.shape[1]))
    operands = [
        x,
        builder.constant("w", weight.astype(np.float32)),
        builder.constant("b", bias.astype(np.float32)),
    ]
    graph = builder.finish([builder.node("fc", Linear(), operands, Loc())])
    return graph, quantize(graph, calibrate(graph, images.astype(np.float32), MinMax))


IMAGES = np.random.default_rng(0).normal(0, 1, (40, 3))
W = np.array([[1.0, -0.5, 0.25], [0.3, 0.2, -0.9]])
B = np.array([0.1, -0.2])
ZERO_ROW = np.array([[1.0], [0.0]])


@pytest.mark.parametrize(
    ("weight", "bias", "images"),
    [
        (W, B, IMAGES),
        (W, B, IMAGES * 0),
        (W, B, IMAGES * 0 + 3),
        (W, B, IMAGES * 1e-30),
        (W, B, IMAGES * 1e30),
        (W * 0, B * 0, IMAGES),
        (W * 0, B, IMAGES),
        (W * ZERO_ROW, B, IMAGES),
        (W * ZERO_ROW, B * ZERO_ROW[:, 0], IMAGES),
        (W * [[1.0], [1e-25]], B, IMAGES),
        (W * [[1.0], [1e-7]], B * 0, IMAGES),
        (W * 1e-38, B, IMAGES),
        (W, B * 1e8, IMAGES),
        (W, B * 1e-20, IMAGES),
        (W * 1e30, B, IMAGES),
    ],
    ids=range(15),
)
def test_degenerate_layers_are_quantized_all_the_same(
    weight: np.ndarray, bias: np.ndarray, images: np.ndarray
) -> None:
    graph, integers = degenerate(weight, bias, images)
    expected, actual = compared(graph, integers, images.astype(np.float32))
    step = requantize_of(integers, "fc").scale
    assert np.abs(expected - actual).max() <= 2.5 * step + 1e-6 * np.abs(expected).max()


def test_a_range_finer_than_the_accumulator_is_widened() -> None:
    """Outputs that nearly cancel: a code is then one accumulator unit, never less."""
    weight, images = np.array([[1.0, -1.0, 0.0]]), np.repeat(IMAGES[:, :1], 3, axis=1)
    _, integers = degenerate(weight, np.array([1e-9]), images)
    unit = integers.inputs[0].type.quantization
    assert unit is not None
    assert requantize_of(integers, "fc").scale >= unit.scale / 127 * 0.999


def test_weight_scales_have_a_least_value() -> None:
    weight = np.array([[127.0, 0.0], [1e-9, 0.0], [0.0, 0.0], [1.0, 0.0]])
    bias = np.array([0.0, 0.0, 0.0, 2.0**24])
    scales = weight_scales(weight, bias, 0.5)
    np.testing.assert_array_equal(scales, [1.0, 4 * 2.0**-16, 4 * 2.0**-16, 4.0])


def test_batch_norm_has_to_be_folded_before() -> None:
    builder = GraphBuilder("net", Stage.FLOAT)
    x = builder.input("x", f32(1, 2))
    rows = [builder.constant("row", np.ones(2, np.float32)) for _ in range(4)]
    graph = builder.finish([builder.node("bn", BatchNorm(eps=0.1), [x, *rows], Loc())])
    with pytest.raises(AssertionError, match=r"^bn: batch_norm has no integer form$"):
        quantize(graph, {"x": (0.0, 1.0)})


def test_names_that_derived_names_meet_do_not_collide() -> None:
    builder = GraphBuilder("net", Stage.FLOAT)
    value = builder.input("fc_acc", f32(1, 2))
    weight = builder.constant("w", np.eye(2, dtype=np.float32))
    bias = builder.constant("b", np.ones(2, np.float32))
    value = builder.node("fc", Linear(), [value, weight, bias], Loc())
    value = builder.node("fc_multiplier", Flatten(), [value], Loc())
    graph = builder.finish([value])
    integers = quantize(graph, {"fc_acc": (0.0, 1.0), "fc": (0.0, 2.0)})
    assert len(integers.types()) == 1 + 4 + 3
    values = Evaluator(integers).run(np.array([[0, 255]], np.uint8))
    assert values[integers.outputs[0]].tolist() == [[128, 255]]


SCRIPT = """
import sys
from pyahir.ir.printer import to_text
from tests.quant.test_quantize import everything, quantized
sys.stdout.write(to_text(quantized(everything(), sys.argv[1])[1]))
"""


@pytest.mark.parametrize("observer", ["minmax", "mse"])
def test_the_result_does_not_depend_on_the_process(observer: str) -> None:
    here = to_text(quantized(everything(), observer)[1])
    environment = os.environ | {"PYTHONHASHSEED": "12345"}
    found = subprocess.run(
        [sys.executable, "-c", SCRIPT, observer],
        cwd=Path(__file__).parents[2],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert here == found.stdout
