"""``pyahir doctor``: what of the programs and packages around pyahir is here, and does it run.

In: PATH and the environment. Out: a table, or JSON. Exit status 0, and 1 only where a part that
every command needs (Python, NumPy, PyTorch) is missing or broken: the other parts are optional, so
a machine without them is a good one.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pyahir.commands.options import json_option
from pyahir.sim.ahir_tools import LIBRARY_FILES, OPTIONAL, REQUIRED, find_library, find_program
from pyahir.sim.tools import ToolError, require_tool

__all__ = ["Row", "Status", "doctor_command", "examine", "examine_extras", "examine_tools"]

_OLDEST = (3, 11)
_TIMEOUT = 60.0
_STYLES = {"found": "green", "missing": "yellow", "broken": "red"}


class Status(Enum):
    """What was found of a part."""

    FOUND = "found"
    MISSING = "missing"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A part: what it is for, and what is wrong with it or how to get it."""

    part: str
    status: Status
    enables: str
    get: str
    version: str = ""
    path: str = ""
    message: str = ""
    required: bool = False

    @property
    def sound(self) -> bool:
        return self.status is Status.FOUND or not self.required


@dataclass(frozen=True, slots=True)
class _Tool:
    """A program that prints its version when asked."""

    name: str
    option: str
    version: re.Pattern[str]
    enables: str
    get: str


_TOOLS = (
    _Tool(
        "ghdl",
        "--version",
        re.compile(r"GHDL (\S+)[\s\S]*?(mcode|llvm|gcc)", re.IGNORECASE),
        "engines ghdl, ahir and verilator; step one of 'pyahir synth'",
        "Debian: apt install ghdl; or set PYAHIR_GHDL",
    ),
    _Tool(
        "yosys",
        "-V",
        re.compile(r"Yosys (\S+)"),
        "'pyahir synth': LUT, FF, DSP and RAM of each layer",
        "Debian: apt install yosys; or set PYAHIR_YOSYS",
    ),
    _Tool(
        "verilator",
        "--version",
        re.compile(r"Verilator (\S+)"),
        "engine verilator, with ghdl, g++ and make: a fast simulation of the same VHDL",
        "Debian: apt install verilator g++ make; or set PYAHIR_VERILATOR",
    ),
)


@click.command("doctor")
@json_option
def doctor_command(as_json: bool) -> int:
    """Show which tools and packages are here, and what each is for."""
    rows = examine()
    code = 0 if all(row.sound for row in rows) else 1
    if as_json:
        parts = [{**asdict(row), "status": row.status.value} for row in rows]
        click.echo(json.dumps({"parts": parts, "sound": code == 0}, sort_keys=True))
    else:
        _show(rows)
    return code


def examine() -> list[Row]:
    """Look at every part."""
    packages = map(_package, ("numpy", "torch"))
    return [_python(), *packages, *examine_tools(), *examine_extras()]


def examine_tools() -> list[Row]:
    """Look at the programs outside Python."""
    return [*map(_tool, _TOOLS), *_ahir()]


def _python() -> Row:
    oldest = ".".join(map(str, _OLDEST))
    old = sys.version_info[:2] < _OLDEST
    return Row(
        part="Python",
        status=Status.BROKEN if old else Status.FOUND,
        version=".".join(map(str, sys.version_info[:3])),
        path=sys.executable,
        enables="everything",
        get=f"Python {oldest} or newer",
        message=f"older than {oldest}" if old else "",
        required=True,
    )


def _package(name: str) -> Row:
    """Import a package in a process of its own: its failure must not be ours."""
    enables = {"numpy": "everything", "torch": "model files: compile, run, verify, evaluate"}[name]
    code = f"import {name}; print({name}.__version__); print({name}.__file__)"
    status, text = _run([sys.executable, "-c", code])
    lines = text.splitlines()
    missing = f"No module named '{name}'" in text
    good = status == 0 and len(lines) >= 2
    return Row(
        part=name,
        status=Status.FOUND if good else Status.MISSING if missing else Status.BROKEN,
        version=lines[-2] if good else "",
        path=str(Path(lines[-1]).parent) if good else "",
        enables=enables,
        get="pip install pyahir",
        message="" if good or missing else (lines or ["it prints nothing"])[-1],
        required=True,
    )


def _tool(tool: _Tool) -> Row:
    def row(status: Status, *, version: str = "", path: str = "", message: str = "") -> Row:
        return Row(
            part=tool.name,
            status=status,
            enables=tool.enables,
            get=tool.get,
            version=version,
            path=path,
            message=message,
        )

    try:
        path = require_tool(tool.name)
    except ToolError as error:
        wrong = "no such executable" in str(error)  # the user's variable names nothing
        return row(Status.BROKEN if wrong else Status.MISSING, message=str(error) if wrong else "")
    status, text = _run([path, tool.option])
    found = tool.version.search(text)
    if status != 0 or found is None:
        return row(Status.BROKEN, path=path, message=_first_line(status, text))
    return row(Status.FOUND, version=" ".join(found.groups()), path=path)


def _ahir() -> list[Row]:
    """Examine AHIR-V2's programs, which print no version option, and the VHDL library."""
    found = {name: find_program(name) for name in (*REQUIRED, *OPTIONAL)}
    here = {name: path for name, path in found.items() if path is not None}
    absent = [name for name in REQUIRED if name not in here]
    faults: list[str] = []
    version = ""
    for name, path in here.items():
        status, text = _run([str(path)])
        if status < 0 or status in (126, 127):
            faults.append(f"{name}: {_first_line(status, text)}")
        commit = re.search(r"commit ([0-9a-f]{10})", text)
        version = version or (commit[1] if commit else "")
    status = Status.BROKEN if faults else Status.MISSING if absent else Status.FOUND
    lacking = [name for name in found if name not in here]
    note = f"not found: {', '.join(lacking)}" if here and lacking else ""
    library = find_library()
    return [
        Row(
            part="AHIR-V2 tools",
            status=status,
            version=version,
            path=", ".join(sorted({str(path.parent) for path in here.values()})),
            enables="engine ahir: somebody else's compiler of Aa",
            get="build AHIR-V2; put its programs on PATH or set PYAHIR_AHIR_BIN to their folder",
            message="; ".join([*faults, *([note] if note else [])]),
        ),
        Row(
            part="AHIR-V2 library",
            status=Status.FOUND if library else Status.MISSING,
            path=str(library or ""),
            enables="engine ahir",
            get=f"set PYAHIR_AHIR_VHDL to the folder of {' and '.join(LIBRARY_FILES)}",
        ),
    ]


def examine_extras(requires: Callable[[], Sequence[str] | None] | None = None) -> list[Row]:
    """Look at what pyahir's own metadata lists as extras, one row an extra."""
    try:
        listed = (requires or (lambda: importlib.metadata.requires("pyahir")))() or []
    except importlib.metadata.PackageNotFoundError:
        return []
    extras: dict[str, list[str]] = {}
    for line in listed:
        found = re.match(r"([\w.-]+).*;.*extra == ['\"]([\w.-]+)['\"]", line)
        if found:
            extras.setdefault(found[2], []).append(found[1])
    return [_extra(name, packages) for name, packages in extras.items()]


def _extra(extra: str, packages: Sequence[str]) -> Row:
    versions: list[str] = []
    missing: list[str] = []
    for package in packages:
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(package)
    return Row(
        part=f"extra '{extra}'",
        status=Status.MISSING if missing else Status.FOUND,
        version=", ".join(versions),
        enables="tests and checks of pyahir itself" if extra == "dev" else f"what '{extra}' names",
        get=f"pip install 'pyahir[{extra}]'",
        message=f"not installed: {', '.join(missing)}" if missing else "",
    )


def _run(command: Sequence[str]) -> tuple[int, str]:
    """Run a program without input; give its status (126: cannot be run) and all it printed."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return 126, f"no answer within {_TIMEOUT:g} s"
    except OSError as error:
        return 126, f"cannot run: {error.strerror}"
    return done.returncode, done.stdout + done.stderr


def _first_line(status: int, text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    ended = f"killed by signal {-status}" if status < 0 else f"status {status}"
    return lines[0] if lines else f"it prints nothing ({ended})"


def _show(rows: Sequence[Row]) -> None:
    table = Table(title="pyahir doctor", title_justify="left", header_style="bold")
    for column in ("part", "status", "version and path", "what it enables, how to get it"):
        table.add_column(column, no_wrap=column in ("part", "status"), overflow="fold")
    for row in rows:
        where = "\n".join(escape(text) for text in (row.version, row.path) if text)
        what = [row.enables] if row.status is Status.FOUND else [row.enables, f"-> {row.get}"]
        if row.message:
            what.append(row.message)
        style = _STYLES[row.status.value]
        if not row.sound:
            style = "bold red"
        status = f"[{style}]{row.status.value}[/]"
        table.add_row(row.part, status, where, "\n".join(map(escape, what)))
    Console(width=None if sys.stdout.isatty() else 110).print(table)
