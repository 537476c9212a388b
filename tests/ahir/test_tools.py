"""Reading what tools print: scripts stand for the AHIR-V2 tools, so that these run everywhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pyahir.backends.aa.parser import parse
from pyahir.sim.ahir import analysed_library, roots
from pyahir.sim.ahir_tools import (
    LIBRARY_FILES,
    OPTIONAL,
    REQUIRED,
    AhirDesign,
    AhirError,
    AhirMissing,
    AhirTools,
    find_ahir,
    to_ahir_vhdl,
)
from pyahir.sim.testbench import SimulationError
from pyahir.sim.tools import ToolError

TEXT = "first line\n  second line\nthird line\n"
VHDL = "for part in system system_global_package; do echo $part > ahir_$part.unformatted_vhdl; done"
HARMLESS = """\
echo 'Info: Added module error_counter' >&2
printf '\\terror\\n' >&2
echo 'Warning: errors are not expected here' >&2
"""


@pytest.fixture
def tools(tmp_path: Path) -> AhirTools:
    """Give tools that copy their input and say nothing."""
    folder = tmp_path / "bin"
    folder.mkdir()
    made = AhirTools({name: folder / name for name in (*REQUIRED, *OPTIONAL)}, tmp_path)
    for name in made.programs:
        script(made, name, "cat" if name.endswith("Format") else 'cat "$(ls -t *.aa | tail -1)"')
    script(made, "vc2vhdl", VHDL)
    return made


def script(tools: AhirTools, name: str, body: str) -> None:
    path = tools.programs[name]
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def compiled(tools: AhirTools, timeout: float = 60.0) -> AhirDesign:
    return to_ahir_vhdl(TEXT, ["m"], tools, label="net.aa", timeout=timeout)


def test_the_package_goes_before_the_system(tools: AhirTools) -> None:
    design = compiled(tools)
    assert design.vhdl == "system_global_package\nsystem\n"
    assert design.lines == 2
    assert design.seconds > 0


@pytest.mark.parametrize("tool", REQUIRED)
def test_information_and_names_are_no_errors(tools: AhirTools, tool: str) -> None:
    path = tools.programs[tool]
    path.write_text(path.read_text().replace("#!/bin/sh\n", f"#!/bin/sh\n{HARMLESS}"))
    assert compiled(tools).lines == 2


@pytest.mark.parametrize(
    ("tool", "printed", "message"),
    [
        (
            "AaLinkExtMem",
            "AaLinkExtMem Error: Parsing Exception: design.aa:2:17: unexpected token: )",
            "Parsing Exception: net.aa:2:17: unexpected token: )\n    second line",
        ),
        (
            "AaLinkExtMem",
            "AaLinkExtMem Error: did not find object reference z: file design.aa, line 3",
            "object reference z: file net.aa, line 3\n    third line",
        ),
        ("AaLinkExtMem", "Error: design.aa:99:1: expecting WHILE", "net.aa:99:1: expecting WHILE"),
        ("AaOpt", "in AaOpt: segmentation fault! giving up!!", "giving up!!"),
        ("Aa2VC", "Error: zero-delay path: file linked.aa, line 1", "line 1\n    first line"),
        ("Aa2VC", "AaExpression.cpp:1978: Assertion `o != NULL' failed.", "Assertion `o != NULL'"),
        ("vc2vhdl", "There were errors during elaboration ... will not print VHDL", "elaboration"),
        ("vhdlFormat", "Exception at the end of the file", "Exception at the end"),
    ],
)
def test_a_printed_error_is_one_although_the_status_is_0(
    tools: AhirTools, tool: str, printed: str, message: str
) -> None:
    script(tools, tool, f"cat > copy\ncat <<'END' >&2\n{HARMLESS}{printed}\nEND\nexit 0")
    with pytest.raises(AhirError, match=f"^{tool} refuses net.aa:\n") as caught:
        to_ahir_vhdl(TEXT, ["m"], tools, label="net.aa", optimise=())
    assert message in str(caught.value)
    assert "error_counter" not in str(caught.value)


def test_errors_on_the_standard_output_of_vc2vhdl_are_read(tools: AhirTools) -> None:
    script(tools, "vc2vhdl", f"{VHDL}\necho 'Error: did not find wire b_a'")
    with pytest.raises(AhirError, match=r"^vc2vhdl refuses net\.aa:\n  Error: did not find wire"):
        compiled(tools)


def test_only_the_first_messages_are_shown(tools: AhirTools) -> None:
    lines = "\n".join(f"echo 'Error: number {number}' >&2" for number in range(8))
    script(tools, "Aa2VC", lines)
    with pytest.raises(AhirError, match=r"number 4\n  and 3 more$") as caught:
        compiled(tools)
    assert "number 5" not in str(caught.value)


def test_a_status_without_a_message_is_an_error(tools: AhirTools) -> None:
    script(tools, "Aa2VC", "echo the last words >&2\nexit 3")
    expected = "Aa2VC refuses net.aa:\n  it ended with status 3\n  the last words"
    with pytest.raises(AhirError, match=f"^{re.escape(expected)}$"):
        compiled(tools)


def test_no_vhdl_is_an_error(tools: AhirTools) -> None:
    script(tools, "vc2vhdl", "exit 0")
    with pytest.raises(AhirError, match=r"^vc2vhdl printed no error for net\.aa and made no ahir_"):
        compiled(tools)


def test_a_tool_that_does_not_end_is_stopped(tools: AhirTools) -> None:
    script(tools, "Aa2VC", "exec tail -f /dev/null")
    with pytest.raises(AhirError, match=r"^Aa2VC took longer than 2 s for net\.aa: stopped$"):
        compiled(tools, timeout=2)


def test_a_file_that_is_no_program_is_named(tools: AhirTools) -> None:
    tools.programs["Aa2VC"].write_bytes(b"\x00\x01")
    with pytest.raises(AhirError, match=r"^/.*/Aa2VC: cannot run: Exec format error$"):
        compiled(tools)


def test_the_optimiser_must_be_there_when_asked_for(tools: AhirTools) -> None:
    bare = AhirTools({name: tools.programs[name] for name in REQUIRED}, tools.library)
    with pytest.raises(AhirMissing, match=r"^no AaOpt beside the AHIR-V2 tools: add it, or"):
        to_ahir_vhdl(TEXT, ["m"], bare, optimise=())


def test_missing_tools_are_listed_with_what_to_set(
    tools: AhirTools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "bin"
    monkeypatch.setenv("PYAHIR_AHIR_BIN", str(folder))
    monkeypatch.delenv("PYAHIR_AHIR_VHDL", raising=False)
    tools.programs["Aa2VC"].unlink()
    with pytest.raises(AhirMissing) as caught:
        find_ahir()
    assert str(caught.value) == (
        f"the AHIR-V2 tools are not complete: no Aa2VC in PYAHIR_AHIR_BIN={folder}; set "
        f"PYAHIR_AHIR_BIN to the folder of {', '.join(REQUIRED)}; no VHDL library: "
        "PYAHIR_AHIR_VHDL is not set; set it to the folder of aHiR_ieee_proposed.vhdl and ahir.vhdl"
    )


def test_tools_are_found_on_path_and_by_their_variables(
    tools: AhirTools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYAHIR_AHIR_VHDL", str(tmp_path))
    monkeypatch.delenv("PYAHIR_AHIR_BIN", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(AhirMissing, match=rf"PYAHIR_AHIR_VHDL={tmp_path} lacks one"):
        find_ahir()
    library(tmp_path)
    assert find_ahir() == AhirTools(dict(tools.programs), tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(AhirMissing, match=r"no AaLinkExtMem, .* on PATH \(PYAHIR_AHIR_BIN not set"):
        find_ahir()
    monkeypatch.setenv("PYAHIR_AHIR_BIN", str(tmp_path / "bin"))
    assert find_ahir().programs == tools.programs


def library(folder: Path, value: int = 1) -> None:
    """Write two packages of AHIR's names, the second using the first."""
    first, second = LIBRARY_FILES
    (folder / first).write_text(
        f"package one is\n  constant value : integer := {value};\nend package;\n"
    )
    (folder / second).write_text(
        "library ahir_ieee_proposed;\nuse ahir_ieee_proposed.one.all;\n"
        "package two is\n  constant twice : integer := 2 * value;\nend package;\n"
    )


@pytest.mark.ghdl
def test_the_library_is_analysed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    library(tmp_path)
    folder = analysed_library(tmp_path)
    stamps = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert "ahir-obj93.cf" in stamps
    assert analysed_library(tmp_path) == folder
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == stamps
    library(tmp_path, value=2)
    other = analysed_library(tmp_path)
    assert other != folder
    assert sorted((cache / "pyahir").iterdir()) == sorted([folder, other])


@pytest.mark.ghdl
def test_a_broken_library_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    library(tmp_path)
    (tmp_path / LIBRARY_FILES[1]).write_text("package two is\n")
    with pytest.raises(ToolError, match=r"ahir\.vhdl failed:\n"):
        analysed_library(tmp_path)
    assert list((tmp_path / "pyahir").iterdir()) == []


MODULES = (
    "$pipe p : $uint<8> $depth 2\n$pipe o : $uint<8> $depth 2\n"
    "$module [twice] $in (a : $uint<8>) $out (b : $uint<8>) $is\n{ b := (a + a) }\n"
    "$module [main] $in () $out () $is\n{\n  x := p\n CALL\n  o := y\n}\n"
)


def test_roots_are_the_modules_that_nobody_calls() -> None:
    program = parse(MODULES.replace("CALL", "$call twice (x) (y)"), "m.aa")
    assert roots(program) == ["main"]


def test_a_root_has_no_arguments() -> None:
    program = parse(MODULES.replace("CALL", "y := x"), "m.aa")
    with pytest.raises(SimulationError, match=r"^engine ahir: no module calls 'twice', and it has"):
        roots(program)
