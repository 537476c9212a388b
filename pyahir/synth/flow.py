"""VHDL through ``ghdl --synth`` and yosys, module by module: the hierarchy is kept.

In: VHDL text and a family. Out: ``Netlist``: the cells of each module, and its instances. The
Verilog, yosys's log and its statistics can be kept. Not here: what cells cost (``cells``).
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyahir.errors import OutputError
from pyahir.sim.ghdl import OUR_STANDARD
from pyahir.sim.tools import require_tool
from pyahir.sim.verilog import mended
from pyahir.synth.cells import FAMILIES, SynthesisError
from pyahir.synth.products import narrow_products

__all__ = ["Netlist", "synthesize"]

KEPT = ("design.vhd", "design.v", "yosys.log", "cells.json")
_MOST_TEXT = 1500
_MODULE = re.compile(r"^module (\w+)\n", re.MULTILINE)
_INSTANCE = re.compile(r"^  (\w+) (\w+) \(\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Netlist:
    """Cells of each module by type, and its instances: name and module, in the text's order."""

    top: str
    cells: Mapping[str, Mapping[str, int]]
    instances: Mapping[str, Sequence[tuple[str, str]]]
    latches: Sequence[str]
    seconds: Mapping[str, float]


def synthesize(
    vhdl: str,
    top: str,
    family: str,
    *,
    keep: Path | None = None,
    timeout: float = 3600.0,
) -> Netlist:
    """Map a design to the cells of a family; ``timeout`` is for each of the two tools."""
    ghdl, yosys = require_tool("ghdl"), require_tool("yosys")
    if keep is not None and not keep.parent.is_dir():
        raise OutputError(f"{keep}: cannot write: the folder {keep.parent} does not exist")
    with tempfile.TemporaryDirectory(prefix="pyahir_synth_") as name:
        folder = Path(name)
        (folder / "design.vhd").write_text(vhdl, encoding="utf-8")
        try:
            return _run(folder, (ghdl, yosys), top, family, timeout)
        finally:
            if keep is not None:
                _keep(folder, keep)


def _run(folder: Path, tools: tuple[str, str], top: str, family: str, timeout: float) -> Netlist:
    command = [tools[0], "--synth", *OUR_STANDARD, "--out=verilog", "design.vhd", "-e", top]
    ghdl_seconds = _tool("ghdl --synth", command, folder, "design.v", timeout)
    verilog = narrow_products(mended((folder / "design.v").read_text(encoding="utf-8")))
    (folder / "design.v").write_text(verilog, encoding="utf-8")
    script = (
        f"read_verilog design.v; {FAMILIES[family].script} -top {top}; "
        "tee -q -o cells.json stat -json"
    )
    command = [tools[1], "-q", "-l", "yosys.log", "-p", script]
    yosys_seconds = _tool("yosys", command, folder, "printed", timeout)
    instances = _instances(verilog)
    return Netlist(
        top=top,
        cells=_cells(json.loads((folder / "cells.json").read_text()), instances),
        instances=instances,
        latches=_latches((folder / "yosys.log").read_text(errors="replace")),
        seconds={"ghdl": ghdl_seconds, "yosys": yosys_seconds},
    )


def _tool(name: str, command: Sequence[str], folder: Path, output: str, timeout: float) -> float:
    """Run a tool whose result goes to a file; raise with its last words. Give its seconds."""
    start = time.perf_counter()
    with (folder / output).open("wb") as file:
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.PIPE,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise SynthesisError(
                f"synth: {name} took longer than {timeout:g} s; give more with --timeout, or "
                "compile with fewer --multipliers"
            ) from None
    if done.returncode != 0:
        text = done.stderr.decode(errors="replace")
        wrong = [line for line in text.splitlines() if re.search("error", line, re.IGNORECASE)]
        shown = "\n".join(wrong) or text or f"status {done.returncode}"
        raise SynthesisError(f"synth: {name} failed:\n{shown[-_MOST_TEXT:]}")
    return time.perf_counter() - start


def _instances(verilog: str) -> dict[str, list[tuple[str, str]]]:
    """Read the instances of each module from GHDL's Verilog, which has one a line."""
    parts = _MODULE.split(verilog)[1:]
    texts = dict(zip(parts[::2], parts[1::2], strict=True))
    return {
        name: [(instance, kind) for kind, instance in _INSTANCE.findall(text) if kind in texts]
        for name, text in texts.items()
    }


def _cells(
    stat: Mapping[str, Any], instances: Mapping[str, Sequence[tuple[str, str]]]
) -> dict[str, dict[str, int]]:
    """Take the cells of each module; instances of other modules are not cells."""
    found: dict[str, dict[str, int]] = {}
    for name, row in stat["modules"].items():
        counts: dict[str, int] = row["num_cells_by_type"]
        found[name.removeprefix("\\")] = {
            kind: count for kind, count in counts.items() if kind not in instances
        }
    return found


def _latches(log: str) -> list[str]:
    """List the signals that became latches: none should, and each is a fault of the VHDL."""
    return re.findall(r"^Latch inferred for signal `\\?([^']*)'", log, re.MULTILINE)


def _keep(folder: Path, keep: Path) -> None:
    """Copy what there is, also of a run that failed: its log is what one wants to read."""
    try:
        keep.mkdir(exist_ok=True)
        for name in KEPT:
            if (folder / name).exists():
                shutil.copyfile(folder / name, keep / name)
    except OSError as error:
        raise OutputError(f"{keep}: cannot write: {error.strerror}") from None
