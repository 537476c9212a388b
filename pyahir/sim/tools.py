"""External programs: where they are, and running them.

In: a tool's name. Out: its path, or one error that says how to get it. ``PYAHIR_<NAME>`` in the
environment names another executable.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pyahir.errors import PyahirError

__all__ = ["GhdlVersion", "ToolError", "ghdl_version", "require_tool", "run_tool"]

_MOST_TEXT = 2000


class ToolError(PyahirError):
    """An external program that is missing or that failed.

    Cause: the program is not installed, or it refused what pyahir gave it.
    Example: ``ghdl is not installed: ... or set PYAHIR_GHDL to its path``.
    Fix: install it (Debian: ``apt install ghdl``) or name it as the message says.
    """


def require_tool(name: str) -> str:
    """Return the path of an executable; ``PYAHIR_<NAME>`` overrides the search."""
    variable = f"PYAHIR_{name.upper()}"
    wanted = os.environ.get(variable)
    found = shutil.which(wanted or name)
    if found is None and wanted:
        raise ToolError(f"{variable}={wanted}: no such executable; accepted: the path of {name}")
    if found is None:
        raise ToolError(f"{name} is not installed: install it or set {variable} to its path")
    return found


def run_tool(
    command: Sequence[str],
    folder: Path,
    timeout: float | None = None,
    *,
    only_output: bool = False,
) -> str:
    """Run a program in a folder; return what it printed, or raise with its last lines.

    ``only_output`` leaves out what it printed as messages.
    """
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired:
        raise ToolError(f"{' '.join(command[:2])} took longer than {timeout} s") from None
    text = done.stdout + done.stderr
    if done.returncode != 0:
        raise ToolError(f"{' '.join(command)} failed:\n{text[-_MOST_TEXT:]}")
    return done.stdout if only_output else text


@dataclass(frozen=True, slots=True)
class GhdlVersion:
    """Which GHDL there is: ``backend`` is mcode, llvm or gcc, the kind of its code generator."""

    path: str
    version: str
    backend: str

    def __str__(self) -> str:
        return f"GHDL {self.version} ({self.backend}), {self.path}"


def ghdl_version() -> GhdlVersion:
    """Ask the GHDL that ``require_tool`` finds for its version and its code generator."""
    path = require_tool("ghdl")
    text = run_tool([path, "--version"], Path.cwd(), timeout=20)
    version = re.match(r"GHDL (\S+)", text)
    backend = re.search(r"\b(mcode|llvm|gcc)\b.*(code generator|jit)", text, re.IGNORECASE)
    backend = backend or re.search(r"\b(mcode|llvm|gcc)\b", text, re.IGNORECASE)
    if version is None or backend is None:
        raise ToolError(
            f"{path} --version printed {text.splitlines()[:1]}; accepted: GHDL with mcode, llvm "
            "or gcc; set PYAHIR_GHDL to its path"
        )
    return GhdlVersion(path, version[1], backend[1].lower())
