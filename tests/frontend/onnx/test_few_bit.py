"""QONNX files: the golden model against NumPy, the reference evaluation against both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pyahir.engines import compare, input_codes, run_ir, run_torch
from pyahir.frontend.source import load_model
from pyahir.ir.eval import Evaluator
from tests.frontend.onnx import qonnx
from tests.frontend.onnx.files import BREVITAS, FINN, QONNX, Writer, quant, quantized, real

RNG_IMAGES = 5


def signed(writer: Writer) -> None:
    """Map images in [0, 1] to [-1, 1]."""
    writer.node("Mul", real(2))
    writer.node("Sub", real(1))


def batch_norm(writer: Writer, rng: np.random.Generator, channels: int, spread: float) -> None:
    writer.node(
        "BatchNormalization",
        rng.uniform(-1, 1, channels).astype(np.float32),
        rng.uniform(-1, 1, channels).astype(np.float32),
        rng.normal(0, spread, channels).astype(np.float32),
        rng.uniform(spread**2 / 2, spread**2, channels).astype(np.float32),
        epsilon=1e-5,
    )


def weight(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.uniform(-3, 3, shape).astype(np.float32)


def bipolar_fully_connected(writer: Writer, rng: np.random.Generator) -> None:
    signed(writer)
    writer.node("Flatten", axis=1)
    writer.node("BipolarQuant", real(1))
    first = quantized(writer, weight(rng, 7, 50), 1)
    writer.node("MatMul", writer.aside("Transpose", first, perm=[1, 0]))
    batch_norm(writer, rng, 7, 6.0)
    writer.node("BipolarQuant", real(0.5))
    writer.node("Gemm", quantized(writer, weight(rng, 3, 7), 1), transB=1)
    writer.node("Mul", real(-0.25))
    writer.node("Add", real(1.5))


def convolution(writer: Writer, rng: np.random.Generator) -> None:
    signed(writer)
    quant(writer, 8, 2.0**-7)
    writer.node("Conv", quantized(writer, weight(rng, 6, 2, 3, 3), 2), pads=[1, 1, 1, 1])
    batch_norm(writer, rng, 6, 8.0)
    quant(writer, 2, narrow=1)
    writer.node("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    writer.node("Flatten", axis=1)
    writer.node("Gemm", quantized(writer, weight(rng, 3, 36), 2), transB=1)


def scales_and_biases(writer: Writer, rng: np.random.Generator) -> None:
    """Scales per channel, a bias, a negative factor, ReLU and an unsigned quantizer."""
    quant(writer, 4, 1 / 15, signed=0)
    scales = rng.uniform(0.1, 0.3, (5, 1, 1, 1)).astype(np.float32)
    kernel = quantized(writer, weight(rng, 5, 2, 2, 3) / 2, 3, scales)
    writer.node("Conv", kernel, rng.normal(0, 0.5, 5).astype(np.float32), strides=[2, 1])
    writer.node("Mul", rng.normal(0, 1, (1, 5, 1, 1)).astype(np.float32))
    batch_norm(writer, rng, 5, 0.5)
    writer.node("Div", real(1.25))
    writer.node("Relu")
    quant(writer, 4, 0.05, signed=0)
    writer.node("Flatten", axis=1)
    writer.node("Gemm", quantized(writer, weight(rng, 4, 30) / 2, 4, 0.3), transB=1)


def thresholds(writer: Writer, rng: np.random.Generator) -> None:
    """As FINN leaves a network: whole weights, thresholds, a map in the order H, W, C."""
    writer.node("MultiThreshold", (np.arange(1, 8) / 8)[None].astype(np.float32))
    writer.node("Conv", np.rint(weight(rng, 4, 2, 3, 3)))
    rows = np.sort(rng.integers(-30, 30, (4, 3)), axis=1).astype(np.float32)
    writer.node("MultiThreshold", rows, out_bias=-1.0)
    writer.node("Transpose", perm=[0, 2, 3, 1])
    writer.node("Flatten", axis=1)
    writer.node("MatMul", np.sign(weight(rng, 36, 6)))
    writer.node("MultiThreshold", np.zeros((1, 1), np.float32), out_scale=2.0, out_bias=-1.0)
    writer.node("MatMul", np.rint(weight(rng, 6, 3)))


def pool_before_norm(writer: Writer, rng: np.random.Generator) -> None:
    """Pooling between batch norm and quantizer: negative weights of the norm do no harm."""
    signed(writer)
    quant(writer, 3, 0.25)
    writer.node("Conv", quantized(writer, weight(rng, 6, 2, 2, 2), 2))
    batch_norm(writer, rng, 6, 6.0)
    writer.node("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    quant(writer, 3, 0.5)
    writer.node("Flatten", axis=1)
    writer.node("Gemm", quantized(writer, weight(rng, 3, 24), 3), transB=1)


CASES: dict[str, tuple[Any, str, tuple[int, ...]]] = {
    "bipolar": (bipolar_fully_connected, QONNX, (2, 5, 5)),
    "convolution": (convolution, BREVITAS, (2, 4, 6)),
    "scales": (scales_and_biases, QONNX, (2, 5, 5)),
    "thresholds": (thresholds, FINN, (2, 5, 5)),
    "moved pool": (pool_before_norm, QONNX, (2, 5, 5)),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("batch", ["N", 1])
def test_golden_model_is_the_file(tmp_path: Path, case: str, batch: str | int) -> None:
    make, domain, shape = CASES[case]
    writer = Writer([batch, *shape], domain=domain)
    make(writer, np.random.default_rng(3))
    source = load_model(writer.save(tmp_path / "net.onnx"))
    graph = source.graph
    assert source.input_shape == shape
    assert (source.engine, source.forward) == ("onnx reference", "reference evaluation")
    pixels = np.random.default_rng(1).integers(0, 256, (RNG_IMAGES, *shape))
    images = (pixels / 255).astype(np.float32)
    codes = input_codes(graph, images, source.engine)
    expected = qonnx.evaluate(writer.model(), pixels / 255)[writer.at]
    raw = Evaluator(graph).run(codes)[graph.outputs[0]]
    assert source.scores is not None
    np.testing.assert_allclose(source.scores(raw), expected, rtol=1e-5, atol=1e-5)
    order = [item.name for item in graph.nodes]
    found = compare({"onnx": run_torch(source, images), "ir": run_ir(graph, codes)}, order)
    assert len(found) >= 3
    assert [(item.layer, 0) for item in found] == [(item.layer, item.differing) for item in found]


def test_vectors_are_images_of_one_pixel(tmp_path: Path) -> None:
    writer = Writer(["N", 6])
    rng = np.random.default_rng(5)
    quant(writer, 2, 0.5, signed=0)
    writer.node("MatMul", np.rint(weight(rng, 6, 3)))
    source = load_model(writer.save(tmp_path / "net.onnx"))
    assert source.input_shape == (6, 1, 1)
    pixels = rng.integers(0, 256, (4, 6))
    images = (pixels / 255).astype(np.float32).reshape(4, 6, 1, 1)
    expected = qonnx.evaluate(writer.model(), pixels / 255)[writer.at]
    raw = Evaluator(source.graph).run(np.moveaxis(pixels.reshape(4, 6, 1, 1), 1, -1))
    assert source.scores is not None
    np.testing.assert_allclose(source.scores(raw["matmul1"]), expected, rtol=1e-6)
    np.testing.assert_array_equal(raw["matmul1"], source.run(images)["matmul1"])


@pytest.mark.parametrize(("ties", "level"), [("source", 1), ("high", 1), ("low", 0)])
def test_ties(tmp_path: Path, ties: str, level: int) -> None:
    """A sum of 0 on the step of a BipolarQuant is +1 in the file."""
    writer = Writer(["N", 2, 1, 1])
    writer.node("Sub", real(0.5))
    writer.node("BipolarQuant", real(1))
    writer.node("Flatten", axis=1)
    writer.node("MatMul", np.ones((2, 1), np.float32))
    writer.node("BipolarQuant", real(1))
    writer.node("MatMul", np.ones((1, 1), np.float32))
    source = load_model(writer.save(tmp_path / "net.onnx"), threshold_ties=ties)
    raw = Evaluator(source.graph).run(np.array([[[[0, 255]]]], np.uint8))
    assert raw[source.graph.outputs[0]].tolist() == [[2 * level - 1]]
