"""Files that Brevitas itself exports: the same graphs as those of its checkpoints."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pyahir.engines import compare, input_codes, run_ir, run_torch
from pyahir.frontend.brevitas import original
from pyahir.frontend.brevitas.network import network_of
from pyahir.frontend.brevitas.topologies import topology
from pyahir.frontend.source import load_model
from pyahir.quant.few_bit import few_bit_graph
from tests.frontend.brevitas.states import calibrated, random_images

pytestmark = pytest.mark.skipif(
    not original.installed() or importlib.util.find_spec("onnxoptimizer") is None,
    reason="Brevitas or onnxoptimizer is not installed",
)
NAMES = (
    "TFC_1W1A",
    "TFC_1W2A",
    "TFC_2W2A",
    pytest.param("CNV_1W1A", marks=pytest.mark.slow),
    pytest.param("CNV_2W2A", marks=pytest.mark.slow),
)


def export(function: Any, module: nn.Module, x: torch.Tensor, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        function(module, args=x, export_path=str(path), dynamo=False)
    return path


@pytest.mark.parametrize("name", NAMES)
def test_the_graph_is_that_of_the_checkpoint(tmp_path: Path, name: str) -> None:
    from brevitas.export import export_qonnx

    chosen = topology(name)
    state = calibrated(chosen)
    module = original.build(chosen, state)
    x = torch.zeros(1, *chosen.input_shape)
    source = load_model(export(export_qonnx, module, x, tmp_path / f"{name}.onnx"))
    expected = few_bit_graph(network_of(chosen, state))
    assert expected.graph.nodes == source.graph.nodes
    assert expected.graph.constants == source.graph.constants
    assert source.scores is not None
    assert expected.scores.factor == pytest.approx(source.scores.factor, rel=1e-6)
    assert expected.scores.term == pytest.approx(source.scores.term, rel=1e-6)
    images = random_images(chosen, 4)
    codes = input_codes(source.graph, images, source.engine)
    order = [item.name for item in source.graph.nodes]
    pair = {"onnx": run_torch(source, images), "ir": run_ir(source.graph, codes)}
    assert [item.layer for item in compare(pair, order) if item.differing] == []


def test_eight_bits(tmp_path: Path) -> None:
    """QCDQ: a signed input, weights narrowed by Clip, ReLU, pooling, a signed result."""
    import brevitas.nn as quantized
    from brevitas.export import export_onnx_qcdq

    torch.manual_seed(0)
    module = nn.Sequential(
        quantized.QuantIdentity(bit_width=8, return_quant_tensor=True),
        quantized.QuantConv2d(1, 4, 3, weight_bit_width=8, bias=True, return_quant_tensor=True),
        quantized.QuantReLU(bit_width=8, return_quant_tensor=True),
        nn.MaxPool2d(2),
        nn.Flatten(),
        quantized.QuantLinear(36, 10, bias=True, weight_bit_width=8),
        quantized.QuantIdentity(bit_width=8),
    )
    for _ in range(3):
        module(torch.rand(4, 1, 8, 8))
    path = export(export_onnx_qcdq, module.eval(), torch.rand(1, 1, 8, 8), tmp_path / "net.onnx")
    source = load_model(path)
    images = np.random.default_rng(0).random((50, 1, 8, 8), np.float32)
    codes = input_codes(source.graph, images, source.engine)
    found = compare(
        {"onnx": run_torch(source, images), "ir": run_ir(source.graph, codes)},
        ["x", *(item.name for item in source.graph.nodes)],
    )
    assert [(item.layer, item.differing) for item in found] == [
        (name, 0) for name in ("x", "n1", "n3", "n4", "n5")
    ]
