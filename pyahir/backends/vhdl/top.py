"""The top entity: modules, pipes and storages joined, with the ports that AHIR's tools give.

In: a program. Out: the whole VHDL text, a function of the program alone, and the report of its
loops. A pipe that the program only reads is an input port, one that it only writes an output port;
both have their FIFO inside. A module that others call is one entity that they share.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pyahir.backends.aa import ast as aa
from pyahir.backends.aa.scopes import Kind, ProgramScope, Scope, Symbol, build_scopes
from pyahir.backends.aa.traverse import called_modules, is_copied
from pyahir.backends.aa.typing_rules import Typing
from pyahir.backends.vhdl.arbiter import joined
from pyahir.backends.vhdl.items import Facts, ItemKind, Link, Shape, Side, link_ports, shape_of
from pyahir.backends.vhdl.module import (
    Entity,
    Surroundings,
    compile_module,
    port_names,
    sorted_links,
)
from pyahir.backends.vhdl.names import Namer
from pyahir.backends.vhdl.part import LoopReport
from pyahir.backends.vhdl.support import COMPONENTS, CONTEXT, PACKAGE
from pyahir.backends.vhdl.tree import unsupported
from pyahir.kernels.native import without_floats

__all__ = ["TOP", "loops", "program_text"]

TOP = "ahir_system"


@dataclass(slots=True)
class _Top:
    scopes: ProgramScope
    levels: int | None
    shapes: dict[Symbol, Shape] = field(default_factory=dict[Symbol, Shape])
    entities: list[tuple[aa.Module, Entity]] = field(default_factory=list[tuple[aa.Module, Entity]])
    called: dict[Symbol, Entity] = field(default_factory=dict[Symbol, Entity])
    started: list[Symbol] = field(default_factory=list[Symbol])
    ports: list[str] = field(default_factory=list[str])
    signals: list[str] = field(default_factory=list[str])
    body: list[str] = field(default_factory=list[str])
    users: dict[tuple[Symbol, Side], list[tuple[str, Link]]] = field(
        default_factory=dict[tuple[Symbol, Side], "list[tuple[str, Link]]"]
    )
    components: set[str] = field(default_factory=set[str])
    links: dict[tuple[str, Link], str] = field(default_factory=dict[tuple[str, Link], str])

    def write(self, name: str) -> str:
        """Write the whole text."""
        self.compile(name)
        for _, entity in self.entities:
            for link in sorted_links(entity.uses, self.shapes):
                self.users.setdefault((link.symbol, link.side), []).append((entity.name, link))
        for symbol, shape in self.shapes.items():
            sides = [side for side in Side if self._join(symbol, shape, side)]
            if shape.kind is ItemKind.MODULE:
                if symbol in self.started:
                    self._call_ports(symbol, shape)
                continue
            if shape.kind is ItemKind.MEMORY:
                self._storage(shape, sides)
            elif sides:
                self._pipe(symbol, shape, sides)
        for module, entity in self.entities:
            self._instance(module, entity)
        return self._text(name)

    def compile(self, name: str = TOP) -> None:
        """Compile all modules, and again if several state machines use one item."""
        facts = self._compile_all(Facts(), name)
        if facts != Facts():
            self._compile_all(facts, name)

    # Modules

    def _compile_all(self, facts: Facts, name: str) -> Facts:
        names = Namer()
        for taken in (*(f"aa_{kind}" for kind in COMPONENTS), "aa_support", name):
            names.claim(taken)
        self.shapes = {}
        self.called = {}
        self.entities = []
        for scope in (self.scopes.root, *self.scopes.modules.values()):
            self._shapes(scope, names)
        free, started = self._outer_modules()
        for symbol in self.scopes.root.symbols.values():
            origin = symbol.origin
            if isinstance(origin, aa.Module) and origin not in free and origin.body is not None:
                self.shapes[symbol] = shape_of(symbol, self.scopes, names)
        taken = port_names(self.shapes)
        typing = Typing(self.scopes)
        around = Surroundings(self.scopes, typing, self.shapes, facts, taken, self.levels)
        found = {
            module.name: compile_module(module, around, names.claim(f"m_{module.name}"))
            for module in free
        }
        for module in started:
            symbol = self.scopes.root.symbols[module.name]
            name = names.claim(f"m_{module.name}")
            entity = compile_module(module, around, name, self.shapes[symbol])
            found[module.name] = self.called[symbol] = entity
        self.started = [self.scopes.root.symbols[module.name] for module in started]
        work = list(found.values())
        while work:
            for link in work.pop().uses:
                origin = link.symbol.origin
                if isinstance(origin, aa.Module) and origin.name not in found:
                    shape, name = self.shapes[link.symbol], names.claim(f"m_{origin.name}")
                    made = compile_module(origin, around, name, shape)
                    found[origin.name] = self.called[link.symbol] = made
                    work.append(made)
        modules = self.scopes.program.modules()
        self.entities = [(m, found[m.name]) for m in modules if m.name in found]
        return self._facts()

    def _outer_modules(self) -> tuple[list[aa.Module], list[aa.Module]]:
        """Find the modules that run freely and those with arguments that the outside calls.

        An operator that nobody calls is no hardware: each call would have its own.
        """
        modules = self.scopes.program.modules()
        called = called_modules(self.scopes)
        outer = [m for m in modules if m.name not in called and m.body is not None]
        free = [m for m in outer if not m.inputs and not m.outputs]
        return free, [m for m in outer if m not in free and not is_copied(m)]

    def _shapes(self, scope: Scope, names: Namer) -> None:
        for symbol in scope.symbols.values():
            if symbol.scope is scope and symbol.kind in (Kind.PIPE, Kind.STORAGE):
                self.shapes[symbol] = shape_of(symbol, self.scopes, names)
        for inner in scope.blocks.values():
            self._shapes(inner, names)

    def _facts(self) -> Facts:
        """Find the sides that several state machines use, and memories with several loads."""
        users: dict[tuple[Symbol, Side], int] = {}
        loads: dict[Symbol, int] = {}
        for _, entity in self.entities:
            for link, count in entity.uses.items():
                kind = self.shapes[link.symbol].kind
                if kind is not ItemKind.SIGNAL or link.side is not Side.READ:
                    key = link.symbol, link.side
                    users[key] = users.get(key, 0) + 1
                if kind is ItemKind.MEMORY and link.side is Side.READ:
                    loads[link.symbol] = loads.get(link.symbol, 0) + count
        contested = frozenset(key for key, count in users.items() if count > 1)
        return Facts(contested, frozenset(symbol for symbol, n in loads.items() if n > 1))

    # Signals

    def _signal(self, name: str, subtype: str) -> None:
        self.signals.append(f"signal {name} : {subtype};")

    def _join(self, symbol: Symbol, shape: Shape, side: Side) -> bool:
        """Declare the signals of one side and lead its users to them; tell whether it has any."""
        users = self.users.get((symbol, side), [])
        if not users:
            return False
        for port in link_ports(shape, side, contested=False):
            self._signal(f"{shape.name}_{port.suffix}", port.subtype)
        free = shape.kind is ItemKind.SIGNAL and side is Side.READ
        if len(users) == 1 or free:
            for user in users:
                self.links[user] = shape.name
            return True
        names = [f"{shape.name}_{side.value}{number}" for number in range(len(users))]
        for user, name in zip(users, names, strict=True):
            self.links[user] = name
        signals, lines = joined(shape, side, names)
        for name, port in signals:
            self._signal(name, port.subtype)
        self.body += lines
        return True

    def _pipe(self, symbol: Symbol, shape: Shape, sides: list[Side]) -> None:
        """Add what holds the words of a pipe, and ports where one side is outside."""
        origin = symbol.origin
        assert isinstance(origin, aa.Pipe)
        read, written = Side.READ in sides, Side.WRITE in sides
        if symbol.scope is not self.scopes.root and not (read and written):
            unsupported(symbol.loc, f"the local pipe '{symbol.name}' with one side only")
        self.body += [f"-- {line}" for line in origin.comment.splitlines()]
        missing = [side for side in (Side.WRITE, Side.READ) if side not in sides]
        for side in missing:
            for port in link_ports(shape, side, contested=False):
                self._signal(f"{shape.name}_{port.suffix}", port.subtype)
            if shape.kind is ItemKind.SIGNAL:
                self._plain_port(symbol, shape, side)
            else:
                self._handshake(symbol, shape, side)
        if shape.kind is ItemKind.SIGNAL:
            if written:
                signals = ("write_data", "write_put", "read_data")
                self._component("signal", shape.name, f"width => {shape.width}", signals)
            return
        depth = 1 if origin.depth is None else max(1, self.scopes.size(origin.depth, origin.loc))
        signals = ("write_data", "write_put", "write_room", "read_data", "read_take", "read_valid")
        kind = "lifo" if shape.kind is ItemKind.LIFO else "fifo"
        self._component(kind, shape.name, f"width => {shape.width}, depth => {depth}", signals)

    def _handshake(self, symbol: Symbol, shape: Shape, side: Side) -> None:
        """Lead one side of a pipe outside."""
        name, port = shape.name, symbol.name
        word = f"std_logic_vector({shape.width - 1} downto 0)"
        if side is Side.WRITE:
            self.ports += [
                f"{port}_pipe_write_data : in {word}",
                f"{port}_pipe_write_req : in std_logic_vector(0 downto 0)",
                f"{port}_pipe_write_ack : out std_logic_vector(0 downto 0)",
            ]
            self.body += [
                f"{name}_write_data <= {port}_pipe_write_data;",
                f"{name}_write_put <= {port}_pipe_write_req(0) and {name}_write_room;",
                f"{port}_pipe_write_ack(0) <= {name}_write_room;",
            ]
            return
        self.ports += [
            f"{port}_pipe_read_data : out {word}",
            f"{port}_pipe_read_req : in std_logic_vector(0 downto 0)",
            f"{port}_pipe_read_ack : out std_logic_vector(0 downto 0)",
        ]
        self.body += [
            f"{port}_pipe_read_data <= {name}_read_data;",
            f"{name}_read_take <= {port}_pipe_read_req(0) and {name}_read_valid;",
            f"{port}_pipe_read_ack(0) <= {name}_read_valid;",
        ]

    def _plain_port(self, symbol: Symbol, shape: Shape, side: Side) -> None:
        """Lead a signal outside: a port of its name, without a handshake."""
        out = side is Side.READ
        word = f"std_logic_vector({shape.width - 1} downto 0)"
        self.ports.append(f"{symbol.name} : {'out' if out else 'in'} {word}")
        if out:
            self.body.append(f"{symbol.name} <= {shape.name}_read_data;")
        else:
            self.body.append(f"{shape.name}_read_data <= {symbol.name};")

    def _call_ports(self, symbol: Symbol, shape: Shape) -> None:
        """Lead the call of a module that nobody calls outside, as AHIR's tools do."""
        module, call = symbol.origin, shape.name
        assert isinstance(module, aa.Module)
        name = module.name
        for port in link_ports(shape, Side.CALL, contested=False):
            self._signal(f"{call}_{port.suffix}", port.subtype)
        self.ports += [
            f"{name}_start_req, {name}_fin_req : in std_logic := '0'",
            f"{name}_start_ack, {name}_fin_ack : out std_logic",
            f'{name}_tag_in : in std_logic_vector(1 downto 0) := "00"',
            f"{name}_tag_out : out std_logic_vector(1 downto 0)",
        ]
        for outer, (inner, width) in zip(module.inputs, shape.arguments, strict=True):
            word = f"std_logic_vector({width - 1} downto 0) := (others => '0')"
            self.ports.append(f"{name}_{outer.name} : in {word}")
            self.body.append(f"{call}_in_{inner} <= {name}_{outer.name};")
        for outer, (inner, width) in zip(module.outputs, shape.results, strict=True):
            self.ports.append(f"{name}_{outer.name} : out std_logic_vector({width - 1} downto 0)")
            self.body.append(f"{name}_{outer.name} <= {call}_out_{inner};")
        self.body += [
            f"{call}_start <= {name}_start_req and {call}_ready;",
            f"{name}_start_ack <= {call}_ready;",
            f"{call}_taken <= {name}_fin_req and {call}_done;",
            f"{name}_fin_ack <= {call}_done;",
            f"{name}_tag_out <= {name}_tag_in when rising_edge(clk) and {call}_start = '1';",
        ]

    def _storage(self, shape: Shape, sides: list[Side]) -> None:
        if not sides:
            return
        for side in (Side.WRITE, Side.READ):
            if side in sides:
                continue
            name = f"{shape.name}_{side.value}"
            for port in link_ports(shape, side, contested=False):
                self._signal(f"{shape.name}_{port.suffix}", port.subtype)
            self.body.append(f"{name}_enable <= '0';")
            self.body.append(f"{name}_address <= (others => '0');")
            if side is Side.WRITE:
                self.body.append(f"{name}_data <= (others => '0');")
        generics = (
            f"width => {shape.width}, words => {shape.words}, address_bits => {shape.address}"
        )
        signals = ("write_enable", "write_address", "write_data")
        signals += ("read_enable", "read_address", "read_data")
        self._component("memory", shape.name, generics, signals)

    def _component(self, kind: str, name: str, generics: str, signals: tuple[str, ...]) -> None:
        self.components.add(kind)
        reset = [] if kind == "memory" else ["reset => reset"]
        links = ["clk => clk", *reset, *(f"{signal} => {name}_{signal}" for signal in signals)]
        self.body.append(f"{kind}_{name} : entity work.aa_{kind}")
        self.body.append(f"  generic map ({generics})")
        self.body += self._map(links)

    def _map(self, links: list[str]) -> list[str]:
        rows = [", ".join(links[start : start + 3]) for start in range(0, len(links), 3)]
        return ["  port map (", *(f"    {row}," for row in rows[:-1]), f"    {rows[-1]});"]

    def _instance(self, module: aa.Module, entity: Entity) -> None:
        self.body += [f"-- {line}" for line in module.comment.splitlines()]
        links = ["clk => clk", "reset => reset"]
        own = self.scopes.root.symbols[module.name]
        if own in self.called:
            shape = self.shapes[own]
            for port in link_ports(shape, Side.CALL, contested=False):
                inner = port.suffix if "_" in port.suffix else f"call_{port.suffix}"
                links.append(f"{inner} => {shape.name}_{port.suffix}")
        for link in sorted_links(entity.uses, self.shapes):
            prefix, signal = link.prefix(self.shapes), self.links[entity.name, link]
            contested = signal != self.shapes[link.symbol].name
            shape = self.shapes[link.symbol]
            for port in link_ports(shape, link.side, contested=contested):
                links.append(f"{prefix}_{port.suffix} => {signal}_{port.suffix}")
        self.body.append(f"u_{entity.name} : entity work.{entity.name}")
        self.body += self._map(links)

    def _text(self, name: str) -> str:
        ports = ["clk : in std_logic", "reset : in std_logic", *self.ports]
        comment = "".join(f"-- {line}\n" for line in self.scopes.program.comment.splitlines())
        top = "\n".join(
            [
                f"{CONTEXT}",
                f"entity {name} is",
                "  port (",
                "    " + ";\n    ".join(ports) + ");",
                "end entity;",
                "",
                f"architecture rtl of {name} is",
                *(f"  {line}" for line in self.signals),
                "begin",
                *(f"  {line}" for line in self.body),
                "end architecture;",
                "",
            ]
        )
        texts = [entity.text for _, entity in self.entities]
        components = [text for kind, text in COMPONENTS.items() if kind in self.components]
        return comment + "\n".join([PACKAGE, *components, *texts, top])


def program_text(program: aa.Program, name: str = TOP, *, levels: int | None = None) -> str:
    """Compile a program to VHDL; the program must be one that the verifier accepts.

    ``levels`` bounds the operators in a row between two registers of a pipelined loop.
    """
    scopes = build_scopes(without_floats(program))
    scopes.report.raise_if_any()
    text = _Top(scopes, levels).write(name)
    scopes.report.raise_if_any()
    return text


def loops(program: aa.Program, *, levels: int | None = None) -> list[LoopReport]:
    """Tell for each loop of a program how often it starts an iteration, and why not more often."""
    scopes = build_scopes(without_floats(program))
    scopes.report.raise_if_any()
    top = _Top(scopes, levels)
    top.compile()
    return [report for _, entity in top.entities for report in entity.reports]
