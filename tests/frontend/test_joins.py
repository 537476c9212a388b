"""Residual networks from torch: every join equals torch's codes, by the rule of each engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from models import Net, assert_equal, differing, images, quantized, saved
from test_program import exported, pt2e, x86, xnnpack
from torch import nn
from torch.ao.nn.quantized import FloatFunctional

from pyahir.engines import input_codes, run_ir
from pyahir.errors import ImportModelError
from pyahir.frontend import from_module, load_model
from pyahir.frontend.positrun import run_real
from pyahir.ir.eval import Evaluator
from pyahir.ir.ops import Add, AvgPool2d, QuantizedAdd
from pyahir.ir.types import Affine
from pyahir.quant.add_rules import AddRule, FbgemmAdd, QnnpackAdd
from pyahir.quant.scheme import RealScheme
from tests.quant.floats import residual
from tests.quant.test_joins import A, B, scales
from tests.quant.test_posit import NINE, made

SHAPE = (3, 11, 9)


def torch_codes(
    engine: str, operands: tuple[Affine, Affine], result: Affine, layout: str, relu: bool
) -> np.ndarray:
    """Add all pairs of codes in torch; ``layout``: ``mixed`` puts the operands in two orders."""
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = engine
    tensors = []
    for codes, kind in zip(np.broadcast_arrays(A, B), operands, strict=True):
        data = torch.from_numpy(codes.astype(np.uint8)).reshape(1, 16, 64, 64)
        tensors.append(torch._make_per_tensor_quantized_tensor(data, kind.scale, kind.zero_point))
    if layout == "mixed":
        tensors[1] = tensors[1].contiguous(memory_format=torch.channels_last)
    operation = torch.ops.quantized.add_relu if relu else torch.ops.quantized.add
    try:
        found = operation(*tensors, result.scale, result.zero_point)
    finally:
        torch.backends.quantized.engine = before
    return found.int_repr().contiguous().numpy().reshape(256, 256).astype(int)


@pytest.mark.parametrize("seed", range(24))
def test_the_rules_are_those_of_the_kernels(seed: int) -> None:
    operands, result = scales(seed)
    low = result.zero_point if seed % 2 else 0
    cases: list[tuple[str, str, AddRule]] = [
        ("fbgemm", "one", FbgemmAdd(operands=operands, result=result)),
        ("fbgemm", "mixed", FbgemmAdd(operands=operands, result=result, single=True)),
        ("qnnpack", "one", QnnpackAdd(operands=operands, result=result)),
        ("qnnpack", "mixed", QnnpackAdd(operands=operands, result=result)),
    ]
    for engine, layout, rule in cases:
        expected = torch_codes(engine, operands, result, layout, bool(seed % 2))
        np.testing.assert_array_equal(expected, np.clip(rule(A, B), low, 255), err_msg=engine)


class Block(nn.Module):
    """A residual block with every form of a join: fused, separate, of the input, of itself."""

    def __init__(self, form: str, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 5, 3, stride=stride, padding=1)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(5, 5, 3, padding=1)
        self.down = nn.Conv2d(3, 5, 1, stride=stride)
        self.sum = FloatFunctional()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(5, 4)
        self.back = nn.Conv2d(5, 3, 1)
        self.form: str = form

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv2(self.relu1(self.conv1(x)))
        if self.form == "input":
            return self.sum.add(self.back(y), x)
        if self.form == "itself":
            return self.sum.add(y, y)
        short = self.down(x)
        if self.form == "fused":
            y = self.sum.add_relu(y, short)
        else:
            y = torch.relu(self.sum.add(y, short))
        return self.fc(torch.flatten(self.pool(y), 1))


@pytest.mark.parametrize("engine", ["fbgemm", "qnnpack"])
@pytest.mark.parametrize("scripted", [False, True], ids=["traced", "scripted"])
@pytest.mark.parametrize(
    ("form", "stride"), [("fused", 2), ("separate", 1), ("input", 1), ("itself", 2)]
)
def test_a_residual_block(
    tmp_path: Path, engine: str, scripted: bool, form: str, stride: int
) -> None:
    torch.manual_seed(3)
    model = quantized(Net(Block(form, stride)), SHAPE, engine)
    path = saved(model, tmp_path / "net", SHAPE, engine, scripted)
    source = load_model(path, quantized_engine=engine, input_shape=SHAPE)
    assert sum(isinstance(node.op, QuantizedAdd) for node in source.graph.nodes) == 1
    assert_equal(source, images(SHAPE, 130))
    rest = "adds the last 127 elements of a tensor, or fewer, by another rule"
    assert (rest in source.note) == (engine == "fbgemm" and form != "input")


class Floats(nn.Module):
    def __init__(self, join: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.down = nn.Conv2d(3, 4, 1, bias=False)
        self.join = join

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.join(self.norm1(self.conv1(x)), self.down(x))
        return torch.relu(y).mean(dim=(2, 3))


def in_place(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    x += y
    return x


@pytest.mark.parametrize("join", [torch.add, in_place])
def test_a_float_join_and_a_mean(join: Callable[..., torch.Tensor]) -> None:
    source = from_module(Floats(join).eval(), torch.zeros(1, *SHAPE))
    kinds = [type(node.op) for node in source.graph.nodes]
    assert kinds.count(Add) == kinds.count(AvgPool2d) == 1
    x = images(SHAPE, 3)
    name = source.graph.outputs[0]
    expected = source.run(x)[name]
    np.testing.assert_allclose(Evaluator(source.graph).run(x)[name], expected, atol=1e-5)


REFUSED: dict[str, tuple[Callable[..., torch.Tensor], str]] = {
    "alpha": (
        lambda x, y: torch.add(x, y, alpha=2),
        "aten::add with alpha=2; multiply before, or use 1",
    ),
    "constant": (
        lambda x, y: x + 1.5,
        "aten::add of a constant; two branches of the model are added: put a constant into the "
        "bias of a layer",
    ),
    "broadcast": (
        lambda x, y: x + y.mean(dim=(2, 3), keepdim=True),
        "the operands have one type, not 1x4x11x9 f32 nchw and 1x4x1x1 f32 nchw",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_joins_that_are_refused(case: str) -> None:
    join, message = REFUSED[case]
    with pytest.raises(ImportModelError) as raised:
        from_module(Floats(join).eval(), torch.zeros(1, *SHAPE))
    assert str(raised.value).endswith(f": {message}")


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(3, 5, 1)
        self.last = nn.Conv2d(5, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu(self.conv1(x) + self.conv2(x)))


@pytest.mark.filterwarnings("ignore:XNNPACKQuantizer is deprecated")
def test_a_join_of_pt2e(tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = pt2e(Plain(), SHAPE, xnnpack)
    source = load_model(exported(model, SHAPE, tmp_path / "net"))
    joins = [node.name for node in source.graph.nodes if isinstance(node.op, QuantizedAdd)]
    assert len(joins) == 1
    found = differing(source, images(SHAPE, 40))
    assert joins[0] in found
    assert sum(found.values()) <= 2, found  # codes within 1e-4 of a tie


def test_a_join_that_pt2e_has_put_into_a_layer() -> None:
    with pytest.raises(ImportModelError, match="reads a layer whose result stays float: the quan"):
        from_module(pt2e(Plain(), SHAPE, x86), torch.zeros(1, *SHAPE))


@pytest.mark.parametrize(
    ("arith", "es"), [item for item in NINE if item not in (("quire", 1), ("quire", 2))]
)
def test_posit_joins_are_those_of_the_golden_model(arith: str, es: int) -> None:
    chain = residual(es)
    _, graph = made(chain, RealScheme(arith=arith, es=es, weights="float", scale="auto"))
    x = chain.images(4, seed=2)
    expected, actual = run_real(graph, x), run_ir(graph, input_codes(graph, x))
    assert expected.keys() == actual.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(values, actual[name], err_msg=name)
