"""Float kernels against NumPy: every pair of edge cases, random pairs, and sums that cancel."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from pyahir import kernels
from tests.kernels.support import bench


@dataclass(frozen=True)
class Form:
    """A binary interchange format of IEEE 754."""

    name: str
    integer: Any
    real: Any
    exponent: int
    fraction: int

    @property
    def width(self) -> int:
        return 1 + self.exponent + self.fraction

    @property
    def nan(self) -> int:
        """The quiet NaN without sign and payload."""
        return ((2 << self.exponent) - 1) << (self.fraction - 1)

    def word(self, sign: int, exponent: int, fraction: int) -> int:
        return (sign << self.exponent | exponent) << self.fraction | fraction


F32 = Form("f32", np.uint32, np.float32, 8, 23)
F16 = Form("f16", np.uint16, np.float16, 5, 10)
FORMS = [pytest.param(form, id=form.name) for form in (F32, F16)]
Words = npt.NDArray[np.uint64]


def edges(form: Form, *, every: bool = True) -> list[int]:
    """Give words at the ends of each range of exponents and fractions, of both signs."""
    top, bias = (1 << form.exponent) - 1, (1 << (form.exponent - 1)) - 1
    ones = (1 << form.fraction) - 1
    half = 1 << (form.fraction - 1)
    exponents = [0, 1, 2, bias - 1, bias, bias + 1, top - 2, top - 1, top]
    fractions = [0, 1, half, ones]
    if every:
        spread = (1, 2, 3, form.fraction, form.fraction + 1, form.fraction + 2)
        exponents += [bias + step for step in spread] + [bias - step for step in spread]
        exponents += [1 + form.fraction, bias // 2, bias // 2 + 1, top - form.fraction]
        fractions += [2, 3, half - 1, half + 1, ones - 1]
    kept = sorted({exponent for exponent in exponents if 0 <= exponent <= top})
    return [form.word(*parts) for parts in product((0, 1), kept, fractions)]


def fields(form: Form, words: Words) -> tuple[Words, npt.NDArray[np.int64]]:
    """Give words without their exponents, and the exponents."""
    top = (1 << form.exponent) - 1
    kept = words & np.uint64(~(top << form.fraction) & ((1 << form.width) - 1))
    return kept, (words >> np.uint64(form.fraction) & np.uint64(top)).astype(np.int64)


def with_exponent(form: Form, words: Words, exponent: npt.NDArray[np.int64]) -> Words:
    """Give words with other exponents, kept in range."""
    kept, _ = fields(form, words)
    inside = np.clip(exponent, 0, (1 << form.exponent) - 1).astype(np.uint64)
    return kept | inside << np.uint64(form.fraction)


def random_words(form: Form, count: int, seed: int) -> Words:
    """Give words of all exponents; of a part the fraction has many zeros at one of its ends."""
    generator = np.random.default_rng((seed, count))
    words = generator.integers(0, 1 << form.width, count, dtype=np.uint64)
    ones, places = (1 << form.fraction) - 1, generator.integers(0, form.fraction + 1, count)
    turn = generator.integers(0, 4, count)
    short = words & (np.uint64(ones) << places.astype(np.uint64) | ~np.uint64(ones))
    small = words & (np.uint64(ones) >> places.astype(np.uint64) | ~np.uint64(ones))
    tiny = with_exponent(form, small, np.zeros(count, np.int64))
    return np.choose(turn, [words, short, small, tiny])


def random_pairs(form: Form, count: int) -> tuple[Words, Words]:
    """Give pairs of which many have close exponents and many cancel to some length."""
    generator = np.random.default_rng(count)
    first, second = random_words(form, count, 1), random_words(form, count, 2)
    _, exponent = fields(form, first)
    distance = form.fraction + 3
    close = with_exponent(
        form, second, exponent + generator.integers(-distance, distance + 1, count)
    )
    # The negative of the other number with its last bits changed, a few or all.
    length = generator.integers(0, form.fraction + 1, count).astype(np.uint64)
    last = generator.integers(0, 1 << form.fraction, count, np.uint64) >> length
    near = first ^ np.uint64(1 << (form.width - 1)) ^ last
    return first, np.choose(np.arange(count) % 4, [second, close, close, near])


def balanced_products(form: Form, count: int) -> tuple[Words, Words]:
    """Give pairs whose products lie near the ends of the range: subnormal or overflowing."""
    first, second = random_words(form, count, 3), random_words(form, count, 4)
    generator = np.random.default_rng(count + 1)
    top, bias = (1 << form.exponent) - 1, (1 << (form.exponent - 1)) - 1
    _, exponent = fields(form, first)
    spread = generator.integers(-form.fraction - 3, form.fraction + 4, count)
    low, high = bias + spread - exponent, top + bias + spread % 4 - 2 - exponent
    return first, with_exponent(form, second, np.where(np.arange(count) % 3 < 2, low, high))


def expected(form: Form, first: Words, second: Words) -> dict[str, list[int]]:
    left = first.astype(form.integer).view(form.real)
    right = second.astype(form.integer).view(form.real)
    with np.errstate(all="ignore"):
        results = {"add": left + right, "mul": left * right}
    nan = form.integer(form.nan)
    return {
        f"{form.name}_{what}_y_out": np.where(
            np.isnan(result), nan, result.view(form.integer)
        ).tolist()
        for what, result in results.items()
    }


def check(form: Form, first: Words, second: Words, *, ghdl: bool = False) -> None:
    made = bench([kernels.load(f"{form.name}_{what}") for what in ("add", "mul")])
    inputs = {"a_in": first.tolist(), "b_in": second.tolist()}
    found = made.simulated(inputs) if ghdl else made.interpreted(inputs)
    wanted = expected(form, first, second)
    assert found.keys() == wanted.keys()
    for output, words in wanted.items():
        wrong = [
            f"{output}({a:#x}, {b:#x}) = {actual:#x}, not {word:#x}"
            for a, b, actual, word in zip(*inputs.values(), found[output], words, strict=True)
            if actual != word
        ]
        assert not wrong, f"{len(wrong)} of {len(words)}: {wrong[:5]}"


def crossed(form: Form, *, every: bool) -> tuple[Words, Words]:
    words = edges(form, every=every)
    pairs = np.array(list(product(words, words)), np.uint64)
    return pairs[:, 0], pairs[:, 1]


@pytest.mark.parametrize("form", FORMS)
def test_edge_cases_in_the_interpreter(form: Form) -> None:
    check(form, *crossed(form, every=False))


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_all_edge_cases_in_the_interpreter(form: Form) -> None:
    check(form, *crossed(form, every=True))


@pytest.mark.parametrize("make", [random_pairs, balanced_products])
@pytest.mark.parametrize("form", FORMS)
def test_random_pairs_in_the_interpreter(form: Form, make: Any) -> None:
    check(form, *make(form, 20_000))


@pytest.mark.slow
@pytest.mark.parametrize("make", [random_pairs, balanced_products])
@pytest.mark.parametrize("form", FORMS)
def test_many_random_pairs_in_the_interpreter(form: Form, make: Any) -> None:
    check(form, *make(form, 500_000))


@pytest.mark.ghdl
@pytest.mark.parametrize("form", FORMS)
def test_edge_cases_in_ghdl(form: Form) -> None:
    check(form, *crossed(form, every=False), ghdl=True)


@pytest.mark.slow
@pytest.mark.ghdl
@pytest.mark.parametrize("form", FORMS)
def test_all_edge_cases_in_ghdl(form: Form) -> None:
    check(form, *crossed(form, every=True), ghdl=True)


@pytest.mark.slow
@pytest.mark.ghdl
@pytest.mark.parametrize("make", [random_pairs, balanced_products])
@pytest.mark.parametrize("form", FORMS)
def test_many_random_pairs_in_ghdl(form: Form, make: Any) -> None:
    check(form, *make(form, 100_000), ghdl=True)


# One format to the other


def check_conversion(source: Form, target: Form, words: list[int], *, ghdl: bool = False) -> None:
    kernel = f"{source.name}_to_{target.name}"
    made = bench([kernels.load(kernel)])
    found = made.simulated({"x_in": words}) if ghdl else made.interpreted({"x_in": words})
    with np.errstate(all="ignore"):
        result = np.array(words, source.integer).view(source.real).astype(target.real)
    wanted = np.where(np.isnan(result), target.integer(target.nan), result.view(target.integer))
    assert found == {f"{kernel}_y_out": wanted.tolist()}


def halves_and_neighbours() -> list[int]:
    """Give as float32 numbers of float16, those half way between two, and their neighbours."""
    generator = np.random.default_rng(16)
    half = generator.integers(0, 1 << 16, 3000).astype(np.uint16).view(np.float16)
    with np.errstate(invalid="ignore"):
        exact = half.astype(np.float32).view(np.uint32).astype(np.int64)
    tie = exact + (1 << 12)
    ends = np.array([65504, 65519.99, 65520, 65536, 2**-24, 2**-25, 2**-26, 2**-14], np.float32)
    near = np.concatenate([exact, tie, ends.view(np.uint32).astype(np.int64)])
    words = np.concatenate([near, near + 1, near - 1, random_words(F32, 3000, 5).astype(np.int64)])
    return (words % (1 << 32)).tolist()


def test_all_halves_to_floats_in_the_interpreter() -> None:
    check_conversion(F16, F32, list(range(1 << 16)))


def test_floats_to_halves_in_the_interpreter() -> None:
    check_conversion(F32, F16, halves_and_neighbours())


@pytest.mark.ghdl
def test_floats_to_halves_in_ghdl() -> None:
    check_conversion(F32, F16, halves_and_neighbours()[::4], ghdl=True)


@pytest.mark.ghdl
def test_halves_to_floats_in_ghdl() -> None:
    check_conversion(F16, F32, list(range(0, 1 << 16, 29)), ghdl=True)
