"""What is refused: the file, the node, its operator, what was found and what is accepted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pyahir.errors import ImportModelError
from pyahir.frontend.onnx import few_bit, package, qdq
from pyahir.frontend.source import load_model
from tests.frontend.onnx.files import Writer, linear_quantizer, quant, quantized, real

ONES = np.ones((2, 2), np.float32)
Make = Callable[[Writer], object]


def refusal(path: Path) -> str:
    with pytest.raises(ImportModelError) as caught:
        load_model(path)
    return str(caught.value)


def begun(writer: Writer) -> Writer:
    """Begin with a layer of one bit on a vector."""
    writer.node("BipolarQuant", real(1), name="in")
    writer.node("MatMul", quantized(writer, ONES, 1), name="fc")
    return writer


FEW_BIT: dict[str, tuple[Make, str]] = {
    "unknown": (
        lambda w: begun(w).node("Softmax", name="s"),
        f"(s, Softmax): has no few-bit form; accepted: {few_bit.ACCEPTED}",
    ),
    "trunc": (
        lambda w: begun(w).node("Trunc", real(1), real(0), real(2), real(2), name="t"),
        "(t, qonnx.custom_op.general.Trunc): has no few-bit form; accepted: " + few_bit.ACCEPTED,
    ),
    "real input": (
        lambda w: w.node("MatMul", quantized(w, ONES, 1), name="fc"),
        "(fc, MatMul): takes the input as real numbers; accepted is an input that is quantized "
        "first",
    ),
    "rounding": (
        lambda w: quant(w, 4, rounding_mode="FLOOR"),
        "(/quant0/Quant, qonnx.custom_op.general.Quant): rounding_mode is FLOOR; accepted: ROUND "
        "(half to even)",
    ),
    "width": (
        lambda w: quant(w, 9),
        "(/quant0/Quant, qonnx.custom_op.general.Quant): its bit width is 9; accepted: 2 to 8 for "
        "a signed quantizer (BipolarQuant is one signed bit)",
    ),
    "zero point": (
        lambda w: w.node("Quant", real(1), real(3), real(4), name="q"),
        "(q, qonnx.custom_op.general.Quant): its zero point is not 0; accepted is 0",
    ),
    "scale": (
        lambda w: w.node("BipolarQuant", real(0), name="q"),
        "(q, qonnx.custom_op.general.BipolarQuant): its scale is not positive; accepted are "
        "positive numbers",
    ),
    "real weights": (
        lambda w: w.node("MatMul", ONES / 2, name="fc2") if quant(w, 2) else None,
        "(fc2, MatMul): its weights are real numbers; accepted are weights behind Quant, "
        "BipolarQuant or DequantizeLinear, and whole numbers",
    ),
    "no quantizer": (
        lambda w: begun(w).node("MatMul", ONES, name="fc2"),
        "(fc2, MatMul): no quantizer stands between it and fc",
    ),
    "branch": (
        lambda w: begun(w).aside("Add", "v2", "v2", name="twice"),
        "(twice, Add): joins or branches the values; accepted is a plain chain of layers",
    ),
    "class scales": (
        lambda w: begun(w).node("Mul", real(1, 2), name="m"),
        "(fc, MatMul): the classes have a scale or bias each, so the sums are no scores that "
        "compare; accepted is one map for all",
    ),
    "last quantizer": (
        lambda w: begun(w).node("BipolarQuant", real(1), name="q"),
        "(fc, MatMul): the last layer is quantized; accepted are its real scores",
    ),
    "thresholds": (
        lambda w: begun(w).node("MultiThreshold", np.array([[2, 1]], np.float32), name="t"),
        "(t, qonnx.custom_op.general.MultiThreshold): its thresholds do not ascend, or are not "
        "finite",
    ),
    "bias of thresholds": (
        lambda w: begun(w).node(
            "MultiThreshold", np.array([[1, 2]], np.float32), out_bias=0.5, name="t"
        ),
        "(t, qonnx.custom_op.general.MultiThreshold): out_bias 0.5 is no multiple of out_scale 1, "
        "so 0 is no level; accepted are multiples, and one threshold with out_bias = "
        "-out_scale / 2",
    ),
    "constant": (
        lambda w: begun(w).node("Mul", np.ones((2, 2), np.float32), name="m"),
        "(m, Mul): its constant has the shape (2, 2); accepted is one number, or one for each of "
        "the 2 channels",
    ),
}


@pytest.mark.parametrize("case", FEW_BIT)
def test_few_bit(tmp_path: Path, case: str) -> None:
    make, message = FEW_BIT[case]
    writer = Writer(["N", 2])
    make(writer)
    path = writer.save(tmp_path / "net.onnx")
    assert f"{path} {message}" == refusal(path)


def images(writer: Writer) -> Writer:
    linear_quantizer(writer, 0.1, 0)
    return writer


KERNEL = np.ones((1, 1, 2, 2), np.int8)
QDQ: dict[str, tuple[Make, str]] = {
    "unknown": (
        lambda w: images(w).node("Sigmoid", name="s"),
        f"(s, Sigmoid): has no 8-bit form; accepted: {qdq.ACCEPTED}",
    ),
    "real result": (
        lambda w: images(w).node(
            "Conv", w.aside("DequantizeLinear", KERNEL, real(0.1)), name="conv"
        ),
        "(conv, Conv): its result stays real; accepted is a QuantizeLinear behind every layer, the "
        "last one too",
    ),
    "weight zero point": (
        lambda w: images(w).node(
            "Conv", w.aside("DequantizeLinear", KERNEL, real(0.1), np.int8(3), name="dq")
        ),
        "(dq, DequantizeLinear): the zero point of a weight is not 0; accepted are symmetric "
        "weights",
    ),
    "another scale": (
        lambda w: linear_quantizer(images(w), 0.2, 0),
        "(/quantizelinear2/QuantizeLinear, QuantizeLinear): quantizes codes to another scale with "
        "no layer between; accepted is one scale",
    ),
    "codes": (
        lambda w: w.node("QuantizeLinear", real(0.1), np.uint16(0), name="q"),
        "(q, QuantizeLinear): its codes are uint16; accepted are uint8 and int8",
    ),
    "padding": (
        lambda w: images(w).node(
            "AveragePool", kernel_shape=[2, 2], pads=[1, 1, 1, 1], name="pool"
        ),
        "(pool, AveragePool): leaves padding out of the average; accepted is count_include_pad=1",
    ),
    "auto_pad": (
        lambda w: images(w).node("MaxPool", kernel_shape=[2, 2], auto_pad="SAME_UPPER", name="p"),
        "(p, MaxPool): auto_pad is SAME_UPPER; accepted: NOTSET with pads, VALID",
    ),
    "ceil": (
        lambda w: images(w).node(
            "MaxPool", kernel_shape=[2, 2], strides=[3, 3], ceil_mode=1, name="p"
        ),
        "(p, MaxPool): ceil_mode adds windows that hang over the edge; accepted is ceil_mode 0",
    ),
}


@pytest.mark.parametrize("case", QDQ)
def test_eight_bits(tmp_path: Path, case: str) -> None:
    make, message = QDQ[case]
    writer = Writer(["N", 1, 4, 4])
    make(writer)
    path = writer.save(tmp_path / "net.onnx")
    assert f"{path} {message}" == refusal(path)


def test_float_network(tmp_path: Path) -> None:
    writer = Writer(["N", 4])
    writer.node("Relu")
    path = writer.save(tmp_path / "net.onnx")
    assert refusal(path) == (
        f"{path}: the network is not quantized; accepted are QONNX (Quant, BipolarQuant, "
        "MultiThreshold) and QuantizeLinear with DequantizeLinear; give a float network as a file "
        "of torch.export.save with --calibrate"
    )


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (("N", 1, "H", 4), "the input has the shape 1x?x4; give its size: --input-shape C,H,W"),
        ((8, 4), "exported for a fixed batch of 8; export it with a batch of 1"),
        ((1, 4, 4), "the input 'image' has 3 axes; a model takes NxCxHxW or NxI"),
    ],
)
def test_shapes(tmp_path: Path, shape: tuple[int | str, ...], message: str) -> None:
    writer = Writer(shape)
    linear_quantizer(writer, 0.1, 0)
    path = writer.save(tmp_path / "net.onnx")
    assert f"{path}: {message}" == refusal(path)


def test_a_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"\x08\x07\x12\x07pytorch\x1a\x05" + b"2.13.")
    assert refusal(path).startswith(f"{path}: cannot be read as an ONNX model: ")


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "installed", lambda: False)
    writer = Writer(["N", 4])
    path = writer.save(tmp_path / "net.onnx") if writer.node("Relu") else tmp_path
    assert refusal(path) == (
        f"{path}: reading an ONNX file needs the package onnx, which is not installed; install it "
        "with pip install 'pyahir[onnx]'"
    )
