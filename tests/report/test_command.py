"""``pyahir report`` as a user types it: files, figures, messages word for word."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import click
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from pyahir import runner
from pyahir.commands.report import report_command
from pyahir.compiler import CompileOptions, compile_graph, provenance_of, quantized_graph
from pyahir.data import random_images
from pyahir.errors import PyahirError
from pyahir.frontend.source import load_model
from pyahir.report.page import FILES
from pyahir.sim.design import image_codes, image_shape
from pyahir.sim.engine import GhdlEngine
from tests.designs import written
from tests.networks import small


def run(*arguments: str | Path) -> str:
    """Run the command; give standard output. Errors are for ``refused``."""
    found = CliRunner().invoke(report_command, [*map(str, arguments)], standalone_mode=False)
    if found.exception is not None:
        raise found.exception
    return found.stdout


def refused(*arguments: str | Path) -> str:
    """Run what must fail as the user's mistake; give its one message."""
    with pytest.raises((PyahirError, click.ClickException)) as caught:
        run(*arguments)
    return str(caught.value)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with the design ``net.aa``."""
    written(small().graph(), tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_plan_figures_need_no_simulator(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYAHIR_GHDL", str(folder / "none"))
    out = run("net.aa", "-o", "report", "--no-simulation")
    assert out == f"wrote {Path('report/index.html')}, report.md, report.json\n"
    assert sorted(path.name for path in Path("report").iterdir()) == sorted(FILES)
    found = json.loads(Path("report/report.json").read_text())
    assert [row["name"] for row in found["layers"]] == ["conv1", "pool2", "fc4"]
    assert found["simulated"] is None
    run("net.aa", "-o", "report", "--no-simulation")  # a second one replaces the first
    assert len(list(Path("report").iterdir())) == len(FILES)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--stalls", "0.5"),
            "--stalls says how to simulate; leave it or --no-simulation out",
        ),
        (
            ("--float", "f.pt2"),
            "--float f.pt2: compares with the model that the design was compiled from; give that "
            "with --model",
        ),
        (
            ("--data", "d.npz"),
            "--data d.npz: compares with the model that the design was compiled from; give that "
            "with --model",
        ),
        (("--model", "m.pt"), "--model m.pt: cannot read: No such file or directory"),
        (("--input", "x.npy"), "x.npy: no such file"),
        (("--input", "words.npy"), "words.npy: the array has shape 2x3; the model takes Nx2x6x6"),
        (("--frames", "2"), "2 is not in the range x>=3."),
        (("-o", "net.aa"), "net.aa: cannot write: it is a file; name a folder"),
        (("-o", "none/x"), "none/x: cannot write: the folder none does not exist"),
    ],
)
def test_one_message_for_a_mistake(folder: Path, arguments: tuple[str, ...], message: str) -> None:
    np.save("words.npy", np.zeros((2, 3), np.float32))
    before = sorted(folder.iterdir())
    assert refused("net.aa", "--no-simulation", "-o", "report", *arguments) == message
    assert sorted(folder.iterdir()) == before


def test_no_design(folder: Path) -> None:
    assert refused("other.aa", "-o", "report").startswith("other.aa: no such file; 'pyahir compile")
    Path("net.json").write_text("{")
    assert refused("net.aa", "-o", "report") == "net.json: not JSON (line 1): compile again"
    (folder / "model.pt").write_bytes(b"PK\x03\x04\xe4")
    assert refused("model.pt", "-o", "report") == (
        "model.pt: not the text of a design; give the .aa file that 'pyahir compile' wrote"
    )


def test_all_files_or_none(folder: Path) -> None:
    Path("report/report.md").mkdir(parents=True)
    message = f"{Path('report/report.md')}: cannot write: it is a folder; name a file"
    assert refused("net.aa", "--no-simulation", "-o", "report") == message
    assert [path.name for path in Path("report").iterdir()] == ["report.md"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a float model, a design of it, calibration images and labelled ones."""
    folder = tmp_path_factory.mktemp("trained")
    torch.manual_seed(0)
    layers = (nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18, 3))
    program = torch.export.export(nn.Sequential(*layers).eval(), (torch.zeros(1, 1, 8, 8),))
    torch.export.save(program, folder / "float.pt2")
    images = random_images((1, 8, 8), 20, 7)
    labels = np.arange(20) % 3
    np.savez(folder / "data.npz", x=images, y=labels)
    source = load_model(folder / "float.pt2")
    options = CompileOptions(calibration=images)
    compiled = compile_graph(quantized_graph(source, options), options, provenance_of(source))
    compiled.write(folder / "net.aa")
    return folder


def test_quality_is_measured_on_the_user_s_images(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trained)
    given = ("net.aa", "--no-simulation", "--model", "float.pt2", "--calibrate", "data.npz")
    run(*given, "-o", tmp_path / "report", "--input", "data.npz")
    found = json.loads((tmp_path / "report/report.json").read_text())["quality"]
    names = [row["name"] for row in json.loads(Path("net.json").read_text())["layers"]]
    assert [row["layer"] for row in found["rows"]][1:] == names
    assert found["images"] == 20
    for row in found["rows"]:
        assert 20 < row["sqnr"] < row["rounding"] + 0.5 < 70
    data = np.load("data.npz")
    source = load_model("float.pt2")
    options = CompileOptions(calibration=data["x"])
    rows = runner.evaluate(source, options, data["x"], data["y"], None)
    assert [row["correct"] for row in found["accuracy"]] == [row["correct"] for row in rows]
    assert len(rows) == 2
    assert "dB" in (tmp_path / "report/report.md").read_text()


def test_random_images_have_no_accuracy(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trained)
    given = ("net.aa", "--no-simulation", "--model", "float.pt2", "--calibrate", "data.npz")
    run(*given, "-o", tmp_path / "report")
    found = json.loads((tmp_path / "report/report.json").read_text())["quality"]
    assert found["accuracy"] == []
    assert found["source"] == "random images, seed 0"


def test_the_model_of_another_design_is_refused(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trained)
    message = refused("net.aa", "--no-simulation", "-o", tmp_path / "report", "--model", "data.npz")
    assert message.startswith("--model data.npz: float was compiled from another file (SHA-256 ")
    assert message.endswith("); give that one or compile again")
    assert not (tmp_path / "report").exists()


def test_other_calibration_images_are_refused(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trained)
    np.save(tmp_path / "other.npy", random_images((1, 8, 8), 20, 8))
    given = ("net.aa", "--no-simulation", "--model", "float.pt2", "-o", tmp_path / "report")
    other = tmp_path / "other.npy"
    assert refused(*given, "--calibrate", other) == (
        f"--calibrate {other}: float was calibrated with other images; give those or compile again"
    )


@pytest.mark.ghdl
def test_figures_are_those_of_the_simulation(folder: Path) -> None:
    run("net.aa", "-o", "report", "--frames", "5")
    found = json.loads(Path("report/report.json").read_text())
    engine = GhdlEngine.open(Path("net.aa"))
    manifest = engine.files.manifest
    images = random_images(image_shape(manifest), 5, 0)
    codes = image_codes(manifest, images, Path("x"))
    engine.run(codes, stalls=engine.after_weights(), monitor=True)
    assert engine.result is not None
    seen = found["simulated"]
    assert (seen["interval"], seen["latency"]) == (engine.cycles.interval, engine.cycles.latency)
    assert seen["ends"] == list(engine.cycles.ends)
    for row in found["pipes"]:
        fill = engine.result.fills[row["name"]]
        assert (row["depth"], row["peak"]) == (fill.depth, fill.peak)
        assert (row["words"], row["full"]) == (fill.words, fill.full)
    for row in found["layers"]:
        if row["multipliers"]:
            used = row["macs"] / (row["multipliers"] * engine.cycles.interval)
            assert row["utilization"] == pytest.approx(used)
    check_timeline(found, engine)
    page = Path("report/index.html").read_text()
    assert page.count("<svg") == 4
    assert f"{engine.cycles.interval:,.0f}" in page


def check_timeline(found: dict, engine: GhdlEngine) -> None:
    """The first layer begins and the last one ends as the testbench saw it, to one stretch."""
    line, names = found["timeline"], [row["name"] for row in found["layers"]]
    size = line["bin_cycles"]
    spans = {(item["layer"], item["frame"]): item for item in line["spans"]}
    for frame, end in enumerate(engine.cycles.ends):
        ended = spans[names[-1], frame]["end"]
        assert 0 <= end - ended <= size  # the word waits a cycle or more at the border
        # The first word waits in its pipe while rows of padding go in front of it.
        waited = spans[names[0], frame]["start"] - engine.cycles.starts[frame]
        assert 0 < waited < engine.cycles.interval
        for earlier, later in pairwise(names):
            assert spans[earlier, frame]["start"] < spans[later, frame]["start"]
            assert spans[earlier, frame]["end"] <= spans[later, frame]["end"]
    lengths = {len(row) for row in line["activity"].values()}
    assert lengths == {engine.result.end // size + 1}
    slowest = found["bottleneck"]
    first, second = (spans[slowest, frame]["start"] for frame in line["shown"])
    share = np.mean(line["activity"][slowest][first // size : second // size])
    assert share > 0.8  # of the slowest layer's time is work
