"""``pyahir explore`` as a user types it: the table, lasting numbers, a compiled plan, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from pyahir.cli import cli
from pyahir.commands.explore import explore_command
from pyahir.errors import PyahirError
from tests.frontend.models import LeNet, quantized, saved

SHAPE = (1, 20, 20)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(quantized(LeNet(), SHAPE), tmp_path_factory.mktemp("models") / "net.pt", SHAPE)


def invoke(command: click.Command, *arguments: object) -> str:
    result = CliRunner().invoke(command, [str(item) for item in arguments])
    if result.exception is not None:
        raise result.exception
    return result.stdout


def explore(*arguments: object) -> str:
    return invoke(explore_command, *arguments)


@pytest.fixture(scope="module")
def plans(model: Path) -> list[dict[str, int]]:
    return json.loads(explore(model, "--between", "20,40", "--json"))["plans"]


def test_the_table_shows_all_plans(model: Path, plans: list[dict[str, int]]) -> None:
    out = explore(model, "--between", "20,40", "--clock", "100MHz")
    for plan in plans:
        rate = f"{1e8 / plan['cycles']:,.0f}"
        row = [f"{plan['number']}", f"{plan['multipliers']:,}", f"{plan['cycles']:,}", rate]
        assert any([cell.strip() for cell in line.split("│")[1:5]] == row for line in lines(out))
    assert f"\n{len(plans)} plans. best in:" in out


def lines(out: str) -> list[str]:
    return [line for line in out.splitlines() if line.startswith("│")]


def test_few_plans_keep_their_numbers(model: Path, plans: list[dict[str, int]]) -> None:
    out = explore(model, "--between", "20,40", "--most", "3")
    rows = [[cell.strip() for cell in line.split("│")[1:4]] for line in lines(out)]
    every = [[f"{p['number']}", f"{p['multipliers']:,}", f"{p['cycles']:,}"] for p in plans]
    assert len(rows) == 3
    assert all(row in every for row in rows)
    assert (
        f"3 of {len(plans)} plans, spread evenly over the logarithm of multipliers. best in:" in out
    )


def test_a_plan_is_compiled_as_compile_would(
    model: Path, plans: list[dict[str, int]], tmp_path: Path
) -> None:
    out = explore(
        model, "--between", "20,40", "--compile", "3", "-o", tmp_path / "net.aa", "--json"
    )
    assert json.loads(out)["plan"] == 3
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(made) == {"net.aa", "net.json", "net.plan.json", "net.weights"}
    manifest = json.loads(made["net.json"])
    assert manifest["totals"]["cycles_per_frame"] == plans[2]["cycles"]
    assert manifest["totals"]["multipliers"] == plans[2]["multipliers"]
    other = tmp_path / "again"
    other.mkdir()
    plan = tmp_path / "net.plan.json"
    invoke(cli, "compile", model, "--plan", plan, "-o", other / "net.aa")
    assert {path.name: path.read_bytes() for path in other.iterdir()} == made


def test_a_file_of_the_front(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "front.csv"
    out = explore(model, "--between", "20,25", "-o", path)
    count = len(path.read_text().splitlines()) - 1
    assert out.endswith(f"wrote {path}: {count} plans\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--between", "9"], "--between 9: accepted are two numbers, the smaller first, for "),
        (["--between", "9,8"], "--between 9,8: accepted are two numbers, the smaller first, "),
        (["--between", "-1,8"], "--between -1,8: accepted are two numbers, the smaller first,"),
        (["--clock", "fast"], "--clock fast: accepted is a positive number, for example 100MHz"),
        (["--compile", "3"], "--compile 3: name the .aa file to write with -o"),
        (["--compile", "3", "-o", "a.svg"], "a.svg: --compile writes a design; end its name in .a"),
        (["-o", "a.aa"], "a.aa: a front is written as .svg, .png, .json, .csv; to write a desig"),
        (
            ["--jobs", "2", "--scheduler", "tcp://a:1"],
            "--jobs and --scheduler: give one; a cluster has its own workers",
        ),
        (
            ["--between", "20,22", "--compile", "99", "-o", "a.aa"],
            "--compile 99: no plan has this number; accepted: 1 to ",
        ),
        (["--folding", "conv9=1x1"], "folding of 'conv9': no such layer; accepted: "),
    ],
)
def test_refusals_say_what_is_accepted(model: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(PyahirError) as caught:
        explore(model, *arguments)
    assert str(caught.value).startswith(message)
