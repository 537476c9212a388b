"""Observers: what range they give, that order does not matter, degenerate values."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyahir.quant.observers import (
    OBSERVERS,
    MinMax,
    Mse,
    Observer,
    Percentile,
    affine_of,
)


def seen(observer: Observer, *parts: np.ndarray) -> tuple[float, float]:
    for part in parts:
        observer.observe(part.astype(np.float32))
    return observer.range()


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


def test_the_names_of_the_observers() -> None:
    assert {"minmax": MinMax, "percentile": Percentile, "mse": Mse} == OBSERVERS


def test_min_max_is_the_range() -> None:
    values = normal(0, 4, 100)
    assert seen(MinMax(), *values) == (values.min(), values.max())
    assert seen(MinMax(), np.array([3.0]), np.array([5.0])) == (3.0, 5.0)


@pytest.mark.parametrize("name", sorted(OBSERVERS))
def test_the_order_does_not_matter(name: str) -> None:
    parts = [normal(seed, 300) * 2.0 ** (5 * seed - 9) for seed in range(5)]
    forward = seen(OBSERVERS[name](), *parts)
    assert forward == seen(OBSERVERS[name](), *parts[::-1])
    assert forward == seen(OBSERVERS[name](), np.concatenate(parts))


@pytest.mark.parametrize("percent", [90.0, 99.0, 99.9])
def test_a_percentile_cuts_the_same_share_at_either_end(percent: float) -> None:
    values = normal(1, 200_000)
    low, high = seen(Percentile(percent), *np.split(values, 10))
    share = (100 - percent) / 200
    width = 2 * 2.0 ** np.ceil(np.log2(np.abs(values).max())) / Percentile.BINS
    for cut, one_bin_on in ((values < low, low + width), (-values < -high, width - high)):
        sign = 1 if one_bin_on == low + width else -1
        assert np.mean(cut) <= share
        assert np.mean(sign * values < one_bin_on) >= share - 1e-5


def test_a_percentile_ignores_a_rare_outlier_and_min_max_does_not() -> None:
    values = np.append(normal(2, 100_000), 1000.0)
    assert seen(MinMax(), values)[1] == 1000.0
    assert seen(Percentile(), values)[1] < 6.0


def test_all_of_the_values_is_the_range() -> None:
    values = normal(3, 1000)
    assert seen(Percentile(100), values) == (values.min(), values.max())


@pytest.mark.parametrize("percent", [50, 100.5, -1])
def test_percentiles_have_limits(percent: float) -> None:
    message = f"a percentile is more than 50 and at most 100, not {percent}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Percentile(percent)


def squared_error(values: np.ndarray, low: float, high: float) -> float:
    affine = affine_of((low, high))
    codes = np.clip(np.rint(values / affine.scale) + affine.zero_point, 0, 255)
    return float(np.mean(((codes - affine.zero_point) * affine.scale - values) ** 2))


@pytest.mark.parametrize("tail", [1.0, 3.0, 5.0])
def test_mse_is_better_than_min_max_on_heavy_tails(tail: float) -> None:
    values = np.sign(normal(4, 50_000)) * np.abs(normal(4, 50_000)) ** tail
    values = values.astype(np.float32).astype(np.float64)
    ours = squared_error(values, *seen(Mse(), *np.split(values, 5)))
    plain = squared_error(values, *seen(MinMax(), values))
    assert ours <= plain * 1.001
    assert tail == 1.0 or ours < plain


def test_mse_is_near_the_best_of_an_exhaustive_search() -> None:
    values = np.maximum(normal(5, 20_000), 0.0).astype(np.float64) ** 3
    ours = squared_error(values, *seen(Mse(), values))
    best = min(squared_error(values, 0.0, values.max() * part) for part in np.linspace(0.1, 1, 200))
    assert ours <= best * 1.02


def test_mse_keeps_a_range_that_needs_no_clipping() -> None:
    values = np.repeat(np.arange(256) / 64 - 1.0, 50)
    low, high = seen(Mse(), values)
    assert squared_error(values, low, high) < (1 / 64) ** 2 / 4


DEGENERATE = {
    "zeros": [0.0] * 10,
    "positive": [2.5] * 10,
    "negative": [-2.5] * 10,
    "tiny": [1e-38, -1e-39],
    "denormal": [1e-45],
    "huge": [3e38, -3e38],
    "wide": [1e-30, 3e30],
    "one": [-0.0],
}


@pytest.mark.parametrize("name", sorted(OBSERVERS))
@pytest.mark.parametrize("values", DEGENERATE.values(), ids=DEGENERATE.keys())
def test_degenerate_values_give_a_usable_range(name: str, values: list[float]) -> None:
    array = np.array(values, np.float32)
    low, high = seen(OBSERVERS[name](), array, array[:1])
    assert np.isfinite([low, high]).all()
    assert low <= high
    affine = affine_of((low, high))
    assert 0 <= affine.zero_point <= 255
    assert np.isfinite(np.float32(1) / np.float32(affine.scale))


@settings(deadline=None, max_examples=200)
@given(
    low=st.floats(-(2.0**100), 2.0**100, width=32),
    high=st.floats(-(2.0**100), 2.0**100, width=32),
)
def test_affines_span_their_range_and_zero(low: float, high: float) -> None:
    low, high = min(low, high), max(low, high)
    affine = affine_of((low, high))
    assert affine.scale == float(np.float32(affine.scale))
    span = [(code - affine.zero_point) * affine.scale for code in (0, 255)]
    assert span[0] <= 0.0 <= span[1]
    slack = 0.501 * affine.scale
    assert span[0] - slack <= min(low, 0.0)
    assert max(high, 0.0) <= span[1] + slack
    assert low < 0.0 or affine.zero_point == 0
    assert high > 0.0 or affine.zero_point in (0, 255) or -low < 255 * 2.0**-100


def test_affines_of_a_constant_zero_and_with_a_least_scale() -> None:
    zero = affine_of((0.0, 0.0))
    assert (zero.scale, zero.zero_point) == (1.0, 0)
    coarse = affine_of((-1.0, 1.0), least_scale=0.5)
    assert (coarse.scale, coarse.zero_point) == (0.5, 2)


def test_the_base_has_no_behaviour() -> None:
    with pytest.raises(AssertionError, match=r"^Observer has no observe$"):
        Observer().observe(np.zeros(1, np.float32))
    with pytest.raises(AssertionError, match=r"^Observer has no range$"):
        Observer().range()
