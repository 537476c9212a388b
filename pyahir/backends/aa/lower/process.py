"""What the processes of a design are collected in: items in order, names checked for clashes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pyahir.backends.aa import ast
from pyahir.backends.aa.balance import Environment, balance, operator_latency
from pyahir.backends.aa.build import Loop, daemon, pipe
from pyahir.backends.aa.types import Array, UInt
from pyahir.errors import PlanError
from pyahir.kernels import load

__all__ = ["Emitter", "Stream"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """A pipe that carries a tensor: elements of ``width`` bits, ``lanes`` a word, lowest first."""

    pipe: str
    lanes: int
    width: int = 8

    @property
    def bits(self) -> int:
        return self.lanes * self.width


@dataclass(slots=True)
class Emitter:
    """The program so far; ``layer`` owns the pipes that are declared now."""

    layer: str = ""
    owners: dict[str, str] = field(default_factory=dict[str, str])
    items: list[ast.Item] = field(default_factory=list[ast.Item])
    names: set[str] = field(default_factory=set[str])
    latencies: dict[str, int] = field(default_factory=dict[str, int])
    native: bool = False  # floats by AHIR's own operators

    def claim(self, name: str) -> str:
        """Take a name of the global scope."""
        if name in self.names:
            raise PlanError(
                f"the names of two layers give one Aa name {name!r}: rename one of them"
            )
        self.names.add(name)
        return name

    def stream(
        self, name: str, lanes: int, depth: int, width: int = 8, comment: str = ""
    ) -> Stream:
        """Declare the pipe of a stream."""
        self.items.append(pipe(self.claim(name), lanes * width, depth, comment))
        self.owners[name] = self.layer
        return Stream(pipe=name, lanes=lanes, width=width)

    def storage(self, name: str, words: int, width: int) -> str:
        """Declare a memory; of two words at least, so that its address has a bit."""
        kind = Array((max(2, words),), UInt(width))
        self.items.append(ast.Storage(name=self.claim(name), type=kind))
        return name

    def token(self, name: str) -> str:
        """Declare the pipe through which the loader lets a layer start."""
        self.items.append(pipe(self.claim(name), 1, 2))
        return name

    def operator(self, module: ast.Module) -> str:
        """Add an operator module and remember its latency."""
        self.items.append(module)
        self.claim(module.name)
        self.latencies[module.name] = operator_latency(module)
        return module.name

    def kernel(self, name: str) -> str:
        """Add a kernel of the library, once however many layers call it."""
        if name not in self.latencies:
            self.operator(load(name))
        return name

    def process(
        self, name: str, loop: Loop, *, comment: str, first: Sequence[ast.Statement] = ()
    ) -> None:
        """Add a free-running module that runs ``loop`` for ever."""
        body = balance(loop, Environment(latencies=self.latencies))
        self.items.append(daemon(self.claim(name), [body], first=first, comment=comment))
