"""The tools' part of ``pyahir synth``: scripts for what goes wrong, the real ones for figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from pyahir.backends.vhdl import TOP, to_vhdl
from pyahir.commands.synth import FAMILIES as CHOICES
from pyahir.commands.synth import synth_command
from pyahir.errors import OutputError, PyahirError
from pyahir.sim.run import load_program
from pyahir.sim.tools import ToolError, require_tool
from pyahir.synth import FAMILIES, Resources, area_of, synthesize
from pyahir.synth.cells import SynthesisError
from tests.designs import written
from tests.networks import small

VERILOG = """\
module inner
  (input  clk);
  assign a = b;
endmodule

module top
  (input  clk);
  inner fifo_a (
    .clk(clk));
  always @(posedge clk)
endmodule
"""
STAT = {
    "modules": {
        "\\inner": {"num_cells_by_type": {"FDRE": 4}},
        "\\top": {"num_cells_by_type": {"LUT2": 1, "inner": 1}},
    }
}
LATCH = "Latch inferred for signal `\\inner.\\q' from process `\\inner.1': 2"


def script(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let scripts stand for GHDL and yosys."""
    ghdl = script(tmp_path / "ghdl", f"echo some note >&2\ncat <<'END'\n{VERILOG}END")
    log = f"cat > yosys.log <<'END'\nNo latch inferred for signal `a'\n{LATCH}\nEND\n"
    yosys = script(tmp_path / "yosys", f"{log}cat > cells.json <<'END'\n{json.dumps(STAT)}\nEND")
    monkeypatch.setenv("PYAHIR_GHDL", str(ghdl))
    monkeypatch.setenv("PYAHIR_YOSYS", str(yosys))
    return tmp_path


def test_cells_instances_and_latches_are_read(tools: Path) -> None:
    keep = tools / "kept"
    netlist = synthesize("the VHDL", "top", "xc7", keep=keep)
    assert netlist.cells == {"inner": {"FDRE": 4}, "top": {"LUT2": 1}}
    assert netlist.instances == {"inner": [], "top": [("fifo_a", "inner")]}
    assert netlist.latches == ["inner.\\q"]
    assert set(netlist.seconds) == {"ghdl", "yosys"}
    found = sorted(path.name for path in keep.iterdir())
    assert found == ["cells.json", "design.v", "design.vhd", "yosys.log"]
    assert (keep / "design.vhd").read_text() == "the VHDL"
    assert (keep / "design.v").read_text() == VERILOG


@pytest.mark.parametrize(
    ("name", "body", "message"),
    [
        (
            "ghdl",
            "echo 'a.vhd:3:4: note' >&2\necho 'a.vhd:3:9:error: no' >&2\nexit 1",
            "synth: ghdl --synth failed:\na.vhd:3:9:error: no",
        ),
        ("yosys", "echo 'ERROR: no such cell' >&2\nexit 1", "synth: yosys failed:\nERROR: no such"),
        ("yosys", "exit 4", "synth: yosys failed:\nstatus 4"),
    ],
)
def test_a_tool_that_fails(tools: Path, name: str, body: str, message: str) -> None:
    script(tools / name, body)
    with pytest.raises(SynthesisError) as caught:
        synthesize("the VHDL", "top", "xc7", keep=tools / "kept")
    assert str(caught.value).startswith(message)
    assert (tools / "kept" / "design.vhd").exists()


def test_a_tool_that_does_not_end_is_stopped(tools: Path) -> None:
    script(tools / "yosys", "exec tail -f /dev/null")
    with pytest.raises(SynthesisError, match=r"^synth: yosys took longer than 0\.2 s; give more"):
        synthesize("", "top", "xc7", timeout=0.2)


def test_a_folder_that_cannot_be_made(tools: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot write: the folder .*none does not exist$"):
        synthesize("", "top", "xc7", keep=tools / "none" / "kept")
    (tools / "file").touch()
    with pytest.raises(OutputError, match=r"file: cannot write: File exists$"):
        synthesize("", "top", "xc7", keep=tools / "file")


def test_without_yosys_one_error_says_what_to_do(
    tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYAHIR_YOSYS")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ToolError, match=r"^yosys is not installed: .*PYAHIR_YOSYS"):
        synthesize("", "top", "xc7")


def test_the_command_knows_the_families() -> None:
    assert tuple(FAMILIES) == CHOICES


ECHO = """\
$pipe a : $uint<8> $depth 2
$pipe b : $uint<8> $depth 2
$module [echo] $in () $out () $is
{
  $branchblock [blk] {
    $dopipeline $depth 7 $fullrate
      $merge $entry $loopback
      $endmerge
      x := a
      b := x
    $while 1
  }
}
"""


@pytest.fixture
def real() -> None:
    """Skip where there is no GHDL or no yosys."""
    for name in ("ghdl", "yosys"):
        try:
            require_tool(name)
        except ToolError as error:
            pytest.skip(str(error))


@pytest.mark.ghdl
@pytest.mark.usefixtures("real")
@pytest.mark.parametrize(
    "family",
    [pytest.param(item, marks=pytest.mark.slow if item == "xc7" else ()) for item in FAMILIES],
)
def test_a_text_without_a_manifest(tmp_path: Path, family: str) -> None:
    path = tmp_path / "echo.aa"
    path.write_text(ECHO)
    command = [str(path), "--family", family, "--json"]
    result = CliRunner().invoke(
        synth_command, command, standalone_mode=False, catch_exceptions=False
    )
    report = json.loads(result.output)
    assert set(report["layers"]) == {"other pipes", "other processes", "top"}
    assert [part["name"] for part in report["parts"]] == ["a", "b", "echo", "ahir_system"]
    assert report["total"]["ff"] >= 8
    assert report["latches"] == []


@pytest.mark.ghdl
@pytest.mark.usefixtures("real")
def test_the_table(tmp_path: Path) -> None:
    path = tmp_path / "echo.aa"
    path.write_text(ECHO)
    result = CliRunner().invoke(synth_command, [str(path), "--family", "ice40", "--top-limit", "1"])
    assert "echo.aa on ice40: block RAM in 4 kbit" in result.output
    listed = [name for name in ("pipe a", "pipe b", "process echo") if f" {name} " in result.output]
    assert len(listed) == 1


@pytest.mark.ghdl
@pytest.mark.slow
@pytest.mark.usefixtures("real")
def test_a_network(tmp_path: Path) -> None:
    """Every product of weights takes a DSP block, and deep FIFOs and storages are memories."""
    compiled, path = written(small().graph(), tmp_path)
    layers = {row["name"]: row for row in compiled.manifest["layers"]}
    netlist = synthesize(to_vhdl(load_program(path)), TOP, "xc7", keep=tmp_path / "kept")
    area = area_of(netlist, list(layers), "xc7")
    rows = area.by_row()
    assert sum(rows.values(), Resources()) == area.total
    for name, layer in layers.items():
        # A requantizer's product is wider than one block: four to six each.
        least, most = layer["multipliers"], layer["multipliers"] + 6 * layer["pe"]
        assert least <= rows[name].dsp <= (most if layer["multipliers"] else 0), name
    for part in area.parts:
        if part.kind == "pipe":
            assert part.resources.ff < 40, part
            assert part.resources.ram_lut > 0 or part.name.startswith("go_"), part
        if part.kind == "memory":
            assert part.resources.ram_lut + part.resources.block_ram > 0, part
    assert netlist.latches == []


def test_a_design_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PyahirError, match=r"none\.aa: no such file"):
        CliRunner().invoke(
            synth_command,
            [str(tmp_path / "none.aa")],
            standalone_mode=False,
            catch_exceptions=False,
        )
