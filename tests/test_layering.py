"""Imports go one way, torch stays in the front end, Aa is spelled in two files only."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "pyahir"
FILES = sorted(PACKAGE.rglob("*.py"))

# Top-level modules and packages of pyahir; each imports only from those above it.
ORDER = (
    "errors",
    "ir",
    "data",
    "formats",
    "hosts",
    "passes",
    "quant",
    "frontend",
    "plan",
    "backends",
    "sim",
    "synth",
    "report",
    "manifest",
    "compiler",
    "engines",
    "tables",
    "runner",
    "layerwise",
    "explore",
    "commands",
    "cli",
    "__main__",
    "__init__",
)
# Kernels are Aa: read by its parser, linked in by its back ends.
WITHIN = {"kernels": "backends"}
SEPARATE = {("backends", "frontend"), ("frontend", "backends")}
SPELLS_AA = {Path("backends/aa/printer.py")}
MARK = chr(36)


def relative(file: Path) -> Path:
    return file.relative_to(PACKAGE)


def layer(file: Path) -> str:
    parts = relative(file).parts
    return WITHIN.get(parts[0], parts[0].removesuffix(".py"))


def for_types_only(tree: ast.AST) -> set[ast.AST]:
    """Give the statements under ``if TYPE_CHECKING``: they import nothing at run time."""
    found: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            found |= {inner for statement in node.body for inner in ast.walk(statement)}
    return found


def imports(file: Path, *, at_run_time: bool = False) -> Iterator[tuple[int, str]]:
    """Give line and name of every import in ``file``, in functions as well."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    left_out = for_types_only(tree) if at_run_time else set()
    for node in ast.walk(tree):
        if node in left_out:
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, item.name) for item in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: a relative import"
            assert node.module is not None
            if node.module == "pyahir":
                yield from ((node.lineno, f"pyahir.{item.name}") for item in node.names)
            else:
                yield node.lineno, node.module


def test_every_part_has_its_place_in_the_order() -> None:
    assert {layer(file) for file in FILES} <= set(ORDER)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(relative(file)))
def test_imports_go_down_the_order(file: Path) -> None:
    own = layer(file)
    for line, name in imports(file):
        words = name.split(".")
        other = WITHIN.get(words[1], words[1]) if len(words) > 1 else ""
        if words[0] != "pyahir" or other not in ORDER:
            continue
        place = f"{relative(file)}:{line} imports {name}"
        assert ORDER.index(other) <= ORDER.index(own), place
        assert (own, other) not in SEPARATE, place


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(relative(file)))
def test_torch_is_imported_by_the_front_end_only(file: Path) -> None:
    if layer(file) == "frontend":
        return
    found = [
        line for line, name in imports(file, at_run_time=True) if name.split(".")[0] == "torch"
    ]
    assert not found, f"{relative(file)}: torch is imported in lines {found}"


def docstrings(tree: ast.AST) -> set[ast.AST]:
    """Give the strings that stand alone as statements: docstrings and notes under fields."""
    return {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(relative(file)))
def test_aa_is_spelled_by_the_printer_and_the_grammar_only(file: Path) -> None:
    if relative(file) in SPELLS_AA:
        return
    tree = ast.parse(file.read_text(encoding="utf-8"))
    skipped = docstrings(tree)
    found = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and MARK in node.value
        and node not in skipped
    ]
    assert not found, f"{relative(file)}: Aa text in lines {found}"


def test_no_module_is_loaded_with_torch_by_accident() -> None:
    """The compiler proper works without torch: a graph is planned, lowered and printed."""
    names = ["ir.eval", "ir.parser", "passes.pipeline", "quant.quantize", "plan.search"]
    code = "import sys\n" + "".join(f"import pyahir.{name}\n" for name in names)
    code += "print([name for name in sys.modules if name.split('.')[0] == 'torch'])"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"
