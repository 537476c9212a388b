"""Named networks and their files: published sizes, what is accepted, every message."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pyahir.errors import ImportModelError
from pyahir.frontend.brevitas import original
from pyahir.frontend.brevitas.network import weight_levels
from pyahir.frontend.brevitas.topologies import NAMES, topology
from pyahir.frontend.source import load_model
from tests.frontend.brevitas.states import untrained

PUBLISHED = {"TFC": 59_394, "SFC": 335_874, "LFC": 2_916_354, "CNV": 1_546_690}
NET = topology("TFC_1W1A")


@pytest.mark.parametrize("name", NAMES)
def test_a_network_has_the_published_number_of_parameters(name: str) -> None:
    assert topology(name).parameters == PUBLISHED[name.split("_")[0]]


@pytest.mark.skipif(not original.installed(), reason="Brevitas is not installed")
@pytest.mark.parametrize("name", NAMES)
def test_the_keys_are_those_of_brevitas(name: str) -> None:
    chosen = topology(name)
    module = original.build(chosen, untrained(chosen))
    assert sum(item.numel() for item in module.parameters()) == chosen.parameters
    shapes = {key: tuple(item.shape) for key, item in module.state_dict().items()}
    counters = {key for key in shapes if key.endswith("num_batches_tracked")}
    assert {key: shape for key, shape in shapes.items() if key not in counters} == chosen.keys()


def test_a_name_in_any_case() -> None:
    assert topology("tfc_1w1a") == NET


def test_an_unknown_name() -> None:
    message = f"--network MFC: no network of this name; accepted: {', '.join(NAMES)}"
    with pytest.raises(ImportModelError, match=f"^{re.escape(message)}$"):
        topology("MFC")


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "optim_dict": {}, "epoch": 3, "best_val_acc": 93.2},
        lambda state: {f"module.{key}": item for key, item in state.items()},
        lambda state: {**state, "features.3.num_batches_tracked": torch.tensor(7)},
        lambda state: {key: item.double() for key, item in state.items()},
    ],
)
def test_forms_of_a_checkpoint(wrap: Callable[[Any], Any], tmp_path: Path) -> None:
    path = tmp_path / "best.tar"
    torch.save(wrap(untrained(NET)), path)
    model = load_model(path, network="TFC_1W1A")
    assert model.input_shape == (1, 28, 28)
    assert model.name == "tfc_1w1a"
    assert [node.op.mnemonic() for node in model.graph.nodes] == [
        "recode",
        "flatten",
        *["linear", "multi_threshold"] * 3,
        "linear",
    ]


def without(key: str) -> dict[str, Any]:
    return {name: item for name, item in untrained(NET).items() if name != key}


def changed(key: str, item: Any) -> dict[str, Any]:
    return {**untrained(NET), key: item}


TFC = "TFC_1W1A, TFC_1W2A, TFC_2W2A"
MISTAKES: list[tuple[Callable[[], Any], str, str]] = [
    (
        lambda: without("features.7.bias"),
        "TFC_1W1A",
        "FILE, read as TFC_1W1A: 'features.7.bias' is missing (1 keys missing, 0 too many); "
        f"accepted are the checkpoints of {', '.join(NAMES)}",
    ),
    (
        lambda: changed("features.4.scale", torch.ones(1)),
        "TFC_1W1A",
        "FILE, read as TFC_1W1A: 'features.4.scale' is not part of it (0 keys missing, "
        f"1 too many); accepted are the checkpoints of {', '.join(NAMES)}",
    ),
    (
        lambda: untrained(NET),
        "SFC_1W1A",
        "FILE, read as SFC_1W1A: 'features.2.weight' has shape 64x784, not 256x784; "
        f"the tensors are those of {TFC}",
    ),
    (
        lambda: changed("features.2.weight", torch.ones(64, 784, dtype=torch.int8)),
        "TFC_1W1A",
        "FILE, read as TFC_1W1A: 'features.2.weight' is torch.int8; accepted is a tensor of floats",
    ),
    (
        lambda: changed("features.3.bias", torch.full((64,), float("nan"))),
        "TFC_1W1A",
        "FILE, read as TFC_1W1A: 'features.3.bias' holds NaN or infinity; train the network again",
    ),
    (
        lambda: changed("features.3.running_var", torch.full((64,), -1.0)),
        "TFC_1W1A",
        "FILE, read as TFC_1W1A: 'features.3.running_var' holds a negative variance",
    ),
    (
        lambda: changed("features.15.weight", torch.zeros(1)),
        "TFC_1W1A",
        "features.14: the norm behind the last layer has weight 0, so every score is the same; "
        "train the network again",
    ),
]


@pytest.mark.parametrize(("make", "name", "message"), MISTAKES, ids=range(len(MISTAKES)))
def test_a_mistake_has_its_message(
    make: Callable[[], Any], name: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "net.pth"
    torch.save(make(), path)
    expected = message.replace("FILE", str(path))
    with pytest.raises(ImportModelError, match=f"^{re.escape(expected)}$"):
        load_model(path, network=name)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.zeros(3))
    message = (
        f"{path}: this is NumPy arrays; --network TFC_1W1A takes a state dict or a checkpoint that "
        "holds one"
    )
    with pytest.raises(ImportModelError, match=f"^{re.escape(message)}$"):
        load_model(path, network="TFC_1W1A")


def test_a_state_dict_without_a_name_says_how_to_name_it(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    torch.save(untrained(NET), path)
    with pytest.raises(ImportModelError, match=r"name it, for example --network TFC_1W1A$"):
        load_model(path)


def test_weights_are_quantized_as_brevitas_does() -> None:
    weight = torch.tensor([-1.0, -0.51, -0.5, -1e-9, -0.0, 0.0, 0.5, 0.51, 1.0])
    assert weight_levels(weight, 1).tolist() == [-1, -1, -1, -1, 1, 1, 1, 1, 1]
    assert weight_levels(weight, 2).tolist() == [-1, -1, 0, 0, 0, 0, 0, 1, 1]
