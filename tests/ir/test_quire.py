"""The integers of a quire at any width: against Python's, with operands that use every bit."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from pyahir.ir import posit
from pyahir.ir.eval.quire import (
    admitted,
    is_wide,
    multiply,
    odd,
    plan_limbs,
    published,
    widen,
)
from pyahir.ir.types import Int

TAPS = 40
NAR = -128


def operands(es: int, bits: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give codes (T, M), most of them near either end, and odd weights (3, T) of ``bits`` bits."""
    rng = np.random.default_rng(seed)
    ends = np.array([1, 2, 3, 125, 126, 127, 129, 131, 255], np.uint8)
    codes = np.where(rng.random((TAPS, 50)) < 0.7, rng.choice(ends, (TAPS, 50)), 77)
    weight = rng.integers(1 - (1 << bits), 1 << bits, (3, TAPS)) | 1
    weight[0], weight[1, ::2] = (1 << bits) - 1, 1 - (1 << bits)
    return codes.astype(np.uint8), weight, rng.integers(-(1 << 40), 1 << 40, (3, 1))


def exact_sums(es: int, codes: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    integers = posit.decode_integers(codes, es).astype(object)
    return weight.astype(object) @ integers + bias.astype(object)


def bound_of(es: int, weight: np.ndarray, bias: np.ndarray) -> int:
    largest = 1 << (2 * posit.fraction_bits(es))
    rows = np.abs(weight).tolist()
    return max(
        largest * sum(row) + abs(b) for row, b in zip(rows, bias[:, 0].tolist(), strict=True)
    )


CASES = [(0, 4), (0, 12), (0, 24), (0, 44), (1, 15), (1, 24), (1, 48), (2, 1), (2, 15), (2, 48)]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("es", "bits"), CASES)
def test_sums_are_exact(es: int, bits: int, seed: int) -> None:
    codes, weight, bias = operands(es, bits, seed)
    if (es, bits) == (0, 4):
        bias = bias >> 25  # the sums stay below 2**24: float32
    bound = bound_of(es, weight, bias)
    limbs = plan_limbs(es, weight, bound)
    assert limbs.narrow == (bound < 1 << 53)
    sums = multiply(
        limbs, codes.view(np.int8), lambda x: x, lambda j, x: limbs.weights[j] @ x, bias
    )
    expected = exact_sums(es, codes, weight, bias)
    assert is_wide(sums) == (not limbs.narrow)
    element = Int(bound.bit_length() + 1)
    np.testing.assert_array_equal(expected, published(sums, element).astype(object))
    check_odd(expected, odd(sums))
    tripled = published(widen(sums, 3), Int(130)) if not limbs.narrow else None
    if tripled is not None and bound < 1 << 120:
        np.testing.assert_array_equal(expected * 3, tripled)


def test_the_forms_are_as_narrow_as_they_can_be() -> None:
    """One unit more, and the next form is needed."""
    one = np.ones((1, 1), np.int64)
    kinds = [
        plan_limbs(0, one, bound) for bound in ((1 << 24) - 1, 1 << 24, (1 << 53) - 1, 1 << 53)
    ]
    assert [item.weights[0].dtype for item in kinds] == [np.float32, *[np.float64] * 3]
    assert [item.narrow for item in kinds] == [True, True, True, False]
    with pytest.raises(AssertionError, match=r"^a quire of more than 122 bits"):
        plan_limbs(2, one, 1 << 122)


@pytest.mark.parametrize(("es", "bits"), CASES)
def test_a_partial_sum_of_limbs_stays_exact(es: int, bits: int) -> None:
    _, weight, bias = operands(es, bits, 0)
    limbs = plan_limbs(es, weight, max(bound_of(es, weight, bias), 1 << 53))
    for table in limbs.tables:
        for part in limbs.weights:
            largest = int(np.nanmax(np.abs(table))) * int(np.abs(part).sum(axis=1).max())
            assert largest < 1 << 53


def check_odd(expected: np.ndarray, actual: np.ndarray) -> None:
    for number, rounded in zip(expected.ravel().tolist(), actual.ravel().tolist(), strict=True):
        spare = max(abs(number).bit_length() - 24, 0)
        size = abs(number) >> spare
        size |= size << spare != abs(number)
        assert Fraction(rounded) == (size << spare) * (-1 if number < 0 else 1)


def test_one_bit_far_below_is_not_lost() -> None:
    """Every leading bit with one more bit set anywhere below it, both signs."""
    places = [(high, low) for high in range(1, 119, 3) for low in range(0, high, 5)]
    numbers = [(1 << high) + (1 << low) for high, low in places]
    numbers += [-number for number in numbers]
    given = np.array(numbers, object)
    wide = admitted(given, Int(122))
    assert is_wide(wide)
    np.testing.assert_array_equal(given, published(wide, Int(122)))
    check_odd(given, odd(wide))


@pytest.mark.parametrize("width", [20, 53, 60, 100])
def test_nar_is_the_least_integer_in_every_form(width: int) -> None:
    element = Int(width)
    given = np.array([5, element.min, -5, element.max, element.min + 1], object)
    plane = admitted(given if width > 64 else given.astype(np.int64), element)
    assert published(plane, element).tolist() == given.tolist()
    if is_wide(plane):
        assert np.isnan(odd(plane)).tolist() == [False, True, False, False, False]
        assert np.isnan(odd(widen(plane, 3))).tolist() == [False, True, False, False, False]


@pytest.mark.parametrize(("es", "bits"), CASES)
def test_any_nar_among_the_taps_gives_nar(es: int, bits: int) -> None:
    codes, weight, bias = operands(es, bits, 1)
    codes[7, 3], codes[:, 9] = posit.NAR, posit.NAR
    bound = bound_of(es, weight, bias)
    limbs = plan_limbs(es, weight, bound)
    sums = multiply(
        limbs, codes.view(np.int8), lambda x: x, lambda j, x: limbs.weights[j] @ x, bias
    )
    element = Int(bound.bit_length() + 1)
    found = published(sums, element) == element.min
    assert found.any(axis=0).nonzero()[0].tolist() == [3, 9]
    assert found[:, [3, 9]].all()
