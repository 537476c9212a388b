"""Every op has all of its parts: an evaluation rule, cases, a strategy, a row in the docs."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from pyahir.ir import ops
from pyahir.ir.eval import registered
from pyahir.ir.ops import Op
from tests.ir.slow import RULES
from tests.op_cases import CASES, LIMITATIONS, cases_of
from tests.strategies import OPS

ROOT = Path(__file__).parents[1]
ROW = re.compile(r"^\| `([a-z0-9_]+)` \|", re.MULTILINE)
STEMS = ("conv", "pool", "linear", "elementwise", "shape", "quant")


@pytest.mark.parametrize("op", ops.ALL, ids=lambda op: op.mnemonic())
def test_an_op_has_all_of_its_parts(op: type[Op]) -> None:
    assert op in registered(), "no rule in pyahir/ir/eval"
    assert op in RULES, "no slow definition in tests/ir/slow.py"
    assert op in OPS, "no strategy in tests/strategies.py"
    assert len(cases_of(op)) >= 2, "fewer than two cases in tests/op_cases.py"
    assert op.infer is not Op.infer, "no infer"
    assert not (op.__doc__ or f"{op.__name__}(").startswith(f"{op.__name__}("), "no docstring"


def test_nothing_else_is_evaluated() -> None:
    assert set(registered()) == set(ops.ALL)


def table() -> dict[str, str]:
    """Give the rows of the page's first table by mnemonic."""
    text = (ROOT / "docs" / "ops.md").read_text(encoding="utf-8").split("## ")[0]
    rows = {match[1]: line for line in text.splitlines() if (match := ROW.match(line))}
    assert len(rows) == len(ROW.findall(text))
    return rows


def test_the_documentation_has_a_row_for_each_op_in_order() -> None:
    assert list(table()) == [op.mnemonic() for op in ops.ALL]


def test_the_documentation_shows_every_attribute() -> None:
    rows = table()
    for op in ops.ALL:
        for item in fields(op):
            assert f"`{item.name}`" in rows[op.mnemonic()], f"{op.mnemonic()}: {item.name}"


def test_mnemonics_are_unique() -> None:
    assert len({op.mnemonic() for op in ops.ALL}) == len(ops.ALL)


@pytest.mark.parametrize("package", ["ops", "eval"])
def test_the_stems_are_the_same_everywhere(package: str) -> None:
    found = {file.stem for file in (ROOT / "pyahir" / "ir" / package).glob("*.py")}
    assert set(STEMS) <= found


def test_limitations_name_cases_that_exist() -> None:
    names = {case.name for case in CASES}
    assert {item.case for item in LIMITATIONS} <= names
    assert all(item.reason for item in LIMITATIONS)
