"""Operations that move no numbers: flattening, copies, padding that a convolution takes over."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pyahir.frontend.aten.operands import real_operand, rewrap
from pyahir.frontend.aten.registry import imports
from pyahir.frontend.calls import Call, Padded, Pending, State, Unsupported
from pyahir.frontend.context import ImportContext
from pyahir.ir.ops import Flatten
from pyahir.ir.types import Layout

__all__ = ["flatten", "pad", "same"]

OPERANDS = ("self", "input", "qx")
MODES = {"reflection": "reflect", "replication": "replicate", "circular": "circular"}


def _operand(call: Call) -> str:
    return next(name for name in OPERANDS if name in call.arguments)


@imports(
    "aten::alias",
    "aten::clone",
    "aten::contiguous",
    "aten::detach",
    "aten::dropout",
    "aten::dropout_",
    "aten::feature_dropout",
    "prim::data",
)
def same(ctx: ImportContext, call: Call) -> State:
    """Copies, and dropout in eval: the operand itself."""
    if call.arguments.get("train", False):
        raise Unsupported(f"{call.op} in training mode; call model.eval() before saving")
    return call[_operand(call)]


@imports("aten::flatten", "aten::reshape", "aten::squeeze", "aten::view", "aten::_unsafe_view")
def flatten(ctx: ImportContext, call: Call) -> State:
    """A reshape is accepted when it flattens a feature map or changes nothing."""
    name = _operand(call)
    if isinstance(call[name], Pending):
        return replace(call[name], flatten=call)
    x = real_operand(ctx, call, name)
    kind = ctx.type(x)
    channels, (height, width) = kind.channels, kind.spatial
    vector = kind.layout is Layout.NC
    here = (channels,) if vector else (channels, height, width)
    if call.shape[1:] == here:
        return call[name]
    if not vector and call.shape[1:] == (channels * height * width,):
        return rewrap(ctx, call, name, ctx.emit(call, Flatten(), x))
    raise Unsupported(
        f"{call.op} from {_text(here)} to {_text(call.shape[1:])} for each image is not "
        "supported; a reshape may only flatten a feature map into a vector"
    )


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a number"


@imports(
    "aten::constant_pad_nd",
    "aten::pad",
    "aten::reflection_pad2d",
    "aten::replication_pad2d",
)
def pad(ctx: ImportContext, call: Call) -> State:
    """Zeros around a feature map, for the convolution that follows."""
    mode = _mode(call)
    if mode != "constant":
        raise Unsupported(f"padding_mode={mode!r} is not supported; use 'zeros'")
    if call.arguments.get("value"):
        raise Unsupported(f"padding with {call['value']}; use 0")
    sizes: Any = call["pad"]
    x = real_operand(ctx, call, "self")
    if len(sizes) != 4 or ctx.type(x).layout is Layout.NC or min(sizes) < 0:
        raise Unsupported(f"{call.op} with pad={list(sizes)}; pad height and width, not below 0")
    left, right, top, bottom = sizes
    return Padded(value=x, padding=(top, bottom, left, right))


def _mode(call: Call) -> str:
    if call.op == "aten::pad":
        return str(call["mode"])
    word = call.short.split("_")[0]
    return MODES.get(word, "constant")
