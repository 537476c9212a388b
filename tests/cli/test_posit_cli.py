"""Posit and float schemes on the command line: results, messages, exit statuses."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.cli.test_cli import SHAPE, images, pyahir, refused
from tests.frontend.models import LeNet, quantized, saved

POSIT = ("--scheme", "posit8")


@pytest.fixture(scope="module")
def float_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("float") / "net.pt2"
    example = torch.zeros(1, *SHAPE)
    torch.export.save(torch.export.export(LeNet(stubs=False).eval(), (example,)), path)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    np.savez(tmp_path / "data.npz", x=images(12), y=np.arange(12) % 10)
    return tmp_path / "data.npz"


@pytest.mark.parametrize(
    "options",
    [
        (*POSIT, "--es", "1", "--arith", "f16", "--weights", "posit8"),
        (*POSIT, "--arith", "quire"),
        (*POSIT, "--posit-scale", "1"),
        ("--scheme", "float16"),
        ("--scheme", "float32"),
    ],
    ids=" ".join,
)
def test_torch_and_the_golden_model_agree(
    capsys: pytest.CaptureFixture[str], float_model: Path, data: Path, options: tuple[str, ...]
) -> None:
    given = ("--calibrate", data, "--engines", "torch,ir", "--input", data, "--limit", "3")
    code, out, err = pyahir(capsys, "verify", float_model, *options, *given)
    assert (code, err) == (0, "")
    last = out.rstrip().splitlines()[-1]
    assert re.fullmatch(r"verify: PASSED: torch = ir: [\d,]+ values on 3 frames, 0 differ", last)


def test_scale_1_needs_no_calibration(
    capsys: pytest.CaptureFixture[str], float_model: Path, data: Path, tmp_path: Path
) -> None:
    """Real numbers are the decoded codes; both come from the same run."""
    given = (*POSIT, "--posit-scale", "1", "--engine", "ir", "--input", data)
    for name, more in (("real", ()), ("codes", ("--codes",))):
        out = tmp_path / f"{name}.npy"
        assert pyahir(capsys, "run", float_model, *given, *more, "-o", out)[0] == 0
    real, codes = np.load(tmp_path / "real.npy"), np.load(tmp_path / "codes.npy")
    assert (real.dtype, codes.dtype) == (np.float32, np.uint8)
    np.testing.assert_array_equal(np.sign(real), np.sign(codes.view(np.int8)))
    assert len(np.unique(codes)) > 5
    order = np.argsort(codes.view(np.int8).ravel(), kind="stable")
    assert (np.diff(real.ravel()[order]) >= 0).all()


def test_floats_come_out_as_numbers_or_bits(
    capsys: pytest.CaptureFixture[str], float_model: Path, data: Path, tmp_path: Path
) -> None:
    given = ("--scheme", "float16", "--engine", "ir", "--input", data)
    for name, more in (("real", ()), ("bits", ("--codes",))):
        out = tmp_path / f"{name}.npy"
        assert pyahir(capsys, "run", float_model, *given, *more, "-o", out)[0] == 0
    real, bits = np.load(tmp_path / "real.npy"), np.load(tmp_path / "bits.npy")
    assert bits.dtype == np.uint16
    np.testing.assert_array_equal(real, bits.view(np.float16).astype(np.float32))


def test_evaluate_names_the_scheme(
    capsys: pytest.CaptureFixture[str], float_model: Path, data: Path
) -> None:
    given = ("--data", data, "--calibrate", data, *POSIT, "--arith", "quire", "--json")
    code, out, _ = pyahir(capsys, "evaluate", float_model, *given)
    rows = json.loads(out)["accuracy"]
    assert code == 0
    assert [row["model"] for row in rows] == [
        "torch (float)",
        "pyahir (posit<8,0>, quire, weights float, scale auto golden model)",
    ]
    assert rows[0]["correct"] == rows[1]["correct"]


@pytest.mark.parametrize("floats", ["exact", pytest.param("native", marks=pytest.mark.slow)])
def test_compiled_hardware_runs(
    capsys: pytest.CaptureFixture[str],
    float_model: Path,
    tmp_path: Path,
    floats: str,
) -> None:
    """A design of its own files gives what the golden model gives; native floats are announced."""
    design, options = tmp_path / "net.aa", ("--scheme", "float32", "--float", floats)
    code, out, err = pyahir(capsys, "compile", float_model, "-o", design, *options)
    assert (code, err) == (0, "")
    assert ("the engine ahir will differ" in " ".join(out.split())) == (floats == "native")
    found, few = {}, tmp_path / "few.npy"
    np.save(few, images(2))
    for name, model in (("aa", design), ("ir", float_model)):
        given = ("--engine", name, "--input", few, "-o", tmp_path / f"{name}.npy")
        code, _, err = pyahir(capsys, "run", model, *given, *(options if name == "ir" else ()))
        assert (code, err) == (0, "")
        found[name] = np.load(tmp_path / f"{name}.npy")
    assert found["aa"].shape == (2, 10)
    np.testing.assert_array_equal(found["aa"], found["ir"])


def test_the_manifest_says_how_streams_are_stored(
    capsys: pytest.CaptureFixture[str], float_model: Path, data: Path, tmp_path: Path
) -> None:
    design = tmp_path / "net.aa"
    given = ("--calibrate", data, *POSIT, "--es", "1", "--arith", "quire")
    code, _, err = pyahir(capsys, "compile", float_model, "-o", design, *given)
    assert (code, err) == (0, "")
    manifest = json.loads(design.with_suffix(".json").read_text())
    for row in (manifest["input"], *manifest["layers"]):
        assert row["element"] == "posit8_1"
        assert row["scale"] == 2.0 ** row["exponent"]


def test_options_that_do_not_fit(
    capsys: pytest.CaptureFixture[str], float_model: Path, tmp_path: Path
) -> None:
    out = ("-o", tmp_path / "net.aa")
    assert refused(capsys, "compile", float_model, *out, "--es", "1") == (
        "--scheme uint8 does not take --es; these belong to --scheme posit8"
    )
    assert refused(capsys, "compile", float_model, *out, *POSIT) == (
        f"{float_model}: a float model; give calibration images with --calibrate data.npz (an "
        "array 'x'), and pyahir quantizes it"
    )
    model = saved(quantized(LeNet(), SHAPE), tmp_path / "q.pt", SHAPE)
    assert refused(capsys, "compile", model, *out, *POSIT) == (
        f"{model}: is quantized to uint8 already; --scheme posit8 takes a float model"
    )
