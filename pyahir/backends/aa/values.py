"""Values of the Aa interpreter at run time: what generated code calls, and what it waits for.

In and out: Python ints. An unsigned or floating-point value is its bit pattern, a signed one is
a signed int. Float arithmetic goes through ``struct``: a double holds every product and sum of
two halves or singles closely enough that rounding it once more is exact.
Not here: integer operators, which ``codegen`` writes inline.
"""

from __future__ import annotations

import math
import struct
from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from pyahir.errors import AaError

if TYPE_CHECKING:
    from pyahir.backends.aa.ast import Loc

__all__ = ["AaDeadlockError", "FloatFormat", "PipeState", "Tick", "Wait", "WaitFor", "undefined"]


class AaDeadlockError(AaError):
    """An Aa program in which no module can go on although outputs are missing.

    Cause: a pipe too shallow for what has to wait in it, or modules that wait for each other.
    Example: ``deadlock: join waits for data in pipe p_long (0 of 2), written by conv; ...``.
    Fix: deepen the full pipe of the cycle, or feed the inputs that it names.
    """


class WaitFor(Enum):
    """What a blocked statement needs."""

    DATA = "data"
    ROOM = "room"
    MUTEX = "mutex"


@dataclass(frozen=True, slots=True)
class Wait:
    """Where a module is blocked."""

    need: WaitFor
    name: str
    module: str
    loc: Loc | None


class Tick(Enum):
    """A module that is not blocked but lets others run."""

    TICK = "tick"


@dataclass(slots=True, eq=False)
class PipeState:
    """The items in a pipe and what is fixed about it."""

    name: str
    width: int
    signed: bool
    capacity: int
    queue: deque[int] = field(default_factory=deque[int])
    readers: tuple[str, ...] = ()
    writers: tuple[str, ...] = ()
    signal: bool = False
    most: int = 0

    def decode(self, pattern: int) -> int:
        """Turn the bits of an item into its value."""
        pattern = int(pattern) % (1 << self.width)
        return pattern - (1 << self.width) if self.signed and pattern >> self.width - 1 else pattern

    def encode(self, value: int) -> int:
        """Turn a value into its bits."""
        return int(value) % (1 << self.width)


def undefined(storage: str, index: int, module: str, loc: Loc | None) -> AaError:
    """Make the error for a word that is read before it is written."""
    where = "" if loc is None else f"{loc}: "
    return AaError(
        f"{where}module '{module}' reads word {index} of storage '{storage}', which nobody has "
        f"written; a storage has no initial contents"
    )


def outside(storage: str, index: int, size: int, module: str, loc: Loc | None) -> AaError:
    """Make the error for an index beyond a storage whose size is not a power of two."""
    where = "" if loc is None else f"{loc}: "
    return AaError(
        f"{where}module '{module}' uses index {index} of storage '{storage}', "
        f"which has {size} words"
    )


@dataclass(frozen=True, slots=True)
class FloatFormat:
    """Arithmetic on the bit patterns of one floating-point type."""

    exponent: int
    fraction: int

    @property
    def codes(self) -> tuple[str, str]:
        """The ``struct`` codes of the float and of the integer of its size."""
        known = {(5, 10): ("<e", "<H"), (8, 23): ("<f", "<I"), (11, 52): ("<d", "<Q")}
        try:
            return known[self.exponent, self.fraction]
        except KeyError:
            raise AaError(
                f"float<{self.exponent},{self.fraction}> cannot be run; "
                f"accepted: <5,10>, <8,23>, <11,52>"
            ) from None

    def unpack(self, pattern: int) -> float:
        """Read a bit pattern."""
        real, integer = self.codes
        return struct.unpack(real, struct.pack(integer, pattern))[0]

    def pack(self, value: float) -> int:
        """Round to nearest even and return the bit pattern; there is one NaN, a positive one."""
        real, integer = self.codes
        try:
            value = math.nan if math.isnan(value) else value
            raw = struct.pack(real, value)
        except OverflowError:
            raw = struct.pack(real, math.copysign(math.inf, value))
        return struct.unpack(integer, raw)[0]

    def add(self, left: int, right: int) -> int:
        """Add two patterns."""
        return self.pack(self.unpack(left) + self.unpack(right))

    def sub(self, left: int, right: int) -> int:
        """Subtract two patterns."""
        return self.pack(self.unpack(left) - self.unpack(right))

    def mul(self, left: int, right: int) -> int:
        """Multiply two patterns."""
        return self.pack(self.unpack(left) * self.unpack(right))

    def unordered(self, left: int, right: int) -> int:
        """Tell whether one of two patterns is not a number."""
        return int(math.isnan(self.unpack(left)) or math.isnan(self.unpack(right)))

    def from_int(self, value: int) -> int:
        """Convert an integer, rounding once: bits beyond a double's are kept as a sticky bit."""
        excess = max(abs(value).bit_length() - 53, 0)
        if self.fraction == 52 or excess == 0:
            return self.pack(float(value))
        kept = abs(value) >> excess
        sticky = kept | int(kept << excess != abs(value))
        return self.pack(math.copysign(math.ldexp(sticky, min(excess, 900)), value))

    def to_int(self, pattern: int) -> int:
        """Convert to an integer toward 0; infinities and NaN, undefined in hardware, give 0."""
        value = self.unpack(pattern)
        return math.trunc(value) if math.isfinite(value) else 0
