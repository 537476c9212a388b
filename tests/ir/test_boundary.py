"""Quantizing at the boundary: fma against exact fractions, rounding, clamping, layouts."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from pyahir.ir.eval import dequantize, from_nchw, quantize, to_nchw
from pyahir.ir.eval.boundary import fused_multiply_add
from pyahir.ir.types import Affine, Int, Layout, TensorType
from tests.op_cases import u8

EXTREME = float(np.finfo(np.float32).max)
floats = st.floats(width=32, allow_nan=False, allow_infinity=False)
moderate = st.floats(-1e6, 1e6, width=32)


def nearest_float32(value: Fraction) -> np.float32:
    """Round an exact value to float32, half to even, by looking at the two neighbours."""
    guess = np.float32(float(value))
    around = [
        guess,
        np.nextafter(guess, np.float32(np.inf)),
        np.nextafter(guess, -np.float32(np.inf)),
    ]
    finite = [item for item in around if np.isfinite(item)]
    best = min(abs(Fraction(float(item)) - value) for item in finite)
    tied = [item for item in finite if abs(Fraction(float(item)) - value) == best]
    return next((item for item in tied if int(item.view(np.int32)) % 2 == 0), tied[0])


@given(x=moderate, factor=moderate, term=moderate)
@example(x=1 + 2.0**-12, factor=1 + 2.0**-12, term=2.0**-50)  # beside a tie of float32
@example(x=1 + 2.0**-12, factor=1 + 2.0**-12, term=-(2.0**-50))
@example(x=16777215.0, factor=1.0, term=0.5)
@example(x=-16777215.0, factor=1.0, term=-0.5)
@example(x=3.0, factor=-1.0, term=3.0)
def test_fma_rounds_once(x: float, factor: float, term: float) -> None:
    expected = nearest_float32(Fraction(x) * Fraction(factor) + Fraction(term))
    actual = fused_multiply_add(np.float32(x), np.float32(factor), np.float32(term))
    assert actual == expected


def test_fma_where_two_roundings_would_differ() -> None:
    """Products whose float64 sum lies on a tie of float32, from which the error leads away."""
    rng = np.random.default_rng(1)
    x = (1 + rng.integers(0, 1 << 23, 20_000) * 2.0**-23).astype(np.float32)
    factor = (1 + rng.integers(0, 1 << 23, 20_000) * 2.0**-23).astype(np.float32)
    product = x.astype(np.float64) * factor
    high = product.astype(np.float32)
    half = np.spacing(high).astype(np.float64) / 2
    term = (high - product + np.where(rng.random(20_000) < 0.5, half, -half)).astype(np.float32)
    actual = fused_multiply_add(x, factor, term)
    twice = (product + term).astype(np.float32)
    expected = [
        nearest_float32(Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c)))
        for a, b, c in zip(x[:3000], factor[:3000], term[:3000], strict=True)
    ]
    np.testing.assert_array_equal(expected, actual[:3000])
    assert np.isfinite(twice).all()


def _exact_code(x: float, kind: TensorType) -> int:
    assert kind.quantization is not None
    inverse = np.float32(1) / np.float32(kind.quantization.scale)
    fused = nearest_float32(Fraction(x) * Fraction(float(inverse)) + kind.zero_point)
    return min(max(round(Fraction(float(fused))), 0), 255)


@given(
    x=floats,
    scale=st.floats(2.0**-20, 2.0**10, width=32, exclude_min=True),
    zero_point=st.integers(0, 255),
)
@example(x=EXTREME, scale=2.0**-10, zero_point=0)
@example(x=-EXTREME, scale=2.0**-10, zero_point=255)
@example(x=0.5, scale=1.0, zero_point=2)
@example(x=1.5, scale=1.0, zero_point=2)
@example(x=0.5, scale=1.0, zero_point=3)
def test_quantize_is_the_exact_rule(x: float, scale: float, zero_point: int) -> None:
    kind = u8(1, 1, zero_point=zero_point, scale=scale)
    far = abs(x) / scale > 1e30  # float32 overflows on the way
    expected = (255 if x > 0 else 0) if far else _exact_code(x, kind)
    assert quantize(np.array([[x]], np.float32), kind).item() == expected


def test_every_code_survives_the_way_out_and_back() -> None:
    rng = np.random.default_rng(2)
    codes = np.arange(256, dtype=np.uint8).reshape(1, 256)
    for scale in rng.uniform(1e-4, 2.0, 50).astype(np.float32):
        kind = u8(1, 256, zero_point=int(rng.integers(0, 256)), scale=float(scale))
        real = dequantize(codes, kind)
        assert real.dtype == np.float32
        np.testing.assert_array_equal(codes, quantize(real, kind))
        assert real[0, kind.zero_point] == 0.0


def test_signed_codes_have_a_signed_type() -> None:
    affine = Affine(scale=0.5, zero_point=0)
    kind = TensorType(shape=(1, 3), element=Int(8), layout=Layout.NC, quantization=affine)
    codes = quantize(np.array([[-1000.0, -0.5, 3.0]], np.float32), kind)
    assert codes.dtype == np.int8
    assert codes.tolist() == [[-128, -1, 6]]


def test_accumulators_are_numbers_as_they_are() -> None:
    kind = TensorType(shape=(1, 2), element=Int(20), layout=Layout.NC)
    assert dequantize(np.array([[-5, 7]]), kind).tolist() == [[-5.0, 7.0]]


def test_layouts() -> None:
    images = np.arange(24).reshape(1, 2, 3, 4)
    kind = u8(1, 3, 4, 2)
    assert from_nchw(images, kind).shape == (1, 3, 4, 2)
    np.testing.assert_array_equal(images, to_nchw(from_nchw(images, kind), kind))
    assert from_nchw(images, u8(1, 2)) is images
