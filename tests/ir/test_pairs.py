"""Two images in one product: the same integers as one by one, wherever the trick is taken."""

from __future__ import annotations

import numpy as np
import pytest

from pyahir.ir.builder import GraphBuilder
from pyahir.ir.eval import Evaluator
from pyahir.ir.eval.core import wide_form
from pyahir.ir.eval.pairs import paired
from pyahir.ir.graph import Graph, Loc, Stage
from pyahir.ir.ops import Linear
from pyahir.ir.types import Bipolar, Int, TensorType
from pyahir.ir.verify import verify
from tests.case import bits, scaled, u8


def layer(kind: TensorType, weight: np.ndarray) -> Graph:
    builder = GraphBuilder("net", Stage.QUANTIZED)
    x = builder.input("x", kind)
    stored = builder.constant("w", weight, Bipolar())
    return verify(builder.finish([builder.node("y", Linear(acc_width=20), [x, stored], Loc())]))


@pytest.mark.parametrize("inputs", [1, 63, 1023, 1024, 2047, 2048, 3000])
@pytest.mark.parametrize("count", [1, 2, 5, 128])
def test_extreme_sums_come_apart(inputs: int, count: int) -> None:
    """All inputs equal, and beside them their opposites: every carry and borrow occurs."""
    rng = np.random.default_rng(inputs)
    weight = np.stack([np.ones(inputs), np.zeros(inputs), rng.integers(0, 2, inputs)])
    batch = rng.integers(0, 2, (count, inputs), dtype=np.uint8)
    batch[::3], batch[1::3] = 1, 0
    graph = layer(bits(1, inputs), weight.astype(np.uint8))
    signs = 2 * weight.astype(np.int64) - 1
    expected = (2 * batch.astype(np.int64) - 1) @ signs.T
    np.testing.assert_array_equal(expected, Evaluator(graph, wide_form(graph)).run(batch)["y"])


@pytest.mark.parametrize("inputs", [1023, 1024, 2047])
def test_two_bit_inputs(inputs: int) -> None:
    rng = np.random.default_rng(inputs)
    weight = rng.integers(0, 2, (4, inputs), dtype=np.uint8)
    graph = layer(scaled(Int(2), 1, inputs), weight)
    signs = 2 * weight.astype(np.int64) - 1
    for low in (-1, -2):  # with -2 among them the sums may be too long
        batch = rng.integers(low, 2, (9, inputs))
        batch[3], batch[8] = 1, low
        np.testing.assert_array_equal(
            batch @ signs.T, Evaluator(graph, wide_form(graph)).run(batch)["y"]
        )


def test_what_is_paired() -> None:
    seen: list[int] = []

    def kernel(x: np.ndarray) -> np.ndarray:
        seen.append(x.shape[-1])
        return x.sum(axis=0, keepdims=True)

    ones = np.ones((3, 5), np.float32)
    short, long = np.ones((1, 3), np.int8), np.full((1, 3), 800, np.int16)
    assert paired(kernel, u8(1, 3), short) is kernel
    assert paired(kernel, scaled(Int(8), 1, 3), short) is kernel
    assert paired(kernel, bits(1, 3), short)(ones).tolist() == [[3.0] * 5]
    assert paired(kernel, bits(1, 3), long)(ones).tolist() == [[3.0] * 5]
    assert paired(kernel, bits(1, 3), short)(ones[:, :1]).tolist() == [[3.0]]
    assert seen == [3, 5, 1]
