"""Window geometry that convolution and pooling share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pyahir.ir.ops.base import InferError, Op
from pyahir.ir.types import Layout, TensorType

__all__ = ["Padding", "Pair", "WindowOp", "output_size"]

Pair = tuple[int, int]
Padding = tuple[int, int, int, int]  # top, bottom, left, right


def output_size(size: int, kernel: int, stride: int, before: int, after: int, dilation: int) -> int:
    """Count the window positions along one axis (torch.nn.Conv2d's formula, floor)."""
    span = dilation * (kernel - 1) + 1
    padded = size + before + after
    if padded < span:
        raise InferError(f"a window of {span} does not fit in {padded} (with padding)")
    return (padded - span) // stride + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowOp(Op):
    """A K_h x K_w window that moves over a feature map. Padding is top, bottom, left, right."""

    arity: ClassVar[int | tuple[int, int]] = 1

    kernel_size: Pair
    stride: Pair = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    dilation: Pair = (1, 1)

    def __post_init__(self) -> None:
        if min(self.kernel_size) < 1 or min(self.stride) < 1 or min(self.dilation) < 1:
            raise ValueError("kernel size, stride and dilation are at least 1")
        if min(self.padding) < 0:
            raise ValueError(f"padding is not negative: {self.padding}")

    @property
    def span(self) -> Pair:
        """Height and width of the input region that one window covers."""
        return (
            self.dilation[0] * (self.kernel_size[0] - 1) + 1,
            self.dilation[1] * (self.kernel_size[1] - 1) + 1,
        )

    def output_spatial(self, x: TensorType) -> Pair:
        """Height and width of the result for a feature map of type ``x``."""
        if x.layout not in (Layout.NCHW, Layout.NHWC):
            raise InferError(f"needs a feature map, not layout {x.layout.value}")
        height, width = x.spatial
        top, bottom, left, right = self.padding
        k, s, d = self.kernel_size, self.stride, self.dilation
        return (
            output_size(height, k[0], s[0], top, bottom, d[0]),
            output_size(width, k[1], s[1], left, right, d[1]),
        )
