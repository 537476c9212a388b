"""Runs a testbench in GHDL: analyse, elaborate, run; and the file of waves.

In: a folder with VHDL files, in order of analysis. Out: the seconds of the run; the files that the
testbench writes, and waves where the user wants them. The same three commands serve every code
generator: with mcode ``-e`` checks and ``-r`` compiles in memory, with LLVM and GCC ``-e`` links an
executable in the folder and ``-r`` starts it.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Generator, Sequence
from pathlib import Path

from pyahir.errors import OutputError
from pyahir.sim.tools import require_tool, run_tool

__all__ = ["OUR_STANDARD", "WAVES", "check_wave", "run_ghdl"]

OUR_STANDARD = ("--std=08",)
WAVES = {".vcd": "--vcd", ".ghw": "--wave", ".fst": "--fst"}


def check_wave(path: Path) -> str:
    """Give GHDL's option for a file of waves; refuse a suffix that is none of them."""
    if path.suffix not in WAVES:
        raise OutputError(
            f"{path}: no kind of waves ends in '{path.suffix}'; accepted: {', '.join(WAVES)}"
        )
    if not path.parent.is_dir():
        raise OutputError(f"{path}: cannot write: the folder {path.parent} does not exist")
    if path.is_dir():
        raise OutputError(f"{path}: cannot write: it is a folder; name a file")
    return WAVES[path.suffix]


def run_ghdl(
    folder: Path,
    files: Sequence[str] = ("design.vhd", "testbench.vhd"),
    *,
    options: Sequence[str] = OUR_STANDARD,
    wave: Path | None = None,
) -> float:
    """Analyse ``files``, elaborate and run ``testbench``; return the seconds of the last two.

    Elaboration and run are one command: a GHDL that makes code in memory elaborates in any case.
    """
    ghdl = require_tool("ghdl")
    run_tool([ghdl, "-a", *options, *files], folder)
    with _whole_file(wave) as extra:
        start = time.perf_counter()
        run = [ghdl, "--elab-run", *options, "testbench", "--ieee-asserts=disable-at-0", *extra]
        run_tool(run, folder)
        return time.perf_counter() - start


@contextlib.contextmanager
def _whole_file(wave: Path | None) -> Generator[list[str]]:
    """Give the option that makes GHDL write waves beside ``wave``; move them there at the end."""
    if wave is None:
        yield []
        return
    option = check_wave(wave)
    try:
        handle, name = tempfile.mkstemp(
            dir=wave.parent.resolve(), prefix=f".{wave.stem}.", suffix=wave.suffix
        )
    except OSError as error:
        raise OutputError(
            f"{wave}: cannot write: {error.strerror}; choose another folder"
        ) from None
    os.close(handle)
    try:
        yield [f"{option}={name}"]
        os.chmod(name, 0o644)
        os.replace(name, wave)
    finally:
        Path(name).unlink(missing_ok=True)
        Path(f"{name}.hier").unlink(missing_ok=True)  # GHDL's second file beside .fst
