"""What an import rule sees: one operation of the model, and what is known of each operand.

TorchScript records and nodes of exported programs both become a ``Call``, so that one rule per
operation serves both. No rule and no torch here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pyahir.ir.graph import Loc
from pyahir.ir.ops import Conv2d, Linear, SumPool2d
from pyahir.ir.ops.window import Padding
from pyahir.ir.types import Array

__all__ = [
    "Call",
    "Failed",
    "Padded",
    "Pending",
    "PendingSum",
    "QuantizedWeight",
    "Raw",
    "Real",
    "State",
    "Unsupported",
    "Value",
]


class Unsupported(Exception):
    """An operation that has no place in the graph; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One operation. ``arguments`` go by the schema's names, defaults filled in.

    ``layer``: the path names a layer of torch's own, so it names the result too; an operation in
    the ``forward`` of a user's module is named by itself. ``shape`` is the result's, ``source``
    finds the result again when the model runs. ``mixed``: its operands differ in memory layout.
    """

    op: str
    arguments: Mapping[str, Any]
    shape: tuple[int, ...]
    loc: Loc
    layer: bool
    source: int | str
    channels_last: bool = False
    mixed: bool = False

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    @property
    def short(self) -> str:
        """The operation without namespace: ``relu``."""
        return self.op.split("::")[-1].strip("_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw:
    """The model's float input, before it is quantized: the host's side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A value of the graph. ``scale`` is a quantized activation's in full double precision."""

    name: str
    scale: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Real:
    """``value`` as real numbers, after a dequantize."""

    value: Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Padded:
    """``value`` with zeros around it, for the convolution that comes next."""

    value: Value
    padding: Padding


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizedWeight:
    """Integer weights with their scales, float32 of shape (O,)."""

    codes: Array
    scales: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A layer of real arithmetic on codes, that waits for the quantize which names its scale."""

    call: Call
    op: Conv2d | Linear | SumPool2d
    x: Value
    weight: Array | None
    factor: npt.NDArray[np.float64]
    bias: npt.NDArray[np.float32]
    relu: bool = False
    flatten: Call | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingSum:
    """A sum of two dequantized values, that waits for the quantize which names its scale."""

    call: Call
    a: Value
    b: Value
    relu: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """What an unsupported operation gives; operations that read it are not reported again."""


State = Raw | Value | Real | Padded | QuantizedWeight | Pending | PendingSum | Failed
