"""The engine ``torch`` for posit and float schemes: the quantized graph in PyTorch's tensors.

In: a QUANTIZED graph of ``ir.ops.posit``, images. Out: the stored values of every layer, as codes
(posits) or bit patterns (floats), in torch's order. Shares with the golden model only what a bit
pattern means and the factor of an average pool: windows come from ``unfold``, rounding to a posit
from ``bucketize`` over the midpoints of the bit patterns, binary16 is torch's own. A quire is
summed in float64, as long as that is exact.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
import torch.nn.functional as torch_functions
from torch import Tensor

from pyahir.errors import PyahirError
from pyahir.ir.graph import Graph, Node
from pyahir.ir.ops import (
    Clamp,
    Encode,
    Flatten,
    MaxPool2d,
    RealAdd,
    RealAvgPool2d,
    RealConv2d,
    RealLinear,
    Relu,
    WindowOp,
)
from pyahir.ir.posit import fraction_bits, pattern_value
from pyahir.ir.types import Array, Float16, Float32, Int, Posit, PowerOfTwo, TensorType

__all__ = ["run_real"]

LANES = 16
NAR = 128
EXACT_BITS = 53
DTYPES = {"f32": torch.float32, "f16": torch.float16, "quire": torch.float64}
Sum = RealConv2d | RealLinear | RealAvgPool2d


def run_real(graph: Graph, images: Array) -> dict[str, Array]:
    """Run a batch (N, C, H, W) or (N, I); give codes (posits) and bit patterns (floats)."""
    types, item = graph.types(), graph.inputs[0]
    constants = {c.name: torch.from_numpy(c.array.copy()) for c in graph.constants}
    with torch.no_grad():
        found = {item.name: _stored(torch.from_numpy(np.ascontiguousarray(images)), item.type)}
        for node in graph.nodes:
            kinds = tuple(types[name] for name in node.inputs)
            if isinstance(node.op, RealAdd):
                first, second = (found[name] for name in node.inputs)
                found[node.name] = _joined(node, node.op, (first, second), kinds)
                continue
            given = tuple(constants[name] for name in node.inputs[1:])
            found[node.name] = _node(node, found[node.inputs[0]], kinds, given)
    kept = [value for value in (item, *graph.nodes) if not _is_sum(graph, value.name)]
    return {value.name: _published(found[value.name]) for value in kept}


def _is_sum(graph: Graph, name: str) -> bool:
    return any(isinstance(node.op, Encode) for node in graph.users().get(name, ()))


def _published(x: Tensor) -> Array:
    if not x.is_floating_point():
        return x.numpy()
    x = torch.where(torch.isnan(x), torch.full_like(x, float("nan")), x)
    return x.numpy().view(f"u{x.element_size()}")


def _stored(real: Tensor, kind: TensorType) -> Tensor:
    assert isinstance(kind.quantization, PowerOfTwo)
    if isinstance(kind.element, Posit):
        return _encoded(real.double(), kind.element.es, -kind.quantization.exponent)
    assert isinstance(kind.element, Float16 | Float32)
    dtype = torch.float16 if isinstance(kind.element, Float16) else torch.float32
    return real.to(dtype) + torch.zeros((), dtype=dtype)


@cache
def _numbers(es: int) -> Tensor:
    positive = [pattern_value(code, 8, es) for code in range(1, NAR)]
    negative = [-number for number in reversed(positive)]
    return torch.tensor([0.0, *positive, float("nan"), *negative], dtype=torch.float64)


@cache
def _midpoints(es: int) -> Tensor:
    """Give the largest number that rounds to each of the codes 1 to 126: ties go to even codes."""
    ties = [pattern_value(2 * code + 1, 9, es) for code in range(1, NAR - 1)]
    kept = [tie if code % 2 == 0 else np.nextafter(tie, 0) for code, tie in enumerate(ties, 1)]
    return torch.tensor(kept, dtype=torch.float64)


def _encoded(real: Tensor, es: int, shift: int) -> Tensor:
    """Encode float64 numbers times ``2**shift``."""
    scaled = torch.ldexp(real, torch.tensor(shift))
    code = torch.bucketize(scaled.abs(), _midpoints(es)) + 1
    code = torch.where(scaled < 0, 256 - code, code)
    code = torch.where(real == 0, 0, torch.where(torch.isfinite(real), code, NAR))
    return code.to(torch.uint8)


def _node(
    node: Node, x: Tensor, kinds: tuple[TensorType, ...], given: tuple[Tensor, ...]
) -> Tensor:
    kind = kinds[0]
    posits = isinstance(kind.element, Posit)
    match node.op:
        case RealConv2d() | RealLinear() | RealAvgPool2d():
            return _summed(node, node.op, x, kinds, given)
        case Encode():
            return _rounded(node.op, x, kind)
        case MaxPool2d():
            return _largest(node.op, x, posits)
        case Relu():
            if not posits:
                return torch.where(x <= 0, torch.zeros_like(x), x)
            return torch.where(x > NAR, torch.zeros_like(x), x)
        case Clamp():
            if not posits:
                return torch.clamp(x, node.op.minimum, node.op.maximum) + 0.0  # -0 becomes +0
            limits = int(node.op.minimum), int(node.op.maximum)
            return torch.where(x == NAR, x, x.view(torch.int8).clamp(*limits).view(torch.uint8))
        case Flatten():
            return x.flatten(1)
        case _:
            raise AssertionError(f"{node.name}: {node.op.mnemonic()} is no op of a posit network")


def _joined(
    node: Node, op: RealAdd, operands: tuple[Tensor, Tensor], kinds: tuple[TensorType, ...]
) -> Tensor:
    """Scale both operands in float64, round them to the arithmetic, add."""
    _check_exact(node, kinds)
    assert isinstance(node.type.quantization, PowerOfTwo)
    terms: list[Tensor] = []
    for x, kind in zip(operands, kinds, strict=True):
        assert isinstance(kind.quantization, PowerOfTwo)
        if isinstance(kind.element, Posit):
            shift = kind.quantization.exponent - node.type.quantization.exponent
            x = torch.ldexp(_numbers(kind.element.es)[x.int()], torch.tensor(shift)) + 0.0
        terms.append(x.to(DTYPES[op.arith]) + 0.0)
    return terms[0] + terms[1]


def _rounded(op: Encode, acc: Tensor, kind: TensorType) -> Tensor:
    assert isinstance(kind.quantization, PowerOfTwo)
    codes = _encoded(acc.double(), op.es, kind.quantization.exponent - op.exponent)
    return torch.where(codes > NAR, torch.zeros_like(codes), codes) if op.relu else codes


def _largest(op: MaxPool2d, x: Tensor, posits: bool) -> Tensor:
    """Compare codes as float32 integers, which hold them; padding is the least."""
    real = x.view(torch.int8).float() if posits else x.float()
    windows = _windows(op, real, -128.0 if posits else -torch.inf)
    channels = x.shape[1]
    found = windows.reshape(len(x), channels, -1, windows.shape[-1]).amax(dim=2)
    found = found.reshape(len(x), channels, *_size(op, x))
    return found.to(torch.int8).view(torch.uint8) if posits else found.to(x.dtype) + 0.0


def _size(op: WindowOp, x: Tensor) -> tuple[int, int]:
    top, bottom, left, right = op.padding
    height, width = x.shape[2] + top + bottom, x.shape[3] + left + right
    return (height - op.span[0]) // op.stride[0] + 1, (width - op.span[1]) // op.stride[1] + 1


def _windows(op: WindowOp, x: Tensor, fill: float) -> Tensor:
    """Give (N, C * KH * KW, positions), in torch's order."""
    top, bottom, left, right = op.padding
    padded = torch_functions.pad(x, (left, right, top, bottom), value=fill)
    return torch_functions.unfold(padded, op.kernel_size, dilation=op.dilation, stride=op.stride)


def _operand(x: Tensor, kind: TensorType, arith: str) -> Tensor:
    if isinstance(kind.element, Posit):
        x = _numbers(kind.element.es)[x.int()]
        if arith == "quire":
            x = torch.ldexp(x, torch.tensor(fraction_bits(kind.element.es)))
    return x.to(DTYPES[arith])


def _summed(
    node: Node, op: Sum, x: Tensor, kinds: tuple[TensorType, ...], given: tuple[Tensor, ...]
) -> Tensor:
    _check_exact(node, kinds)
    x = _operand(x, kinds[0], op.arith)
    if isinstance(op, RealAvgPool2d):
        return _mean(op, x)
    weight, bias = _operand(given[0], kinds[1], op.arith), given[1].to(DTYPES[op.arith])
    add = torch.sum if op.arith == "quire" else _in_order
    if isinstance(op, RealLinear):
        order = torch.arange(x.shape[1]).reshape(-1, *op.spatial).permute(1, 2, 0).flatten()
        terms = x[:, order].T[:, :, None] * weight[:, order].T[:, None]  # taps, images, outputs
        return add(terms, dim=0) + bias
    images, groups, (kh, kw) = len(x), op.groups, op.kernel_size
    size, out = _size(op, x), len(weight)
    # unfold has no binary16 on every version: float32 holds its numbers
    windows = _windows(op, x if op.arith == "quire" else x.float(), 0.0).to(x.dtype)
    windows = windows.reshape(images, groups, 1, -1, kh, kw, size[0] * size[1])
    windows = windows.permute(5, 3, 4, 0, 1, 2, 6).flatten(0, 2)  # taps (kw, c, kh) in front
    rows = weight.reshape(groups, out // groups, -1, kh, kw).permute(4, 2, 3, 0, 1).flatten(0, 2)
    sums = _products(windows, rows[:, None, :, :, None], add)
    return sums.reshape(images, out, *size) + bias[:, None, None]


def _products(x: Tensor, weight: Tensor, add: Callable[..., Tensor]) -> Tensor:
    """Multiply and add image by image: all products of one are in memory together."""
    parts = [add(x[:, n : n + 1] * weight, dim=0) for n in range(x.shape[1])]
    return torch.cat(parts)


def _in_order(terms: Tensor, dim: int) -> Tensor:
    """Sum along axis 0 in 16 partial sums and a tree, rounding after every addition."""
    assert dim == 0
    fill = torch.zeros(-len(terms) % LANES, *terms.shape[1:], dtype=terms.dtype)
    sums = torch.zeros(LANES, *terms.shape[1:], dtype=terms.dtype)
    for row in torch.cat([terms, fill]).split(LANES):
        sums = sums + row
    while len(sums) > 1:
        sums = sums[0::2] + sums[1::2]
    return sums[0]


def _mean(op: RealAvgPool2d, x: Tensor) -> Tensor:
    images, channels = x.shape[:2]
    windows = _windows(op, x if op.arith == "quire" else x.float(), 0.0).to(x.dtype)
    windows = windows.reshape(images, channels, *op.kernel_size, -1)
    terms = windows.permute(3, 2, 0, 1, 4).flatten(0, 1)
    if op.arith == "quire":
        sums = terms.sum(dim=0) * op.integer_factor()[0]
    else:
        sums = _in_order(terms, dim=0) * torch.tensor(op.factor(), dtype=x.dtype)
    return sums.reshape(images, channels, *_size(op, x))


def _check_exact(node: Node, kinds: tuple[TensorType, ...]) -> None:
    element = node.type.element
    if isinstance(element, Int) and element.width > EXACT_BITS:
        raise PyahirError(
            f"{node.loc} {node.name}: a quire of {element.width} bits is more than torch's float64 "
            f"holds; compare other engines, or --es 0 and 1 (here {kinds[0].element})"
        )
