"""Whose the cells are, and what they cost: no tools needed."""

from __future__ import annotations

import pytest

from pyahir.synth import FAMILIES, Netlist, Resources, area_of, resources_of
from pyahir.synth.cells import SynthesisError

CELLS = {
    "ahir_system": {"LUT2": 3},
    "m_mv_conv1": {"LUT6": 10, "FDRE": 7, "DSP48E1": 2, "CARRY4": 4},
    "m_mv_conv1_a": {"LUT6": 20},
    "m_load_weights": {"FDRE": 100},
    "aa_fifo_8_4": {"RAM32M": 2, "FDSE": 1},
    "aa_memory_8_108_7": {"RAMB18E1": 1, "RAMB36E1": 2},
    "inner": {"LUT1": 5},
}
INSTANCES = {
    "ahir_system": [
        ("fifo_x_in", "aa_fifo_8_4"),
        ("fifo_col_conv1", "aa_fifo_8_4"),
        ("memory_w_conv1", "aa_memory_8_108_7"),
        ("u_m_mv_conv1", "m_mv_conv1"),
        ("u_m_mv_conv1_a", "m_mv_conv1_a"),
        ("u_m_load_weights", "m_load_weights"),
    ],
    "m_mv_conv1": [("one", "inner"), ("two", "inner")],
    **{name: [] for name in CELLS if name not in ("ahir_system", "m_mv_conv1")},
}
NETLIST = Netlist("ahir_system", CELLS, INSTANCES, [], {})


def test_parts_go_to_the_longest_layer_in_their_name() -> None:
    rows = area_of(NETLIST, ["conv1", "conv1_a", "pool2"], "xc7").by_row()
    fifo = Resources(lut=8, ram_lut=8, ff=1)
    assert rows == {
        "conv1": fifo + Resources(lut=20, ff=7, dsp=2, block_ram=5),
        "conv1_a": Resources(lut=20),
        "pool2": Resources(),
        "other pipes": fifo,
        "other processes": Resources(ff=100),
        "top": Resources(lut=3),
    }


def test_rows_and_kinds_add_up_to_the_total() -> None:
    area = area_of(NETLIST, ["conv1"], "xc7")
    assert area.total == Resources(lut=59, ram_lut=16, ff=109, dsp=2, block_ram=5)
    for rows in (area.by_row(), area.by_kind()):
        assert sum(rows.values(), Resources()) == area.total
    assert list(area.by_kind()) == ["process", "pipe", "memory", "top"]


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("mv_conv1", "conv1"),
        ("conv1_out", "conv1"),
        ("a_conv1_b", "conv1"),
        ("mv_conv11", "other pipes"),
        ("xconv1", "other pipes"),
    ],
)
def test_a_layer_is_whole_words_of_a_name(name: str, row: str) -> None:
    netlist = Netlist("t", {"t": {}, "f": {}}, {"t": [(f"fifo_{name}", "f")], "f": []}, [], {})
    assert area_of(netlist, ["conv1"], "xc7").parts[0].row == row


@pytest.mark.parametrize(
    ("family", "cell", "cost"),
    [
        ("xc7", "FDRE_1", Resources(ff=1)),
        ("xc7", "LDCE", Resources(latch=1)),
        ("xc7", "RAM64M", Resources(lut=4, ram_lut=4)),
        ("xc7", "MUXF7", Resources()),
        ("ice40", "SB_DFFESR", Resources(ff=1)),
        ("ice40", "SB_RAM40_4K", Resources(block_ram=1)),
        ("ecp5", "CCU2C", Resources(lut=2)),
        ("ecp5", "TRELLIS_DPR16X4", Resources(lut=4, ram_lut=4)),
    ],
)
def test_costs(family: str, cell: str, cost: Resources) -> None:
    assert resources_of(family, {cell: 3}) == cost.times(3)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_cell_that_nobody_weighed_is_an_error(family: str) -> None:
    with pytest.raises(SynthesisError, match=r"^synth: yosys made 2 cells 'NOVEL'; known are "):
        resources_of(family, {"NOVEL": 2})


def test_a_module_without_statistics_is_an_error() -> None:
    netlist = Netlist("t", {"t": {}}, {"t": [("fifo_a", "f")], "f": []}, [], {})
    with pytest.raises(SynthesisError, match=r"^synth: yosys gave no statistics of .* 'f'$"):
        area_of(netlist, [], "xc7")
