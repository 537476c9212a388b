"""The posit tables: against softposit where it has the type, and against the definition."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import softposit

from pyahir.ir import posit
from tests.ir import posit_oracle as oracle

CODES = np.arange(256, dtype=np.uint8)
Operation = Callable[[float, float], float]


def posit8(value: float) -> int:
    return int(softposit.convertDoubleToP8(value).v)


def posit8_2(value: float) -> int:
    return int(softposit.convertDoubleToPX2(value, 8).v) >> 24


ENCODERS = {0: posit8, 2: posit8_2}


def of_softposit(code: int, es: int) -> object:
    return softposit.posit8(bits=code) if es == 0 else softposit.posit_2(bits=code, x=8)


def code_of(number: object, es: int) -> int:
    bits = number.v.v  # type: ignore[attr-defined]  # softposit has no types
    return int(bits) if es == 0 else int(bits) >> 24


@pytest.mark.parametrize("es", posit.ES)
def test_every_code_has_its_number(es: int) -> None:
    expected = [oracle.decode(code, es) for code in range(256)]
    actual = posit.values(es).tolist()
    assert math.isnan(actual[posit.NAR])
    assert [Fraction(0 if math.isnan(x) else x) for x in actual] == [x or 0 for x in expected]
    np.testing.assert_array_equal(posit.encode(posit.values(es), es), CODES)


@pytest.mark.parametrize("es", [0, 2])
def test_the_numbers_are_those_of_softposit(es: int) -> None:
    convert = float if es == 0 else lambda x: softposit.convertPX2ToDouble(x.v)
    others = [convert(of_softposit(code, es)) for code in range(256) if code != posit.NAR]
    assert np.delete(posit.values(es), posit.NAR).tolist() == others


@pytest.mark.parametrize("operation", ["__add__", "__mul__"])
@pytest.mark.parametrize("es", [0, 2])
def test_all_pairs_are_those_of_softposit(es: int, operation: str) -> None:
    numbers = posit.values(es)
    exact = getattr(np, {"__add__": "add", "__mul__": "multiply"}[operation])
    actual = posit.encode(exact.outer(numbers, numbers), es)
    others = [of_softposit(code, es) for code in range(256)]
    expected = [
        [code_of(getattr(left, operation)(right), es) for right in others] for left in others
    ]
    np.testing.assert_array_equal(expected, actual)


@pytest.mark.parametrize("operation", [np.add, np.multiply])
def test_all_pairs_of_es_1_are_rounded_once(operation: np.ufunc) -> None:
    """softposit has no posit<8,1>; sums and products of two are exact in float64."""
    exact = np.unique(operation.outer(posit.values(1), posit.values(1)))
    expected = [oracle.encode(oracle.exact(x), 1) for x in exact.tolist()]
    assert posit.encode(exact, 1).tolist() == expected


def steps(es: int) -> np.ndarray:
    """Give all ties between neighbouring codes, and the float32 numbers on either side."""
    ties = np.array([posit.pattern_value(2 * code + 1, 9, es) for code in range(1, 127)])
    ties = ties.astype(np.float32)
    beside = [np.nextafter(ties, np.float32(limit)) for limit in (0, np.inf)]
    return np.concatenate([ties, *beside])


def floats(es: int, count: int) -> np.ndarray:
    """Give float32 numbers: any bits, subnormals, the range of the posits, ties, the specials."""
    rng = np.random.default_rng(es)
    bits = rng.integers(0, 1 << 32, count, dtype=np.uint32)
    tiny = rng.integers(1, 1 << 23, count // 10, dtype=np.uint32)
    near = rng.normal(0, 1, count) * np.exp2(rng.integers(-30, 30, count))
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, 3.4e38], np.float32)
    given = np.concatenate(
        [bits.view(np.float32), tiny.view(np.float32), near.astype(np.float32), steps(es), special]
    )
    return np.concatenate([given, -given])


@pytest.mark.parametrize("es", [0, 2])
def test_floats_are_encoded_as_softposit_does(es: int) -> None:
    given = floats(es, 60_000)
    assert len(given) > 200_000
    expected = np.array([ENCODERS[es](x) for x in given.tolist()], np.uint8)
    np.testing.assert_array_equal(expected, posit.encode(given, es))


@pytest.mark.parametrize("es", posit.ES)
def test_floats_are_encoded_by_the_definition(es: int) -> None:
    given = floats(es, 1500)
    expected = [oracle.encode(oracle.exact(x), es) for x in given.tolist()]
    assert posit.encode(given, es).tolist() == expected


@pytest.mark.parametrize("shift", [-140, -9, 0, 3, posit.LARGEST_SHIFT])
@pytest.mark.parametrize("es", posit.ES)
def test_the_table_of_upper_halves_is_exact(es: int, shift: int) -> None:
    """Ties and numbers of any bits, scaled far beyond float32 as well."""
    with np.errstate(over="ignore"):
        scaled = np.ldexp(steps(es), -shift)
    given = np.concatenate([floats(es, 20_000), scaled])
    table = posit.encoding_table(es, shift)
    np.testing.assert_array_equal(posit.encode(given, es, shift), posit.encode_odd(given, table))


@pytest.mark.parametrize("es", posit.ES)
def test_every_binary16_number(es: int) -> None:
    given = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    expected = [oracle.encode(oracle.exact(x), es) for x in given[::7].tolist()]
    assert posit.encode(given[::7], es).tolist() == expected
    table = posit.encoding_table(es)
    single = given.astype(np.float32)
    np.testing.assert_array_equal(posit.encode(given, es), posit.encode_odd(single, table))


def test_rounding_to_odd_keeps_what_was_cut_off() -> None:
    rng = np.random.default_rng(0)
    given = rng.integers(-(1 << 62), 1 << 62, 3000) >> rng.integers(0, 62, 3000)
    given[:4] = [0, (1 << 62) - 1, -(1 << 61) - 1, (1 << 54) + 1]
    for number, rounded in zip(given.tolist(), posit.odd_float32(given).tolist(), strict=True):
        spare = max(abs(number).bit_length() - 24, 0)
        size = abs(number) >> spare
        odd = size | (size << spare != abs(number))
        assert rounded == math.copysign(odd << spare, number)


@pytest.mark.parametrize("es", posit.ES)
def test_integers_hold_every_number_exactly(es: int) -> None:
    unit = Fraction(1, 1 << posit.fraction_bits(es))
    integers = posit.decode_integers(CODES, es).tolist()
    assert [x * unit for x in integers] == [oracle.decode(code, es) or 0 for code in range(256)]
    assert abs(integers[1]) == 1
    assert max(integers) == 1 << (2 * posit.fraction_bits(es))


@pytest.mark.parametrize("es", posit.ES)
def test_codes_compare_as_signed_integers(es: int) -> None:
    order = np.argsort(posit.signed(CODES), kind="stable")
    assert order[0] == posit.NAR
    assert (np.diff(posit.values(es)[order][1:]) > 0).all()


def test_decoding_rounds_for_binary16_only() -> None:
    for es in posit.ES:
        for dtype in (np.float32, np.float64):
            np.testing.assert_array_equal(posit.values(es), posit.decode(CODES, es, dtype))
    half = posit.decode(CODES, 2, np.float16)
    assert half[posit.MAXPOS] == np.inf
    assert half[1] == 2.0**-24
    np.testing.assert_array_equal(
        posit.values(1).astype(np.float16), posit.decode(CODES, 1, np.float16)
    )
