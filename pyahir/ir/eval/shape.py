"""Flatten: in the carried form (C, H, W, N) it is torch's order already."""

from __future__ import annotations

from pyahir.ir.eval.core import Context, Kernel, evaluates
from pyahir.ir.ops import Flatten

__all__ = ["flatten"]


@evaluates(Flatten)
def flatten(op: Flatten, context: Context) -> Kernel:
    del op, context
    return lambda x: x.reshape(-1, x.shape[-1])
