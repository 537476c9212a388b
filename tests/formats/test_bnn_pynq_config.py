"""The published networks: their folding, memories, operations and cycles, and config.h."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyahir.errors import ImportModelError
from pyahir.formats.bnn_pynq.config import config_text, parse_config, read_config
from pyahir.formats.bnn_pynq.topology import NETWORKS, Accumulator, Topology, network
from tests.formats.pynq_cases import SMALL, full

# WMEM, TMEM, operations, cycles: as the projects' own config.h files state them.
LFC = [
    (416, 32, 1703936, 416),
    (512, 16, 2097152, 512),
    (512, 32, 2097152, 512),
    (512, 4, 131072, 512),
]
CNV_OPERATIONS = [3110400, 57802752, 21233664, 29491200, 5308416, 1179648, 262144, 524288, 65536]
CNV_W1 = [
    (36, 4, 32400),
    (36, 2, 28224),
    (144, 8, 20736),
    (288, 8, 28800),
    (2304, 64, 20736),
    (18432, 256, 18432),
    (32768, 512, 32768),
    (32768, 512, 32768),
    (8192, 16, 8192),
]
CNV_W2 = [
    (72, 8, 64800),
    (144, 4, 112896),
    (576, 16, 82944),
    (1152, 16, 115200),
    (9216, 64, 82944),
    (73728, 256, 73728),
    (65536, 512, 65536),
    (65536, 256, 65536),
    (8192, 16, 8192),
]


def figures(topology: Topology) -> list[tuple[int, int, int, int]]:
    return [
        (layer.weight_memory, layer.neuron_folds, layer.operations, layer.latency)
        for layer in topology.layers
    ]


@pytest.mark.parametrize("name", ["lfcW1A1", "lfcW1A2"])
def test_lfc_has_the_published_figures(name: str) -> None:
    assert figures(NETWORKS[name]) == LFC


@pytest.mark.parametrize(
    ("name", "memories"), [("cnvW1A1", CNV_W1), ("cnvW1A2", CNV_W1), ("cnvW2A2", CNV_W2)]
)
def test_cnv_has_the_published_figures(name: str, memories: list[tuple[int, int, int]]) -> None:
    expected = [
        (words, folds, operations, cycles)
        for (words, folds, cycles), operations in zip(memories, CNV_OPERATIONS, strict=True)
    ]
    assert figures(NETWORKS[name]) == expected


def test_accumulators_follow_from_the_precision() -> None:
    fixed, popcount, signed = Accumulator.FIXED, Accumulator.POPCOUNT, Accumulator.SIGNED
    found = {
        name: [topology.accumulator(index) for index in range(len(topology.layers))]
        for name, topology in NETWORKS.items()
    }
    assert found == {
        "lfcW1A1": [popcount] * 4,
        "lfcW1A2": [signed] * 4,
        "cnvW1A1": [fixed] + [popcount] * 8,
        "cnvW1A2": [fixed] + [signed] * 8,
        "cnvW2A2": [fixed] + [signed] * 8,
    }


@pytest.mark.parametrize("name", NETWORKS)
def test_config_reads_back(name: str) -> None:
    topology = NETWORKS[name]
    text = config_text(topology)
    assert parse_config(text, name) == topology
    assert f"#define L0_PE {topology.layers[0].pe}\n" in text


@pytest.mark.parametrize("topology", SMALL, ids=lambda topology: topology.name)
def test_small_config_reads_back(topology: Topology) -> None:
    assert parse_config(config_text(topology), topology.name, topology.image) == topology


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.booleans())
def test_every_folding_reads_back(
    simd: int, folds: int, pe: int, rows: int, two_bits: bool
) -> None:
    layer = full(simd * folds, pe * rows, simd, pe, 1 + two_bits, 1 + two_bits)
    topology = Topology(name="one", image=(1, 1, simd * folds), layers=(layer,))
    assert (layer.weight_memory, layer.neuron_folds) == (folds * rows, rows)
    assert parse_config(config_text(topology), "one", topology.image) == topology


def test_config_is_read_from_a_file(tmp_path) -> None:
    path = tmp_path / "config.h"
    path.write_text(config_text(NETWORKS["cnvW2A2"]))
    assert read_config(path).layers == NETWORKS["cnvW2A2"].layers
    with pytest.raises(ImportModelError, match=r"no\.h: no such file; give a config\.h of BNN"):
        read_config(tmp_path / "no.h")


LINES = config_text(NETWORKS["lfcW1A1"])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("L1_WMEM 512", "L1_WMEM 500", "c.h: L1_WMEM is 500; 512 follows from the other macros"),
        ("#define L2_PE 32\n", "", "c.h: L2: the macros PE are not there"),
        (
            "L3_",
            "L4_",
            "c.h: macros of layers [0, 1, 2, 4]; accepted are L0, L1, ... without a gap",
        ),
        ("L1_PE 64", "L1_PE 60", "c.h: layer 1: PE 60 does not divide 1024 outputs"),
        ("L1_SIMD 32", "L1_SIMD 0", "c.h: layer 1: SIMD is 0; it is at least 1"),
        ("L1_MW 1024", "L1_MW 512", "c.h: layer 1: 512 inputs; 1024 come"),
        ("L0_MW 832", "L0_MW 1000", "c.h: L0_MW is 1000: the size of an image is not known"),
        (
            "L1_API 1",
            "L1_API 16",
            "c.h: layer 1: API 16, no thresholds, is for the last layer only",
        ),
        ("L0_WPI 1", "L0_WPI 2", "c.h: layer 0: 64 weights of 2 bits do not fit a word of 64"),
        ("L1_PE 64", "L1_PE 64\n#define L1_PE 64", "c.h: L1_PE is defined twice"),
    ],
)
def test_config_faults_are_named(old: str, new: str, message: str) -> None:
    assert old in LINES
    with pytest.raises(ImportModelError, match=f"^{re.escape(message)}$"):
        parse_config(LINES.replace(old, new), "c.h")


def test_convolution_without_padding_is_checked() -> None:
    text = config_text(NETWORKS["cnvW1A1"]).replace("L1_OFM_DIM 28", "L1_OFM_DIM 30")
    with pytest.raises(ImportModelError, match=r"^c\.h: layer 1: OFM_DIM 30 does not follow from"):
        parse_config(text, "c.h")


def test_network_names_are_known_in_any_case() -> None:
    assert network("CNVw2a2") is NETWORKS["cnvW2A2"]
    message = r"^resnet: not a network of BNN-PYNQ; accepted: lfcW1A1, lfcW1A2, cnvW1A1, cnvW1A2, "
    with pytest.raises(ImportModelError, match=message):
        network("resnet")
