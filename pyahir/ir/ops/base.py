"""What every op is: a small frozen class whose fields are its attributes and whose ``infer`` gives
the result type. What is done with an op (evaluate, import, lower) lives beside the doer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import ClassVar

from pyahir.ir.types import TensorType

__all__ = ["InferError", "Op", "require", "require_plain"]


class InferError(Exception):
    """An op does not take operands of these types; the message says which and why."""


def require(condition: bool, message: str) -> None:
    """Raise ``InferError`` with ``message`` unless ``condition`` holds."""
    if not condition:
        raise InferError(message)


def require_plain(operands: Sequence[TensorType]) -> None:
    """Refuse floats that have a scale: they belong to ops whose arithmetic has an order."""
    for kind in operands:
        require(kind.quantization is None, f"an operand of the FLOAT stage has no scale: {kind}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Op:
    """Base of all ops. ``arity`` is the number of operands: a number, or a (least, most) pair."""

    arity: ClassVar[int | tuple[int, int]] = 1

    @classmethod
    def mnemonic(cls) -> str:
        """The op's name in IR text: ``MaxPool2d`` is ``max_pool2d``."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()

    def attributes(self) -> dict[str, object]:
        return {item.name: getattr(self, item.name) for item in fields(self)}

    def infer(self, operands: Sequence[TensorType]) -> TensorType:
        """Give the result type for ``operands``, or raise ``InferError``."""
        raise AssertionError(f"{type(self).__name__} has no infer rule")
