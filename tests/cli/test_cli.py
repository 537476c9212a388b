"""The commands as a user types them: results, messages word for word, exit statuses, files."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pyahir.cli import main
from tests.frontend.models import LeNet, Net, quantized, saved

SHAPE = (1, 20, 20)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    return saved(
        quantized(LeNet(), SHAPE), folder / "net.bin", SHAPE
    )  # the kind of file is not in its name


@pytest.fixture(scope="module")
def float_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("float") / "net.pt2"
    example = torch.zeros(1, *SHAPE)
    torch.export.save(torch.export.export(LeNet(stubs=False).eval(), (example,)), path)
    return path


def pyahir(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """Run the command line; give exit status, standard output, standard error."""
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    assert isinstance(caught.value.code, int)
    return caught.value.code, captured.out, captured.err


def images(count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).random((count, *SHAPE), dtype=np.float32)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """Run what must fail as the user's mistake; give its one message."""
    code, out, err = pyahir(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("pyahir: ")
    return err.removeprefix("pyahir: ").rstrip("\n")


def test_compile_writes_four_files(
    capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path
) -> None:
    code, out, _ = pyahir(capsys, "compile", model, "-o", tmp_path / "net.aa", "--json")
    assert code == 0
    summary = json.loads(out)
    assert {"net.aa", "net.json", "net.plan.json", "net.weights"} == {
        path.name for path in tmp_path.iterdir()
    }
    assert {"cycles_per_frame", "exceptions", "macs", "memory_bits", "multipliers"} <= set(summary)
    per_layer = {"cycles", "exceptions", "macs", "memory_bits", "multipliers", "name"}
    assert all(per_layer <= set(layer) for layer in summary["layers"])
    assert sum(layer["macs"] for layer in summary["layers"]) == summary["macs"]


def test_verify_single_layers(
    capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path
) -> None:
    """In stream order, each once, whatever the order of the options."""
    np.save(tmp_path / "images.npy", images())
    given = ("verify", model, "--input", tmp_path / "images.npy", "--limit", "1")
    code, out, _ = pyahir(capsys, *given, "--layer", "fc1", "--layer", "conv1", "--layer", "fc1")
    assert code == 0
    verdict = out.rstrip().splitlines()[-1]
    assert re.fullmatch(r"verify: PASSED: ir = aa: [\d,]+ values on 1 frames, 0 differ", verdict)
    assert re.findall(r"│ (\w+) +│ ir = aa │", out) == ["conv1", "fc1"]
    code, out, _ = pyahir(capsys, *given, "--layer", "all", "--engines", "ir,aa", "--json")
    found = json.loads(out)
    assert (code, found["differing"], found["frames"]) == (0, 0, 1)
    assert [layer["name"] for layer in found["layers"]][:2] == ["conv1", "pool1"]
    assert found["compared"] == sum(layer["compared"] for layer in found["layers"]) > 0


class Residual(torch.nn.Module):
    """A convolution, and a sum with its input."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = torch.nn.Conv2d(3, 4, 3)
        self.conv2 = torch.nn.Conv2d(4, 4, 3, padding=1)
        self.sum = torch.ao.nn.quantized.FloatFunctional()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv1(x)
        return self.sum.add_relu(self.conv2(x), x)


def test_all_layers_are_joins_too(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = saved(quantized(Net(Residual()), (3, 7, 6)), tmp_path / "net.pt", (3, 7, 6))
    shape = ("--input-shape", "3,7,6", "--limit", "2", "--json")
    join = "body_add_relu"
    for chosen, names in (("all", ["body_conv1", "body_conv2", join]), (join, [join])):
        code, out, _ = pyahir(capsys, "verify", path, "--layer", chosen, *shape)
        found = json.loads(out)
        assert (code, found["differing"], found["frames"]) == (0, 0, 2)
        assert [layer["name"] for layer in found["layers"]] == names
        assert found["layers"][-1]["compared"] == 2 * 5 * 4 * 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--layer", "conv9"),
            r"--layer conv9: no such layer; accepted: conv1, pool1, \w+(, \w+)*, all",
        ),
        (
            ("--layer", "conv1", "--engines", "torch,ir"),
            "--layer with the engine torch: PyTorch runs the whole model only; "
            "accepted: ir, aa, ghdl, ahir, verilator",
        ),
        (
            ("--layer", "conv1", "--design", "net.aa"),
            "--layer and --design: a single layer is compiled afresh; give one",
        ),
    ],
    ids=["unknown", "torch", "design"],
)
def test_verify_refuses_what_no_layer_can(
    capsys: pytest.CaptureFixture[str], model: Path, options: tuple[str, ...], message: str
) -> None:
    assert re.fullmatch(message, refused(capsys, "verify", model, *options))


def test_verify_passes_and_ends_with_its_verdict(
    capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "images.npy", images())
    code, out, _ = pyahir(capsys, "verify", model, "--input", tmp_path / "images.npy")
    assert code == 0
    last = out.rstrip().splitlines()[-1]
    assert re.fullmatch(
        r"verify: PASSED: torch = ir = aa: [\d,]+ values on 3 frames, 0 differ", last
    )


@pytest.mark.ghdl
def test_verify_in_hardware(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The table of zeros goes down to the simulated VHDL, and the cycles stand beside it."""
    torch.manual_seed(0)
    body = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU(), torch.nn.MaxPool2d(2))
    path = saved(quantized(Net(body), (1, 8, 8)), tmp_path / "net.pt", (1, 8, 8))
    code, out, _ = pyahir(
        capsys, "verify", path, "--engines", "torch,ir,aa,ghdl", "--input-shape", "1,8,8"
    )
    *_, timing, verdict = out.rstrip().splitlines()
    assert (code, verdict.startswith("verify: PASSED: torch = ir = aa = ghdl: ")) == (0, True)
    assert re.fullmatch(
        r"ghdl: weights in [\d,]+ cycles, one frame in [\d,]+; "
        r"back to back [\d,]+ a frame, [\d,]+ predicted",
        timing,
    )


def test_verify_fails_on_another_design(
    capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path
) -> None:
    """A weight changed in the written files: status 1, layer and place named."""
    from pyahir.backends.aa.files import read_design, weights_bytes

    design = tmp_path / "net.aa"
    pyahir(capsys, "compile", model, "-o", design)
    items = np.array(read_design(design).items, dtype=np.uint64)
    items[0] ^= np.uint64(64)
    design.with_suffix(".weights").write_bytes(weights_bytes(items))
    code, out, _ = pyahir(capsys, "verify", model, "--design", design, "--engines", "ir,aa")
    assert code == 1
    last = out.rstrip().splitlines()[-1]
    assert re.fullmatch(
        r"verify: FAILED: [\d,]+ of [\d,]+ values differ; first in relu1 \(ir against aa\), "
        r"frame \d+, channel \d+, row \d+, column \d+: \d+ expected, \d+ found",
        last,
    )


def test_run_engines_agree(capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", images())
    design = tmp_path / "net.aa"
    pyahir(capsys, "compile", model, "-o", design)
    for engine, source in (("torch", model), ("ir", model), ("aa", model), ("aa", design)):
        out = tmp_path / f"{engine}_{source.suffix}.npy"
        code, _, _ = pyahir(
            capsys,
            "run",
            source,
            "--engine",
            engine,
            "--input",
            tmp_path / "x.npy",
            "-o",
            out,
            "--codes",
        )
        assert code == 0
    results = [np.load(path) for path in sorted(tmp_path.glob("*_.*.npy"))]
    assert len(results) == 4
    for result in results[1:]:
        np.testing.assert_array_equal(results[0], result)


def test_float_model_is_quantized_here(
    capsys: pytest.CaptureFixture[str], float_model: Path, tmp_path: Path
) -> None:
    np.savez(tmp_path / "data.npz", x=images(16), y=np.zeros(16, np.int64))
    given = ("--calibrate", tmp_path / "data.npz")
    code, out, _ = pyahir(capsys, "verify", float_model, "--engines", "ir,aa", *given)
    assert (code, "0 differ" in out) == (0, True)
    code, out, _ = pyahir(
        capsys, "evaluate", float_model, "--data", tmp_path / "data.npz", "--json", *given
    )
    rows = json.loads(out)["accuracy"]
    assert [row["model"] for row in rows] == ["torch (float)", "pyahir (uint8 golden model)"]


def test_linear_rounding_says_what_differs(
    capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path
) -> None:
    def summary(rounding: str) -> dict[str, int]:
        _, out, _ = pyahir(
            capsys, "compile", model, "-o", tmp_path / "net.aa", "--rounding", rounding, "--json"
        )
        return json.loads(out)

    exact, linear = summary("exact"), summary("linear")
    assert (exact["dropped_exceptions"], linear["exceptions"]) == (0, 0)
    assert 0 < exact["exceptions"] <= linear["dropped_exceptions"]
    _, out, _ = pyahir(capsys, "compile", model, "-o", tmp_path / "net.aa", "--rounding", "linear")
    number = linear["dropped_exceptions"]
    assert f"linear rounding: {number} accumulators give a code that differs by one" in out
    code, out, _ = pyahir(
        capsys, "verify", model, "--engines", "ir,aa", "--rounding", "linear", "--limit", "2"
    )
    assert (code, "0 differ" in out) == (0, True)


def test_byte_identical_under_any_hash_seed(
    capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path
) -> None:
    """Another process has another seed than this one."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    assert pyahir(capsys, "compile", model, "-o", here / "net.aa")[0] == 0
    seed = "1" if os.environ.get("PYTHONHASHSEED") == "0" else "0"
    command = [sys.executable, "-m", "pyahir.cli", "compile", str(model)]
    subprocess.run(
        [*command, "-o", str(there / "net.aa")],
        check=True,
        capture_output=True,
        env={**os.environ, "PYTHONHASHSEED": seed},
    )
    contents = [{path.name: path.read_bytes() for path in item.iterdir()} for item in (here, there)]
    assert contents[0] == contents[1]


class TestBadInput:
    """Each message as a whole, exit status 2, and no file left behind."""

    def test_missing_model(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        missing = tmp_path / "no.pt"
        message = refused(capsys, "compile", missing, "-o", tmp_path / "net.aa")
        assert f"{missing}: no such file" in message
        assert list(tmp_path.iterdir()) == []

    def test_truncated_model(
        self, capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path
    ) -> None:
        cut = tmp_path / "cut.pt"
        cut.write_bytes(model.read_bytes()[:5000])
        message = refused(capsys, "compile", cut, "-o", tmp_path / "net.aa")
        assert message.startswith(f"{cut}: ")
        assert "truncated" in message
        assert [cut] == list(tmp_path.iterdir())

    def test_unwritable_output(
        self, capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path
    ) -> None:
        output = tmp_path / "nowhere" / "net.aa"
        message = f"{output}: cannot write: the folder {output.parent} does not exist"
        assert message == refused(capsys, "compile", model, "-o", output)

    def test_output_is_a_folder(
        self, capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path
    ) -> None:
        output = tmp_path / "net.aa"
        output.mkdir()
        message = f"{output}: cannot write: it is a folder; name a file"
        assert message == refused(capsys, "compile", model, "-o", output)
        assert [output] == list(tmp_path.iterdir())

    def test_output_like_its_manifest(
        self, capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path
    ) -> None:
        output = tmp_path / "net.json"
        message = f"{output}: the output is named like its own manifest; end it in .aa"
        assert message == refused(capsys, "compile", model, "-o", output)
        assert list(tmp_path.iterdir()) == []

    def test_float_model_without_calibration(
        self, capsys: pytest.CaptureFixture[str], float_model: Path, tmp_path: Path
    ) -> None:
        message = (
            f"{float_model}: a float model; give calibration images with --calibrate data.npz "
            "(an array 'x'), and pyahir quantizes it"
        )
        assert message == refused(capsys, "compile", float_model, "-o", tmp_path / "net.aa")

    @pytest.mark.parametrize(
        ("array", "message"),
        [
            (
                np.zeros((4, 1, 32, 32), np.float32),
                "the array has shape 4x1x32x32; the model takes Nx1x20x20",
            ),
            (np.zeros((4, *SHAPE)), "the array is float64; accepted is float32 of shape Nx1x20x20"),
            (np.zeros((0, *SHAPE), np.float32), "the array is empty; at least one image is needed"),
            (
                np.full((1, *SHAPE), np.nan, np.float32),
                "NaN or infinity at index [0, 0, 0, 0]; images hold finite numbers",
            ),
        ],
    )
    def test_calibration_data(
        self,
        capsys: pytest.CaptureFixture[str],
        float_model: Path,
        tmp_path: Path,
        array: np.ndarray,
        message: str,
    ) -> None:
        data = tmp_path / "data.npz"
        np.savez(data, x=array)
        found = refused(
            capsys, "compile", float_model, "--calibrate", data, "-o", tmp_path / "net.aa"
        )
        assert f"{data}: {message}" == found
        assert [data] == list(tmp_path.iterdir())

    def test_data_without_images(
        self, capsys: pytest.CaptureFixture[str], float_model: Path, tmp_path: Path
    ) -> None:
        data = tmp_path / "data.npz"
        np.savez(data, z=np.zeros(3))
        found = refused(
            capsys, "compile", float_model, "--calibrate", data, "-o", tmp_path / "n.aa"
        )
        assert f"{data}: no array 'x'; it has ['z']; save it as x=..." == found

    def test_data_that_is_no_array(
        self, capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path
    ) -> None:
        data = tmp_path / "x.npy"
        data.write_text("hello")
        message = f"{data}: not a NumPy file of plain numbers; write it with np.save or np.savez"
        assert message == refused(capsys, "verify", model, "--input", data)

    def test_labels(self, capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path) -> None:
        data = tmp_path / "data.npz"
        np.savez(data, x=images(3), y=np.zeros(2))
        message = f"{data}: array 'y' is float64 of shape 2; accepted are 3 integer labels"
        assert message == refused(capsys, "evaluate", model, "--data", data)

    def test_engines(self, capsys: pytest.CaptureFixture[str], model: Path) -> None:
        accepted = "two or more of torch, ir, aa, ghdl, ahir, verilator, comma-separated"
        message = f"--engines ir,vivado: accepted are {accepted}"
        assert message == refused(capsys, "verify", model, "--engines", "ir,vivado")

    def test_input_shape(self, capsys: pytest.CaptureFixture[str], model: Path) -> None:
        message = "--input-shape 1,x,28: accepted is C,H,W or a vector's length: 1,28,28"
        assert message == refused(capsys, "verify", model, "--input-shape", "1,x,28")

    def test_torch_engine_of_a_float_model(
        self, capsys: pytest.CaptureFixture[str], float_model: Path, tmp_path: Path
    ) -> None:
        np.savez(tmp_path / "d.npz", x=images(4))
        message = (
            f"{float_model}: the engine torch has no integers for a float model; compare "
            "--engines ir,aa, and float with quantized accuracy by 'pyahir evaluate'"
        )
        found = refused(
            capsys,
            "verify",
            float_model,
            "--engines",
            "torch,ir",
            "--calibrate",
            tmp_path / "d.npz",
        )
        assert message == found

    def test_design_in_another_engine(
        self, capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path
    ) -> None:
        design = tmp_path / "net.aa"
        pyahir(capsys, "compile", model, "-o", design)
        np.save(tmp_path / "x.npy", images())
        message = (
            f"{design}: a compiled design runs in the engines aa, ghdl, ahir, verilator; "
            "give the model file to run it in ir"
        )
        found = refused(
            capsys,
            "run",
            design,
            "--engine",
            "ir",
            "--input",
            tmp_path / "x.npy",
            "-o",
            tmp_path / "y.npy",
        )
        assert message == found

    def test_damaged_design(
        self, capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path
    ) -> None:
        design = tmp_path / "net.aa"
        pyahir(capsys, "compile", model, "-o", design)
        weights = design.with_suffix(".weights")
        data = bytearray(weights.read_bytes())
        data[100] ^= 1
        weights.write_bytes(bytes(data))
        message = f"{weights}: the checksum of the items is wrong: compile again"
        assert message == refused(capsys, "verify", model, "--design", design)
        weights.write_bytes(bytes(data[:-8]))
        found = refused(capsys, "verify", model, "--design", design)
        assert found.startswith(f"{weights}: truncated: ")

    def test_folding(self, capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path) -> None:
        found = refused(capsys, "compile", model, "-o", tmp_path / "n.aa", "--folding", "conv1=5x5")
        assert found.startswith("conv1: pe=5 does not divide ")

    def test_usage(self, capsys: pytest.CaptureFixture[str], model: Path) -> None:
        code, _, err = pyahir(capsys, "compile", model)
        assert (code, "Missing option '-o'" in err) == (2, True)


def test_interrupted_compile_leaves_nothing(
    capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while the second of the three files is written."""
    from pyahir.backends.aa import files

    written: list[str] = []
    original = files.os.fdopen

    def interrupted(handle: int, mode: str) -> object:
        written.append(mode)
        if len(written) == 2:
            os.close(handle)
            raise KeyboardInterrupt
        return original(handle, mode)

    monkeypatch.setattr(files.os, "fdopen", interrupted)
    code, _, err = pyahir(capsys, "compile", model, "-o", tmp_path / "net.aa")
    assert (code, err) == (130, "\npyahir: interrupted\n")
    assert list(tmp_path.iterdir()) == []


def test_python_api() -> None:
    """``pyahir.compile`` takes a module and an example."""
    import pyahir

    torch.manual_seed(0)
    compiled = pyahir.compile(
        LeNet(stubs=False).eval(), torch.zeros(1, *SHAPE), calibration=images(8), multipliers=20
    )
    assert compiled.manifest["totals"]["multipliers"] <= 20
    assert compiled.text.startswith(b"// input x")
