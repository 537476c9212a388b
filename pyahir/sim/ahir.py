"""The engine ``ahir``: runs a design as VHDL that the AHIR-V2 tools make of its Aa text, in GHDL.

In: the design's files or any Aa program, and words for its input pipes. Out: the words of its
output pipes with their clock cycles, from the same testbench as our own VHDL. The compiler of the
hardware is somebody else's: only the parser and the packing of words are shared.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pyahir.backends.aa import ast as aa
from pyahir.backends.aa.files import Codes, DesignFiles, read_design
from pyahir.backends.aa.printer import to_text
from pyahir.backends.aa.scopes import build_scopes
from pyahir.backends.aa.traverse import called_modules
from pyahir.ir.types import Array
from pyahir.sim.ahir_tools import LIBRARY_FILES, AhirDesign, AhirTools, find_ahir, to_ahir_vhdl
from pyahir.sim.cache import cache_folder
from pyahir.sim.engine import DesignEngine, Words
from pyahir.sim.ghdl import run_ghdl
from pyahir.sim.registry import Request, simulates
from pyahir.sim.run import SimulationResult, border_ports, load_program
from pyahir.sim.testbench import (
    SimulationError,
    Stalls,
    read_results,
    write_bench,
)
from pyahir.sim.tools import ToolError, require_tool, run_tool

__all__ = ["AhirEngine", "AhirResult", "analysed_library", "roots", "simulate_ahir"]

_DIALECT = ("--std=93", "--ieee=synopsys", "-fexplicit")


@dataclass(frozen=True, slots=True)
class AhirResult(SimulationResult):
    """Words of each output pipe, and what the AHIR-V2 tools took."""

    tool_seconds: float = 0.0


def roots(program: aa.Program) -> list[str]:
    """List the modules that run by themselves: those with a body that no module calls."""
    scopes = build_scopes(program)
    called = called_modules(scopes)
    found: list[str] = []
    for module in program.modules():
        if module.name in called or module.body is None:
            continue
        if module.inputs or module.outputs:
            raise SimulationError(
                f"engine ahir: no module calls '{module.name}', and it has arguments; accepted: "
                "modules without arguments, which run by themselves, and those that they call"
            )
        found.append(module.name)
    return found


def simulate_ahir(
    source: aa.Program | Path,
    inputs: Mapping[str, Sequence[int]],
    expect: Mapping[str, int | None],
    *,
    stalls: Stalls | None = None,
    patience: int = 20_000,
    design: AhirDesign | None = None,
    golden: Mapping[str, Sequence[int]] | None = None,
    wave: Path | None = None,
    limit: int | None = None,
) -> AhirResult:
    """Feed ``inputs`` until each pipe of ``expect`` has given as many words.

    ``design`` is what the tools made of the same program before; by default they run again.
    ``golden``, ``wave`` and ``limit`` are those of ``simulate``.
    """
    program = load_program(source)
    counts = {**{name: len(words) for name, words in (golden or {}).items()}, **expect}
    ports = border_ports(program, inputs, counts)
    tools = find_ahir()
    if design is None:
        design = _compiled(source, program, tools)
    # Without --syn-binding GHDL binds no component, and the design stays silent.
    options = (*_DIALECT, "--syn-binding", f"-P{analysed_library(tools.library)}")
    with tempfile.TemporaryDirectory(prefix="pyahir_ahir_") as name:
        folder = Path(name)
        (folder / "design.vhd").write_text(design.vhdl, encoding="utf-8")
        write_bench(folder, ports, inputs, golden, stalls, patience, limit=limit)
        seconds = run_ghdl(folder, options=options, wave=wave)
        found = read_results(folder, ports, patience)
    return AhirResult(
        **found.parts(), seconds=seconds, lines=design.lines, tool_seconds=design.seconds
    )


def _compiled(source: aa.Program | Path, program: aa.Program, tools: AhirTools) -> AhirDesign:
    if isinstance(source, aa.Program):
        return to_ahir_vhdl(to_text(program), roots(program), tools, label="program.aa")
    text = source.read_text(encoding="utf-8")
    return to_ahir_vhdl(text, roots(program), tools, label=str(source))


def analysed_library(sources: Path) -> Path:
    """Analyse AHIR's VHDL library once per user, contents and version of GHDL; give its folder."""
    ghdl = require_tool("ghdl")
    parts = [" ".join(_DIALECT).encode(), run_tool([ghdl, "--version"], Path.cwd()).encode()]
    parts += [(sources / name).read_bytes() for name in LIBRARY_FILES]
    key = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()
    home = cache_folder()
    final = home / f"ahir-{key[:20]}"
    if final.is_dir():
        return final
    try:
        home.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix="ahir-building-", dir=home))
    except OSError as error:
        raise ToolError(
            f"{home}: cannot keep the analysed AHIR library: {error.strerror}; "
            "set XDG_CACHE_HOME to a folder that can be written"
        ) from None
    try:
        for name in LIBRARY_FILES:
            shutil.copyfile(sources / name, building / name)
            library = f"--work={name.removesuffix('.vhdl')}"
            run_tool([ghdl, "-a", *_DIALECT, "-P.", library, name], building)
        building.chmod(0o755)
        _rename(building, final)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return final


def _rename(building: Path, final: Path) -> None:
    """Put the finished folder in place; another process may have been faster, with the same."""
    try:
        building.rename(final)
    except OSError:
        if not final.is_dir():
            raise


@simulates("ahir")
def _ahir(request: Request) -> SimulationResult:
    if request.vhdl is not None or request.monitor:
        what = "other VHDL" if request.vhdl is not None else "monitored pipes"
        raise SimulationError(f"engine ahir: {what} is not possible; use the engine ghdl")
    return simulate_ahir(
        request.program,
        request.inputs,
        request.expect,
        stalls=request.stalls,
        patience=request.patience,
        golden=request.golden,
        wave=request.wave,
        limit=request.limit,
    )


class AhirEngine(DesignEngine):
    """A design as VHDL of the AHIR-V2 tools, which run once."""

    name = "ahir"

    def __init__(self, files: DesignFiles, *, optimise: Sequence[str] | None = None) -> None:
        super().__init__(files)
        self.optimise = optimise
        self.design: AhirDesign | None = None

    @classmethod
    def open(cls, path: Path, *, optimise: Sequence[str] | None = None) -> AhirEngine:
        """Read the files of a design; ``optimise`` gives the options of AaOpt, if wanted."""
        return cls(read_design(path), optimise=optimise)

    def compiled(self) -> AhirDesign:
        """Run the tools on the text, if they have not yet."""
        if self.design is None:
            self.design = to_ahir_vhdl(
                self.files.text,
                roots(self.program),
                find_ahir(),
                label=str(self.files.path),
                optimise=self.optimise,
            )
        return self.design

    def run(
        self,
        codes: Codes,
        *,
        keep: Collection[str] | None = None,
        stalls: Stalls | None = None,
        golden: Array | None = None,
        wave: Path | None = None,
    ) -> dict[str, Array]:
        """Run frames as ``GhdlEngine.run`` does."""

        def go(
            inputs: Words, expect: Mapping[str, int], wanted: Words | None, patience: int
        ) -> SimulationResult:
            return simulate_ahir(
                self.program,
                inputs,
                expect,
                stalls=stalls,
                patience=patience,
                design=self.compiled(),
                golden=wanted,
                wave=wave,
            )

        return self.simulated(codes, keep, golden, go)
