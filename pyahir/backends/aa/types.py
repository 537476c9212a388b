"""The types of Aa and the compile-time sizes inside them.

In: nothing but numbers and names. Out: hashable type nodes that the AST, the verifier and the
interpreter share. A size is a plain ``int``, or an expression over ``Parameter`` names that
``typing_rules.Sizes`` evaluates. Not here: spelling (``printer``), typing rules (``typing_rules``).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = [
    "Array",
    "Float",
    "Int",
    "NamedType",
    "ParamBinary",
    "ParamMux",
    "ParamName",
    "ParamOp",
    "ParamUnary",
    "ParamUnaryOp",
    "Pointer",
    "Record",
    "ScalarType",
    "Size",
    "Type",
    "UInt",
    "Void",
]


class ParamOp(Enum):
    """Operators of compile-time sizes; the value is the Aa spelling."""

    ADD = "+"
    SUB = "-"
    MUL = "*"
    DIV = "/"
    POWER = "**"
    EQUAL = "=="
    NOT_EQUAL = "!="
    LESS = "<"
    LESS_EQUAL = "<="
    GREATER = ">"
    GREATER_EQUAL = ">="
    SHIFT_LEFT = "<<"
    SHIFT_RIGHT = ">>"
    OR = "|"
    AND = "&"
    XOR = "^"


class ParamUnaryOp(Enum):
    """Unary operators of compile-time sizes; the value is the Aa spelling."""

    INVERT = "~"
    NEGATE = "-"


@dataclass(frozen=True, slots=True)
class ParamName:
    """The value of a declared parameter."""

    name: str


@dataclass(frozen=True, slots=True)
class ParamUnary:
    """A unary compile-time operation."""

    op: ParamUnaryOp
    operand: Size


@dataclass(frozen=True, slots=True)
class ParamBinary:
    """A binary compile-time operation."""

    op: ParamOp
    lhs: Size
    rhs: Size


@dataclass(frozen=True, slots=True)
class ParamMux:
    """A compile-time choice: ``if_true`` where ``condition`` is not zero."""

    condition: Size
    if_true: Size
    if_false: Size


Size = int | ParamName | ParamUnary | ParamBinary | ParamMux


def _check_width(width: Size, what: str) -> None:
    if isinstance(width, int) and width < 1:
        raise ValueError(f"{what} must be at least 1, not {width}")


@dataclass(frozen=True, slots=True)
class UInt:
    """Unsigned integer; one bit wide it is also the type of conditions."""

    width: Size

    def __post_init__(self) -> None:
        _check_width(self.width, "the width of an unsigned integer type")


@dataclass(frozen=True, slots=True)
class Int:
    """Two's complement integer."""

    width: Size

    def __post_init__(self) -> None:
        _check_width(self.width, "the width of a signed integer type")


@dataclass(frozen=True, slots=True)
class Float:
    """Binary floating point: sign, ``exponent`` bits, ``fraction`` bits."""

    exponent: Size
    fraction: Size


@dataclass(frozen=True, slots=True)
class Pointer:
    """A 32-bit address of an object of type ``target``."""

    target: Type


@dataclass(frozen=True, slots=True)
class Array:
    """An array for storage objects; ``dims`` outermost first."""

    dims: tuple[Size, ...]
    element: Type

    def __post_init__(self) -> None:
        if not self.dims:
            raise ValueError("an array type needs at least one dimension")


@dataclass(frozen=True, slots=True)
class Record:
    """A record; the first field lies in the low bits."""

    fields: tuple[Type, ...]


@dataclass(frozen=True, slots=True)
class NamedType:
    """A record type that the program declared by name."""

    name: str


@dataclass(frozen=True, slots=True)
class Void:
    """The type without values."""


ScalarType = UInt | Int | Float
Type = UInt | Int | Float | Pointer | Array | Record | NamedType | Void
