"""Waves, fill levels, versions: what a run leaves beside words."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyahir.backends.aa.parser import parse
from pyahir.backends.vhdl import to_vhdl
from pyahir.errors import OutputError
from pyahir.sim import GhdlEngine, SimulationError, Stalls, simulate
from pyahir.sim.monitor import PipeFill, probed
from pyahir.sim.tools import ToolError, ghdl_version
from tests.designs import written
from tests.networks import small
from tests.sim.programs import PAIR_SUM, TWO_WAYS

HEADS = {".vcd": b"$date", ".ghw": b"GHDLwave\n", ".fst": b"\xfe"}  # GHDL packs the whole .fst file


@pytest.mark.ghdl
@pytest.mark.parametrize("suffix", HEADS)
def test_waves_of_every_kind(tmp_path: Path, suffix: str) -> None:
    wave = tmp_path / f"run{suffix}"
    wave.write_bytes(b"an older file")
    simulate(parse(PAIR_SUM), {"x": [1, 2]}, {"y": 2}, wave=wave)
    assert wave.read_bytes().startswith(HEADS[suffix])
    assert [path.name for path in tmp_path.iterdir()] == [wave.name]


@pytest.mark.ghdl
def test_names_in_the_waves_are_those_of_the_network(tmp_path: Path) -> None:
    _, path = written(small().graph(), tmp_path)
    engine = GhdlEngine.open(path)
    engine.run(small().images(1), wave=tmp_path / "run.vcd")
    rows = [row.split() for row in (tmp_path / "run.vcd").read_text().splitlines()]
    scopes = {row[2] for row in rows if row[:1] == ["$scope"]}
    pipes = {f"fifo_{pipe.name}" for pipe in engine.program.pipes()}
    modules = {f"u_m_{module.name}" for module in engine.program.modules()}
    assert pipes <= scopes
    assert len(scopes & modules) >= 5  # the modules that are called are inside their callers
    assert any("conv1" in module for module in scopes & modules)


@pytest.mark.ghdl
def test_a_failed_run_leaves_the_older_file(tmp_path: Path) -> None:
    wave = tmp_path / "run.vcd"
    wave.write_text("older")
    program = parse(PAIR_SUM)
    broken = to_vhdl(program).replace("last <= last + 1;", "last <= last - 1;")
    with pytest.raises(ToolError):
        simulate(program, {"x": [1, 2, 3]}, {"y": 3}, vhdl=broken, wave=wave)
    assert wave.read_text() == "older"
    assert [path.name for path in tmp_path.iterdir()] == ["run.vcd"]


@pytest.mark.ghdl
def test_a_deadlock_leaves_its_waves(tmp_path: Path) -> None:
    """Nothing is broken in that run, and the waves are what the user needs."""
    wave = tmp_path / "run.ghw"
    with pytest.raises(SimulationError):
        simulate(parse(TWO_WAYS), {"p": [1] * 9}, {"o": 1}, wave=wave, patience=50)
    assert wave.read_bytes().startswith(HEADS[".ghw"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("run.gif", "no kind of waves ends in '.gif'; accepted: .vcd, .ghw, .fst"),
        ("run", "no kind of waves ends in ''; accepted: .vcd, .ghw, .fst"),
        ("none/run.vcd", "cannot write: the folder {folder}/none does not exist"),
    ],
)
def test_waves_that_cannot_be_written_are_refused(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(OutputError) as caught:
        simulate(parse(PAIR_SUM), {"x": [1]}, {"y": 1}, wave=tmp_path / name)
    assert str(caught.value) == f"{tmp_path / name}: {message.format(folder=tmp_path)}"


@pytest.mark.ghdl
def test_fills_are_measured() -> None:
    program = parse(PAIR_SUM)
    words = list(range(10))
    found = simulate(program, {"x": words}, {"y": 10}, monitor=True)
    fill = found.fills["y"]
    last = found.cycles["y"][-1]
    assert fill == PipeFill("y", 2, 1, 0, found.cycles["y"][0] - 1, last, 10, 0)
    assert found.fills["x"].first_cycle == found.taken["x"][0]
    slow = simulate(program, {"x": words}, {"y": 10}, monitor=True, stalls=Stalls(3, outputs=0.8))
    assert slow.outputs == found.outputs
    assert slow.fills["y"].peak == 2
    assert slow.fills["y"].full > 10
    assert simulate(program, {"x": words}, {"y": 10}).cycles == found.cycles


@pytest.mark.ghdl
def test_a_probe_needs_a_fifo() -> None:
    program = parse(PAIR_SUM)
    text = to_vhdl(program).replace("aa_fifo", "my_fifo")
    assert probed(text) is None
    with pytest.raises(SimulationError) as caught:
        simulate(program, {"x": [1]}, {"y": 1}, vhdl=text, monitor=True)
    assert str(caught.value) == "monitor: the VHDL has no entity 'aa_fifo' to look at"


@pytest.mark.ghdl
def test_the_version_of_ghdl() -> None:
    found = ghdl_version()
    assert found.version[0].isdigit()
    assert found.backend in ("mcode", "llvm", "gcc")


@pytest.mark.parametrize(
    ("printed", "backend"),
    [
        ("GHDL 2.0.0 (Debian) [Dunoon edition]\n mcode code generator\n", "mcode"),
        ("GHDL 4.1.0 (tarball)\n static elaboration, mcode JIT code generator\n", "mcode"),
        ("GHDL 2.0.0 (Debian)\n llvm 14.0.6 code generator\n", "llvm"),
        ("GHDL 1.0.0 (Debian)\n GCC 10.2.1 code generator\n", "gcc"),
        ("GHDL 3.0.0 (Debian)\n GCC back-end code generator\n", "gcc"),
    ],
)
def test_kinds_of_ghdl(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: str, backend: str
) -> None:
    fake = tmp_path / "ghdl"
    fake.write_text(f"#!/bin/sh\ncat <<'END'\n{printed}END\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PYAHIR_GHDL", str(fake))
    found = ghdl_version()
    assert (found.path, found.backend) == (str(fake), backend)
    assert str(found) == f"GHDL {found.version} ({backend}), {fake}"


def test_what_is_no_ghdl_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "ghdl"
    fake.write_text("#!/bin/sh\necho hello\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PYAHIR_GHDL", str(fake))
    with pytest.raises(ToolError) as caught:
        ghdl_version()
    assert str(caught.value) == (
        f"{fake} --version printed ['hello']; accepted: GHDL with mcode, llvm or gcc; "
        "set PYAHIR_GHDL to its path"
    )
