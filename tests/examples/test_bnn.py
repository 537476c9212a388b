"""The few-bit example: data, modules, training, and resuming it."""

from __future__ import annotations

import gzip
import importlib
import re
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

EXAMPLE = Path(__file__).parents[2] / "examples" / "bnn"
MODULES = ("datasets", "networks", "plain", "train")


@pytest.fixture(scope="module")
def bnn() -> Iterator[SimpleNamespace]:
    """Give the example's modules; leave neither their short names nor torch's settings behind."""
    threads = torch.get_num_threads()
    sys.path.insert(0, str(EXAMPLE))
    try:
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in MODULES})
    finally:
        sys.path.remove(str(EXAMPLE))
        for name in MODULES:
            sys.modules.pop(name, None)
        torch.use_deterministic_algorithms(False)
        torch.set_num_threads(threads)


def idx(array: np.ndarray) -> bytes:
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give idx files of 300 training and 50 test images whose class is where they are bright."""
    folder = tmp_path_factory.mktemp("idx")
    rng = np.random.default_rng(0)
    for prefix, count in (("train", 300), ("t10k", 50)):
        labels = rng.integers(0, 10, count)
        images = rng.integers(0, 90, (count, 28, 28))
        for image, label in zip(images, labels, strict=True):
            image[2 * label : 2 * label + 6] += 160
        (folder / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(labels))
    return folder


def run(bnn: SimpleNamespace, *arguments: object) -> Result:
    return CliRunner().invoke(bnn.train.main, [str(argument) for argument in arguments])


def states(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["state_dict"]


def test_every_network_has_its_parameters(bnn) -> None:
    expected = {"TFC": 59394, "SFC": 335874, "LFC": 2916354, "CNV": 1546690}
    for name in bnn.networks.NAMES:
        model = bnn.networks.build(name, "plain")
        count = sum(parameter.numel() for parameter in model.parameters())
        assert count == expected[bnn.networks.config(name).family], name


@pytest.mark.parametrize("name", ["TFC_1W1A", "TFC_1W2A", "TFC_2W2A", "CNV_1W1A", "CNV_2W2A"])
def test_plain_modules_compute_what_brevitas_does(bnn, name) -> None:
    pytest.importorskip("brevitas_examples", reason="Brevitas is not installed")
    torch.manual_seed(3)
    expected, actual = (bnn.networks.build(name, kind) for kind in ("brevitas", "plain"))
    actual.load_state_dict(expected.state_dict())
    side, channels = (32, 3) if name.startswith("CNV") else (28, 1)
    x, y = torch.rand(4, channels, side, side), torch.tensor([1, 0, 5, 9])
    for train in (True, False):
        losses = []
        for model in (expected, actual):
            model.train(train)
            torch.manual_seed(4)
            model.zero_grad()
            losses.append(bnn.networks.squared_hinge(model(x), y))
            losses[-1].backward()
        assert torch.allclose(*losses, rtol=1e-5)
        gradients = [dict(model.named_parameters()) for model in (expected, actual)]
        for key, parameter in gradients[0].items():
            found = gradients[1][key].grad
            assert torch.allclose(parameter.grad, found, rtol=1e-3, atol=1e-6), key
    for key, value in expected.state_dict().items():
        assert torch.allclose(value.float(), actual.state_dict()[key].float(), atol=1e-5), key


def test_quantizers_round_as_published(bnn) -> None:
    x = torch.tensor([-2.0, -0.5, -0.4, 0.0, 0.5, 0.51, 3.0])
    assert bnn.plain.sign(x).tolist() == [-1, -1, -1, 1, 1, 1, 1]
    assert bnn.plain.ternary(x).tolist() == [-1, 0, 0, 0, 0, 1, 1]
    pixels = torch.arange(256) / 255 * 2 - 1
    codes = bnn.plain.FixedPoint()(pixels) * 128
    assert codes.tolist() == [p - 128 if p < 128 else min(p - 127, 127) for p in range(256)]


def test_loss_is_the_squared_hinge(bnn) -> None:
    scores = torch.tensor([[0.5, -2.0], [1.5, 0.25]])
    # max(0, 1 - t y)^2: 0.25 and 0; 0 with target +1 would be 2.5^2 with -1
    expected = (0.5**2 + 0 + 2.5**2 + 0.75**2) / 4
    assert bnn.networks.squared_hinge(scores, torch.tensor([0, 1])).item() == expected


def test_clipping_keeps_weights_within_one(bnn) -> None:
    model = bnn.networks.build("TFC_2W2A", "plain")
    with torch.no_grad():
        model.features[2].weight.mul_(5)
    bnn.networks.clip_weights(model)
    assert model.features[2].weight.abs().max().item() == 1


@pytest.mark.parametrize(
    ("scheduler", "rates"),
    [("FIXED", {1: 8, 40: 8, 41: 4, 80: 4, 81: 2}), ("STEP", {1: 8, 3: 8, 4: 0.8, 9: 0.08})],
)
def test_learning_rates_follow_the_scheduler(bnn, scheduler, rates) -> None:
    recipe = bnn.train.Recipe(
        epochs=9, batch_size=2, lr=8.0, optim="ADAM", momentum=0, weight_decay=0, loss="SqrHinge",
        scheduler=scheduler, milestones=(3, 8), random_seed=1,
    )  # fmt: skip
    assert {epoch: recipe.rate(epoch) for epoch in rates} == pytest.approx(rates)


@pytest.mark.parametrize("optim", ["ADAM", "SGD"])
def test_a_resumed_run_ends_like_one_without_a_break(bnn, data_dir, optim, tmp_path) -> None:
    common = ["--network", "TFC_1W2A", "--data-dir", data_dir, "--modules", "plain"]
    common += ["--optim", optim, "--scheduler", "STEP", "--milestones", "2"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert run(bnn, *common, "--epochs", 3, "--experiments", whole).exit_code == 0
    assert run(bnn, *common, "--epochs", 1, "--experiments", parts).exit_code == 0
    checkpoint = parts / "TFC_1W2A" / "checkpoints" / "checkpoint.tar"
    again = run(bnn, *common, "--epochs", 3, "--experiments", parts, "--resume", checkpoint)
    assert again.exit_code == 0
    assert "epoch 1:" not in again.output
    for name in ("checkpoint.tar", "best.tar"):
        expected = torch.load(whole / "TFC_1W2A/checkpoints" / name, weights_only=True)
        actual = torch.load(parts / "TFC_1W2A/checkpoints" / name, weights_only=True)
        assert set(expected) == {"state_dict", "optim_dict", "epoch", "best_val_acc"}
        assert (expected["epoch"], expected["best_val_acc"]) == (
            actual["epoch"],
            actual["best_val_acc"],
        )
        for key, value in expected["state_dict"].items():
            assert torch.equal(value, actual["state_dict"][key]), key


def test_training_learns_and_evaluate_measures_it(bnn, data_dir, tmp_path) -> None:
    common = ["--network", "tfc_1w1a", "--data-dir", data_dir, "--modules", "plain"]
    trained = run(bnn, *common, "--epochs", 5, "--batch-size", 30, "--experiments", tmp_path)
    assert trained.exit_code == 0, trained.output
    best = float(re.findall(r"best ([\d.]+) %", trained.output)[-1])
    assert best > 40
    checkpoint = tmp_path / "TFC_1W1A" / "checkpoints" / "best.tar"
    measured = run(bnn, *common, "--evaluate", "--resume", checkpoint)
    assert measured.exit_code == 0
    assert f"{best:.2f} %" in measured.output
    assert "published │ 93.17 %" in measured.output
    assert "epoch" not in measured.output
    fashion = run(bnn, *common, "--dataset", "fashion-mnist", "--evaluate", "--resume", checkpoint)
    assert "published" not in fashion.output


def test_seeds_make_runs_differ(bnn, data_dir, tmp_path) -> None:
    common = ["--network", "TFC_1W1A", "--data-dir", data_dir, "--modules", "plain"]
    common += ["--epochs", 1, "--limit", 100]
    weights = []
    for seed in (1, 1, 2):
        folder = tmp_path / str(len(weights))
        assert run(bnn, *common, "--random-seed", seed, "--experiments", folder).exit_code == 0
        weights.append(states(folder / "TFC_1W1A/checkpoints/checkpoint.tar")["features.2.weight"])
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_dry_run_writes_nothing(bnn, data_dir, tmp_path) -> None:
    found = run(
        bnn, "--network", "TFC_1W1A", "--data-dir", data_dir, "--epochs", 1, "--limit", 50,
        "--dry-run", "--experiments", tmp_path / "none", "--modules", "plain",
    )  # fmt: skip
    assert found.exit_code == 0
    assert not (tmp_path / "none").exists()


def test_packaged_digits_are_split_evenly(bnn) -> None:
    train, test = bnn.datasets.load("mnist")
    assert train.x.shape == (4000, 1, 28, 28)
    assert train.x.dtype == np.uint8
    assert np.bincount(test.y).tolist() == [100] * 10


def test_colours_are_moved_and_mirrored_whole(bnn) -> None:
    torch.manual_seed(0)
    x = torch.zeros(200, 3, 32, 32)
    x[:, :, 15, 10] = 1
    moved = bnn.train.shifted(x)
    assert moved.shape == x.shape
    places = moved[:, 0].nonzero()[:, 1:]
    assert len(places) == 200
    assert torch.equal(moved[:, 0], moved[:, 2])
    assert set(places[:, 0].tolist()) == set(range(11, 20))
    assert set(places[:, 1].tolist()) == set(range(6, 15)) | set(range(17, 26))


MISTAKES = [
    (["--evaluate"], "--evaluate needs --resume, the checkpoint to measure"),
    (["--network", "CNV_1W1A", "--dataset", "mnist"], "CNV_1W1A does not take the images of mnist"),
    (["--network", "CNV_1W1A"], "no package carries CIFAR-10; give --data-dir"),
    (["--milestones", "a"], "--milestones a: accepted is 100,150"),
    (["--data-dir", "/nowhere"], "/nowhere: has neither train-images-idx3-ubyte nor train-"),
    (["--network", "RESNET"], "Invalid value for '--network'"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES)
def test_mistakes_are_named(bnn, arguments, message) -> None:
    found = run(bnn, *arguments)
    assert found.exit_code != 0
    assert message in found.output


def test_other_files_are_no_checkpoints(bnn, data_dir, tmp_path) -> None:
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.tar")
    common = ["--network", "TFC_1W1A", "--data-dir", data_dir, "--modules", "plain", "--evaluate"]
    found = run(bnn, *common, "--resume", tmp_path / "other.tar")
    assert "is no checkpoint: it has not best_val_acc, epoch, optim_dict, state_dict" in (
        found.output.replace("\n", " ")
    )
    found = run(bnn, *common, "--resume", tmp_path / "no.tar")
    assert "no.tar does not exist" in found.output
