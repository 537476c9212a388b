"""The host's side: float32 inputs to codes, codes to float32. No network arithmetic here."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pyahir.ir.eval.core import integer_dtype
from pyahir.ir.posit import decode, encode
from pyahir.ir.types import (
    Affine,
    Array,
    Bipolar,
    Float16,
    Float32,
    Int,
    Layout,
    Posit,
    PowerOfTwo,
    TensorType,
)

__all__ = ["dequantize", "from_nchw", "fused_multiply_add", "quantize", "to_nchw"]


def quantize(real: Array, kind: TensorType, *, rule: str = "float") -> Array:
    """Give the codes of an input as the source does, in float32.

    By the ``rule`` pt2e it is ``clamp(rne(x * (1/scale)) + zero_point)``, torch 2.13's
    quantized_decomposed op; by onnx ``clamp(rne(x / scale) + zero_point)``, QuantizeLinear; else
    ``clamp(rne(fma(x, 1/scale, zero_point)))``, torch's quantize_per_tensor. ``real`` is (N, ...)
    in the layout of ``kind``; NaN is not accepted. Posits and floats are ``x`` divided by the
    power of two and rounded to nearest even.
    """
    if isinstance(kind.quantization, PowerOfTwo):
        return _scaled(real.astype(np.float32), kind, -kind.quantization.exponent)
    assert isinstance(kind.element, Int)
    assert kind.quantization is not None
    x = real.astype(np.float32)
    zero_point = np.float32(kind.zero_point)
    with np.errstate(over="ignore"):  # beyond float32 is beyond the last code
        match rule:
            case "pt2e":
                factor = np.float32(1.0 / kind.quantization.scale)
                rounded = np.rint(x * factor) + zero_point
            case "onnx":
                rounded = np.rint(x / np.float32(kind.quantization.scale)) + zero_point
            case _:
                rounded = np.rint(fused_multiply_add(x, inverse(kind.quantization), zero_point))
    code = np.clip(rounded.astype(np.float64), kind.element.min, kind.element.max)
    return code.astype(integer_dtype(kind.element))


def _scaled(real: npt.NDArray[np.float32], kind: TensorType, shift: int) -> Array:
    """Give ``real * 2**shift``, rounded once, as posits or floats; a zero is +0."""
    if isinstance(kind.element, Posit):
        return encode(real, kind.element.es, shift)
    assert isinstance(kind.element, Float16 | Float32)
    dtype = np.float16 if isinstance(kind.element, Float16) else np.float32
    with np.errstate(over="ignore", under="ignore"):
        return np.ldexp(real.astype(np.float64), shift).astype(dtype) + dtype(0)


def inverse(quantization: Affine) -> np.float32:
    return np.float32(1.0) / np.float32(quantization.scale)


Real = npt.NDArray[np.float32] | np.float32


def fused_multiply_add(x: Real, factor: Real, term: Real) -> npt.NDArray[np.float32]:
    """``x * factor + term`` rounded once to float32; the operands broadcast.

    The product of two float32 numbers is exact in float64. Their sum with ``term`` is rounded to
    odd there (the error term by Knuth's two-sum), which makes the second rounding harmless:
    Boldo and Melquiond, "Emulation of FMA and correctly rounded sums" (2008).
    """
    product = np.asarray(x, np.float64) * np.asarray(factor, np.float64)
    addend = np.asarray(term, np.float64)
    total = np.asarray(product + addend)
    part = total - product
    error = (product - (total - part)) + (addend - part)
    bits = total.view(np.int64)
    even = (bits & 1) == 0
    toward = np.where((error > 0) == (total > 0), 1, -1)
    odd = np.where((error != 0) & even & np.isfinite(total), bits + toward, bits)
    return odd.view(np.float64).astype(np.float32)


def dequantize(codes: Array, kind: TensorType) -> npt.NDArray[np.float32]:
    """Give float32: ``scale * (q - zero_point)``, posits decoded, bits as -1 and +1.

    Floats come as such or as their bit patterns.
    """
    if isinstance(kind.quantization, PowerOfTwo):
        exact = codes
        if isinstance(kind.element, Float16 | Float32) and codes.dtype.kind == "u":
            exact = codes.view(f"f{codes.dtype.itemsize}")
        if isinstance(kind.element, Posit):
            exact = decode(codes.astype(np.uint8), kind.element.es, np.float64)
        with np.errstate(over="ignore", under="ignore"):
            exact = np.ldexp(exact.astype(np.float64), kind.quantization.exponent)
            return exact.astype(np.float32)
    if isinstance(kind.element, Bipolar):
        return 2 * codes.astype(np.float32) - np.float32(1)
    if kind.quantization is None:
        return codes.astype(np.float32)
    centered = codes.astype(np.float32) - np.float32(kind.zero_point)
    return centered * np.float32(kind.quantization.scale)


def from_nchw(array: Array, kind: TensorType) -> Array:
    """Bring a batch that the model takes (NCHW) into the layout of ``kind``."""
    return np.moveaxis(array, 1, -1) if kind.layout is Layout.NHWC else array


def to_nchw(array: Array, kind: TensorType) -> Array:
    """Bring a batch in the layout of ``kind`` into the model's order (NCHW)."""
    return np.moveaxis(array, -1, 1) if kind.layout is Layout.NHWC else array
