"""Exported programs: float within rounding of torch, PT2E equal to it but at ties."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from models import LENET_SHAPE, LeNet, differing, images
from torch import nn
from torch.export import Dim

from pyahir.errors import ImportModelError
from pyahir.frontend import FileKind, from_module, load_model
from pyahir.frontend.source import SourceModel
from pyahir.ir.eval import Evaluator
from pyahir.ir.graph import Stage
from pyahir.ir.ops import AvgPool2d, BatchNorm, Clamp, Conv2d

LENET_NAMES = [
    "x", "conv1", "relu1", "pool1", "conv2", "relu2", "pool2", "view", "fc1", "relu3", "fc2",
]  # fmt: skip


def assert_close(source: SourceModel, x: np.ndarray) -> None:
    expected = source.run(x)
    named = {node.name for node in source.graph.nodes} | {source.graph.inputs[0].name}
    assert named == expected.keys()
    actual = Evaluator(source.graph).run(x, keep=expected.keys())
    for name, values in expected.items():
        assert np.allclose(values, actual[name], rtol=1e-5, atol=1e-5), name


@pytest.mark.parametrize("shape", ["flatten", "view", "reshape"])
@pytest.mark.parametrize("batch", [1, 2], ids=["static", "dynamic"])
def test_float_lenet(tmp_path: Path, shape: str, batch: int) -> None:
    model = LeNet("avg", shape, stubs=False).eval()
    example = torch.randn(batch, *LENET_SHAPE)
    dynamic = ({0: Dim("batch")},) if batch > 1 else None
    path = tmp_path / "model"
    torch.export.save(torch.export.export(model, (example,), dynamic_shapes=dynamic), path)

    source = load_model(path)

    assert (
        source.kind,
        source.engine,
        source.input_shape,
    ) == (FileKind.EXPORTED, "float", LENET_SHAPE)
    assert Stage.FLOAT is source.graph.stage
    assert (batch > 1) == source.runner.batched
    assert list(source.run(images(LENET_SHAPE, 1))) == LENET_NAMES
    assert_close(source, images(LENET_SHAPE, 5))
    loc = source.graph.node_map()["conv1"].loc
    assert (loc.file, loc.path) == ("models.py", "conv1")
    with torch.no_grad():
        expected = model(torch.from_numpy(images(LENET_SHAPE, 5)))
    assert np.allclose(expected, source.run(images(LENET_SHAPE, 5))["fc2"], atol=1e-5)


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.clamp(F.relu6(self.conv(F.pad(x, (1, 0, 2, 1)))), min=0.5)


FLOATS: dict[str, nn.Module] = {
    "batch norm": nn.Sequential(nn.Conv2d(4, 6, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU6()),
    "plain norm": nn.Sequential(nn.BatchNorm2d(4, affine=False)),
    "same": nn.Sequential(nn.Conv2d(4, 6, 4, padding="same"), nn.Hardtanh(-0.5, 0.5)),
    "valid": nn.Conv2d(4, 6, (3, 2), padding="valid", stride=(2, 1)),
    "grouped": nn.Sequential(nn.Conv2d(4, 4, 3, groups=4, dilation=2), nn.MaxPool2d(2)),
    "padded": nn.Sequential(nn.ZeroPad2d((1, 2, 0, 3)), nn.Conv2d(4, 6, 3, padding=1)),
    "global": nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3, bias=False)),
    "adaptive": nn.AdaptiveAvgPool2d((3, 2)),
    "avg padded": nn.AvgPool2d(3, 2, padding=1),
    "max": nn.MaxPool2d(3, 2, padding=1),
    "in place": nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU(inplace=True), nn.Dropout()),
    "functional": Functional(),
}


@pytest.mark.filterwarnings("ignore:Using padding=.same. with even")
@pytest.mark.parametrize("case", FLOATS)
def test_float_layers(case: str) -> None:
    source = from_module(FLOATS[case].eval(), torch.randn(1, 4, 12, 12))
    assert_close(source, images((4, 12, 12), 3))


def test_float_names_and_operations() -> None:
    body = nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6), nn.ReLU6(), nn.AdaptiveAvgPool2d(2))
    nodes = from_module(body.eval(), torch.randn(1, 4, 12, 12)).graph.node_map()
    kinds = {name: type(node.op) for name, node in nodes.items()}
    assert {"n0": Conv2d, "n1": BatchNorm, "n2": Clamp, "n3": AvgPool2d} == kinds


def test_a_linear_of_a_vector() -> None:
    body = nn.Sequential(nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 2))
    source = from_module(body.eval(), torch.randn(3, 7))
    assert (source.input_shape, source.name) == ((7,), "sequential")
    assert_close(source, images((7,), 9))


def pt2e(model: nn.Module, shape: tuple[int, ...], make: Callable[[], Any]) -> nn.Module:
    """Quantize by PT2E with the quantizer that ``make`` gives."""
    pytest.importorskip("torchao", reason="PT2E is made by torchao")
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    generator = torch.Generator().manual_seed(2)
    example = torch.randn(1, *shape, generator=generator)
    prepared = prepare_pt2e(torch.export.export(model.eval(), (example,)).module(), make())
    for _ in range(4):
        prepared(torch.randn(1, *shape, generator=generator))
    return convert_pt2e(prepared)


def xnnpack(per_channel: bool = True) -> Any:
    from torchao.testing.pt2e import _xnnpack_quantizer as module

    config = module.get_symmetric_quantization_config(is_per_channel=per_channel)
    return module.XNNPACKQuantizer().set_global(config)


def x86() -> Any:
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as module

    config = module.get_default_x86_inductor_quantization_config()
    return module.X86InductorQuantizer().set_global(config)


def exported(model: nn.Module, shape: tuple[int, ...], path: Path) -> Path:
    torch.export.save(torch.export.export(model, (torch.zeros(1, *shape),)), path)
    return path


@pytest.mark.filterwarnings("ignore:XNNPACKQuantizer is deprecated")
@pytest.mark.parametrize(
    ("per_channel", "pool"),
    [
        (True, "max"),
        (False, "avg"),
        pytest.param(True, "avg", marks=pytest.mark.slow),
        pytest.param(False, "max", marks=pytest.mark.slow),
    ],
)
def test_pt2e_lenet(tmp_path: Path, per_channel: bool, pool: str) -> None:
    torch.manual_seed(1)
    model = pt2e(LeNet(pool, stubs=False), LENET_SHAPE, lambda: xnnpack(per_channel))
    source = load_model(exported(model, LENET_SHAPE, tmp_path / "net"))
    assert (source.engine, source.graph.stage) == ("pt2e", Stage.QUANTIZED)
    x = images(LENET_SHAPE, 12)
    found = differing(source, x)
    total = sum(values.size for values in source.run(x).values())
    assert {"x", "conv1", "conv2", "fc1", "fc2"} <= found.keys()
    if pool == "max":  # the float average breaks ties at random, and what follows sees it
        assert sum(found.values()) <= 3, found  # codes within 1e-4 of a tie
    else:
        assert found["conv1"] <= 1
        assert sum(found.values()) < total * 0.05, found


def test_pt2e_with_uint8_activations_and_a_float_end(tmp_path: Path) -> None:
    model = pt2e(LeNet(stubs=False), LENET_SHAPE, x86)
    path = exported(model, LENET_SHAPE, tmp_path / "net")
    with pytest.raises(ImportModelError) as raised:
        load_model(path)
    line = _line("return self.dequant(self.fc2(x))")
    assert (
        f"{path}: models.py:{line} (fc2): the output of this layer stays float: its quantizer has "
        "not annotated it. Annotate the output (XNNPACKQuantizer does), or export the float model "
        "and let pyahir quantize it (--calibrate data.npz)"
    ) == str(raised.value)


def _line(text: str) -> int:
    lines = (Path(__file__).parent / "models.py").read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


def test_a_pt2e_module_in_memory_with_a_float_end() -> None:
    body = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 3, 1))
    model = pt2e(body, (2, 8, 8), x86)
    with pytest.raises(ImportModelError, match=r"\(3\): the output of this layer stays float"):
        from_module(model, torch.zeros(1, 2, 8, 8))


@pytest.mark.parametrize(
    ("example", "dynamic", "message"),
    [
        (
            torch.zeros(3, 1, 8, 8),
            None,
            "exported for a fixed batch of 3; export it with a batch of 1, or with "
            "dynamic_shapes=({0: torch.export.Dim('batch')},)",
        ),
        (
            torch.zeros(1, 1, 8, 8),
            ({2: Dim("height", min=4)},),
            "an axis other than the batch is dynamic; hardware has one input size: export the "
            "model for it",
        ),
    ],
)
def test_shapes_that_are_refused(
    tmp_path: Path, example: torch.Tensor, dynamic: Any, message: str
) -> None:
    path = tmp_path / "net.pt2"
    program = torch.export.export(nn.Conv2d(1, 2, 3), (example,), dynamic_shapes=dynamic)
    torch.export.save(program, path)
    with pytest.raises(ImportModelError) as raised:
        load_model(path)
    assert f"{path}: {message}" == str(raised.value)


def test_another_input_shape_is_refused(tmp_path: Path) -> None:
    path = exported(nn.Conv2d(1, 2, 3), (1, 8, 8), tmp_path / "net")
    with pytest.raises(ImportModelError) as raised:
        load_model(path, input_shape=(1, 9, 9))
    assert str(raised.value) == (
        f"{path}: the program takes an input of shape 1,8,8, not 1,9,9; export it again for "
        "another shape"
    )


def test_training_mode_is_refused() -> None:
    with pytest.raises(ImportModelError) as raised:
        from_module(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Dropout()), torch.zeros(1, 1, 8, 8))
    assert str(raised.value) == (
        "Sequential (1): Dropout is in training mode; call .eval() on the model first"
    )
