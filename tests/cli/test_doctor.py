"""``pyahir doctor``: found, missing and broken parts, and its exit status."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from pyahir.commands import doctor
from pyahir.commands.doctor import Status, doctor_command


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No tool is on PATH, and no variable names one."""
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("GHDL", "YOSYS", "VERILATOR", "AHIR_BIN", "AHIR_VHDL"):
        monkeypatch.delenv(f"PYAHIR_{name}", raising=False)


def script(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def parts() -> dict[str, doctor.Row]:
    return {row.part: row for row in doctor.examine_tools()}


def test_without_tools_all_are_missing_and_that_is_no_failure() -> None:
    result = CliRunner().invoke(doctor_command, ["--json"], standalone_mode=False)
    report: dict[str, Any] = json.loads(result.output)
    found = {part["part"]: part for part in report["parts"]}
    assert (result.return_value, report["sound"]) == (0, True)
    for name in ("ghdl", "yosys", "verilator", "AHIR-V2 tools", "AHIR-V2 library"):
        assert found[name]["status"] == "missing"
        assert found[name]["get"]
        assert found[name]["enables"]
    assert found["Python"]["path"] == sys.executable
    assert found["numpy"]["version"] == np.__version__
    assert found["torch"]["status"] == "found"


@pytest.mark.parametrize(
    ("name", "printed", "version"),
    [
        ("ghdl", "GHDL 2.0.0 (Debian) [Dunoon edition]\n mcode code generator", "2.0.0 mcode"),
        ("ghdl", "GHDL 4.1.0 (tarball)\n llvm 14.0.6 code generator", "4.1.0 llvm"),
        ("ghdl", "GHDL 3.0\n GCC 12 code generator", "3.0 GCC"),
        ("yosys", "Yosys 0.23 (git sha1 7ce5011c24b)", "0.23"),
        ("verilator", "Verilator 5.006 2023-01-22 rev (Debian)", "5.006"),
    ],
)
def test_a_tool_is_found(tmp_path: Path, name: str, printed: str, version: str) -> None:
    path = script(tmp_path / name, f"echo '{printed}'")
    row = parts()[name]
    assert (row.status, row.version, row.path) == (Status.FOUND, version, str(path))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("echo 'error while loading shared libraries' >&2; exit 127", "error while loading shared"),
        ("exit 3", "it prints nothing (status 3)"),
        ("kill -SEGV $$", "it prints nothing (killed by signal 11)"),
        ("echo 'another program'", "another program"),
    ],
)
def test_a_tool_that_does_not_run_is_broken(tmp_path: Path, body: str, message: str) -> None:
    script(tmp_path / "yosys", body)
    row = parts()["yosys"]
    assert row.status is Status.BROKEN
    assert row.message.startswith(message)
    assert row.sound  # it is optional


def test_a_variable_that_names_nothing_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYAHIR_GHDL", "/nowhere/ghdl")
    row = parts()["ghdl"]
    assert (row.status, row.message) == (
        Status.BROKEN,
        "PYAHIR_GHDL=/nowhere/ghdl: no such executable; accepted: the path of ghdl",
    )


def test_some_of_the_ahir_tools(tmp_path: Path) -> None:
    for name in doctor.REQUIRED[1:]:
        script(tmp_path / name, "echo 'Info: built on AHIR commit 0123456789abcdef' >&2; exit 1")
    row = parts()["AHIR-V2 tools"]
    assert row.status is Status.MISSING
    assert (row.version, row.path) == ("0123456789", str(tmp_path))
    assert row.message == "not found: AaLinkExtMem, AaOpt"
    script(tmp_path / doctor.REQUIRED[0], "exit 127")
    row = parts()["AHIR-V2 tools"]
    assert row.status is Status.BROKEN
    assert row.message.startswith("AaLinkExtMem: it prints nothing (status 127); not found: AaOpt")


def test_the_ahir_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYAHIR_AHIR_VHDL", str(tmp_path))
    assert parts()["AHIR-V2 library"].status is Status.MISSING
    for name in doctor.LIBRARY_FILES:
        (tmp_path / name).touch()
    row = parts()["AHIR-V2 library"]
    assert (row.status, row.path) == (Status.FOUND, str(tmp_path))


def test_a_required_package_that_fails_is_status_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy.py").write_text("raise ImportError('wrong machine')\n")
    (tmp_path / "torch.py").write_text("__version__ = '0'\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    result = CliRunner().invoke(doctor_command, [], standalone_mode=False)
    assert result.return_value == 1
    assert "ImportError: wrong machine" in result.output


def test_extras_come_from_the_metadata() -> None:
    listed = ["numpy>=2", "click>=8; extra == 'one'", 'no-such-package>=1; extra == "two"']
    one, two = doctor.examine_extras(lambda: listed)
    assert (one.part, one.status) == ("extra 'one'", Status.FOUND)
    assert one.version.startswith("click 8")
    assert (two.part, two.status, two.get) == (
        "extra 'two'",
        Status.MISSING,
        "pip install 'pyahir[two]'",
    )
    assert two.message == "not installed: no-such-package"


def test_the_table_says_how_to_get_what_is_missing() -> None:
    result = CliRunner().invoke(doctor_command, [], standalone_mode=False)
    text = " ".join(result.output.replace("│", " ").split())
    assert "yosys missing" in text
    assert "apt install yosys" in text
    assert "pip install pyahir " not in text  # what is found needs no advice
