"""Posit kernels: every code, every float16, and float32 around each rounding bound."""

from __future__ import annotations

import random
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
import softposit

from pyahir import kernels
from pyahir.backends.aa import ast
from pyahir.kernels.fixed import fixed_to_posit8
from tests.kernels.posits import NAR, bounds, nearest, nearest_exact, value
from tests.kernels.support import Bench, bench

SIZES = (0, 1, 2)
CODES = list(range(256))
MINPOS_POWER = {0: 6, 1: 12, 2: 24}


def doubles(es: int) -> npt.NDArray[np.float64]:
    return np.array(
        [np.nan if value(code, es) is None else float(value(code, es) or 0) for code in CODES]
    )


def patterns(numbers: npt.NDArray[np.floating], form: str) -> list[int]:
    """Give bit patterns, every NaN the one that the kernels make."""
    kind, nan = {"f32": (np.uint32, 0x7FC00000), "f16": (np.uint16, 0x7E00)}[form]
    return np.where(np.isnan(numbers), kind(nan), numbers.view(kind)).tolist()


def decoders() -> list[ast.Module]:
    forms = ("f32", "f16", "fixed")
    return [kernels.load(f"posit8_to_{form}_es{es}") for es in SIZES for form in forms]


def expected_values() -> dict[str, list[int]]:
    expected: dict[str, list[int]] = {}
    for es in SIZES:
        numbers = doubles(es)
        with np.errstate(over="ignore"):
            half = numbers.astype(np.float16)
        expected[f"posit8_to_f32_es{es}_y_out"] = patterns(numbers.astype(np.float32), "f32")
        expected[f"posit8_to_f16_es{es}_y_out"] = patterns(half, "f16")
        power = MINPOS_POWER[es]
        exact = [(value(code, es) or Fraction(0)) * 2**power for code in CODES]
        assert all(number.denominator == 1 for number in exact)
        width = 2 * power + 2
        fixed = [int(number) % (1 << width) for number in exact]
        expected[f"posit8_to_fixed_es{es}_y_out"] = fixed
        expected[f"posit8_to_fixed_es{es}_bad_out"] = [int(code == NAR) for code in CODES]
    return expected


# The oracle itself


def test_the_oracle_decodes_as_softposit_does() -> None:
    small = [float(softposit.posit8(bits=code)) for code in CODES if code != NAR]
    assert small == [float(value(code, 0) or 0) for code in CODES if code != NAR]


@pytest.mark.parametrize("es", [0, 2])
def test_the_oracle_rounds_as_softposit_does(es: int) -> None:
    generator = np.random.default_rng(es)
    near = np.array([float(bound) for bound in bounds(es)])
    anywhere = np.ldexp(generator.uniform(-2, 2, 2000), generator.integers(-30, 30, 2000))
    beside = [near * (1 + 2.0**-40), near * (1 - 2.0**-40)]
    numbers = np.concatenate([near, -near, *beside, [0.0, 1e-30, -1e30], anywhere])
    if es == 0:
        found = [softposit.posit8(number).v.v % 256 for number in numbers.tolist()]
    else:
        found = [softposit.convertDoubleToPX2(number, 8).v >> 24 for number in numbers.tolist()]
    assert found == nearest(numbers, es).tolist()
    exact = [nearest_exact(Fraction(number), es) for number in numbers.tolist()]
    assert exact == found


# Codes to numbers


def test_all_codes_in_the_interpreter() -> None:
    assert bench(decoders()).interpreted({"p_in": CODES}) == expected_values()


@pytest.mark.ghdl
def test_all_codes_in_ghdl() -> None:
    assert bench(decoders()).simulated({"p_in": CODES}) == expected_values()


# Numbers to codes


def encoders(form: str) -> Bench:
    return bench([kernels.load(f"{form}_to_posit8_es{es}") for es in SIZES])


def expected_codes(form: str, words: list[int], powers: list[int]) -> dict[str, list[int]]:
    kinds = {"f32": (np.uint32, np.float32), "f16": (np.uint16, np.float16)}
    integer, real = kinds[form]
    with np.errstate(invalid="ignore"):  # signalling NaN
        numbers = np.array(words, integer).view(real).astype(np.float64)
        scaled = np.ldexp(numbers, np.array(powers))
    return {f"{form}_to_posit8_es{es}_y_out": nearest(scaled, es).tolist() for es in SIZES}


def check_encoders(form: str, words: list[int], powers: list[int], *, ghdl: bool = False) -> None:
    inputs = {"x_in": words, "k_in": [power % 256 for power in powers]}
    made = encoders(form)
    found = made.simulated(inputs) if ghdl else made.interpreted(inputs)
    assert found == expected_codes(form, words, powers)


def single_words(form: str) -> tuple[list[int], list[int]]:
    """Give numbers with few bits: codes' values, and subnormal numbers brought into range."""
    integer, real, fraction, raise_by = {
        "f32": (np.uint32, np.float32, 23, range(100, 128)),
        "f16": (np.uint16, np.float16, 10, range(40)),
    }[form]
    words: list[int] = []
    powers: list[int] = []
    for es in SIZES:
        with np.errstate(over="ignore"):
            exact = [*doubles(es)[1:128], *(float(bound) for bound in bounds(es))]
            words += np.array(exact, real).view(integer).tolist()
    powers += [0] * len(words)
    for place in range(fraction):
        for power in raise_by:
            made = [1 << place, (3 << place) & ((1 << fraction) - 1)]
            words += made
            powers += [power] * len(made)
    sign = 1 << (8 * np.dtype(integer).itemsize - 1)
    return words + [word | sign for word in words], powers * 2


def all_half_words() -> tuple[list[int], list[int]]:
    """Give all float16, half of them with an own power of two and half as they are."""
    words = list(range(1 << 16))
    generator = random.Random(16)
    return words, [generator.choice((0, generator.randint(-128, 127))) for _ in words]


def bound_words() -> tuple[list[int], list[int]]:
    """Give float32 at every rounding bound and beside it, at several powers of two."""
    words: list[int] = []
    powers: list[int] = []
    for es in SIZES:
        for power in (0, 1, -7, 127, -128):
            with np.errstate(over="ignore", under="ignore"):
                limits = np.ldexp([float(bound) for bound in bounds(es)], -power).astype(np.float32)
            middle = limits[np.isfinite(limits)].view(np.uint32).astype(np.int64)
            for step in (-1, 0, 1):
                moved = [word for word in (middle + step).tolist() if word >= 0]
                words += moved + [word | 1 << 31 for word in moved]
                powers += [power] * 2 * len(moved)
    special = [0, 1, 2, 3, 0x7FFFFF, 0x800000, 0x7F7FFFFF, 0x7F800000, 0x7F800001, 0x7FC00000]
    special += [word | 1 << 31 for word in special]
    for power in (0, 127, 126, 1, -1, -128):
        words += special
        powers += [power] * len(special)
    return words, powers


def random_words(count: int) -> tuple[list[int], list[int]]:
    """Give float32 of all exponents, most of them where posits have codes."""
    generator = random.Random(count)
    words = [generator.getrandbits(32) for _ in range(count)]
    powers = [generator.randint(-128, 127) for _ in range(count)]
    for place in range(0, count, 2):
        exponent = 127 + generator.randint(-26, 26)
        words[place] = words[place] & 0x807FFFFF | exponent << 23
        powers[place] = generator.choice((0, 0, 1, -2))
    return words, powers


@pytest.mark.parametrize("form", ["f16", "f32"])
def test_short_numbers_in_the_interpreter(form: str) -> None:
    check_encoders(form, *single_words(form))


@pytest.mark.ghdl
@pytest.mark.parametrize("form", ["f16", "f32"])
def test_short_numbers_in_ghdl(form: str) -> None:
    check_encoders(form, *single_words(form), ghdl=True)


def test_half_floats_in_the_interpreter() -> None:
    words, powers = all_half_words()
    check_encoders("f16", words[::7], powers[::7])


@pytest.mark.slow
def test_all_half_floats_in_the_interpreter() -> None:
    words, powers = all_half_words()
    check_encoders("f16", words, powers)
    check_encoders("f16", words, [0] * len(words))


@pytest.mark.ghdl
def test_half_floats_in_ghdl() -> None:
    words, powers = all_half_words()
    check_encoders("f16", words[::29], powers[::29], ghdl=True)


@pytest.mark.slow
@pytest.mark.ghdl
def test_all_half_floats_in_ghdl() -> None:
    check_encoders("f16", *all_half_words(), ghdl=True)


def test_floats_at_the_bounds_in_the_interpreter() -> None:
    check_encoders("f32", *bound_words())


def test_random_floats_in_the_interpreter() -> None:
    check_encoders("f32", *random_words(10_000))


@pytest.mark.slow
def test_many_random_floats_in_the_interpreter() -> None:
    check_encoders("f32", *random_words(500_000))


@pytest.mark.ghdl
def test_floats_at_the_bounds_in_ghdl() -> None:
    check_encoders("f32", *bound_words(), ghdl=True)


@pytest.mark.slow
@pytest.mark.ghdl
def test_many_random_floats_in_ghdl() -> None:
    check_encoders("f32", *random_words(100_000), ghdl=True)


# Fixed-point numbers to codes


def fixed_bench(width: int, point: int) -> Bench:
    return bench(
        [fixed_to_posit8(f"fixed_es{es}", width=width, point=point, es=es) for es in SIZES]
    )


def fixed_cases(width: int, point: int, count: int) -> tuple[list[int], list[int], list[int]]:
    """Give accumulators of all sizes, those at the bounds, and powers of two."""
    generator = random.Random(width)
    top = 1 << (width - 1)
    numbers = [0, 1, -1, top - 1, -top, 1 - top]
    powers = [0] * len(numbers)
    for es in SIZES:
        for bound in bounds(es):
            power = generator.choice((0, 3, -5))
            middle = bound * Fraction(2) ** (point - power)
            if middle.denominator == 1 and middle + 1 < top:
                numbers += [sign * (int(middle) + step) for sign in (1, -1) for step in (-1, 0, 1)]
                powers += [power] * 6
    while len(numbers) < count:
        size = generator.randrange(1, width)
        numbers.append(generator.choice((1, -1)) * generator.getrandbits(size))
        powers.append(generator.choice((0, 0, generator.randint(-128, 127))))
    return numbers, powers, [int(generator.random() < 0.02) for _ in numbers]


def check_fixed(
    width: int, point: int, cases: tuple[list[int], list[int], list[int]], *, ghdl: bool = False
) -> None:
    numbers, powers, flags = cases
    inputs = {
        "acc_in": [number % (1 << width) for number in numbers],
        "k_in": [power % 256 for power in powers],
        "nar_in": flags,
    }
    made = fixed_bench(width, point)
    found = made.simulated(inputs) if ghdl else made.interpreted(inputs)
    for es in SIZES:
        exact = [
            NAR if flag else nearest_exact(number * Fraction(2) ** (power - point), es)
            for number, power, flag in zip(numbers, powers, flags, strict=True)
        ]
        assert found[f"fixed_es{es}_y_out"] == exact


@pytest.mark.parametrize(("width", "point"), [(2, 0), (7, 3), (8, 9), (9, 0), (10, 5)])
def test_all_small_accumulators_in_the_interpreter(width: int, point: int) -> None:
    half = 1 << (width - 1)
    for power in (0, -3):
        numbers = list(range(-half, half))
        check_fixed(width, point, (numbers, [power] * len(numbers), [0] * len(numbers)))


@pytest.mark.parametrize(("width", "point"), [(33, 12), (64, 24), (110, 48)])
def test_wide_accumulators_in_the_interpreter(width: int, point: int) -> None:
    check_fixed(width, point, fixed_cases(width, point, 1500))


@pytest.mark.ghdl
@pytest.mark.parametrize(("width", "point"), [(12, 6), (110, 48)])
def test_accumulators_in_ghdl(width: int, point: int) -> None:
    check_fixed(width, point, fixed_cases(width, point, 800), ghdl=True)


# The packing by itself


def test_packing_equals_the_whole_conversion() -> None:
    """Sign, scale and fraction of a number, packed, are its code; zero and NaR win."""
    generator = random.Random(9)
    made = bench([kernels.load(f"posit8_pack_es{es}") for es in SIZES])
    cases = [
        (generator.getrandbits(1), generator.randint(-40, 40), generator.getrandbits(7))
        for _ in range(1500)
    ]
    inputs = {
        "sign_in": [sign for sign, _, _ in cases],
        "zero_in": [int(place % 50 == 3) for place in range(len(cases))],
        "nar_in": [int(place % 60 == 4) for place in range(len(cases))],
        "scale_in": [scale % 1024 for _, scale, _ in cases],
        "frac_in": [frac for _, _, frac in cases],
    }
    found = made.interpreted(inputs)
    for es in SIZES:
        expected: list[int] = []
        for place, (sign, scale, frac) in enumerate(cases):
            number = (1 + Fraction(frac, 128)) * Fraction(2) ** scale * (-1) ** sign
            code = 0 if inputs["zero_in"][place] else nearest_exact(number, es)
            expected.append(NAR if inputs["nar_in"][place] else code)
        assert found[f"posit8_pack_es{es}_y_out"] == expected
