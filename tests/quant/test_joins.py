"""Sums of two branches: fits against rules over all pairs, quantization, posits, passes."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from pyahir.ir.eval import Evaluator
from pyahir.ir.eval.quant import pair_codes
from pyahir.ir.graph import Constant, Graph
from pyahir.ir.ops import BatchNorm, Encode, QuantizedAdd, RealAdd, Relu
from pyahir.ir.types import Affine, ArrayData
from pyahir.ir.verify import VerifyError, verify
from pyahir.passes.eliminate_exceptions import count_exceptions, eliminate_exceptions
from pyahir.passes.pipeline import SIMPLIFY, Pipeline
from pyahir.quant.add_rules import AddRule, DecomposedAdd, FbgemmAdd, QnnpackAdd
from pyahir.quant.pairs import ScaleError, fit_pairs, own_pairs
from pyahir.quant.scheme import RealScheme
from tests.join_cases import CODES
from tests.quant.floats import residual
from tests.quant.test_posit import made
from tests.quant.test_quantize import compared, quantized, signal_to_noise

A, B = np.arange(256)[:, None], np.arange(256)[None, :]


def scales(seed: int) -> tuple[tuple[Affine, Affine], Affine]:
    """Draw the scales of a join; some are equal, and every sum of odd codes is then a tie."""
    rng = np.random.default_rng(seed)
    first, second = np.exp(rng.uniform(-6, 1, 2)).astype(np.float32)
    result = np.float32((first + second) * rng.uniform(0.4, 1.2))
    if seed % 4 == 3:
        second, result = first, 2 * first
    zeros = [int(item) for item in rng.integers(0, 256, 3)]
    a, b, c = (
        Affine(scale=float(scale), zero_point=zero)
        for scale, zero in zip((first, second, result), zeros, strict=True)
    )
    return (a, b), c


def rules(seed: int) -> list[AddRule]:
    operands, result = scales(seed)
    inverse = np.float32(1 / result.scale)
    return [
        FbgemmAdd(operands=operands, result=result),
        FbgemmAdd(operands=operands, result=result, single=True),
        QnnpackAdd(operands=operands, result=result),
        DecomposedAdd(operands=operands, result=result, inverse=inverse),
    ]


@pytest.mark.parametrize("seed", range(16))
def test_a_fit_equals_its_rule_for_every_pair(seed: int) -> None:
    for rule in rules(seed):
        low = rule.result.zero_point if seed % 2 else 0
        found = fit_pairs(rule, low, 255)
        expected = np.clip(rule(A, B), low, 255)
        np.testing.assert_array_equal(expected, pair_codes(found.op, found.exceptions))
        most = 8192 if seed % 4 == 3 else 3  # float32 breaks exact ties either way
        assert len(found.exceptions) <= most
        assert not isinstance(rule, QnnpackAdd) or not len(found.exceptions)


def test_extreme_scales_still_fit() -> None:
    tiny, large = Affine(scale=1e-9, zero_point=3), Affine(scale=0.5, zero_point=255)
    for operands, result in (
        ((tiny, large), large),
        ((large, large), Affine(scale=1e-8, zero_point=9)),
    ):
        rule = FbgemmAdd(operands=operands, result=result)
        found = fit_pairs(rule, 0, 255)
        expected = np.clip(rule(A, B), 0, 255)
        np.testing.assert_array_equal(expected, pair_codes(found.op, found.exceptions))


def test_scales_too_far_apart_are_refused() -> None:
    large, tiny = Affine(scale=0.5, zero_point=0), Affine(scale=1e-12, zero_point=0)
    message = (
        "a sum whose operands have the scales 0.5 and 0.5 and the result 1e-12; calibrate again"
    )
    with pytest.raises(ScaleError, match=f"^{message}$"):
        own_pairs((large, large), tiny, 0, 255)
    assert not QnnpackAdd(operands=(large, large), result=tiny).accepted


@pytest.mark.parametrize("seed", range(8))
def test_the_own_rule_is_the_nearest_code(seed: int) -> None:
    operands, result = scales(seed)
    codes = pair_codes(own_pairs(operands, result, 0, 255).op, np.zeros((0, 3), np.int64))
    real = sum((x - k.zero_point) * k.scale for x, k in zip((A, B), operands, strict=True))
    exact = np.clip(real / result.scale + result.zero_point, 0, 255)
    assert np.abs(codes - exact).max() <= 0.5 + 1e-4


@pytest.mark.parametrize("seed", range(3))
def test_a_residual_network_keeps_its_answers(seed: int) -> None:
    net = residual(seed)
    graph, integers = quantized(net)
    expected, actual = compared(graph, integers, net.images(40, seed=9))
    assert signal_to_noise(expected, actual) > 25


def test_the_structure_of_a_quantized_residual_network() -> None:
    _, integers = quantized(residual())
    joins = [node for node in integers.nodes if isinstance(node.op, QuantizedAdd)]
    assert len(joins) == 2
    assert not any(isinstance(node.op, Relu) for node in integers.nodes), "each is a clamp"
    for node in joins:
        assert isinstance(node.op, QuantizedAdd)
        assert node.op.quant_min == node.op.zero_point
        assert len({integers.types()[name].quantization for name in node.inputs[:2]}) == 2
    assert len(integers.users()[joins[0].name]) == 2, "the first sum is read by two branches"
    assert {node.name: 0 for node in joins}.items() <= count_exceptions(integers).items()


def test_batch_norms_are_folded_in_every_branch() -> None:
    net = residual()
    before = net.graph()
    after = Pipeline(SIMPLIFY).run(before)
    assert not any(isinstance(node.op, BatchNorm) for node in after.nodes)
    images = net.images(3)
    expected = Evaluator(before).run(images)[before.outputs[0]]
    actual = Evaluator(after).run(images)[after.outputs[0]]
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
    assert Pipeline(SIMPLIFY).run(after) == after


def test_a_posit_join_is_encoded_once() -> None:
    _, graph = made(residual(), RealScheme(arith="quire", es=0, weights="float", scale="auto"))
    nodes = graph.node_map()
    for node in graph.nodes:
        if isinstance(node.op, RealAdd):
            encoded = nodes[node.name.removesuffix("_acc")]
            assert isinstance(encoded.op, Encode)
            assert encoded.op.relu
    assert sum(isinstance(node.op, RealAdd) for node in graph.nodes) == 2


def test_exceptions_of_pairs_are_dropped_on_request() -> None:
    graph = CODES[2].graph()
    assert count_exceptions(graph) == {"y": 2500}
    without = eliminate_exceptions(graph)
    assert count_exceptions(without) == {"y": 0}
    assert eliminate_exceptions(without) is without


def changed(rows: list[list[int]]) -> Graph:
    """Give a join with other exceptions."""
    graph = CODES[2].graph()
    array = np.array(rows, np.int64)
    table = graph.constants[0]
    other = Constant(
        name=table.name, type=replace(table.type, shape=array.shape), data=ArrayData(array)
    )
    return graph.update(constants=(other,))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[2, 1, 1], [1, 9, 1]], "y: the exceptions are not sorted by their codes"),
        ([[2, 1, 1], [2, 1, 1]], "y: the exceptions are not sorted by their codes"),
        ([[2, 256, 1]], "y: an exception of a code that does not exist"),
    ],
)
def test_a_table_of_pairs_is_verified(rows: list[list[int]], message: str) -> None:
    with pytest.raises(VerifyError, match=re.escape(message)):
        verify(changed(rows))


def test_a_value_of_a_branch_is_freed_after_its_last_reader() -> None:
    graph = Pipeline(SIMPLIFY).run(residual().graph())
    evaluator = Evaluator(graph)
    chunk = evaluator._run_chunk({"x": residual().images(2)})
    last: dict[str, str] = {name: node.name for node in graph.nodes for name in node.inputs}
    done: set[str] = set()
    for name, _ in chunk:
        live = set(chunk.gi_frame.f_locals["live"])
        stale = {item for item in live if item != name and last.get(item) in done - {name}}
        assert not stale, f"after {name}"
        done.add(name)
