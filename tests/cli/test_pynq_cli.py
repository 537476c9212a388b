"""BNN-PYNQ folders on the command line: run, verify, evaluate, export-pynq, and their messages."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pyahir.formats.bnn_pynq.config import config_text
from pyahir.formats.bnn_pynq.folder import read_folder, write_folder
from pyahir.formats.bnn_pynq.graph import import_graph
from pyahir.formats.bnn_pynq.topology import NETWORKS
from pyahir.frontend import FileKind, detect, load_model
from pyahir.ir.eval import Evaluator
from tests.cli.test_cli import pyahir, refused
from tests.formats.pynq_cases import digits, drawn

LFC = NETWORKS["lfcW1A2"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pynq") / "random"
    write_folder(path, LFC, drawn(LFC, 1, classes=10))
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(2)
    pixels = rng.integers(0, 256, (40, 1, 28, 28))
    path = tmp_path_factory.mktemp("data") / "digits.npz"
    labels = rng.integers(0, 10, 40)
    np.savez(path, x=pixels.astype(np.float32) / np.float32(255), y=labels)
    return path


def expected(folder: Path, data: Path) -> np.ndarray:
    """Give the golden model's bits of the classes."""
    topology, parameters = read_folder(folder)
    graph = import_graph(topology, parameters, "folder")
    pixels = np.rint(np.load(data)["x"] * 255).astype(np.uint8)
    return Evaluator(graph).run(np.moveaxis(pixels, 1, -1))[graph.outputs[0]]


def test_a_folder_is_a_model(folder) -> None:
    assert detect(folder) is FileKind.BNN_PYNQ
    source = load_model(folder)
    assert (source.engine, source.input_shape) == ("bnn-pynq", (1, 28, 28))
    assert source.note == "network lfcW1A2, from the sizes of the files"
    assert load_model(folder, network="lfcw1a2").note == ""


def test_verify_finds_no_difference(capsys, folder, data) -> None:
    code, out, err = pyahir(
        capsys, "verify", folder, "--engines", "torch,ir", "--input", data, "--limit", "9", "--json"
    )
    assert (code, err) == (0, "")
    found = json.loads(out)
    layers = {item["layer"]: item["compared"] for item in found["layers"]}
    assert layers == {
        "x": 7056, "image": 7056, "l0": 9216, "l1": 9216, "l2": 9216, "l3": 90,
    }  # fmt: skip


@pytest.mark.parametrize("engine", ["torch", "ir"])
def test_run_writes_the_bits_of_the_classes(capsys, folder, data, engine, tmp_path) -> None:
    output = tmp_path / "out.npy"
    code, _, _ = pyahir(
        capsys, "run", folder, "--engine", engine, "--input", data, "-o", output, "--codes"
    )
    assert code == 0
    assert np.array_equal(np.load(output), expected(folder, data))


def test_evaluate_decides_as_the_host_does(capsys, folder, data) -> None:
    code, out, _ = pyahir(capsys, "evaluate", folder, "--data", data, "--json")
    assert code == 0
    bits = expected(folder, data)
    classes = (bits * np.arange(10)).max(axis=1)  # the highest bit that is set, else 0
    correct = int((classes == np.load(data)["y"]).sum())
    rows = json.loads(out)["accuracy"]
    assert {row["model"]: row["correct"] for row in rows} == {
        "torch (bnn-pynq)": correct,
        "pyahir (few-bit golden model)": correct,
    }


def test_export_writes_a_folder_that_computes_the_same(capsys, folder, data, tmp_path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("\n".join(f"digit {number}" for number in range(10)))
    output = tmp_path / "exported"
    arguments = ["export-pynq", folder, "-o", output, "--hardware", "lfcW1A2"]
    code, out, _ = pyahir(capsys, *arguments, "--classes", names)
    assert (code, out) == (0, f"wrote {output}: lfcW1A2, 4 layers, 10 classes\n")
    assert np.array_equal(expected(folder, data), expected(output, data))
    assert read_folder(output)[1].classes == tuple(f"digit {number}" for number in range(10))
    assert refused(capsys, *arguments) == f"{output}: exists; give a new folder"


def test_export_takes_hardware_from_a_config(capsys, folder, tmp_path) -> None:
    config = tmp_path / "config.h"
    config.write_text(
        config_text(LFC)
        .replace("L1_PE 64", "L1_PE 16")
        .replace("L1_WMEM 512", "L1_WMEM 2048")
        .replace("L1_TMEM 16", "L1_TMEM 64")
    )
    output = tmp_path / "exported"
    code, _, _ = pyahir(capsys, "export-pynq", folder, "-o", output, "--config", config)
    assert code == 0
    assert (output / "1-15-weights.bin").stat().st_size == 8 * 2048
    assert not (output / "1-16-weights.bin").exists()
    again = load_model(output, network=str(config))
    assert again.graph.update(name="lfcw1a2") == load_model(folder).graph


def test_wrong_requests_are_refused(capsys, folder, data, tmp_path) -> None:
    names = ", ".join(NETWORKS)
    found = refused(capsys, "evaluate", folder, "--data", data, "--network", "lenet")
    assert found == f"lenet: not a network of BNN-PYNQ; accepted: {names}"
    found = refused(capsys, "evaluate", folder, "--data", data, "--network", "cnvW1A1")
    assert found == (
        f"{folder}/0-0-weights.bin: 3328 bytes; cnvW1A1 takes 288, or less in steps of 8"
    )
    export = ["export-pynq", folder, "-o", tmp_path / "out"]
    assert refused(capsys, *export) == f"give --config FILE or --hardware: one of {names}"
    found = refused(capsys, *export, "--hardware", "lfcW1A1")
    assert found == (
        "lfcw1a2 as lfcW1A1: layer 0 (l0_acc): 2 thresholds from -1 to 2 bits; the hardware has 1 "
        "from 0 to 1 bits"
    )
    found = refused(capsys, *export, "--hardware", "lfcW1A2", "--classes", tmp_path / "no.txt")
    assert found == f"{tmp_path}/no.txt: cannot read; give a text file with a class a line"
    assert not (tmp_path / "out").exists()


def test_an_unknown_folder_asks_for_the_network(capsys, data, tmp_path) -> None:
    topology = digits("small", 1)
    write_folder(tmp_path / "net", topology, drawn(topology, 1))
    found = refused(capsys, "evaluate", tmp_path / "net", "--data", data)
    assert found.startswith(f"{tmp_path}/net: files of no known network, 18 of them; say which")
