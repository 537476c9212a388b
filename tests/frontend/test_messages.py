"""What cannot be imported: whole messages, all problems of a model at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from models import LENET_SHAPE, LeNet, Net, images, quantized, saved
from torch import nn

from pyahir.errors import DataError, ImportModelError
from pyahir.frontend import from_module, load_model
from pyahir.frontend.aten import imports, registered
from pyahir.ir.graph import Loc

HERE = Path(__file__)


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(ImportModelError) as raised:
        load_model(path, **options)
    return str(raised.value)


def script(
    body: nn.Module, path: Path, shape: tuple[int, ...] = (2, 8, 8), engine: str = "fbgemm"
) -> Path:
    return saved(quantized(Net(body), shape, engine), path, shape, engine)


def line(text: str, file: Path = HERE) -> int:
    lines = file.read_text().splitlines()
    return next(number for number, item in enumerate(lines, 1) if item.strip() == text)


class Strange(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1, padding_mode="reflect")
        self.up = nn.Upsample(scale_factor=2)
        self.pool = nn.MaxPool2d(3, 2, ceil_mode=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        x = torch.cat([x, x], 1)
        x = self.up(x)
        return self.pool(x)


def test_all_unsupported_operations_are_told_at_once(tmp_path: Path) -> None:
    path = script(Strange(), tmp_path / "net.pt")
    first = line("x = self.conv(x)")
    assert refusal(path) == (
        f"{path}: 3 problems\n"
        f"  test_messages.py:{first} (body.conv): padding_mode='reflect' is not supported; use "
        "'zeros'\n"
        f"  test_messages.py:{first + 1} (body): aten::cat is not supported\n"
        f"  test_messages.py:{first + 2} (body.up): aten::upsample_nearest2d is not supported"
    )


class Stranger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3)
        self.pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.up = nn.Upsample(scale_factor=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        y = self.pool(x)
        z = torch.cat([x, x], 1)
        return y, self.up(z), x.sigmoid()


class StubbedTwice(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.net = Net(body)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.net.body(self.net.quant(x))
        return self.net.dequant(x[0]), self.net.dequant(x[1]), self.net.dequant(x[2])


def test_independent_problems_are_listed(tmp_path: Path) -> None:
    shape = (2, 8, 8)
    path = saved(quantized(StubbedTwice(Stranger()), shape), tmp_path / "net.pt", shape)
    pool, cat = line("y = self.pool(x)"), line("z = torch.cat([x, x], 1)")
    assert refusal(path) == (
        f"{path}: 4 problems\n"
        f"  test_messages.py:{pool} (net.body.pool): ceil_mode adds windows that hang over the "
        "edge (2x2 becomes 3x3); use ceil_mode=False, or pad\n"
        f"  test_messages.py:{cat} (net.body): aten::cat is not supported\n"
        f"  test_messages.py:{cat + 1} (net.body.up): aten::upsample_nearest2d is not supported\n"
        f"  test_messages.py:{cat + 1} (net.body): aten::sigmoid is not supported"
    )


class Softmax(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = Net(nn.Sequential(nn.Conv2d(2, 3, 3)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.sub(1.0)
        x = self.net(x)
        return F.log_softmax(x, 1)


def test_float_operations_around_the_model(tmp_path: Path) -> None:
    path = saved(quantized(Softmax(), (2, 8, 8)), tmp_path / "net.pt", (2, 8, 8))
    first = line("x = x.sub(1.0)")
    assert refusal(path) == (
        f"{path}: 2 problems\n"
        f"  test_messages.py:{first}: aten::sub on the float input is not supported; let the host "
        "prepare the input\n"
        f"  test_messages.py:{first + 2}: aten::log_softmax is not supported"
    )


class Reshaped(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(x.size(0), 4, -1)


REFUSED: dict[str, tuple[nn.Module, str, str]] = {
    "ragged": (
        nn.Sequential(nn.Conv2d(2, 3, 1), nn.AdaptiveAvgPool2d(3)),
        "fbgemm",
        "(body.1): adaptive_avg_pool2d from 8x8 to 3x3: windows of different sizes; the "
        "output size has to divide the input's",
    ),
    "average": (
        nn.Sequential(nn.Conv2d(2, 3, 1), nn.AvgPool2d(3, 2, 1, count_include_pad=False)),
        "fbgemm",
        "(body.1): avg_pool2d with padding and count_include_pad=False divides each window by "
        "another number; use count_include_pad=True, or padding=0",
    ),
    "relu6": (
        nn.Sequential(nn.Conv2d(2, 3, 1), nn.ReLU6()),
        "qnnpack",
        "(body.1): quantized::relu6 on a feature map: the qnnpack kernel of torch 2.13 scrambles "
        "its pixels, so there is nothing to be equal to; use ReLU, or quantized_engine='fbgemm'",
    ),
    "dilated": (
        nn.Sequential(nn.Conv2d(2, 3, 1), nn.MaxPool2d(3, 1, padding=1, dilation=2)),
        "qnnpack",
        "(body.1): max_pool2d with dilation and padding: the qnnpack kernel of torch 2.13 gives "
        "wrong values; use dilation without padding, or quantized_engine='fbgemm'",
    ),
    "growing pool": (
        nn.Sequential(nn.Conv2d(2, 3, 8), nn.AvgPool2d(2, 1, padding=1)),
        "fbgemm",
        "(body.1): aten::avg_pool2d from 1x1 to 2x2: the kernel of torch 2.13 scrambles the "
        "channels; leave this pooling out",
    ),
    "reshape": (
        nn.Sequential(nn.Conv2d(2, 3, 1), Reshaped()),
        "fbgemm",
        "(body.1): aten::reshape from 3x8x8 to 4x48 for each image is not supported; a reshape "
        "may only flatten a feature map into a vector",
    ),
    "padding": (
        nn.Sequential(nn.ConstantPad2d(1, 3.0), nn.Conv2d(2, 3, 1)),
        "fbgemm",
        "(body.0): padding with 3.0; use 0",
    ),
    "padding a pool": (
        nn.Sequential(nn.ZeroPad2d(1), nn.MaxPool2d(2), nn.Conv2d(2, 3, 1)),
        "fbgemm",
        "(body.1): padding with zeros before aten::max_pool2d; it is supported before conv2d",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_layers(tmp_path: Path, case: str) -> None:
    body, engine, message = REFUSED[case]
    path = script(body, tmp_path / "net.pt", engine=engine)
    where = line("return self.dequant(self.body(self.quant(x)))", HERE.parent / "models.py")
    if case == "reshape":
        where, file = line("return x.reshape(x.size(0), 4, -1)"), "test_messages.py"
    else:
        file = "models.py"
    assert refusal(path) == f"{path}: {file}:{where} {message}"


def test_colliding_names(tmp_path: Path) -> None:
    body = nn.Sequential()
    body.add_module("Conv1", nn.Conv2d(2, 2, 1))
    body.add_module("conv1", nn.Conv2d(2, 2, 1))
    path = script(body, tmp_path / "net.pt")
    assert refusal(path) == (
        f"{path}: the layers 'body.Conv1' and 'body.conv1' would both be named 'body_conv1' in "
        "hardware, where case and dots do not count; rename one"
    )
    float_body = nn.Sequential()
    float_body.add_module("a", nn.Sequential(nn.Conv2d(2, 2, 1)))
    float_body.add_module("a_0", nn.Conv2d(2, 2, 1))
    with pytest.raises(ImportModelError) as raised:
        from_module(float_body.eval(), torch.zeros(1, 2, 4, 4))
    assert str(raised.value) == (
        "Sequential: the layers 'a.0' and 'a_0' would both be named 'a_0' in hardware, where case "
        "and dots do not count; rename one"
    )


def broken(path: Path, change: Any) -> Path:
    """Save a quantized model whose parameters ``change`` has edited."""
    model = quantized(Net(nn.Sequential(nn.Conv2d(2, 3, 1), nn.Conv2d(3, 2, 1))), (2, 8, 8))
    change(model)
    return saved(model, path, (2, 8, 8))


def nan_bias(model: Any) -> None:
    model.body[0].set_weight_bias(model.body[0].weight(), torch.tensor([0.0, np.nan, 1.0]))


def scaled(scale: float, index: int = 1) -> Any:
    def change(model: Any) -> None:
        conv = model.body[index]
        out = conv.out_channels
        weight = torch.quantize_per_channel(
            torch.zeros(out, conv.in_channels, 1, 1),
            torch.tensor([0.5] * (out - 1) + [scale], dtype=torch.float64),
            torch.zeros(out, dtype=torch.long),
            0,
            torch.qint8,
        )
        conv.set_weight_bias(weight, conv.bias())

    return change


def both(model: Any) -> None:
    nan_bias(model)
    scaled(float("nan"))(model)


BIAS = "(body.0): the bias holds NaN or infinity; train or save the model again"
SCALES = "(body.1): the weight scales hold 0, NaN or infinity; calibrate the model again"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (nan_bias, BIAS),
        (scaled(float("inf")), SCALES),
        (both, f"2 problems\n  {BIAS}\n  {SCALES}"),
    ],
)
def test_parameters_that_are_no_numbers(tmp_path: Path, change: Any, message: str) -> None:
    path = broken(tmp_path / "net.pt", change)
    assert refusal(path) == f"{path}: {message}"


@pytest.mark.parametrize("scale", [0.0, float("inf"), float("nan")])
def test_output_scales_that_are_no_numbers(tmp_path: Path, scale: float) -> None:
    model = quantized(Net(nn.Sequential(nn.Conv2d(2, 3, 1))), (2, 8, 8))
    model.body[0].scale = scale
    path = tmp_path / "net.pt"
    torch.jit.save(torch.jit.script(model), path)
    message = refusal(path, input_shape=(2, 8, 8))
    assert message.startswith(f"{path}: models.py:")
    assert message.endswith(
        f"(body.0): the output scale is {scale}; it has to be positive and finite: calibrate the "
        "model again"
    )


def test_weights_with_a_zero_point(tmp_path: Path) -> None:
    def change(model: Any) -> None:
        real = torch.randn(3, 2, 1, 1)
        model.body[0].set_weight_bias(torch.quantize_per_tensor(real, 0.1, 3, torch.qint8), None)

    path = broken(tmp_path / "net.pt", change)
    assert refusal(path).endswith(
        "(body.0): weights with a zero point other than 0; use a symmetric weight observer"
    )


def test_float_models_that_hold_nan() -> None:
    body = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Linear(4, 2))
    body[0].weight.data[0] = float("nan")
    body[1].bias.data[0] = float("inf")
    with pytest.raises(ImportModelError) as raised:
        from_module(body[:1].eval(), torch.zeros(1, 1, 4, 4))
    message = str(raised.value)
    expected = "the weight holds NaN or infinity; train or save the model again"
    assert message.startswith("Sequential: ")
    assert message.endswith(f"(0): {expected}")


def test_a_float_torchscript_file(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    torch.jit.save(torch.jit.trace(nn.Conv2d(1, 2, 3), torch.zeros(1, 1, 8, 8)), path)
    assert refusal(path) == (
        f"{path}: a TorchScript file without quantized layers; quantize the model before saving "
        "it, or save a float model with torch.export.save"
    )


def test_an_input_shape_that_does_not_fit(tmp_path: Path) -> None:
    path = script(nn.Sequential(nn.Conv2d(2, 3, 1)), tmp_path / "net.pt")
    message = refusal(path, input_shape=(3, 8, 8))
    where = line("return self.dequant(self.body(self.quant(x)))", HERE.parent / "models.py")
    assert message.startswith(f"{path}: models.py:{where} (body.0): quantized::conv2d failed: ")
    assert message.endswith(" (input shape 3,8,8; --input-shape 1,28,28 sets another)")


class Wide(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.fc = nn.Linear(2 * 5 * 9, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.flatten(self.conv(x), 1))


def test_an_input_shape_that_cannot_be_inferred(tmp_path: Path) -> None:
    model = quantized(Net(Wide()), (1, 7, 11))
    path = saved(model, tmp_path / "net.pt", (1, 7, 11), scripted=True)
    assert refusal(path) == (
        f"{path}: the file does not say the shape of its input, and no square one fits; give it: "
        "--input-shape 1,28,28"
    )


def test_an_unknown_engine(tmp_path: Path) -> None:
    path = saved(quantized(LeNet(), LENET_SHAPE), tmp_path / "net.pt", LENET_SHAPE)
    assert refusal(path, quantized_engine="x86") == (
        "quantized_engine='x86' is not known; accepted: auto, fbgemm, qnnpack"
    )


def test_data_of_another_shape(tmp_path: Path) -> None:
    source = load_model(script(nn.Sequential(nn.Conv2d(2, 3, 1)), tmp_path / "net.pt"))
    with pytest.raises(DataError) as raised:
        source.run(images((2, 8, 9), 3))
    assert str(raised.value) == (
        "an array of shape 3x2x8x9; the model takes Nx2x8x8 with N of 1 or more"
    )


def test_unsupported_float_operations_are_listed() -> None:
    body = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Sigmoid(), nn.GELU())
    with pytest.raises(ImportModelError) as raised:
        from_module(body.eval(), torch.zeros(1, 1, 4, 4))
    message = str(raised.value)
    assert message.startswith("Sequential: 2 problems\n")
    lines = message.splitlines()
    assert lines[1].endswith("(1): aten::sigmoid is not supported")
    assert lines[2].endswith("(2): aten::gelu is not supported")


def test_the_registry_refuses_a_second_rule() -> None:
    assert {"aten::relu", "quantized::conv2d", "quantized::linear_relu"} <= set(registered())
    with pytest.raises(ValueError, match=r"^aten::relu has an import rule already$"):
        imports("aten::relu")(lambda context, call: call["self"])


def test_a_place_reads_like_an_editor_link() -> None:
    assert str(Loc(file="model.py", line=14, path="conv1")) == "model.py:14 (conv1)"
