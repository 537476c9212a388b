"""The fast requantize kernel (floating point) equals the definition, close to steps above all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyahir.ir.eval import Evaluator
from pyahir.ir.eval.quant import ExactRequantize
from pyahir.ir.ops import Requantize
from pyahir.ir.types import Int
from pyahir.ir.verify import verify
from pyahir.quant.requantize import Fit, Int64, fit, own_fit
from tests.op_cases import Case, acc, u8
from tests.quant.layers import LAYERS, Layer, every_accumulator


def check(found: Fit, rows: Int64, *, limits: tuple[int, int] = (0, 255), zero: int = 0) -> None:
    """Compare the evaluator with the definition on accumulators (C, n) that fit their type."""
    bound = int(np.abs(rows).max())
    width = max(2, bound.bit_length() + 1)
    op = Requantize(
        shift=found.shift,
        quant_min=limits[0],
        quant_max=limits[1],
        scale=0.5,
        zero_point=zero,
        tie_bits=found.tie_bits,
        tie_parity=found.tie_parity,
    )
    channels = len(rows)
    parameters = (found.multiplier, found.offset, found.exceptions)
    x = acc(width, 1, 1, 1, channels)
    result = u8(1, 1, 1, channels, zero_point=zero, scale=0.5)
    case = Case(name="requantize", op=op, x=x, constants=parameters, result=result)
    actual = Evaluator(verify(case.graph())).run(rows.T[:, None, None, :])["y"]
    channel = np.broadcast_to(np.arange(channels)[:, None], rows.shape)
    expected = ExactRequantize(op, *parameters)(rows.ravel(), channel.ravel())
    np.testing.assert_array_equal(expected.reshape(rows.shape), actual[:, 0, 0, :].T)


@pytest.mark.parametrize("item", LAYERS[::2], ids=lambda item: item.name)
def test_whole_ranges_of_source_rules(item: Layer) -> None:
    found = fit(item.rule, item.low, item.high, 0, 255)
    check(found, every_accumulator(item.low, item.high), zero=item.rule.zero_point)  # type: ignore[attr-defined]  # of both rules


def near_steps(found: Fit, limit: int) -> Int64:
    """Give, per channel, the accumulators at and beside every step of the line within ``limit``."""
    codes = np.arange(-2, 260, dtype=np.int64)
    steps = ((codes << found.shift)[None, :] - found.offset[:, None]) // found.multiplier[:, None]
    beside = steps[:, :, None] + np.arange(-2, 4)[None, None, :]
    return np.clip(beside.reshape(len(steps), -1), -limit, limit)


@pytest.mark.parametrize("width", [18, 23, 24, 25, 30])
@pytest.mark.parametrize("seed", range(3))
def test_steps_where_float32_and_float64_are_rounded(width: int, seed: int) -> None:
    """Accumulators to the edge of float32 and beyond: values that lie on a step to within 2**-S."""
    rng = np.random.default_rng(seed)
    limit = (1 << (width - 1)) - 1
    real = rng.uniform(0.5, 2.0, 5) * 255 / (2 * limit)
    bias = rng.integers(-limit // 4, limit // 4, 5)
    found = own_fit(real, bias, int(rng.integers(0, 256)), limit + limit // 4 + 1)
    check(found, near_steps(found, limit), zero=3)


def test_exact_integers_on_every_step() -> None:
    """A line that meets integers exactly: t is an integer for every 16th accumulator."""
    found = Fit(
        multiplier=np.array([1 << 16, (1 << 16) - 1, (1 << 16) + 1]),
        offset=np.array([0, 5, -5]),
        shift=20,
        exceptions=np.zeros((0, 3), np.int64),
    )
    check(found, every_accumulator(np.full(3, -2000), np.full(3, 6000)), zero=200)


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_any_line_any_exceptions_any_clamp(data: st.DataObject) -> None:
    """Also exceptions far from any step and beyond the clamp, which no fit would give."""
    shift = data.draw(st.integers(4, 24))
    multiplier = data.draw(st.integers(1, 1 << (shift + 1)))
    offset = data.draw(st.integers(-(1 << (shift + 8)), 1 << (shift + 8)))
    low, high = sorted(data.draw(st.tuples(st.integers(1, 254), st.integers(1, 254))))
    accs = data.draw(st.lists(st.integers(-700, 700), unique=True, max_size=4))
    rows = [[0, value, data.draw(st.sampled_from([-1, 1]))] for value in sorted(accs)]
    found = Fit(
        multiplier=np.array([multiplier]),
        offset=np.array([offset]),
        shift=shift,
        exceptions=np.array(rows, np.int64).reshape(-1, 3),
    )
    check(found, np.arange(-800, 801)[None, :], limits=(low, high))


@pytest.mark.parametrize("at", [16 * 200 + 1, 16 * 201 + 2, 16 * 10 - 1, 16 * 9 - 1, 16 * 5])
def test_exceptions_beyond_the_clamp(at: int) -> None:
    """The kernel clamps half a code beyond the limits, which must not hide such an exception."""
    found = Fit(
        multiplier=np.array([1 << 16]),
        offset=np.array([0]),
        shift=20,
        exceptions=np.array([[0, at, -1 if at > 1000 else 1]]),
    )
    check(found, np.arange(-1000, 5000)[None, :], limits=(10, 200))


@pytest.mark.parametrize("parity", [0, 1])
def test_ties(parity: int) -> None:
    found = Fit(
        multiplier=np.full(2, 1 << 18),
        offset=np.array([1 << 19, 9 << 19]),
        shift=20,
        exceptions=np.zeros((0, 3), np.int64),
        tie_bits=20,
        tie_parity=parity,
    )
    check(found, every_accumulator(np.full(2, -1200), np.full(2, 1200)), zero=1)


def test_the_widest_accumulators() -> None:
    """Beyond 2**24 accumulators travel in float64; M and B as large as int64 allows."""
    limit = (1 << 30) - 1
    found = own_fit(np.array([2.0**-23, 1.7e-7]), np.array([9, -9]), 100, limit + 9)
    assert Int(31).max == limit
    check(found, near_steps(found, limit), zero=100)
