"""The geometry of a Conv, MaxPool or AveragePool node."""

from __future__ import annotations

from dataclasses import dataclass

from pyahir.frontend.onnx.model import Item, OnnxModel
from pyahir.ir.ops import InferError
from pyahir.ir.ops.window import Padding, Pair, output_size

__all__ = ["Window", "window"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """As ``ir.ops.WindowOp`` has it: padding is top, bottom, left, right."""

    kernel_size: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    dilation: Pair = (1, 1)

    def output(self, size: tuple[int, ...]) -> Pair:
        k, s, p, d = self.kernel_size, self.stride, self.padding, self.dilation
        return (
            output_size(size[0], k[0], s[0], p[0], p[1], d[0]),
            output_size(size[1], k[1], s[1], p[2], p[3], d[1]),
        )


def window(model: OnnxModel, item: Item, kernel: tuple[int, ...], size: tuple[int, ...]) -> Window:
    """Read the attributes of a node on a map of ``size``; two spatial axes, floor division."""
    if len(kernel) != 2 or len(size) != 2:
        raise model.refuse(item, "has not two spatial axes; accepted is NxCxHxW")
    attributes = item.attributes
    pads = tuple(attributes.get("pads", (0, 0, 0, 0)))
    auto = attributes.get("auto_pad", "NOTSET")
    if auto not in ("NOTSET", "VALID"):
        raise model.refuse(item, f"auto_pad is {auto}; accepted: NOTSET with pads, VALID")
    if auto == "VALID":
        pads = (0, 0, 0, 0)
    stride, dilation = (tuple(attributes.get(name, (1, 1))) for name in ("strides", "dilations"))
    found = Window(
        kernel_size=(int(kernel[0]), int(kernel[1])),
        stride=(int(stride[0]), int(stride[1])),
        padding=(int(pads[0]), int(pads[2]), int(pads[1]), int(pads[3])),
        dilation=(int(dilation[0]), int(dilation[1])),
    )
    try:
        floor = found.output(size)
    except InferError as error:
        raise model.refuse(item, str(error)) from None
    if attributes.get("ceil_mode", 0) and floor != _ceiling(found, size):
        raise model.refuse(
            item, "ceil_mode adds windows that hang over the edge; accepted is ceil_mode 0"
        )
    return found


def _ceiling(found: Window, size: tuple[int, ...]) -> Pair:
    p, s = found.padding, found.stride
    span = [d * (k - 1) + 1 for d, k in zip(found.dilation, found.kernel_size, strict=True)]
    return (
        -(-(size[0] + p[0] + p[1] - span[0]) // s[0]) + 1,
        -(-(size[1] + p[2] + p[3] - span[1]) // s[1]) + 1,
    )
