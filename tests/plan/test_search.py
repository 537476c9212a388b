"""The search against brute force, and the messages of infeasible requests."""

from __future__ import annotations

import re

import pytest

from pyahir.errors import PlanError
from pyahir.ir.ops import Conv2d
from pyahir.plan.folding import Folding, divisors, parse_folding
from pyahir.plan.grouping import layers_of
from pyahir.plan.layers import Layer, LayerKind
from pyahir.plan.plan import gear_cycles, planned_layer
from pyahir.plan.search import Options, Planner, make_plan
from tests.networks import Chain, lenet, small


def brute_force(chain: Chain, budget: int) -> int:
    """Try every combination of foldings; give the least cycles within the budget."""
    graph = chain.graph()
    partial = {(graph.inputs[0].type.channels, 0, 0)}  # width of the stream, multipliers, cycles
    for layer in layers_of(graph):
        placed = {
            (width, multipliers, cycles, folding)
            for width, multipliers, cycles in partial
            for folding in every_folding(layer)
        }
        partial = set()
        for width, multipliers, cycles, folding in placed:
            found = planned_layer(layer, width, folding)
            total = multipliers + found.multipliers
            if total <= budget:
                partial.add((found.lanes_out, total, max(cycles, found.cycles)))
    return min(cycles for _, _, cycles in partial)


def every_folding(layer: Layer) -> list[Folding]:
    """List all foldings of a layer, the wasteful ones among them."""
    if layer.kind != LayerKind.MATVEC:
        return [Folding(pe=1, simd=1)]
    return [
        Folding(pe=pe, simd=simd, requantizers=requantizers, whole=whole)
        for pe in divisors(layer.outputs)
        for simd in range(1, layer.inputs + 1)
        for requantizers in divisors(pe)
        for whole in (False, True)
    ]


@pytest.mark.parametrize("budget", [2, 3, 5, 8, 13, 40, 1000])
def test_equals_brute_force(budget: int) -> None:
    plan = make_plan(small().graph(), Options(multipliers=budget))
    assert brute_force(small(), budget) == plan.cycles_per_frame
    assert plan.multipliers <= budget


@pytest.mark.parametrize(
    ("budget", "cycles", "share"),
    [(64, 7000, 0.93), (109, 4000, 0.98), (128, 3600, 0.92), (400, 1300, 0.85)],
)
def test_lenet_is_near_its_bound(budget: int, cycles: int, share: float) -> None:
    plan = Planner(lenet().graph()).within_multipliers(budget)
    assert plan.macs == 416_520
    assert plan.multipliers <= budget
    assert plan.cycles_per_frame <= cycles
    assert plan.macs >= share * plan.multipliers * plan.cycles_per_frame


def test_the_front_has_no_plan_that_another_beats() -> None:
    planner = Planner(small().graph())
    points = [(plan.multipliers, plan.cycles_per_frame) for plan in planner.front()]
    assert points == sorted(points)
    assert [cycles for _, cycles in points] == sorted({c for _, c in points}, reverse=True)
    for multipliers, cycles in points:
        assert planner.within_multipliers(multipliers).cycles_per_frame == cycles


def test_the_front_of_a_network_that_one_cycle_serves() -> None:
    chain = Chain((1, 1, 13))
    chain.conv(2, Conv2d(kernel_size=(1, 1)))
    assert [plan.cycles_per_frame for plan in Planner(chain.graph()).front()][-1] == 1


def test_a_number_of_cycles_needs_the_fewest_multipliers() -> None:
    graph = small().graph()
    plan = make_plan(graph, Options(cycles=300))
    assert plan.cycles_per_frame <= 300
    assert brute_force(small(), plan.multipliers) <= 300
    assert brute_force(small(), plan.multipliers - 1) > 300


def test_too_few_cycles() -> None:
    least = Planner(small().graph()).fastest().cycles_per_frame
    with pytest.raises(PlanError, match=f"^--cycles 3: .* the nearest feasible number is {least}$"):
        make_plan(small().graph(), Options(cycles=3))


@pytest.mark.parametrize("elements", [1, 2, 5, 6, 7, 12, 24, 25, 50])
def test_gear_cycles_count_what_a_gearbox_does(elements: int) -> None:
    """A word in while fewer bits wait than a result has, a word out as soon as there are enough."""
    for arriving in (size for size in range(1, elements + 1) if elements % size == 0):
        for target in range(1, elements + 1):
            waiting = cycles = 0
            left = elements
            while left or waiting:
                if waiting < target and left:
                    waiting, left = waiting + arriving, left - arriving
                if waiting >= target or not left:
                    waiting = max(0, waiting - target)
                cycles += 1
            assert gear_cycles(elements, arriving, target) == cycles


def test_too_few_multipliers() -> None:
    message = "--multipliers 1: the network needs at least 2; the nearest feasible number is 2"
    with pytest.raises(PlanError, match=f"^{re.escape(message)}$"):
        make_plan(small().graph(), Options(multipliers=1))


def test_folding_that_does_not_divide() -> None:
    message = "conv1: pe=3 does not divide 4 output channels; accepted: 1, 2, 4"
    with pytest.raises(PlanError, match=f"^{re.escape(message)}$"):
        make_plan(small().graph(), Options(foldings={"conv1": Folding(pe=3, simd=1)}))


@pytest.mark.parametrize(
    ("folding", "message"),
    [
        (Folding(pe=1, simd=19), "conv1: simd=19; accepted: 1 to 18, its inputs"),
        (Folding(pe=1, simd=0), "conv1: simd=0; accepted: 1 to 18, its inputs"),
        (
            Folding(pe=2, simd=1, requantizers=3),
            "conv1: 3 requantizers do not divide pe=2; accepted: 1, 2",
        ),
    ],
)
def test_folding_out_of_range(folding: Folding, message: str) -> None:
    with pytest.raises(PlanError, match=f"^{re.escape(message)}$"):
        make_plan(small().graph(), Options(foldings={"conv1": folding}))


def test_folding_of_no_layer() -> None:
    message = "folding of 'conv9': no such layer; accepted: conv1, fc4"
    with pytest.raises(PlanError, match=f"^{re.escape(message)}$"):
        make_plan(small().graph(), Options(foldings={"conv9": Folding(pe=1, simd=1)}))


def test_parse_folding() -> None:
    assert parse_folding("conv1=6x5") == ("conv1", Folding(pe=6, simd=5))
    message = "--folding conv1: accepted is LAYER=PExSIMD, for example conv1=6x5"
    with pytest.raises(PlanError, match=f"^{re.escape(message)}$"):
        parse_folding("conv1")
