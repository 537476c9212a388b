"""Targets, plan files and costs: what is accepted, what is refused, and what a plan needs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyahir.errors import PlanError
from pyahir.plan.cost import cost, memory_bits, ram_blocks
from pyahir.plan.file import plan_text, read_plan
from pyahir.plan.folding import Folding
from pyahir.plan.search import Options, Planner, make_plan
from pyahir.plan.target import parse_quantity, target
from tests.networks import Chain, lenet, small


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ({}, {}),
        ({"multipliers": 64}, {"multipliers": 64}),
        ({"cycles": 8000}, {"cycles": 8000}),
        ({"fps": "10000", "clock": "100MHz"}, {"cycles": 10_000}),
        ({"fps": "10k", "clock": "0.1 GHz"}, {"cycles": 10_000}),
        ({"fps": "3", "clock": "10"}, {"cycles": 3}),
        ({"memory": "600kbit"}, {"memory": 600_000}),
    ],
)
def test_targets(given: dict[str, Any], options: dict[str, int]) -> None:
    assert target(given) == options


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"multipliers": 64, "cycles": 8000}, "--multipliers and --cycles: give one target"),
        ({"clock": "1MHz"}, "--clock: it says what --fps means; give --fps as well"),
        ({"fps": "10"}, "--fps: say at which clock, for example --fps 10000 --clock 100MHz"),
        (
            {"fps": "10", "clock": "5"},
            "--fps 10 --clock 5: less than one clock cycle a frame",
        ),
        ({"fps": "ten", "clock": "5"}, "--fps ten: accepted is a positive number"),
        ({"memory": "0"}, "--memory 0: accepted is a positive number, for example 600kbit"),
        ({"memory": "5 bytes"}, "--memory 5 bytes: accepted is a positive number"),
    ],
)
def test_targets_that_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError, match=f"^{re.escape(message)}"):
        target(given)


def test_quantities() -> None:
    assert parse_quantity("--clock", "12.5MHz", "Hz") == 12.5e6
    assert parse_quantity("--fps", "1e3", "fps") == 1000


def test_a_plan_file_gives_the_plan_back(tmp_path: Path) -> None:
    graph = lenet().graph()
    plan = make_plan(graph, Options(multipliers=128))
    path = tmp_path / "lenet.plan.json"
    path.write_text(plan_text(plan))
    again = make_plan(graph, Options(multipliers=1, foldings=read_plan(path)))
    assert [layer.folding for layer in again.layers] == [layer.folding for layer in plan.layers]


def test_an_edited_plan_file_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps({"format": 1, "layers": {"conv1": {"pe": 2, "simd": 5}}}))
    assert read_plan(path) == {"conv1": Folding(pe=2, simd=5)}
    plan = make_plan(small().graph(), Options(foldings=read_plan(path)))
    assert (plan.layers[0].folding.pe, plan.layers[0].folding.simd) == (2, 5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "no plan; accepted:"),
        ('{"format": 2, "layers": {}}', "no plan; accepted:"),
        ('{"format": 1, "layers": {"a": {"pe": 1}}}', "a: simd missing; leave out the layer"),
        ('{"format": 1, "layers": {"a": 5}}', "a: pe and simd missing"),
        ('{"format": 1, "layers": {"a": {"pe": "1"}}}', 'a: pe="1"; accepted: pe (int)'),
        ('{"format": 1, "layers": {"a": {"pe": true}}}', "a: pe=true; accepted: pe (int)"),
        ('{"format": 1, "layers": {"a": {"lanes": 1}}}', "a: lanes=1; accepted: pe (int)"),
    ],
)
def test_plan_files_that_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "plan.json"
    path.write_text(text)
    with pytest.raises(PlanError, match=re.escape(message)) as caught:
        read_plan(path)
    assert str(caught.value).startswith(str(path))


def test_a_plan_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="No such file"):
        read_plan(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("words", "width", "blocks"),
    [
        (64, 1000, 0),
        (100, 8, 0),
        (512, 36, 1),
        (513, 36, 2),
        (1024, 18, 1),
        (16384, 1, 1),
        (0, 0, 0),
    ],
)
def test_block_rams(words: int, width: int, blocks: int) -> None:
    assert ram_blocks(words, width) == blocks


def test_costs_of_a_plan() -> None:
    plan = make_plan(lenet().graph(), Options(multipliers=400))
    costs = {item.name: cost(item, plan.cycles_per_frame) for item in plan.layers}
    assert sum(item.multipliers for item in costs.values()) == plan.multipliers
    assert costs["fc8"].weight_bits == 84 * 10 * 8
    assert costs["fc8"].adders == 1  # one multiplier: only the accumulator
    assert costs["pool2"].multipliers == costs["pool2"].weight_bits == 0


@pytest.mark.parametrize("network", [small, pytest.param(lenet, marks=pytest.mark.slow)])
def test_memory_target(network: Callable[[], Chain]) -> None:
    graph = network().graph()
    points = [(memory_bits(plan), plan.cycles_per_frame) for plan in Planner(graph).front()]
    bits = sorted(found for found, _ in points)[len(points) // 2]
    plan = make_plan(graph, Options(memory=bits))
    assert memory_bits(plan) <= bits
    assert plan.cycles_per_frame == min(cycles for found, cycles in points if found <= bits)
    least = min(found for found, _ in points)
    message = f"^--memory 100: the network needs at least {least:,} bits; .* number is {least}$"
    with pytest.raises(PlanError, match=message):
        make_plan(graph, Options(memory=100))
