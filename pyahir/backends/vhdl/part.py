"""Lines of VHDL that make up an entity, and the uses of its ports.

In: nothing. Out: ``Part`` and ``Site``, which loops and steps fill and ``module`` joins.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pyahir.backends.aa import types as ty
from pyahir.backends.vhdl.expr import declared
from pyahir.backends.vhdl.items import Link

__all__ = ["LoopReport", "Part", "Site", "cast_from_bits", "zero"]


@dataclass(frozen=True, slots=True)
class LoopReport:
    """How often a loop starts an iteration; ``reason`` says why not in every cycle, or is ""."""

    module: str
    loop: str
    stages: int
    interval: int
    reason: str


@dataclass(frozen=True, slots=True)
class Site:
    """One use of a link: when it acts, when it asks for its turn, which address, which data.

    For a call ``data`` has one value an argument, and ``taken`` tells when the results are taken.
    """

    link: Link
    strobe: str
    request: str = ""
    address: str = ""
    data: tuple[str, ...] = ()
    taken: str = ""


@dataclass(slots=True)
class Part:
    """VHDL lines of a part of a module."""

    declarations: list[str] = field(default_factory=list[str])
    concurrent: list[str] = field(default_factory=list[str])
    clocked: list[str] = field(default_factory=list[str])
    reset: list[str] = field(default_factory=list[str])
    sites: list[Site] = field(default_factory=list[Site])

    def signal(self, name: str, type_: ty.Type, width: int) -> None:
        """Declare a signal that begins at 0."""
        self.declarations.append(f"signal {name} : {declared(type_, width)} := (others => '0');")

    def bit(self, name: str) -> None:
        """Declare a signal of one bit that begins at 0."""
        self.declarations.append(f"signal {name} : std_logic := '0';")


def cast_from_bits(type_: ty.Type, bits: str) -> str:
    """Write bits of a port as a number."""
    return f"{'signed' if isinstance(type_, ty.Int) else 'unsigned'}({bits})"


def zero(name: str) -> str:
    """Write the reset of a number."""
    return f"{name} <= (others => '0');"
