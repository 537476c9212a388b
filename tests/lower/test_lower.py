"""The emitted text, run from files, gives the golden model's integers at every layer."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyahir.backends.aa.parser import parse
from pyahir.compiler import CompileOptions, compile_graph
from pyahir.errors import PlanError
from pyahir.ir.ops import Conv2d, SumPool2d
from pyahir.passes.eliminate_exceptions import eliminate_exceptions
from pyahir.plan.folding import Folding
from pyahir.plan.search import Options
from tests.designs import check_against_golden, drawn_foldings, written
from tests.networks import Chain, chains, lenet, small


def check_random_network(chain: Chain, data: st.DataObject) -> None:
    graph = chain.graph()
    foldings = drawn_foldings(data, graph)
    with tempfile.TemporaryDirectory() as folder:
        compiled, path = written(graph, Path(folder), foldings=foldings)
        assert parse(compiled.text.decode()) == compiled.design.program
        seed = data.draw(st.integers(0, 1000))
        check_against_golden(graph, path, chain.images(2), order_seed=seed)


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(chain=chains(), data=st.data())
def test_random_networks(chain: Chain, data: st.DataObject) -> None:
    check_random_network(chain, data)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(chain=chains(), data=st.data())
def test_many_random_foldings(chain: Chain, data: st.DataObject) -> None:
    check_random_network(chain, data)


@pytest.mark.slow
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(chain=chains(), multipliers=st.integers(4, 200))
def test_many_random_networks(chain: Chain, multipliers: int) -> None:
    graph = chain.graph()
    with tempfile.TemporaryDirectory() as folder:
        try:
            _, path = written(graph, Path(folder), multipliers=multipliers)
        except PlanError:  # too few multipliers: tests/plan has the message
            return
        check_against_golden(graph, path, chain.images(2))


@pytest.mark.parametrize(
    "multipliers",
    [pytest.param(8, marks=pytest.mark.slow), 64, pytest.param(128, marks=pytest.mark.slow)],
)
def test_lenet(tmp_path: Path, multipliers: int) -> None:
    chain = lenet()
    graph = chain.graph()
    _, path = written(graph, tmp_path, multipliers=multipliers)
    check_against_golden(graph, path, chain.images(2))


def test_average_pool_of_several_words(tmp_path: Path) -> None:
    chain = Chain((4, 4, 2), zero_point=5)
    chain.conv(6, Conv2d(kernel_size=(1, 1)), relu=False)
    chain.average(SumPool2d(kernel_size=(2, 2), stride=(2, 2), acc_width=1))
    graph = chain.graph()
    for pe in (1, 2, 3, 6):
        _, path = written(graph, tmp_path, foldings={"conv1": Folding(pe=pe, simd=1)})
        check_against_golden(graph, path, chain.images(3))


def test_exceptions_are_in_the_hardware(tmp_path: Path) -> None:
    """A layer whose float rule needs exceptions: without them the codes would differ."""
    chain = lenet()
    graph = chain.graph()
    compiled, path = written(graph, tmp_path)
    assert compiled.manifest["totals"]["exceptions"] > 0
    check_against_golden(graph, path, chain.images(1))


def test_text_does_not_grow_with_the_weights(tmp_path: Path) -> None:
    """Lines grow with pe + simd, not with pe * simd, and not with the number of weights."""

    def lines(inputs: int, folding: Folding) -> int:
        chain = Chain((inputs,))
        chain.linear(64)
        options = CompileOptions(plan=Options(foldings={"fc1": folding}))
        graph = eliminate_exceptions(chain.graph())  # their number follows the weights' values
        return compile_graph(graph, options).text.count(b"\n")

    base = lines(256, Folding(pe=8, simd=8))
    assert lines(4096, Folding(pe=8, simd=8)) == base
    # 3 lines a channel, 2 lines and a quarter an input: 8 times the multipliers, 64 to 4096.
    assert lines(256, Folding(pe=64, simd=64)) - base <= 56 * 3 + 56 * 2.4 + 4


def test_small_network(tmp_path: Path) -> None:
    chain = small()
    graph = chain.graph()
    _, path = written(graph, tmp_path)
    check_against_golden(graph, path, chain.images(4))
