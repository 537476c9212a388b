"""What TorchScript computes on numbers, lists and strings: Python does it.

``torch.ops`` refuses these ("Expected List[t]"); tensors never come here but to be measured.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch

__all__ = ["SCALARS"]


def _append(items: list[Any], item: Any) -> list[Any]:
    items.append(item)
    return items


def _slice(items: Any, start: Any, end: Any, step: Any) -> Any:
    return items[start:end:step]


def _format(text: str, *items: Any) -> str:
    return text.format(*items)


SCALARS: dict[str, Callable[..., Any]] = {
    "aten::Bool": bool,
    "aten::Float": float,
    "aten::FloatImplicit": float,
    "aten::Int": int,
    "aten::IntImplicit": int,
    "aten::ScalarImplicit": lambda tensor: tensor.item(),
    "aten::__and__": lambda a, b: a and b,
    "aten::__contains__": lambda items, item: item in items,
    "aten::__derive_index": lambda index, start, step: start + index * step,
    "aten::__getitem__": lambda items, index: items[index],
    "aten::__is__": operator.is_,
    "aten::__isnot__": operator.is_not,
    "aten::__not__": operator.not_,
    "aten::__or__": lambda a, b: a or b,
    "aten::__range_length": lambda low, high, step: len(range(low, high, step)),
    "aten::add": operator.add,
    "aten::append": _append,
    "aten::dim": lambda tensor: tensor.dim(),
    "aten::eq": operator.eq,
    "aten::floordiv": operator.floordiv,
    "aten::format": _format,
    "aten::ge": operator.ge,
    "aten::gt": operator.gt,
    "aten::is_floating_point": lambda tensor: tensor.is_floating_point(),
    "aten::le": operator.le,
    "aten::len": len,
    "aten::list": list,
    "aten::lt": operator.lt,
    "aten::max": max,
    "aten::min": min,
    "aten::mul": operator.mul,
    "aten::ne": operator.ne,
    "aten::neg": operator.neg,
    "aten::remainder": operator.mod,
    "aten::slice": _slice,
    "aten::sub": operator.sub,
    "aten::warn": lambda *_: None,
    "prim::NumToTensor": torch.tensor,
    "prim::data": lambda tensor: tensor.data,
    "prim::dtype": lambda tensor: tensor.dtype,
    "prim::max": max,
    "prim::min": min,
    "prim::unchecked_cast": lambda item: item,
}
