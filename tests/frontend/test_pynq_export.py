"""Networks of Brevitas' checkpoints on BNN-PYNQ hardware: the same sums, class by class."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pyahir.formats.bnn_pynq.export import export_graph
from pyahir.formats.bnn_pynq.graph import import_graph
from pyahir.formats.bnn_pynq.topology import NETWORKS, RAW, Topology
from pyahir.frontend.brevitas.topologies import topology as named
from pyahir.frontend.source import load_model
from pyahir.ir.eval import Evaluator
from tests.formats.pynq_cases import full
from tests.frontend.brevitas.states import calibrated

TFC = Topology(
    name="tfcW1A1",
    image=(1, 28, 28),
    layers=(
        full(832, 64, 64, 16, 1, 1),
        full(64, 64, 16, 16, 1, 1),
        full(64, 64, 16, 16, 1, 1),
        full(64, 16, 8, 4, 1, RAW),
    ),
)


@pytest.mark.parametrize(
    ("name", "hardware"), [("TFC_1W1A", TFC), ("CNV_2W2A", NETWORKS["cnvW2A2"])]
)
def test_a_checkpoint_computes_the_same_on_the_hardware(name, hardware, tmp_path) -> None:
    path = tmp_path / "net.pth"
    torch.save(calibrated(named(name), images=2), path)
    graph = load_model(path, network=name).graph
    exported = export_graph(graph, hardware, [str(number) for number in range(10)])
    again = import_graph(hardware, exported, "folder")
    pixels = np.random.default_rng(1).integers(0, 256, (6, *graph.inputs[0].type.shape[1:]))
    expected, actual = (
        Evaluator(item).run(pixels.astype(np.uint8))[item.outputs[0]] for item in (graph, again)
    )
    assert np.array_equal(expected, actual)
    assert len(np.unique(expected)) > 5
