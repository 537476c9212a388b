"""Integer thresholds against the batch norm in float64 and in exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pyahir.quant.thresholds import (
    ALWAYS,
    NEVER,
    BatchNorm,
    Tie,
    activation_steps,
    find_ties,
    fold_thresholds,
)

ACC = np.arange(-300, 301)


def norm_of(
    gamma: float, beta: float, mean: float, variance: float, eps: float = 1e-4
) -> BatchNorm:
    parts = [np.array([part], np.float64) for part in (gamma, beta, mean, variance)]
    return BatchNorm(gamma=parts[0], beta=parts[1], mean=parts[2], variance=parts[3], eps=eps)


single = st.floats(-8, 8, width=32)
gammas = single.filter(lambda x: abs(x) > 1e-3)
variances = st.floats(0, 100, width=32)


def counted(values: np.ndarray, acc: np.ndarray, negated: bool) -> np.ndarray:
    mine = -acc if negated else acc
    return (values[None] < mine[:, None]).sum(axis=1)


@settings(max_examples=300, deadline=None)
@given(
    gamma=gammas,
    beta=single,
    mean=st.floats(-250, 250, width=32),
    variance=variances,
    width=st.integers(1, 4),
    unit=st.sampled_from([1.0, 2.0**-7, 0.3]),
)
def test_thresholds_count_what_the_float_network_does(
    gamma: float, beta: float, mean: float, variance: float, width: int, unit: float
) -> None:
    norm = norm_of(gamma, beta, mean, variance)
    steps, _ = activation_steps(width)
    real = norm((ACC.astype(np.float64) * np.float64(unit))[:, None])
    away = np.abs(real - steps).min(axis=1) > 1e-9 * (1 + np.abs(real[:, 0]))
    found = fold_thresholds(norm, steps, unit)
    expected = (steps < real).sum(axis=1)
    actual = counted(found.values[0], ACC, bool(found.negated[0]))
    np.testing.assert_array_equal(expected[away], actual[away])
    assert found.values.dtype == np.int64
    assert (np.diff(found.values[0]) >= 0).all()
    assert found.negated.tolist() == [gamma < 0]


def exactly(norm: BatchNorm, acc: int, step: float) -> int:
    """Give the sign of BN(acc) - step for a batch norm whose root is rational."""
    root = Fraction(float(np.sqrt(norm.variance[0])))
    assert root * root == Fraction(float(norm.variance[0]))
    gamma, beta, mean = (Fraction(float(x[0])) for x in (norm.gamma, norm.beta, norm.mean))
    value = gamma * (acc - mean) / root + beta
    return (value > step) - (value < step)


def check_ties(gamma: int, beta: int, mean: int, root: int, width: int) -> None:
    norm = norm_of(gamma / 4, beta / 4, mean / 2, root * root, eps=0.0)
    steps, base = activation_steps(width)
    signs = np.array([[exactly(norm, acc, step) for step in steps] for acc in ACC.tolist()])
    negated = gamma < 0
    for ties in ("low", "high", "even"):
        upper = [
            ties == "high" or (ties == "even" and (base + i) % 2 != 0) for i in range(len(steps))
        ]
        expected = ((signs > 0) | ((signs == 0) & np.array(upper))).sum(axis=1)
        found = fold_thresholds(norm, steps, 1.0, ties, levels_from=base)
        np.testing.assert_array_equal(expected, counted(found.values[0], ACC, negated), ties)
    bounds = np.array([ACC[0]]), np.array([ACC[-1]])
    listed = [item for item in find_ties(norm, steps, 1.0, *bounds) if item.exact]
    expected_ties = {
        (i, (-1 if negated else 1) * acc)
        for row, acc in zip(signs, ACC.tolist(), strict=True)
        for i in np.flatnonzero(row == 0).tolist()
    }
    assert {(item.step, item.accumulator) for item in listed} == expected_ties


# Numbers with many ties: quarters and whole roots.
NORMS = {
    "gamma": st.integers(-16, 16).filter(bool),
    "beta": st.integers(-16, 16),
    "mean": st.integers(-200, 200),
    "root": st.integers(1, 9),
    "width": st.integers(1, 3),
}


@settings(max_examples=40, deadline=None)
@given(**NORMS)
def test_ties_go_where_they_are_told(
    gamma: int, beta: int, mean: int, root: int, width: int
) -> None:
    check_ties(gamma, beta, mean, root, width)


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(**NORMS)
def test_many_ties_go_where_they_are_told(
    gamma: int, beta: int, mean: int, root: int, width: int
) -> None:
    check_ties(gamma, beta, mean, root, width)


def test_half_to_even_is_what_two_bits_do() -> None:
    """-1/2 becomes 0 and 1/2 becomes 0, as rounding half to even has it."""
    norm = norm_of(0.5, 0.0, 0.0, 1.0, eps=0.0)
    steps, base = activation_steps(2)
    found = fold_thresholds(norm, steps, 1.0, "even", levels_from=base)
    acc = np.arange(-3, 4)
    expected = np.clip(np.rint(acc * 0.5), -1, 1)
    np.testing.assert_array_equal(expected, base + counted(found.values[0], acc, False))


@pytest.mark.parametrize(
    ("beta", "ties", "values"),
    [
        (0.25, "low", [ALWAYS, NEVER]),
        (-0.5, "low", [NEVER, NEVER]),
        (-0.5, "high", [ALWAYS, NEVER]),
        (-0.5, "even", [ALWAYS, NEVER]),
        (0.5, "even", [ALWAYS, NEVER]),
        (0.5, "high", [ALWAYS, ALWAYS]),
    ],
)
def test_a_neuron_without_gamma_is_constant(beta: float, ties: str, values: list[int]) -> None:
    norm = norm_of(0.0, beta, 3.0, 2.0)
    found = fold_thresholds(norm, activation_steps(2)[0], 1.0, ties, levels_from=-1)
    assert found.values.tolist() == [values]
    assert found.negated.tolist() == [False]
    assert not find_ties(norm, np.zeros(1), 1.0, np.array([-9]), np.array([9]))


def test_far_thresholds_never_or_always_fire() -> None:
    norm = norm_of(1e-30, 1.0, 0.0, 1.0)
    assert fold_thresholds(norm, np.array([0.0, 2.0]), 1.0).values.tolist() == [[ALWAYS, NEVER]]


@given(variance=variances, mean=st.floats(-50, 50, width=32))
def test_eps_is_inside_the_deviation(variance: float, mean: float) -> None:
    """T = mean - beta / gamma * sqrt(variance + eps): eps cannot be left out."""
    assume(variance + 1e-2 > 0)
    norm = norm_of(1.0, -20.0, mean, variance, eps=1e-2)
    threshold = mean + 20.0 * np.sqrt(variance + 1e-2)
    assume(abs(threshold - round(threshold)) > 1e-6)
    found = fold_thresholds(norm, np.zeros(1), 1.0).values
    assert found.tolist() == [[int(np.floor(threshold))]]


def test_units_may_differ_by_channel() -> None:
    norm = BatchNorm(
        gamma=np.array([1.0, -1.0]),
        beta=np.zeros(2),
        mean=np.array([1.0, 1.0]),
        variance=np.ones(2),
        eps=0.0,
    )
    found = fold_thresholds(norm, np.zeros(1), np.array([0.3, 0.4]))
    assert found.values.tolist() == [[3], [-3]]  # 1 / 0.3 = 3.33, -1 / 0.4 = -2.5


def test_ties_have_the_parity_of_the_sums() -> None:
    """Five numbers of +-1 give -5, -3, -1, 1, 3, 5: the step 2 is none of them, 3 is."""
    low, high = np.array([-5]), np.array([5])
    even, odd = (norm_of(1.0, 0.0, mean, 1.0) for mean in (2.0, 3.0))
    assert find_ties(even, np.zeros(1), 1.0, low, high, 2) == ()
    assert find_ties(odd, np.zeros(1), 1.0, low, high, 2) == (
        Tie(channel=0, step=0, accumulator=3, exact=True),
    )
    near = norm_of(1.0, 0.0, 3.0 + 1e-6, 1.0)
    assert [item.exact for item in find_ties(near, np.zeros(1), 1.0, low, high)] == [False]


def test_steps() -> None:
    assert activation_steps(1)[0].tolist() == [0.0]
    assert activation_steps(1)[1] == 0
    assert activation_steps(2)[0].tolist() == [-0.5, 0.5]
    assert activation_steps(2)[1] == -1
    assert activation_steps(3)[0].tolist() == [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5]
