"""External programs: where they are, and running them.

In: a tool's name. Out: its path, or one error that says how to get it. ``PYAHIR_<NAME>`` in the
environment names another executable.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from pyahir.errors import PyahirError

__all__ = ["ToolError", "require_tool", "run_tool"]

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


def run_tool(command: Sequence[str], folder: Path, timeout: float | None = None) -> str:
    """Run a program in a folder; return what it printed, or raise with its last lines."""
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired:
        raise ToolError(f"{' '.join(command[:2])} took longer than {timeout} s") from None
    text = done.stdout + done.stderr
    if done.returncode != 0:
        raise ToolError(f"{' '.join(command)} failed:\n{text[-_MOST_TEXT:]}")
    return text
