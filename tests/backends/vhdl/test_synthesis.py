"""GHDL's synthesis takes what the back end writes: it knows fewer functions than its simulator."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyahir.backends.vhdl import TOP, to_vhdl
from pyahir.sim import require_tool
from pyahir.sim.tools import run_tool
from tests.semantics.every import BATCHES
from tests.semantics.table import Part, program

pytestmark = pytest.mark.ghdl

PARTS = {
    next(iter(part.cases)): part for batch in BATCHES if not batch.heavy for part in batch.parts
}
# GHDL 2.0 stops with an error of its own (netlists-builders) on operators of one bit.
BROKEN = ("uint1-volatile_bitmap_turn", "int1-volatile_bitmap_turn")
ONCE_REFUSED = (
    "int8-volatile_bitmap_turn",  # rotation of signed words
    "literal_uint8-parameter_mul",  # xnor of two constants
    "end_once",  # a constant as condition of a loop
    "if_literal",
    "storage_scalar",  # an array of one word
    "storage_of_one_word",
)


def check(part: Part, folder: Path) -> None:
    (folder / "design.vhd").write_text(to_vhdl(program(part)))
    command = [require_tool("ghdl"), "--synth", "--std=08", "--out=verilog", "design.vhd"]
    assert f"module {TOP}\n" in run_tool([*command, "-e", TOP], folder, only_output=True)


@pytest.mark.parametrize("name", ONCE_REFUSED)
def test_what_was_refused(tmp_path: Path, name: str) -> None:
    check(PARTS[name], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in PARTS if name not in BROKEN])
def test_every_program_of_the_table(tmp_path: Path, name: str) -> None:
    check(PARTS[name], tmp_path)
