"""NNgen beside us: its own environment, its generator, its simulation, its area.

In: a folder for the environment, a parallelism. Out: ``Figures``. NNgen is installed from PyPI
when it is wanted; pyahir does not depend on it, and what cannot be measured is None.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from pyahir.sim.tools import ToolError, require_tool, run_tool
from pyahir.synth import FAMILIES, Resources, resources_of

__all__ = ["RELEASE", "Figures", "area", "environment", "generate", "simulate"]

RELEASE = "nngen==1.3.4"
SCRIPT = Path(__file__).with_name("nngen_lenet.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """A design of LeNet-5 and what was measured of it; ``note`` says where cycles come from."""

    name: str
    multipliers: int
    seconds: float
    lines: int
    aa_lines: int | None = None
    planned: int | None = None
    cycles: float | None = None
    note: str = ""
    area: Resources | None = None
    simulated_rate: float | None = None


def environment(folder: Path) -> Path:
    """Make a virtual environment with NNgen unless there is one; give its Python."""
    python = folder / "bin" / "python"
    if not python.exists():
        run_tool([sys.executable, "-m", "venv", str(folder)], Path.cwd())
    found = subprocess.run([python, "-c", "import nngen"], capture_output=True, check=False)
    if found.returncode:
        run_tool([str(python), "-m", "pip", "install", "--quiet", RELEASE], Path.cwd())
    return python


def generate(python: Path, parallel: int, folder: Path, runs: int) -> Figures:
    """Generate the Verilog several times; keep the shortest time."""
    folder.mkdir(parents=True, exist_ok=True)
    times: list[float] = []
    made: dict[str, float] = {}
    for run in range(runs):
        extra = ["--bench"] if run == runs - 1 else []
        run_tool([str(python), str(SCRIPT), str(folder), str(parallel), *extra], folder)
        made = json.loads((folder / "design.json").read_text())
        times.append(made["seconds"])
    return Figures(
        name=f"NNgen {parallel}x{parallel}",
        multipliers=int(made["multipliers"]),
        seconds=min(times),
        lines=int(made["lines"]),
    )


def simulate(figures: Figures, folder: Path, limit: float) -> Figures:
    """Run one image in Icarus Verilog."""
    iverilog, vvp = require_tool("iverilog"), require_tool("vvp")
    run_tool([iverilog, "-o", "simulation", "-s", "bench", "bench.v"], folder)
    start = time.perf_counter()
    text = run_tool([vvp, "simulation"], folder, timeout=limit)
    seconds = time.perf_counter() - start
    found = re.search(r"^cycles\s+(\d+)", text, re.MULTILINE)
    if found is None:
        raise ToolError(f"Icarus Verilog: no count of cycles in what it printed: {text[-500:]}")
    cycles = int(found[1])
    return replace(figures, cycles=cycles, note="Icarus", simulated_rate=cycles / seconds)


def area(figures: Figures, folder: Path, family: str, limit: float) -> Figures:
    """Map the Verilog with the script that maps our designs."""
    script = (
        f"read_verilog design.v; {FAMILIES[family].script} -top lenet; "
        "tee -q -o cells.json stat -json"
    )
    run_tool([require_tool("yosys"), "-q", "-q", "-l", "yosys.log", "-p", script], folder, limit)
    modules = json.loads((folder / "cells.json").read_text())["modules"]
    return replace(figures, area=_whole(modules, "\\lenet", family))


def _whole(modules: dict[str, dict[str, dict[str, int]]], name: str, family: str) -> Resources:
    """Add up a module with all that is inside it."""
    cells: dict[str, int] = {}
    total = Resources()
    for kind, count in modules[name]["num_cells_by_type"].items():
        inner = next((key for key in (f"\\{kind}", kind) if key in modules), None)
        if inner is None:
            cells[kind] = count
        else:
            total += _whole(modules, inner, family).times(count)
    return total + resources_of(family, cells)
