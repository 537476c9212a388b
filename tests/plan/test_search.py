"""The search against brute force, and the messages of infeasible requests."""

from __future__ import annotations

import itertools
import re

import pytest

from pyahir.errors import PlanError
from pyahir.plan.folding import Folding, options, parse_folding
from pyahir.plan.layers import LayerKind, layers_of
from pyahir.plan.plan import planned_layer
from pyahir.plan.search import Options, make_plan
from tests.networks import Chain, lenet, small


def brute_force(chain: Chain, budget: int) -> int:
    """Try every combination of foldings; give the least cycles within the budget."""
    graph = chain.graph()
    layers = layers_of(graph)
    choices = [
        options(layer) if layer.kind == LayerKind.MATVEC else [Folding(pe=1, simd=1)]
        for layer in layers
    ]
    best = 1 << 60
    for combination in itertools.product(*choices):
        width = graph.inputs[0].type.channels
        cycles = multipliers = 0
        for layer, folding in zip(layers, combination, strict=True):
            placed = planned_layer(layer, width, folding)
            width = placed.lanes_out
            cycles = max(cycles, placed.cycles)
            multipliers += placed.multipliers
        if multipliers <= budget:
            best = min(best, cycles)
    return best


@pytest.mark.parametrize("budget", [2, 3, 5, 8, 13, 40, 1000])
def test_equals_brute_force(budget: int) -> None:
    plan = make_plan(small().graph(), Options(multipliers=budget))
    assert brute_force(small(), budget) == plan.cycles_per_frame
    assert plan.multipliers <= budget


def test_lenet_is_near_its_bound() -> None:
    plan = make_plan(lenet().graph(), Options(multipliers=109))
    assert (plan.macs, plan.cycles_per_frame) == (416_520, 4000)


def test_too_few_multipliers() -> None:
    message = "--multipliers 1: the network needs at least 2; the nearest feasible number is 2"
    with pytest.raises(PlanError, match=f"^{re.escape(message)}$"):
        make_plan(small().graph(), Options(multipliers=1))


def test_folding_that_does_not_divide() -> None:
    message = "conv1: pe=3 does not divide 4 output channels; accepted: 1, 2, 4"
    with pytest.raises(PlanError, match=f"^{re.escape(message)}$"):
        make_plan(small().graph(), Options(foldings={"conv1": Folding(pe=3, simd=1)}))


def test_folding_of_no_layer() -> None:
    message = "folding of 'conv9': no such layer; accepted: conv1, fc4"
    with pytest.raises(PlanError, match=f"^{re.escape(message)}$"):
        make_plan(small().graph(), Options(foldings={"conv9": Folding(pe=1, simd=1)}))


def test_parse_folding() -> None:
    assert parse_folding("conv1=6x5") == ("conv1", Folding(pe=6, simd=5))
    message = "--folding conv1: accepted is LAYER=PExSIMD, for example conv1=6x5"
    with pytest.raises(PlanError, match=f"^{re.escape(message)}$"):
        parse_folding("conv1")
