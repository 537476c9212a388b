"""The AHIR-V2 tools: where they are, what they print, and Aa text through them to VHDL.

In: Aa text and the modules that run by themselves. Out: ``AhirDesign``, the VHDL of the whole
system with ``ahir_system`` as its top entity. The tools end with status 0 after many an error, so
what they print is read, and the first messages become one error. Not here: GHDL (``ahir``).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pyahir.backends.vhdl import TOP
from pyahir.sim.tools import ToolError

__all__ = [
    "LIBRARY_FILES",
    "OPTIONAL",
    "REQUIRED",
    "AhirDesign",
    "AhirError",
    "AhirMissing",
    "AhirTools",
    "find_ahir",
    "find_library",
    "find_program",
    "to_ahir_vhdl",
]

BIN, VHDL = "PYAHIR_AHIR_BIN", "PYAHIR_AHIR_VHDL"
REQUIRED = ("AaLinkExtMem", "Aa2VC", "vc2vhdl", "vcFormat", "vhdlFormat")
OPTIONAL = ("AaOpt",)
LIBRARY_FILES = ("aHiR_ieee_proposed.vhdl", "ahir.vhdl")  # in the order of their analysis

_TIMEOUT = 1800.0  # seconds for one tool; LeNet takes some seconds
_MOST_MESSAGES = 5
_COMPLAINT = re.compile(
    r"(?<![a-z0-9_])(errors?|exception|expecting|unexpected|giving up|assert\w*)(?![a-z0-9_])",
    re.IGNORECASE,
)
_PLACE = re.compile(r"(\w+\.aa)(?::|, line )(\d+)")


class AhirMissing(ToolError):
    """The AHIR-V2 tools, or their VHDL library, are not on this machine.

    Cause: they are not installed (they are optional), or the variables name other folders.
    Example: ``the AHIR-V2 tools are not complete: Aa2VC is not on PATH ...``.
    Fix: set ``PYAHIR_AHIR_BIN`` and ``PYAHIR_AHIR_VHDL`` as the message says.
    """


class AhirError(ToolError):
    """An AHIR-V2 tool that refused a text, or took too long.

    Cause: Aa that our back end takes and the tool does not, or the other way round.
    Example: ``AaLinkExtMem refuses net.aa: ... net.aa:10:17: unexpected token: )``.
    Fix: change the named line of the Aa text.
    """


@dataclass(frozen=True, slots=True)
class AhirTools:
    """The executables by name, and the folder of the library's VHDL sources."""

    programs: Mapping[str, Path]
    library: Path


@dataclass(frozen=True, slots=True)
class AhirDesign:
    """VHDL that the tools made, and the seconds they took."""

    vhdl: str
    seconds: float

    @property
    def lines(self) -> int:
        return self.vhdl.count("\n")


def find_program(name: str) -> Path | None:
    """Look for an AHIR-V2 tool in ``PYAHIR_AHIR_BIN``, or on PATH where that is not set."""
    folder = os.environ.get(BIN)
    found = shutil.which(name, path=folder or None)
    return None if found is None else Path(found).absolute()


def find_library() -> Path | None:
    """Look for the folder of the VHDL library's sources."""
    folder = os.environ.get(VHDL)
    if not folder or not all((Path(folder) / name).is_file() for name in LIBRARY_FILES):
        return None
    return Path(folder).absolute()


def find_ahir() -> AhirTools:
    """Find the tools and the library, or raise one error that says what is not there."""
    programs = {name: find_program(name) for name in (*REQUIRED, *OPTIONAL)}
    missing = [name for name in REQUIRED if programs[name] is None]
    library = find_library()
    problems: list[str] = []
    if missing:
        where = f"in {BIN}={os.environ[BIN]}" if os.environ.get(BIN) else f"on PATH ({BIN} not set)"
        problems.append(
            f"no {', '.join(missing)} {where}; set {BIN} to the folder of {', '.join(REQUIRED)}"
        )
    if library is None:
        given = os.environ.get(VHDL)
        where = f"{VHDL}={given} lacks one" if given else f"{VHDL} is not set"
        problems.append(
            f"no VHDL library: {where}; set it to the folder of {' and '.join(LIBRARY_FILES)}"
        )
    if problems or library is None:
        raise AhirMissing(f"the AHIR-V2 tools are not complete: {'; '.join(problems)}")
    found = {name: path for name, path in programs.items() if path is not None}
    return AhirTools(found, library)


def to_ahir_vhdl(
    text: str,
    roots: Sequence[str],
    tools: AhirTools,
    *,
    label: str = "design.aa",
    optimise: Sequence[str] | None = None,
    timeout: float = _TIMEOUT,
) -> AhirDesign:
    """Compile Aa text; each module of ``roots`` runs by itself, for ever.

    ``optimise`` holds the options of AaOpt, which is left out where it is None. ``label`` is the
    text's name in messages.
    """
    if optimise is not None and "AaOpt" not in tools.programs:
        raise AhirMissing("no AaOpt beside the AHIR-V2 tools: add it, or do not ask for it")
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="pyahir_ahir_") as name:
        flow = _Flow(tools, Path(name), label, timeout)
        (flow.folder / "design.aa").write_text(text, encoding="utf-8")
        flow.aa("AaLinkExtMem", ["-I", "1", "-E", "mempool", "design.aa"], "linked.aa")
        source = "linked.aa"
        if optimise is not None:
            flow.aa("AaOpt", ["-I", "mempool", *optimise, source], "optimised.aa")
            source = "optimised.aa"
        flow.aa("Aa2VC", ["-O", "-I", "mempool", source], "design.vc")
        tops = [word for root in roots for word in ("-T", root)]
        options = ["-O", *tops, "-w", "-s", "ghdl", "-e", TOP, "-f", "design.vc"]
        flow.run("vc2vhdl", options)
        # The system's entity uses the package, which therefore goes first.
        parts = [flow.formatted(f"{TOP}{part}") for part in ("_global_package", "")]
    return AhirDesign("".join(parts), time.perf_counter() - start)


@dataclass(frozen=True, slots=True)
class _Flow:
    """Runs tools in one folder and reads what they print."""

    tools: AhirTools
    folder: Path
    label: str
    timeout: float

    def aa(self, tool: str, options: Sequence[str], output: str) -> None:
        """Run a tool whose standard output is text without line ends; put those in."""
        self.run(tool, options, output="unformatted")
        self.run("vcFormat", [], source="unformatted", output=output)

    def formatted(self, stem: str) -> str:
        """Give the VHDL that vc2vhdl left in a file."""
        source = f"{stem}.unformatted_vhdl"
        if not (self.folder / source).is_file():
            raise AhirError(f"vc2vhdl printed no error for {self.label} and made no {source}")
        self.run("vhdlFormat", [], source=source, output=f"{stem}.vhdl")
        return (self.folder / f"{stem}.vhdl").read_text(encoding="utf-8", errors="replace")

    def run(
        self, tool: str, options: Sequence[str], *, source: str = "", output: str = "printed"
    ) -> None:
        """Run one tool from file to file; raise with its messages where it prints an error."""
        command = [str(self.tools.programs[tool]), *options]
        given = self.folder / source if source else Path(os.devnull)
        with (
            given.open("rb") as standard_input,
            (self.folder / output).open("wb") as standard_output,
            (self.folder / "messages").open("wb") as messages,
        ):
            try:
                done = subprocess.run(
                    command,
                    cwd=self.folder,
                    stdin=standard_input,
                    stdout=standard_output,
                    stderr=messages,
                    timeout=self.timeout,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                raise AhirError(
                    f"{tool} took longer than {self.timeout:g} s for {self.label}: stopped"
                ) from None
            except OSError as error:
                raise AhirError(f"{command[0]}: cannot run: {error.strerror}") from None
        self._judge(tool, done.returncode, [] if output != "printed" else [output])

    def _judge(self, tool: str, status: int, more: Sequence[str]) -> None:
        lines = [
            line
            for name in ("messages", *more)
            for line in (self.folder / name)
            .read_text(encoding="utf-8", errors="replace")
            .splitlines()
        ]
        found = list(dict.fromkeys(line.strip() for line in lines if _complains(line)))
        if not found and status == 0:
            return
        if not found:
            found = [f"it ended with status {status}", *(line.strip() for line in lines[-3:])]
        shown = "\n  ".join(self._placed(line) for line in found[:_MOST_MESSAGES])
        more_text = len(found) - _MOST_MESSAGES
        rest = f"\n  and {more_text} more" if more_text > 0 else ""
        raise AhirError(f"{tool} refuses {self.label}:\n  {shown}{rest}")

    def _placed(self, message: str) -> str:
        """Add the line of Aa text that a message names."""
        found = _PLACE.search(message)
        if found is None or not (self.folder / found[1]).is_file():
            return message
        rows = (self.folder / found[1]).read_text(encoding="utf-8").splitlines()
        number = int(found[2])
        quoted = f"\n    {rows[number - 1].strip()}" if 0 < number <= len(rows) else ""
        return message.replace("design.aa", self.label) + quoted


def _complains(line: str) -> bool:
    """Tell an error from information, warnings and lists of names."""
    if line.startswith(("Info", "Warning")) or len(line.split()) < 2:
        return False
    return _COMPLAINT.search(line) is not None
