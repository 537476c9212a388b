"""QDQ files: the golden model against the reference evaluator, code by code."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pyahir.engines import compare, input_codes, run_ir, run_torch
from pyahir.frontend.onnx.load import OnnxRunner
from pyahir.frontend.source import SourceModel, load_model
from pyahir.ir.eval import dequantize
from pyahir.quant.rules import OnnxDivision
from tests.frontend.onnx.files import Writer, linear_quantizer, real


def stored(writer: Writer, rng: np.random.Generator, *shape: int, axis: int | None = None) -> str:
    """Append the DequantizeLinear of int8 weights; ``axis`` is that of the output channels."""
    codes = rng.integers(-127, 128, shape).astype(np.int8)
    if axis is None:
        return writer.aside("DequantizeLinear", codes, real(0.004), np.zeros((), np.int8))
    scales = rng.uniform(0.001, 0.008, shape[axis]).astype(np.float32)
    zero = np.zeros(shape[axis], np.int8)
    return writer.aside("DequantizeLinear", codes, scales, zero, axis=axis)


def lenet(writer: Writer, rng: np.random.Generator) -> None:
    linear_quantizer(writer, 1 / 255, 0)
    writer.node("Conv", stored(writer, rng, 4, 2, 3, 3), real(0.1, -0.2, 0.3, 0), pads=[1, 0, 1, 2])
    writer.node("Relu")
    linear_quantizer(writer, 0.011, 0)
    writer.node("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    writer.node("Flatten", axis=1)
    bias = writer.aside(
        "DequantizeLinear", rng.integers(-90, 90, 5).astype(np.int32), real(0.011 * 0.004)
    )
    writer.node("Gemm", stored(writer, rng, 5, 64, axis=0), bias, transB=1)
    linear_quantizer(writer, 0.02, 131)


def signed_and_grouped(writer: Writer, rng: np.random.Generator) -> None:
    """int8 codes, groups, a pooling before the quantizer, weights quantized in the file."""
    linear_quantizer(writer, 0.007, -3, np.int8)
    writer.node("Conv", stored(writer, rng, 4, 1, 2, 2, axis=0), group=2, strides=[1, 2])
    writer.node("MaxPool", kernel_shape=[2, 2], strides=[1, 1])
    linear_quantizer(writer, 0.013, 5, np.int8, clip=(-127, 120))
    writer.node("Reshape", np.array([0, -1]))
    weights = rng.uniform(-0.5, 0.5, (72, 6)).astype(np.float32)
    parts = real(0.005), np.zeros((), np.int8)
    codes = writer.aside("QuantizeLinear", weights, *parts)
    narrow = writer.aside("Clip", codes, np.int8(-127), np.int8(127))
    writer.node("MatMul", writer.aside("DequantizeLinear", narrow, *parts))
    writer.node("Add", rng.normal(0, 0.3, 6).astype(np.float32))
    linear_quantizer(writer, 0.03, 0, np.int8)


def averages(writer: Writer, rng: np.random.Generator) -> None:
    """Averages meet ties, which are rounded to even (exact in float32 here), and another scale."""
    linear_quantizer(writer, 2.0**-8, 0)
    writer.node("AveragePool", kernel_shape=[2, 2], strides=[2, 2])
    linear_quantizer(writer, 2.0**-8, 0)
    writer.node("Conv", stored(writer, rng, 3, 2, 1, 1))
    linear_quantizer(writer, 0.01, 120)
    writer.node("Relu")
    writer.node("GlobalAveragePool")
    linear_quantizer(writer, 0.004, 10)
    writer.node("Flatten", axis=1)


CASES: dict[str, tuple[Any, tuple[int, ...], list[str]]] = {
    "lenet": (lenet, (2, 8, 8), ["x", "conv3", "maxpool7", "flatten8", "gemm11"]),
    "signed": (signed_and_grouped, (2, 8, 8), ["x", "maxpool4", "reshape8", "matmul12"]),
    "averages": (
        averages,
        (2, 8, 8),
        ["x", "averagepool2", "conv6", "relu9", "globalaveragepool10", "flatten13"],
    ),
}


def load(tmp_path: Path, case: str, *, opset: int = 21) -> SourceModel:
    make, shape, _ = CASES[case]
    writer = Writer(["N", *shape], opset=opset)
    make(writer, np.random.default_rng(11))
    return load_model(writer.save(tmp_path / "net.onnx"))


@pytest.mark.parametrize("opset", [13, 21])
@pytest.mark.parametrize("case", CASES)
def test_codes_are_those_of_the_file(tmp_path: Path, case: str, opset: int) -> None:
    source = load(tmp_path, case, opset=opset)
    assert (source.engine, source.forward) == ("onnx", "reference evaluation")
    images = np.random.default_rng(0).uniform(-0.2, 1.2, (20, *source.input_shape))
    images = images.astype(np.float32)
    codes = input_codes(source.graph, images, source.engine)
    results = {"onnx": run_torch(source, images), "ir": run_ir(source.graph, codes)}
    found = compare(results, ["x", *(item.name for item in source.graph.nodes)])
    assert [(name, 0) for name in CASES[case][2]] == [(i.layer, i.differing) for i in found]
    assert all(len(np.unique(results["ir"][item.layer])) > 5 for item in found)


def test_real_result(tmp_path: Path) -> None:
    """The dequantized output is the file's own, to the last bit."""
    source = load(tmp_path, "signed")
    images = np.random.default_rng(2).uniform(0, 1, (3, 2, 8, 8)).astype(np.float32)
    name = source.graph.outputs[0]
    codes = source.run(images, keep=[name])[name]
    assert isinstance(source.runner, OnnxRunner)
    evaluation = source.runner.forward
    output = evaluation.model.output
    expected = evaluation(images, {output})[output]
    np.testing.assert_array_equal(expected, dequantize(codes, source.graph.types()[name]))


def test_ties_of_averages_are_told(tmp_path: Path) -> None:
    writer = Writer(["N", 1, 4, 4])
    linear_quantizer(writer, 0.1, 0)
    writer.node("AveragePool", kernel_shape=[2, 2], strides=[2, 2], name="/mean/AveragePool")
    linear_quantizer(writer, 0.1, 0)
    writer.node("Flatten", axis=1)
    source = load_model(writer.save(tmp_path / "net.onnx"))
    assert source.note == (
        "mean: an average on a tie is rounded half to even, where a float32 evaluation may give "
        "the other code"
    )
    codes = np.zeros((2, 1, 4, 4), np.float32)
    codes[:, 0, 0, :2] = [[0.1, 0.1], [0.4, 0.2]]  # 2 / 4 to 0, 6 / 4 to 2
    x = input_codes(source.graph, codes, source.engine)
    assert run_ir(source.graph, x)["flatten5"][:, 0].tolist() == [0, 2]


def test_division_rounds_half_to_even() -> None:
    """Against rational numbers, where float32 rounds nothing."""
    rule = OnnxDivision(
        act_times_weight=np.array([0.25, 0.5]),
        bias=np.array([0.125, -3.0], np.float32),
        scale=np.float32(0.5),
        zero_point=7,
    )
    acc = np.arange(-40, 41)[None].repeat(2, axis=0)
    expected = [
        [round((int(a) * Fraction(unit) + Fraction(term)) / Fraction(1, 2)) + 7 for a in row]
        for row, unit, term in zip(acc, (0.25, 0.5), (0.125, -3), strict=True)
    ]
    assert expected == rule(acc).tolist()
    assert rule.slope().tolist() == [0.5, 1.0]
    assert rule.channels == 2
