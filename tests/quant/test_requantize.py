"""Integer requantization equals the float rules for every accumulator that can occur."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyahir.ir.eval.quant import ExactRequantize
from pyahir.ir.ops import Requantize
from pyahir.quant.requantize import (
    Fit,
    Int64,
    fit,
    fit_average,
    integer_steps,
    own_fit,
    rule_steps,
)
from pyahir.quant.rules import AveragePool, Exact, PoolForm
from tests.quant.layers import LAYERS, Layer, every_accumulator, layer

CODES = np.arange(1, 256, dtype=np.int64)


def integer_codes(found: Fit, acc: Int64, low: int = 0, high: int = 255) -> Int64:
    """Evaluate a fit by the definition of Requantize on rows (C, n)."""
    op = Requantize(
        shift=found.shift,
        quant_min=low,
        quant_max=high,
        scale=1.0,
        zero_point=0,
        tie_bits=found.tie_bits,
        tie_parity=found.tie_parity,
    )
    exact = ExactRequantize(op, found.multiplier, found.offset, found.exceptions)
    channel = np.broadcast_to(np.arange(len(acc))[:, None], acc.shape)
    return exact(acc.ravel(), channel.ravel()).reshape(acc.shape)


def within(item: Layer, acc: Int64) -> np.ndarray:
    return (acc >= item.low[:, None]) & (acc <= item.high[:, None])


@pytest.mark.parametrize("item", LAYERS, ids=lambda item: item.name)
@pytest.mark.parametrize(("low", "high"), [(0, 255), (37, 190)])
def test_a_fit_equals_its_rule_everywhere(item: Layer, low: int, high: int) -> None:
    found = fit(item.rule, item.low, item.high, low, high)
    acc = every_accumulator(item.low, item.high)
    assert acc.shape[1] > 100_000
    inside = within(item, acc)
    expected = np.clip(item.rule(acc), low, high)
    actual = integer_codes(found, acc, low, high)
    np.testing.assert_array_equal(expected[inside], actual[inside])


@pytest.mark.parametrize("item", LAYERS, ids=lambda item: item.name)
def test_exceptions_are_the_differences_sorted_and_nothing_else(item: Layer) -> None:
    found = fit(item.rule, item.low, item.high, 0, 255)
    acc = every_accumulator(item.low, item.high)
    bare = Fit(
        multiplier=found.multiplier,
        offset=found.offset,
        shift=found.shift,
        exceptions=np.zeros((0, 3), np.int64),
    )
    change = np.clip(item.rule(acc), 0, 255) - integer_codes(bare, acc)
    change[~within(item, acc)] = 0
    channel, place = np.nonzero(change)
    expected = np.stack([channel, acc[channel, place], change[channel, place]], axis=1)
    np.testing.assert_array_equal(expected, found.exceptions)
    rows = [tuple(row) for row in found.exceptions.tolist()]
    assert rows == sorted(rows)
    assert {abs(row[2]) for row in rows} <= {1}


def naive(item: Layer) -> int:
    """Count the steps that a plain rounding of the scale and the bias misses."""
    slope = item.rule.slope()
    shift = fit(item.rule, item.low, item.high, 0, 255).shift
    multiplier = np.rint(slope * 2.0**shift).astype(np.int64)
    bias = item.rule.bias.astype(np.float64)  # type: ignore[attr-defined]  # both rules have one
    scale, zero = float(item.rule.scale), item.rule.zero_point  # type: ignore[attr-defined]  # as above
    offset = np.rint((bias / scale + zero + 0.5) * 2.0**shift).astype(np.int64)
    expected = rule_steps(item.rule, item.low, item.high, CODES)
    actual = integer_steps(multiplier, offset, shift, item.low, item.high, CODES)
    return int(np.abs(expected - actual).sum())


def test_there_are_fewer_exceptions_than_plain_rounding_needs() -> None:
    for form in ("fbgemm", "fbgemm-per-tensor", "qnnpack"):
        layers = [item for item in LAYERS if item.name.startswith(f"{form}-")]
        counts = [len(fit(i.rule, i.low, i.high, 0, 255).exceptions) for i in layers]
        plain = [naive(i) for i in layers]
        assert all(ours <= theirs for ours, theirs in zip(counts, plain, strict=True))
        assert sum(counts) < sum(plain)


def test_no_other_multiplier_needs_much_fewer() -> None:
    """A search over all multipliers near the slope, every offset: the fit is at its bottom."""
    item = layer("fbgemm", 9, taps=12, channels=2)
    found = fit(item.rule, item.low, item.high, 0, 255)
    steps = rule_steps(item.rule, item.low, item.high, CODES)
    for channel in range(2):
        ours = int((found.exceptions[:, 0] == channel).sum()) if len(found.exceptions) else 0
        low, high = item.low[channel : channel + 1], item.high[channel : channel + 1]
        best = ours
        slope = item.rule.slope()[channel] * 2.0**found.shift
        for relative in np.linspace(-2e-4, 2e-4, 201):
            multiplier = np.array([round(slope * (1 + relative))])
            ideal = (CODES << found.shift) - (steps[channel] - 1) * multiplier
            offset = np.array([int(np.median(ideal)) - 1])
            actual = integer_steps(multiplier, offset, found.shift, low, high, CODES)
            best = min(best, int(np.count_nonzero(actual[0] != steps[channel])))
        assert ours == best


@pytest.mark.parametrize("item", LAYERS[::3], ids=lambda item: item.name)
def test_steps_by_bisection_are_the_steps_by_search(item: Layer) -> None:
    steps = rule_steps(item.rule, item.low, item.high, CODES)
    acc = every_accumulator(item.low, item.high)
    codes = item.rule(acc)
    assert np.all(np.diff(codes, axis=1) >= 0)
    for channel in range(len(acc)):
        size = int(item.high[channel] - item.low[channel]) + 1
        expected = item.low[channel] + np.searchsorted(codes[channel, :size], CODES)
        np.testing.assert_array_equal(expected, steps[channel])


@settings(deadline=None, max_examples=80)
@given(
    multiplier=st.integers(0, 1 << 20),
    offset=st.integers(-(1 << 30), 1 << 30),
    shift=st.integers(0, 24),
    low=st.integers(-3000, 0),
    size=st.integers(0, 5000),
)
def test_integer_steps_are_in_closed_form(
    multiplier: int, offset: int, shift: int, low: int, size: int
) -> None:
    acc = np.arange(low, low + size + 1, dtype=np.int64)
    codes = (acc * multiplier + offset) >> shift
    expected = low + np.searchsorted(codes, CODES)
    actual = integer_steps(
        np.array([multiplier]), np.array([offset]), shift, acc[:1], acc[-1:], CODES
    )
    np.testing.assert_array_equal(expected, actual[0])


def test_one_code_only_needs_no_steps() -> None:
    item = LAYERS[0]
    found = fit(item.rule, item.low, item.high, 7, 7)
    assert found.exceptions.shape == (0, 3)
    assert set(integer_codes(found, item.low[:, None], 7, 7).ravel().tolist()) == {7}


# pyahir's own rule


def own(seed: int) -> tuple[Fit, np.ndarray, Int64, int, Int64, Int64]:
    rng = np.random.default_rng(seed)
    real = rng.uniform(1e-5, 1e-2, 3) * rng.choice([1.0, 2.0**-8], 3)
    bias = rng.integers(-50_000, 50_000, 3)
    zero_point = int(rng.integers(0, 256))
    low, high = rng.integers(-200_000, -1, 3), rng.integers(1, 200_000, 3)
    largest = int(max(-low.min(), high.max()) + np.abs(bias).max())
    return own_fit(real, bias, zero_point, largest), real, bias, zero_point, low, high


@pytest.mark.parametrize("seed", range(6))
def test_own_rule_rounds_the_exact_product_half_to_even(seed: int) -> None:
    """(acc + bias) * M / 2**S as a fraction, rounded half to even: at every step, both sides."""
    found, _, bias, zero_point, low, high = own(seed)
    assert len(found.exceptions) == 0
    assert np.all(found.multiplier % 2 == 1)
    codes = np.arange(1, 256, dtype=np.int64)
    steps = integer_steps(found.multiplier, found.offset, found.shift, low, high, codes)
    rng = np.random.default_rng(seed)
    for channel in range(3):
        inside = steps[channel][(steps[channel] > low[channel]) & (steps[channel] <= high[channel])]
        acc = np.concatenate([inside, inside - 1, rng.integers(low[channel], high[channel], 500)])
        ratio = Fraction(int(found.multiplier[channel]), 1 << found.shift)
        expected = [round((int(a) + int(bias[channel])) * ratio) + zero_point for a in acc]
        rows = np.zeros((3, len(acc)), np.int64)
        rows[channel] = acc
        actual = integer_codes(found, rows)[channel]
        np.testing.assert_array_equal(np.clip(expected, 0, 255), actual)


@pytest.mark.parametrize("seed", range(3))
def test_own_rule_over_whole_ranges(seed: int) -> None:
    """The same in exact integers: floor((2 * p + 2**S) / 2**(S + 1)), and no tie ever occurs."""
    found, _, bias, zero_point, low, high = own(seed)
    acc = every_accumulator(low, high)
    inside = (acc >= low[:, None]) & (acc <= high[:, None])
    product = (acc + bias[:, None]) * found.multiplier[:, None]
    half = 1 << (found.shift - 1)
    below = product >> found.shift
    rest = product - (below << found.shift)
    assert not np.any(rest[inside] == half)
    expected = below + (rest > half) + zero_point
    actual = integer_codes(found, acc)
    np.testing.assert_array_equal(np.clip(expected, 0, 255)[inside], actual[inside])


def test_own_multiplier_is_the_real_ratio_to_thirty_bits() -> None:
    found, real, bias, zero_point, low, high = own(1)
    error = np.abs(found.multiplier / 2.0**found.shift / real - 1)
    assert error[real == real.max()][0] < 2.0**-29
    acc = every_accumulator(low, high)
    exact = np.clip(Exact(real=real, bias=bias, zero_point=zero_point)(acc), 0, 255)
    assert np.count_nonzero(exact != integer_codes(found, acc)) < 20


def test_own_rule_of_an_empty_range() -> None:
    found = own_fit(np.array([2.0**-90]), np.array([0]), 9, 0)
    assert integer_codes(found, np.zeros((1, 1), np.int64)).tolist() == [[9]]


def test_own_rule_refuses_what_could_tie() -> None:
    with pytest.raises(AssertionError, match=r"^an accumulator could tie"):
        own_fit(np.array([1e6]), np.array([0]), 0, 1 << 20)


# averages

FORMS = (PoolForm.AFTER, PoolForm.BEFORE, PoolForm.FUSED)


@pytest.mark.parametrize("taps", [1, 2, 3, 4, 6, 9, 16, 25, 36, 49, 64])
@pytest.mark.parametrize("zero_point", [0, 3, 128])
def test_averages_equal_their_rule_everywhere(taps: int, zero_point: int) -> None:
    rule = AveragePool(factor=np.float32(1) / np.float32(taps), zero_point=zero_point, forms=FORMS)
    low, high = -zero_point * taps, (255 - zero_point) * taps
    found = fit_average(rule, taps, low, high)
    acc = np.broadcast_to(np.arange(low, high + 1), (3, high - low + 1))
    expected = np.clip(rule(acc), 0, 255)
    np.testing.assert_array_equal(expected, integer_codes(found, acc))
    rows = [tuple(row) for row in found.exceptions.tolist()]
    assert rows == sorted(rows)


def test_ties_of_one_form_need_no_exceptions() -> None:
    for taps in (2, 4, 8, 16, 64):
        rule = AveragePool(factor=np.float32(1 / taps), zero_point=7, forms=(PoolForm.BEFORE,) * 2)
        assert len(fit_average(rule, taps, -7 * taps, 248 * taps).exceptions) == 0
