"""Classes from scores and bits, as published hosts choose them."""

from __future__ import annotations

import re

import numpy as np
import pytest

from pyahir.errors import PyahirError
from pyahir.hosts import HostRule, host_rule
from pyahir.ir.builder import GraphBuilder
from pyahir.ir.graph import Graph, Loc, Stage
from pyahir.ir.ops import Linear, MultiThreshold
from pyahir.ir.types import Bipolar, Int, PowerOfTwo
from tests.case import bits, scaled

SCORES = np.array([[1, 5, 5, 2], [-3, -1, -1, -9], [0, 0, -4, 0], [-2, 0, -4, 7]])


@pytest.mark.parametrize(
    ("rule", "classes"),
    [
        (HostRule(), [1, 1, 0, 3]),
        (HostRule(ties="high"), [2, 2, 3, 3]),
        (HostRule(none_class=0), [1, 0, 0, 3]),
        (HostRule(none_class=9), [1, 9, 9, 3]),
        (HostRule(ties="high", none_class=9), [2, 9, 3, 3]),
        (HostRule(none_class=9, floor=-4), [1, 1, 0, 3]),
    ],
)
def test_scores(rule: HostRule, classes: list[int]) -> None:
    found = rule.classes(SCORES)
    assert found.dtype == np.int64
    assert found.tolist() == classes


def graph(x: object, weight: object, *, threshold: bool = False) -> Graph:
    """A last layer of four inputs and two classes."""
    builder = GraphBuilder("net", Stage.QUANTIZED)
    kind = bits(1, 4) if isinstance(x, Bipolar) else scaled(Int(2), 1, 4)
    value = builder.input("x", kind)
    bit = isinstance(weight, Bipolar)
    array = np.ones((2, 4), np.uint8 if bit else np.int8)
    scale = None if bit else PowerOfTwo(exponent=0)
    stored = builder.constant("w", array, Bipolar() if bit else Int(2), scale)
    value = builder.node("fc", Linear(acc_width=5), [value, stored], Loc())
    if threshold:
        steps = builder.constant("t", np.zeros((1, 1), np.int64))
        op = MultiThreshold(width=1, exponent=0, base=0)
        value = builder.node("y", op, [value, steps], Loc())
    return builder.finish([value])


XNOR = graph(Bipolar(), Bipolar())
SUMS = graph(Int(2), Bipolar())
BITS = graph(Bipolar(), Bipolar(), threshold=True)


@pytest.mark.parametrize(
    ("net", "preset", "expected"),
    [
        (XNOR, None, HostRule(floor=-4)),
        (SUMS, None, HostRule()),
        (XNOR, "bnn-pynq", HostRule(ties="low", none_class=0, floor=-4)),
        (SUMS, "bnn-pynq", HostRule(ties="low", none_class=0)),
        (BITS, "bnn-pynq", HostRule(ties="high", none_class=0, floor=1)),
        (SUMS, "pytorch", HostRule(ties="high", none_class=0)),
        (BITS, "pytorch", HostRule(ties="high", none_class=9, floor=1)),
    ],
)
def test_presets(net: Graph, preset: str | None, expected: HostRule) -> None:
    assert host_rule(net, preset=preset) == expected


def test_bits_are_read_as_a_binary_number() -> None:
    """trunc(log2(word)): the highest bit that is set; the word 0 is class 0, or 9."""
    words = np.arange(1024)
    codes = ((words[:, None] >> np.arange(10)) & 1).astype(np.uint8)
    expected = np.array([max(int(word).bit_length() - 1, 0) for word in words])
    first = host_rule(BITS, preset="bnn-pynq").classes(codes)
    np.testing.assert_array_equal(expected, first)
    expected[0] = 9
    np.testing.assert_array_equal(expected, host_rule(BITS, preset="pytorch").classes(codes))


def test_xnor_scores_are_counts_to_the_host() -> None:
    """Sums -4 to 4 are counts 0 to 4: only a count of 0 is no answer."""
    rule = host_rule(XNOR, preset="bnn-pynq")
    assert rule.classes(np.array([[-4, -2], [-4, -4], [0, 0]])).tolist() == [1, 0, 0]


def test_a_preset_may_be_changed() -> None:
    rule = host_rule(SUMS, preset="bnn-pynq", ties="high", none_class=9)
    assert rule == HostRule(ties="high", none_class=9)


def test_an_unknown_host() -> None:
    message = "--host arm: no such host; accepted: bnn-pynq, pytorch"
    with pytest.raises(PyahirError, match=f"^{re.escape(message)}$"):
        host_rule(SUMS, preset="arm")
