"""ONNX files on the command line: run, verify, evaluate, compile."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.cli.test_cli import pyahir, refused
from tests.frontend.onnx.files import Writer
from tests.frontend.onnx.test_few_bit import CASES as FEW_BIT
from tests.frontend.onnx.test_qdq import CASES as QDQ

FILES = {"few-bit": (FEW_BIT["thresholds"][0], (2, 5, 5)), "uint8": (QDQ["lenet"][0], (2, 8, 8))}


@pytest.fixture(params=FILES)
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    make, shape = FILES[request.param]
    writer = Writer(["N", *shape])
    make(writer, np.random.default_rng(7))
    x = (np.random.default_rng(8).integers(0, 256, (4, *shape)) / 255).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=x, y=np.arange(4) % 3)
    np.save(tmp_path / "x.npy", x)
    return writer.save(tmp_path / f"{request.param}.onnx")


def test_engines_agree(capsys: pytest.CaptureFixture[str], model: Path) -> None:
    images = model.with_name("x.npy")
    code, out, err = pyahir(
        capsys, "verify", model, "--engines", "torch,ir,aa", "--input", images, "--limit", "2"
    )
    assert (code, err) == (0, "")
    assert out.rstrip().splitlines()[-1].startswith("verify: PASSED: torch = ir = aa: ")


def test_run_and_compile(capsys: pytest.CaptureFixture[str], model: Path) -> None:
    images, results = model.with_name("x.npy"), []
    for engine in ("torch", "ir"):
        output = model.with_name(f"{engine}.npy")
        code, _, err = pyahir(
            capsys, "run", model, "--engine", engine, "--input", images, "-o", output
        )
        assert (code, err) == (0, "")
        results.append(np.load(output))
    np.testing.assert_array_equal(*results)
    design = model.with_name("net.aa")
    assert pyahir(capsys, "compile", model, "-o", design)[0] == 0
    manifest = json.loads(model.with_name("net.json").read_text(encoding="utf-8"))
    rule = "onnx" if model.stem == "uint8" else "onnx reference"
    assert manifest["made_from"]["rule"] == rule


def test_evaluate_names_the_reference(capsys: pytest.CaptureFixture[str], model: Path) -> None:
    code, out, err = pyahir(capsys, "evaluate", model, "--data", model.with_name("data.npz"))
    assert (code, err) == (0, "")
    assert "reference evaluation (" in out
    assert "torch" not in out


def test_a_float_file_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    writer = Writer(["N", 4])
    writer.node("Relu")
    path = writer.save(tmp_path / "net.onnx")
    message = refused(capsys, "compile", path, "-o", tmp_path / "net.aa")
    assert f"{path}: the network is not quantized; " in message
