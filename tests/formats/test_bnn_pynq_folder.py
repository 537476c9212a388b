"""Folders of parameters: byte for byte there and back, short files, wrong ones."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyahir.errors import ImportModelError, OutputError
from pyahir.formats.bnn_pynq.folder import (
    files_of,
    find_network,
    is_folder,
    read_folder,
    write_folder,
)
from pyahir.formats.bnn_pynq.topology import NETWORKS, Topology
from pyahir.formats.bnn_pynq.words import (
    pack_thresholds,
    pack_weights,
    unpack_thresholds,
    unpack_weights,
)
from tests.formats.pynq_cases import SMALL, drawn, full

LFC = NETWORKS["lfcW1A1"]
TINY = SMALL[0]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def written(folder: Path, topology: Topology, seed: int = 1) -> Path:
    write_folder(folder, topology, drawn(topology, seed))
    return folder


@given(
    st.integers(1, 9),
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(0, 2**32),
)
def test_words_give_the_numbers_again(
    simd: int, folds: int, pe: int, rows: int, bits: int, seed: int
) -> None:
    layer = full(simd * folds, pe * rows, simd, pe, bits, 2)
    rng = np.random.default_rng(seed)
    words = rng.integers(0, 1 << (simd * bits), (pe, layer.weight_memory), dtype=np.uint64)
    assert np.array_equal(words, pack_weights(layer, unpack_weights(layer, words)))
    lines = rng.integers(-(2**63), 2**63, (pe, layer.neuron_folds * 2), dtype=np.int64)
    assert np.array_equal(lines, pack_thresholds(layer, unpack_thresholds(layer, lines)))


def test_words_are_laid_out_as_documented() -> None:
    layer = full(4, 4, 2, 2, 2, 2)
    weights = np.array([[1, 0, -1, -2], [0, 0, 0, 1], [1, 1, 1, 1], [-1, 0, 0, 0]], np.int8)
    # neuron n: element n mod 2, fold n / 2; synapse s: lane s mod 2, two bits each
    expected = [[0b0001, 0b1011, 0b0101, 0b0101], [0b0000, 0b0100, 0b0011, 0b0000]]
    assert pack_weights(layer, weights).tolist() == expected
    steps = np.arange(8).reshape(4, 2)
    assert pack_thresholds(layer, steps).tolist() == [[0, 1, 4, 5], [2, 3, 6, 7]]
    one = full(4, 2, 4, 1, 1, 1)
    bits = np.array([[1, -1, -1, 1], [-1, -1, 1, -1]], np.int8)
    assert pack_weights(one, bits).tolist() == [[0b1001, 0b0100]]


def test_a_full_word_of_64_lanes_is_kept() -> None:
    layer = full(64, 1, 64, 1, 1, 1)
    words = np.array([[0x8000_0000_0000_0001]], np.uint64)
    weights = unpack_weights(layer, words)
    assert weights[0, [0, 1, 62, 63]].tolist() == [1, -1, -1, 1]
    assert np.array_equal(words, pack_weights(layer, weights))


@pytest.mark.parametrize("topology", SMALL, ids=lambda topology: topology.name)
def test_a_folder_gives_itself_again(topology: Topology, tmp_path) -> None:
    parameters = drawn(topology, 7)
    write_folder(tmp_path / "net", topology, parameters)
    _, found = read_folder(tmp_path / "net", topology)
    for expected, actual in zip(parameters.layers, found.layers, strict=True):
        assert np.array_equal(expected.weights, actual.weights)
        assert np.array_equal(expected.thresholds, actual.thresholds)
    assert contents(tmp_path / "net") == files_of(topology, found)
    assert found.classes == tuple(f"class {number}" for number in range(5))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_published_network_is_found_from_its_files(name: str, tmp_path) -> None:
    folder = written(tmp_path / "net", NETWORKS[name])
    topology, found = read_folder(folder)
    assert topology is NETWORKS[name]
    assert contents(folder) == files_of(topology, found)


@pytest.mark.parametrize("length", [0, 8, 24])
def test_a_short_file_reads_as_zeros_and_stays_short(length: int, tmp_path) -> None:
    folder = written(tmp_path / "net", TINY)
    for name in ("2-1-weights.bin", "2-1-thres.bin"):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[:length])
    _, found = read_folder(folder, TINY)
    assert found.lengths["2-1-weights.bin"] == length
    assert contents(folder) == files_of(TINY, found)
    last = TINY.layers[2]
    assert (found.layers[2].thresholds[1::2][length // 8 :] == 0).all()
    words = length // 8
    rows = unpack_weights(last, pack_weights(last, found.layers[2].weights))[1::2].reshape(-1, 6)
    assert (rows[words:] == -1).all()


def test_thresholds_of_a_layer_without_are_carried_along(tmp_path) -> None:
    topology = SMALL[2]
    folder = written(tmp_path / "net", topology)
    (folder / "2-0-thres.bin").write_bytes(b"anything")
    _, found = read_folder(folder, topology)
    assert found.ignored == {"2-0-thres.bin": b"anything"}
    assert contents(folder) == files_of(topology, found)


def test_class_names_keep_their_bytes(tmp_path) -> None:
    folder = written(tmp_path / "net", TINY)
    (folder / "classes.txt").write_bytes(b"20 Km/h\r\nStop\r\n\n")
    _, found = read_folder(folder, TINY)
    assert found.classes == ("20 Km/h", "Stop")
    assert files_of(TINY, found)["classes.txt"] == b"20 Km/h\r\nStop\r\n\n"


def test_other_files_are_left_alone(tmp_path) -> None:
    folder = written(tmp_path / "net", TINY)
    (folder / "README.md").write_text("mine")
    read_folder(folder, TINY)


FAULTS = {
    "missing": ("0-3-weights.bin: no such file; the folder is not complete", None),
    "long": ("0-3-weights.bin: 40 bytes; digits1 takes 32, or less in steps of 8", b"\0" * 40),
    "odd": ("0-3-weights.bin: 12 bytes; digits1 takes 32, or less in steps of 8", b"\0" * 12),
    "stray": (
        "0-3-weights.bin: word 1 is 0x100; it holds 8 weights, each 1 bit wide",
        b"\0" * 9 + b"\1" + b"\0" * 22,
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_wrong_files_are_named(fault: str, tmp_path) -> None:
    folder = written(tmp_path / "net", TINY)
    message, data = FAULTS[fault]
    if data is None:
        (folder / "0-3-weights.bin").unlink()
    else:
        (folder / "0-3-weights.bin").write_bytes(data)
    with pytest.raises(ImportModelError, match=re.escape(message) + "$"):
        read_folder(folder, TINY)


@pytest.mark.parametrize("name", ["3-0-weights.bin", "0-4-weights.bin", "1-9-thres.bin"])
def test_a_memory_too_many_is_named(name: str, tmp_path) -> None:
    folder = written(tmp_path / "net", TINY)
    (folder / name).write_bytes(b"\0" * 8)
    with pytest.raises(ImportModelError, match=f"{name}: digits1 has no such memory; say another"):
        read_folder(folder, TINY)


@pytest.mark.parametrize(("text", "count"), [(b"\n", 0), (b"a\n" * 9, 9)])
def test_the_number_of_classes_is_checked(text: bytes, count: int, tmp_path) -> None:
    folder = written(tmp_path / "net", TINY)
    (folder / "classes.txt").write_bytes(text)
    with pytest.raises(ImportModelError, match=rf"txt: {count} classes; digits1 has 1 to 8$"):
        read_folder(folder, TINY)


def test_other_folders_are_refused(tmp_path) -> None:
    assert not is_folder(tmp_path)
    with pytest.raises(ImportModelError, match=r"not a folder of BNN-PYNQ parameters, which holds"):
        read_folder(tmp_path)
    folder = written(tmp_path / "net", TINY)
    message = r"files of no known network, 18 of them; say which with --network: lfcW1A1, lfcW1A2"
    with pytest.raises(ImportModelError, match=message):
        find_network(folder)


def test_nothing_is_written_over(tmp_path) -> None:
    folder = written(tmp_path / "net", TINY)
    with pytest.raises(OutputError, match=r"net: exists; give a new folder$"):
        write_folder(folder, TINY, drawn(TINY, 2))
    with pytest.raises(OutputError, match=r"no/net: cannot write: No such file or directory$"):
        write_folder(tmp_path / "no" / "net", TINY, drawn(TINY, 2))
