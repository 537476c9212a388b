"""Products counted in bits against matrix products, for every size and kind of number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyahir.ir.builder import GraphBuilder
from pyahir.ir.eval import Evaluator, bits
from pyahir.ir.eval.core import wide_form
from pyahir.ir.graph import Graph, Loc, Stage
from pyahir.ir.ops import Linear
from pyahir.ir.types import Bipolar, Int, Layout, PowerOfTwo, TensorType

ONE = PowerOfTwo(exponent=0)


def drawn(rng: np.random.Generator, shape: tuple[int, ...], *, zeros: bool) -> np.ndarray:
    return rng.choice([-1, 0, 1] if zeros else [-1, 1], shape).astype(np.int8)


@given(
    seed=st.integers(0, 1 << 30),
    rows=st.integers(1, 70),
    length=st.integers(1, 300),
    width=st.integers(1, 700),
    zeros=st.tuples(st.booleans(), st.booleans()),
)
@settings(max_examples=60, deadline=None)
def test_counts_are_products(
    seed: int, rows: int, length: int, width: int, zeros: tuple[bool, bool]
) -> None:
    rng = np.random.default_rng(seed)
    left = drawn(rng, (rows, length), zeros=zeros[0])
    right = drawn(rng, (width, length), zeros=zeros[1])
    packed = bits.pack(right, zeros=zeros[1])
    columns = bits.Packed(
        np.ascontiguousarray(packed.negative.T),
        None if packed.nonzero is None else np.ascontiguousarray(packed.nonzero.T),
    )
    product = bits.BitProduct()
    first = product(bits.pack(left, zeros=zeros[0]), columns, length).copy()
    again = product(bits.pack(left, zeros=zeros[0]), columns, length)
    expected = left.astype(np.int64) @ right.T.astype(np.int64)
    np.testing.assert_array_equal(expected, first)
    np.testing.assert_array_equal(expected, again)


def layer(rng: np.random.Generator, outputs: int, inputs: int, x_bits: int, w_bits: int) -> Graph:
    kinds: Any = {1: (Bipolar(), None), 2: (Int(2), ONE)}
    element, scale = kinds[x_bits]
    builder = GraphBuilder("net", Stage.QUANTIZED)
    kind = TensorType(shape=(1, inputs), element=element, layout=Layout.NC, quantization=scale)
    x = builder.input("x", kind)
    weight = drawn(rng, (outputs, inputs), zeros=w_bits == 2)
    stored = weight if w_bits == 2 else (weight > 0).astype(np.uint8)
    operand = builder.constant("weight", stored, *kinds[w_bits])
    return builder.finish([builder.node("y", Linear(acc_width=14), [x, operand], Loc())])


@pytest.mark.parametrize("w_bits", [1, 2])
@pytest.mark.parametrize("x_bits", [1, 2])
def test_linear_is_the_same_either_way(
    monkeypatch: pytest.MonkeyPatch, x_bits: int, w_bits: int
) -> None:
    """Small batches are counted; -2, which two bits hold, is left to the matrix product."""
    rng = np.random.default_rng(4)
    graph = layer(rng, 600, 500, x_bits, w_bits)
    evaluator = Evaluator(graph, wide_form(graph))
    counted: list[int] = []
    inner = bits.BitProduct.__call__

    def counting(self: bits.BitProduct, rows: Any, columns: Any, length: int) -> Any:
        counted.append(len(rows.negative))
        return inner(self, rows, columns, length)

    monkeypatch.setattr(bits.BitProduct, "__call__", counting)
    weight = graph.constants[0].array.astype(np.int64)
    weight = 2 * weight - 1 if w_bits == 1 else weight
    least = {1: 0, 2: -1}[x_bits]
    for batch in (1, 3, 9, 10, 40):
        codes = rng.integers(least, 2, (batch, 500)).astype(np.uint8 if x_bits == 1 else np.int8)
        x = 2 * codes.astype(np.int64) - 1 if x_bits == 1 else codes.astype(np.int64)
        np.testing.assert_array_equal(x @ weight.T, evaluator.run(codes)["y"])
    assert counted == [1, 3, 9]
    if x_bits == 2:
        codes = np.full((2, 500), -2, np.int8)
        np.testing.assert_array_equal(codes.astype(np.int64) @ weight.T, evaluator.run(codes)["y"])
        assert counted == [1, 3, 9]
