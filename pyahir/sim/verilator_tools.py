"""Verilator's side of a simulation: VHDL to Verilog, to C++, to one executable; and its cache.

In: the VHDL text of a design and its ports. Out: ``Build``, an executable that runs in a folder of
words. The executable depends on the design's text alone: words, gaps and bounds are read when it
runs, so it is kept in the user's cache by the hash of all that it is made of.
Not here: what runs in it (``verilator_bench.cpp``), the words (``testbench``).
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from pyahir.sim.cache import fetch, store
from pyahir.sim.ghdl import OUR_STANDARD
from pyahir.sim.testbench import RESET_CYCLES, TOP, Port
from pyahir.sim.tools import ToolError, require_tool, run_tool
from pyahir.sim.verilog import mended

__all__ = ["Build", "Tools", "build", "find_tools", "to_verilog"]

KEPT = 24  # executables in the cache; the oldest go
_NAME = "Vbench"
_GROUP = "verilator-design-"
_RUNTIME = "verilator-runtime-"
_RUNTIME_PARTS = ("verilated.o", "verilated_threads.o")
_VERILATOR = (
    "--cc",
    "--exe",
    "--top-module",
    "bench",
    "--default-language",
    "1364-2005",  # the names in it are no words of Verilog, but may be of SystemVerilog
    "--threads",
    "1",
    "-O3",
    "--x-assign",
    "unique",  # with --x-initial: what nobody defined has random bits
    "--x-initial",
    "unique",
    "--output-split",
    "20000",
    "--converge-limit",
    "1000",
    "-Wno-fatal",
    "-Wno-lint",
    "-Wno-style",
    "-Wno-INITIALDLY",
    "-Wno-UNOPTFLAT",
    "-Wno-SYMRSVDWORD",
)
_MAKE = ("OPT_FAST=-O1", "OPT_SLOW=-O0", "OPT_GLOBAL=-O1")
_TOP_PORT = re.compile(r"^ +\(?(input|output) +(?:\[[\d:]+\] *)?(\w+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Tools:
    """The executables; g++ and make are those that Verilator's makefile uses."""

    ghdl: str
    verilator: str
    compiler: str
    make: str


@dataclass(frozen=True, slots=True)
class Build:
    """An executable, and the seconds of each tool that ran: of ``ghdl`` only on a cache hit."""

    path: Path
    seconds: dict[str, float]


def find_tools() -> Tools:
    """Find all that the engine needs, or raise one error that says what is missing."""
    return Tools(
        ghdl=require_tool("ghdl"),
        verilator=require_tool("verilator"),
        compiler=_required("g++", "CXX"),
        make=_required("make", "MAKE"),
    )


def _required(name: str, variable: str) -> str:
    wanted = os.environ.get(variable) or name
    found = shutil.which(wanted)
    if found is None:
        raise ToolError(
            f"engine verilator: {wanted} is not installed, and Verilator's C++ needs it: "
            f"install it (Debian: apt install g++ make) or set {variable} to its path"
        )
    return found


def to_verilog(vhdl: str, tools: Tools, folder: Path) -> str:
    """Translate a design with ``ghdl --synth``."""
    (folder / "design.vhd").write_text(vhdl, encoding="utf-8")
    command = [tools.ghdl, "--synth", *OUR_STANDARD, "--out=verilog", "design.vhd", "-e", TOP]
    return mended(run_tool(command, folder, only_output=True))


def build(vhdl: str, ports: Sequence[Port], folder: Path) -> Build:
    """Make the executable of a design in ``folder``, or take it from the cache."""
    tools = find_tools()
    start = time.perf_counter()
    verilog = to_verilog(vhdl, tools, folder)
    seconds = {"ghdl": time.perf_counter() - start}
    texts = {
        "design.v": verilog,
        "bench.v": _wrapper(verilog, ports),
        "ports.h": _table(ports),
        "bench.cpp": resources.files("pyahir.sim").joinpath("verilator_bench.cpp").read_text(),
    }
    machinery = _machinery(tools)
    kept = f"{_GROUP}{_hash([machinery, *texts.values()])}"
    program = folder / _NAME
    if fetch(kept, program):
        return Build(program, seconds)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    begin = time.perf_counter()
    options = [*_VERILATOR, "-CFLAGS", "-I..", "--Mdir", "objects"]
    run_tool([tools.verilator, *options, "bench.v", "design.v", "../bench.cpp"], folder)
    middle = time.perf_counter()
    _make(tools, folder / "objects", _hash([machinery]))
    seconds |= {"verilator": middle - begin, "g++": time.perf_counter() - middle}
    (folder / "objects" / _NAME).rename(program)
    store(program, kept, group=_GROUP, most=KEPT)
    return Build(program, seconds)


def _make(tools: Tools, objects: Path, machinery: str) -> None:
    """Compile the C++; Verilator's own part is the same for every design, so it is kept too."""
    names = {part: f"{_RUNTIME}{machinery}-{part}" for part in _RUNTIME_PARTS}
    old = [part for part, kept in names.items() if fetch(kept, objects / part)]
    jobs = f"-j{len(os.sched_getaffinity(0))}"
    variables = [*_MAKE, f"CXX={tools.compiler}", f"LINK={tools.compiler}"]
    run_tool([tools.make, "-s", jobs, "-C", ".", "-f", f"{_NAME}.mk", *variables], objects)
    for part, kept in names.items():
        if part not in old:
            store(objects / part, kept, group=_RUNTIME, most=2 * len(names))


def _machinery(tools: Tools) -> str:
    """Say what makes an executable: versions and options."""
    versions = [
        run_tool([path, "--version"], Path.cwd()) for path in (tools.verilator, tools.compiler)
    ]
    return "\n".join([*versions, platform.machine(), *_VERILATOR, *_MAKE])


def _hash(parts: Sequence[str]) -> str:
    digests = b"".join(hashlib.sha256(part.encode()).digest() for part in parts)
    return hashlib.sha256(digests).hexdigest()[:32]


def _wrapper(verilog: str, ports: Sequence[Port]) -> str:
    """Write the top module: ports with names that C++ takes; inputs that VHDL leaves open are 0."""
    head = verilog[verilog.index(f"module {TOP}\n") :].partition(";")[0]
    links = {"clk": "clk", "reset": "reset"}
    rows = ["input clk", "input reset"]
    for number, port in enumerate(ports):
        data, ack = ("output", "output") if port.output else ("input", "output")
        rows.append(f"{data} [{port.width - 1}:0] p{number}_data")
        rows += [f"input p{number}_req", f"{ack} p{number}_ack"]
        side = port.side.lower()  # GHDL writes names in lower case
        links |= {f"{side}_{part}": f"p{number}_{part}" for part in ("data", "req", "ack")}
    for direction, name in _TOP_PORT.findall(head):
        if direction == "input" and name not in links:
            links[name] = "0"
    inner = ", ".join(f".{name}({outer})" for name, outer in links.items())
    return f"module bench({', '.join(rows)});\n  {TOP} u_design({inner});\nendmodule\n"


def _table(ports: Sequence[Port]) -> str:
    """Write the ports for ``verilator_bench.cpp``."""
    rows = [
        f'PORT({number}, "{port.name}", {port.width}, {str(port.output).lower()})'
        for number, port in enumerate(ports)
    ]
    return (
        "#pragma once\n"
        f"constexpr long long RESET_CYCLES = {RESET_CYCLES};\n"
        f"#define PORTS {' '.join(rows)}\n"
    )
