"""Checkpoints of few-bit networks on the command line: run, verify, evaluate, messages."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from pyahir.frontend.brevitas.topologies import topology
from pyahir.frontend.source import load_model
from tests.cli.test_cli import pyahir, refused
from tests.frontend.brevitas.states import calibrated, random_images

NETWORK = ("--network", "TFC_1W1A")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tfc") / "best.tar"
    state = calibrated(topology("TFC_1W1A"))
    torch.save({"state_dict": state, "epoch": 1, "best_val_acc": 90.0}, path)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    x = random_images(topology("TFC_1W1A"), 20)
    np.savez(tmp_path / "data.npz", x=x, y=np.arange(20) % 10)
    return tmp_path / "data.npz"


def test_torch_and_the_golden_model_agree(
    capsys: pytest.CaptureFixture[str], checkpoint: Path, data: Path
) -> None:
    given = (*NETWORK, "--engines", "torch,ir", "--input", data)
    code, out, err = pyahir(capsys, "verify", checkpoint, *given)
    assert (code, err) == (0, "")
    last = out.rstrip().splitlines()[-1]
    values = f"{20 * (784 + 784 + 3 * 64 + 10):,}"
    assert last == f"verify: PASSED: torch = ir: {values} values on 20 frames, 0 differ"


@pytest.mark.parametrize("engine", ["torch", "ir"])
def test_run_writes_real_scores_or_raw_ones(
    capsys: pytest.CaptureFixture[str], checkpoint: Path, data: Path, tmp_path: Path, engine: str
) -> None:
    found: list[np.ndarray] = []
    for name, more in (("real", ()), ("codes", ("--codes",))):
        given = (*NETWORK, "--engine", engine, "--input", data, "-o", tmp_path / f"{name}.npy")
        assert pyahir(capsys, "run", checkpoint, *given, *more)[0] == 0
        found.append(np.load(tmp_path / f"{name}.npy"))
    real, raw = found
    assert real.dtype == np.float32
    assert raw.dtype.kind == "i"
    assert np.unique(raw % 2).size == 1  # sums of 64 numbers of +-1 have one parity
    scores = load_model(checkpoint, network="TFC_1W1A").scores
    assert scores is not None
    np.testing.assert_array_equal(real, scores(raw))


def test_evaluate_chooses_classes_as_a_host(
    capsys: pytest.CaptureFixture[str], checkpoint: Path, data: Path
) -> None:
    rows: dict[str, list[int]] = {}
    for host in ((), ("--ties", "high"), ("--host", "bnn-pynq"), ("--host", "pytorch")):
        given = (*NETWORK, "--data", data, "--json", *host)
        code, out, err = pyahir(capsys, "evaluate", checkpoint, *given)
        assert (code, err) == (0, "")
        accuracy = json.loads(out)["accuracy"]
        assert [item["model"][:5] for item in accuracy] == ["torch", "pyahi"]
        rows[" ".join(host)] = [item["correct"] for item in accuracy]
    model = load_model(checkpoint, network="TFC_1W1A")
    images = np.load(data)["x"]
    raw = model.run(images)[model.graph.outputs[0]]
    first = int((raw.argmax(axis=1) == np.arange(20) % 10).sum())
    last = int((9 - raw[:, ::-1].argmax(axis=1) == np.arange(20) % 10).sum())
    assert rows[""] == rows["--host bnn-pynq"] == [first, first]
    assert rows["--ties high"] == rows["--host pytorch"] == [last, last]


def test_messages(capsys: pytest.CaptureFixture[str], checkpoint: Path, data: Path) -> None:
    given = ("--engines", "torch,ir", "--input", data)
    message = refused(capsys, "verify", checkpoint, *given, "--network", "TFC_3W3A")
    assert re.match(r"--network TFC_3W3A: no network of this name; accepted: TFC_1W1A, ", message)
    message = refused(capsys, "verify", checkpoint, *given)
    assert message.endswith("name it, for example --network TFC_1W1A")
    message = refused(capsys, "evaluate", checkpoint, *NETWORK, "--data", data, "--host", "arm")
    assert message == "--host arm: no such host; accepted: bnn-pynq, pytorch"
