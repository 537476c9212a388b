"""Quantization to posits and floats: values, structure, scales, quality, messages."""

from __future__ import annotations

import math
import re
from itertools import product

import numpy as np
import pytest
import softposit

from pyahir.errors import PyahirError
from pyahir.ir import posit
from pyahir.ir.eval import Evaluator, dequantize, from_nchw, to_nchw
from pyahir.ir.eval import quantize as codes_of
from pyahir.ir.graph import Graph
from pyahir.ir.ops import (
    AvgPool2d,
    Clamp,
    Conv2d,
    Encode,
    Linear,
    MaxPool2d,
    RealConv2d,
    RealLinear,
    Relu,
)
from pyahir.ir.types import Array, Float16, Float32, Int, Posit
from pyahir.passes.pipeline import SIMPLIFY, Pipeline
from pyahir.quant.exponents import best_exponent, calibrate_exponents
from pyahir.quant.posit import quantize_real
from pyahir.quant.scheme import RealScheme, real_scheme
from tests.ir.slow import RULES
from tests.quant.floats import FloatNet, cnn

NINE = list(product(("f32", "f16", "quire"), (0, 1, 2)))


def net(seed: int = 0) -> FloatNet:
    """Every layer that has a posit form, few taps."""
    chain = FloatNet((2, 7, 6), seed=seed)
    chain.conv(4, Conv2d(kernel_size=(3, 2), stride=(2, 1), padding=(1, 1, 0, 1), groups=2))
    chain.norm()
    chain.plain("relu", Relu())
    chain.plain("pool", MaxPool2d(kernel_size=(2, 2), padding=(1, 0, 1, 0)))
    chain.conv(3, Conv2d(kernel_size=(1, 3), dilation=(1, 2)))
    chain.plain("relu6", Clamp(minimum=0.0, maximum=6.0))
    chain.plain("avg", AvgPool2d(kernel_size=(3, 2)))
    chain.flatten()
    chain.linear(5)
    chain.plain("relu", Relu())
    chain.linear(3)
    return chain


def made(chain: FloatNet, scheme: RealScheme) -> tuple[Graph, Graph]:
    """Give the simplified float graph and its posit form."""
    graph = Pipeline(SIMPLIFY).run(chain.graph())
    exponents = None
    if scheme.calibrated:
        exponents = calibrate_exponents(graph, chain.images(64), scheme.es)
    return graph, quantize_real(graph, scheme, exponents)


def stored_images(graph: Graph, images: np.ndarray) -> Array:
    kind = graph.inputs[0].type
    return codes_of(from_nchw(images, kind), kind)


def slowly(graph: Graph, batch: Array) -> dict[str, Array]:
    """Evaluate every node by its slow definition."""
    values: dict[str, Array] = {graph.inputs[0].name: batch}
    types, constants = graph.types(), graph.constant_map()
    for node in graph.nodes:
        data, *rest = node.inputs
        given = tuple(constants[name].array for name in rest)
        found = RULES[type(node.op)](node.op, types[data], values[data], given, node.type)
        if isinstance(node.type.element, Float16 | Float32):
            single = isinstance(node.type.element, Float32)
            found = found.astype(np.float32 if single else np.float16)
        values[node.name] = found
    return values


def assert_slow_is_fast(graph: Graph, batch: Array) -> None:
    expected = slowly(graph, batch)
    actual = Evaluator(graph).run(batch, keep=list(expected))
    for name, values in expected.items():
        np.testing.assert_array_equal(values, actual[name], err_msg=name)


@pytest.mark.parametrize("weights", ["posit8", "float"])
@pytest.mark.parametrize("scale", ["auto", "1"])
@pytest.mark.parametrize(("arith", "es"), NINE)
def test_every_value_is_that_of_the_definition(
    arith: str, es: int, weights: str, scale: str
) -> None:
    chain = net(es)
    scheme = RealScheme(arith=arith, es=es, weights=weights, scale=scale)
    _, graph = made(chain, scheme)
    assert_slow_is_fast(graph, stored_images(graph, chain.images(2, seed=4)))


@pytest.mark.parametrize("scheme", ["float16", "float32"])
def test_float_storage_follows_the_definition(scheme: str) -> None:
    chosen = real_scheme(scheme)
    assert chosen is not None
    chain = net(7)
    _, graph = made(chain, chosen)
    assert_slow_is_fast(graph, stored_images(graph, chain.images(2, seed=4)))
    element = Float16() if scheme == "float16" else Float32()
    assert {node.type.element for node in graph.nodes} == {element}


def compared(chain: FloatNet, scheme: RealScheme, count: int) -> float:
    """Give the signal-to-noise ratio of the outputs in dB."""
    graph, stored = made(chain, scheme)
    images = chain.images(count, seed=9)
    kind = stored.types()[stored.outputs[0]]
    expected = Evaluator(graph).run(images)[graph.outputs[0]]
    found = Evaluator(stored).run(stored_images(stored, images))[stored.outputs[0]]
    actual = to_nchw(dequantize(found, kind), kind)
    return float(10 * np.log10(np.sum(expected**2) / np.sum((expected - actual) ** 2)))


@pytest.mark.parametrize(("arith", "es"), NINE)
def test_a_cnn_keeps_its_answers(arith: str, es: int) -> None:
    assert compared(cnn(es), RealScheme(arith=arith, es=es), 100) > 31 - 4 * es


def test_plain_floats_keep_more() -> None:
    for scheme, least in (("float32", 110), ("float16", 45)):
        chosen = real_scheme(scheme)
        assert chosen is not None
        assert compared(cnn(), chosen, 100) > least


def test_a_calibrated_scale_is_better_than_none() -> None:
    small, plain = (compared(scaled_down(), RealScheme(scale=s), 100) for s in ("auto", "1"))
    assert small > plain + 10


def scaled_down() -> FloatNet:
    """A network whose activations are far from 1."""
    chain = FloatNet((3, 6, 6), seed=5)
    chain.rng = np.random.default_rng(1)
    weight = chain.constant("weight", chain.rng.normal(0, 1e-3, (6, 3, 3, 3)))
    bias = chain.constant("bias", chain.rng.normal(0, 1e-4, 6))
    chain.plain("conv", Conv2d(kernel_size=(3, 3)), weight, bias)
    chain.plain("relu", Relu())
    chain.flatten()
    chain.linear(4)
    return chain


def test_the_structure() -> None:
    _, graph = made(net(), RealScheme(arith="quire", weights="posit8", es=1))
    assert [(node.name, node.op.mnemonic()) for node in graph.nodes] == [
        ("conv1_acc", "real_conv2d"),
        ("conv1", "encode"),
        ("pool4", "max_pool2d"),
        ("conv5_acc", "real_conv2d"),
        ("conv5", "encode"),
        ("relu66", "clamp"),
        ("avg7_acc", "real_avg_pool2d"),
        ("avg7", "encode"),
        ("flat8", "flatten"),
        ("fc9_acc", "real_linear"),
        ("fc9", "encode"),
        ("fc11_acc", "real_linear"),
        ("fc11", "encode"),
    ]
    nodes = graph.node_map()
    relus = {n.name: n.op.relu for n in graph.nodes if isinstance(n.op, Encode)}
    assert relus == {"conv1": True, "conv5": False, "avg7": False, "fc9": True, "fc11": False}
    assert isinstance(nodes["fc9_acc"].op, RealLinear)
    assert nodes["fc9_acc"].op.spatial == graph.types()["avg7"].spatial
    assert isinstance(nodes["fc11_acc"].op, RealLinear)
    assert nodes["fc11_acc"].op.spatial == (1, 1)
    assert isinstance(nodes["conv1_acc"].op, RealConv2d)
    assert nodes["conv1_acc"].op.groups == 2
    assert {n.type.element for n in graph.nodes if "acc" not in n.name} == {Posit(8, 1)}


def test_the_quire_is_as_wide_as_its_sums() -> None:
    """One bit less does not verify: the bound is met by the largest posits."""
    _, graph = made(net(), RealScheme(arith="quire", weights="posit8", scale="1"))
    node = graph.node_map()["fc11_acc"]
    weight = posit.decode_integers(graph.constant_map()["fc11_weight"].array, 0)
    bias = graph.constant_map()["fc11_bias"].array
    largest = int((np.abs(weight).sum(axis=1) * 4096 + np.abs(bias)).max())
    assert isinstance(node.type.element, Int)
    assert node.type.element.max >= largest > node.type.element.max // 2
    assert str(node.type.quantization) == "pow2(-12)"


def test_weights_of_a_quire_are_integers_of_16_bits() -> None:
    graph, stored = made(net(), RealScheme(arith="quire", scale="1"))
    constant = stored.constant_map()["fc11_weight"]
    expected = graph.constant_map()[graph.node_map()["fc11"].inputs[1]].array
    assert constant.type.element == Int(16)
    assert constant.type.quantization is not None
    unit = constant.type.quantization.scale
    assert np.abs(constant.array).max() >= 1 << 14
    assert np.abs(constant.array * unit - expected).max() <= unit / 2


def least_error(numbers: np.ndarray, es: int) -> int:
    """Give the best exponent by encoding all numbers with each."""
    if not numbers.any():
        return 0
    top = math.frexp(np.abs(numbers).max())[1]

    def error(k: int) -> float:
        rounded = np.ldexp(posit.values(es)[posit.encode(numbers, es, -k)], k)
        return float(((rounded - numbers) ** 2).sum())

    tried = [k for k in range(top - 10, top + 11) if abs(k) <= 30]
    return min(tried, key=lambda k: (error(k), abs(k), k))


@pytest.mark.parametrize("es", posit.ES)
@pytest.mark.parametrize("kind", ["normal", "integers", "posits", "steps"])
def test_exponents_are_those_of_all_encoded_numbers(es: int, kind: str) -> None:
    """Numbers on the steps of the rounding, zeros and equal errors are among them."""
    rng = np.random.default_rng(es)
    drawn = {
        "normal": rng.normal(0, 1, 200),
        "integers": np.rint(rng.normal(0, 8, 200)),
        "posits": rng.choice(np.nan_to_num(posit.values(es)), 200),
        "steps": rng.choice(posit.rounding_steps(es), 200) * rng.choice([-1, 1], 200),
    }
    for exponent in (-9, 0, 6):
        numbers = np.ldexp(drawn[kind], exponent)
        counts = rng.integers(1, 9, len(numbers))
        repeated = np.repeat(numbers, counts)
        expected = least_error(np.sort(np.abs(repeated)), es)
        assert best_exponent(rng.permutation(repeated), None, es) == expected
        assert best_exponent(numbers, counts.astype(np.float64), es) == expected


@pytest.mark.parametrize("es", posit.ES)
def test_the_best_exponent_has_the_least_error(es: int) -> None:
    numbers = np.random.default_rng(es).normal(0, 0.01, 500)
    best = best_exponent(numbers, np.ones(500), es)

    def error(k: int) -> float:
        rounded = posit.values(es)[posit.encode(np.ldexp(numbers, -k), es)] * 2.0**k
        return float(((rounded - numbers) ** 2).sum())

    assert error(best) == min(error(k) for k in range(-20, 10))
    assert best < -3
    assert best_exponent(np.zeros(3), np.ones(3), es) == 0
    assert -30 <= best_exponent(np.full(3, 1e-38), np.ones(3), es) <= 0


def test_calibration_does_not_depend_on_the_order_of_images() -> None:
    chain = net()
    graph = Pipeline(SIMPLIFY).run(chain.graph())
    images = chain.images(50)
    first, second = (calibrate_exponents(graph, given, 0) for given in (images, images[::-1]))
    assert first == second
    assert set(first) == {"x", "relu3", "relu66", "avg7", "relu10", "fc11"}


MESSAGES = [
    (("uint8", {"arith": "f32"}),
     "--scheme uint8 does not take --arith; these belong to --scheme posit8"),
    (("float16", {"es": 1, "scale": "auto"}),
     "--scheme float16 does not take --es, --posit-scale; these belong to --scheme posit8"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "message"), MESSAGES)
def test_choices_that_do_not_fit(given: tuple[str, dict[str, object]], message: str) -> None:
    with pytest.raises(PyahirError, match=f"^{re.escape(message)}$"):
        real_scheme(given[0], **given[1])  # type: ignore[arg-type]  # the table's choices


def test_the_choices_that_are_not_given() -> None:
    assert real_scheme("uint8") is None
    assert real_scheme("posit8") == RealScheme()
    assert str(RealScheme(es=2)) == "posit<8,2>, f32, weights float, scale auto"
    assert str(real_scheme("float16")) == "float16"


def huge(weight: float, bias: float) -> FloatNet:
    chain = FloatNet((2,))
    arrays = chain.constant("w", np.full((1, 2), weight)), chain.constant("b", np.full(1, bias))
    chain.plain("fc", Linear(), *arrays)
    return chain


@pytest.mark.parametrize(
    ("chain", "scheme", "message"),
    [
        (huge(1e6, 0.0), RealScheme(arith="f16", scale="1"),
         "a weight of 1e+06 is no number of arith f16; take f32"),
        (huge(1e6, 0.0), RealScheme(arith="f16", scale="1", weights="posit8", es=2),
         "a weight of 1e+06 is no number of arith f16; take f32"),
        (huge(1.0, 1e6), RealScheme(arith="f16", scale="1"),
         "net.py:1 (fc1) fc1: a bias of 1e+06 is no number of arith f16; take --arith f32"),
        (huge(1.0, 1e30), RealScheme(arith="quire", scale="1", weights="posit8"),
         "net.py:1 (fc1) fc1: its bias is too large for a quire beside these weights; take "
         "--arith f32"),
    ],
    ids=["weight", "posit-weight", "bias", "quire-bias"],
)  # fmt: skip
def test_numbers_that_do_not_fit(chain: FloatNet, scheme: RealScheme, message: str) -> None:
    with pytest.raises(PyahirError, match=f"^{re.escape(message)}$"):
        quantize_real(chain.graph(), scheme)


def lenet() -> FloatNet:
    chain = FloatNet((1, 28, 28), seed=11)
    chain.conv(6, Conv2d(kernel_size=(5, 5), padding=(2, 2, 2, 2)))
    chain.plain("relu", Relu())
    chain.plain("pool", MaxPool2d(kernel_size=(2, 2), stride=(2, 2)))
    chain.conv(16, Conv2d(kernel_size=(5, 5)))
    chain.plain("relu", Relu())
    chain.plain("pool", MaxPool2d(kernel_size=(2, 2), stride=(2, 2)))
    chain.flatten()
    for size in (120, 84, 10):
        chain.linear(size)
        if size != 10:
            chain.plain("relu", Relu())
    return chain


class Softposit:
    """LeNet on one image in softposit's posit8 and quire8, from the float weights alone."""

    def __init__(self) -> None:
        self.posits = [softposit.posit8(bits=code) for code in range(256)]
        self.powers = {power: softposit.posit8(2.0**power) for power in range(-6, 7)}

    def encoded(self, numbers: np.ndarray) -> np.ndarray:
        flat = [softposit.posit8(float(x)).v.v for x in numbers.ravel()]
        return np.array(flat, np.uint8).reshape(numbers.shape)

    def dot(self, x: np.ndarray, weight: np.ndarray, bias: float) -> int:
        """Give the code of ``sum x * weight + bias``; the quire's unit is 2**-12."""
        quire = softposit.quire8()
        for left, right in zip(x.ravel().tolist(), weight.ravel().tolist(), strict=True):
            if left and right:
                quire.qma(self.posits[left], self.posits[right])
        units = int(np.rint(bias * 4096))
        add = quire.qma if units > 0 else quire.qms
        for place in range(abs(units).bit_length()):
            if abs(units) >> place & 1:
                high = min(max(place - 12, -6), 6)
                add(self.powers[high], self.powers[place - 12 - high])
        return int(quire.toPosit().v.v)

    def convolution(
        self, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, pad: int
    ) -> np.ndarray:
        x = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
        size = x.shape[1] - 4
        codes = [
            self.dot(x[:, i : i + 5, j : j + 5], weight[o], float(bias[o]))
            for o, i, j in product(range(len(weight)), range(size), range(size))
        ]
        return np.array(codes, np.uint8).reshape(len(weight), size, size)

    @staticmethod
    def relu(codes: np.ndarray) -> np.ndarray:
        return np.where(codes > 128, 0, codes)

    @staticmethod
    def pool(codes: np.ndarray) -> np.ndarray:
        channels, height, width = codes.shape
        blocks = codes.astype(np.int8).reshape(channels, height // 2, 2, width // 2, 2)
        return blocks.max(axis=(2, 4)).astype(np.uint8)


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_lenet_in_a_quire_is_what_softposit_computes(seed: int) -> None:
    chain = lenet()
    scheme = RealScheme(arith="quire", weights="posit8", scale="1")
    graph, stored = made(chain, scheme)
    image = chain.images(1, seed=seed)[0]
    other = Softposit()
    arrays = {name: item.array for name, item in graph.constant_map().items()}
    parameters = [
        (other.encoded(arrays[node.inputs[1]]), arrays[node.inputs[2]])
        for node in graph.nodes
        if len(node.inputs) == 3
    ]
    codes = other.encoded(image)
    for layer, pad in enumerate((2, 0)):
        codes = other.pool(other.relu(other.convolution(codes, *parameters[layer], pad)))
    codes = codes.ravel()
    for layer, (weight, bias) in enumerate(parameters[2:]):
        rows = [other.dot(codes, row, float(b)) for row, b in zip(weight, bias, strict=True)]
        codes = np.array(rows, np.uint8)
        codes = codes if layer == 2 else other.relu(codes)
    actual = Evaluator(stored).run(stored_images(stored, image[None]))[stored.outputs[0]]
    assert codes.tolist() == actual[0].tolist()
    assert len(set(codes.tolist())) > 4
