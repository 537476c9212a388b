"""Pipes, storages and called modules as an entity sees them: names, widths and ports.

In: symbols of a program. Out: a ``Shape`` for each, and the signals of each of its sides. A
``Link`` is one side of one item as one state machine uses it; where several state machines use
one side, each asks (``request``) and goes on when it is its turn (``granted``).
Not here: who comes first (``arbiter``), what is behind the ports (``top``, ``support``).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from pyahir.backends.aa import ast as aa
from pyahir.backends.aa import types as ty
from pyahir.backends.aa.scopes import Kind, ProgramScope, Symbol
from pyahir.backends.aa.typing_rules import array_parts, scalar_width
from pyahir.backends.vhdl.names import Namer
from pyahir.backends.vhdl.tree import Action, scalar, unsupported

__all__ = ["Facts", "ItemKind", "Link", "Port", "Shape", "Side", "link_ports", "shape_of"]


class ItemKind(Enum):
    """What stands behind a name; the first three are pipes with words in them."""

    FIFO = "fifo"
    LIFO = "lifo"
    NOBLOCK = "noblock"
    SIGNAL = "signal"
    MEMORY = "memory"
    MODULE = "module"


class Side(Enum):
    """One way to use an item."""

    READ = "read"
    WRITE = "write"
    CALL = "call"

    @classmethod
    def of(cls, action: Action) -> Side:
        """Give the side that a statement uses."""
        match action:
            case Action.READ | Action.LOAD:
                return cls.READ
            case Action.WRITE | Action.STORE:
                return cls.WRITE
            case _:
                return cls.CALL


@dataclass(frozen=True, slots=True)
class Shape:
    """What a user of an item must know; arguments and results are those of a module."""

    name: str  # in VHDL
    kind: ItemKind
    width: int = 0
    address: int = 0
    words: int = 0
    arguments: tuple[tuple[str, int], ...] = ()
    results: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Link:
    """One side of an item, used by one state machine; ``thread`` is "" for the first one."""

    symbol: Symbol
    side: Side
    thread: str = ""

    def prefix(self, shapes: dict[Symbol, Shape]) -> str:
        """Give the beginning of the names of its ports."""
        name = shapes[self.symbol].name
        return f"{name}_{self.thread}" if self.thread else name


@dataclass(frozen=True, slots=True)
class Port:
    """One port of a link; without ``width`` a single bit."""

    suffix: str
    out: bool
    width: int | None = None

    @property
    def subtype(self) -> str:
        """The VHDL type."""
        if self.width is None:
            return "std_logic"
        return f"std_logic_vector({self.width - 1} downto 0)"

    def declared(self, prefix: str) -> str:
        """Write the port's declaration in an entity that uses the item."""
        return f"{prefix}_{self.suffix} : {'out' if self.out else 'in'} {self.subtype}"


@dataclass(frozen=True, slots=True)
class Facts:
    """What only the whole program tells: contested sides, and memories with several loads."""

    contested: frozenset[tuple[Symbol, Side]] = frozenset()
    crowded: frozenset[Symbol] = frozenset()


def link_ports(shape: Shape, side: Side, *, contested: bool) -> list[Port]:
    """List the ports of one side of an item."""
    word, name = shape.width, side.value
    turn = [Port(f"{name}_request", True), Port(f"{name}_granted", False)] if contested else []
    if side is Side.CALL:
        values = [Port(f"in_{argument}", True, width) for argument, width in shape.arguments]
        values += [Port(f"out_{result}", False, width) for result, width in shape.results]
        flow = [Port("start", True), Port("ready", False), Port("done", False), Port("taken", True)]
        return [*flow, *values, *turn]
    write = side is Side.WRITE
    data = Port(f"{name}_data", write, word)
    if shape.kind is ItemKind.MEMORY:
        ports = [Port(f"{name}_enable", True), Port(f"{name}_address", True, shape.address), data]
    elif shape.kind is ItemKind.SIGNAL:
        ports = [data, Port("write_put", True)] if write else [data]
    elif write:
        ports = [data, Port("write_put", True), Port("write_room", False)]
    else:
        ports = [data, Port("read_take", True), Port("read_valid", False)]
    return [*ports, *turn]


def shape_of(symbol: Symbol, scopes: ProgramScope, names: Namer) -> Shape:
    """Describe a pipe, a storage or a module."""
    type_ = symbol.type or ty.UInt(1)
    origin = symbol.origin
    if isinstance(origin, aa.Module):
        return _module_shape(symbol, origin, scopes, names)
    if symbol.kind is Kind.PIPE:
        scalar(type_, symbol.loc, f"a pipe '{symbol.name}'")
        return Shape(names.claim(symbol.name), _pipe_kind(origin), scalar_width(type_))
    dims, word = array_parts(type_)
    scalar(word, symbol.loc, f"a storage '{symbol.name}'")
    words = 1
    for dim in dims:
        words *= dim
    address = max(1, (words - 1).bit_length())
    name = names.claim(symbol.name)
    return Shape(name, ItemKind.MEMORY, scalar_width(word), address, words)


def _pipe_kind(origin: object) -> ItemKind:
    assert isinstance(origin, aa.Pipe)
    if origin.signal:
        return ItemKind.SIGNAL
    match origin.kind:
        case aa.PipeKind.FIFO:
            return ItemKind.FIFO
        case aa.PipeKind.LIFO:
            return ItemKind.LIFO
        case aa.PipeKind.NOBLOCK:
            return ItemKind.NOBLOCK


def _module_shape(symbol: Symbol, module: aa.Module, scopes: ProgramScope, names: Namer) -> Shape:
    if module.body is None:
        unsupported(module.loc, f"the foreign module '{module.name}'")
    scope, inner = scopes.modules[module.name], Namer()

    def sized(arguments: tuple[aa.Argument, ...]) -> tuple[tuple[str, int], ...]:
        rows: list[tuple[str, int]] = []
        for argument in arguments:
            type_ = scope.symbols[argument.name].type or ty.Void()
            scalar(type_, argument.loc, f"an argument '{argument.name}'")
            rows.append((inner.claim(argument.name), scalar_width(type_)))
        return tuple(rows)

    arguments, results = sized(module.inputs), sized(module.outputs)
    name = names.claim(f"call_{symbol.name}")
    return Shape(name, ItemKind.MODULE, arguments=arguments, results=results)
