"""The top entity: modules, pipes and storages joined, with the ports that AHIR's tools give.

In: a program. Out: the whole VHDL text, a function of the program alone. A pipe that the program
only reads is an input port, one that it only writes an output port; both have their FIFO inside.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pyahir.backends.aa import ast as aa
from pyahir.backends.aa import types as ty
from pyahir.backends.aa.scopes import Kind, ProgramScope, Symbol, build_scopes
from pyahir.backends.aa.traverse import callees
from pyahir.backends.aa.typing_rules import Typing
from pyahir.backends.vhdl.module import Entity, Shape, compile_module, item_shape
from pyahir.backends.vhdl.names import Namer
from pyahir.backends.vhdl.support import COMPONENTS, CONTEXT, PACKAGE
from pyahir.backends.vhdl.tree import unsupported

__all__ = ["TOP", "program_text"]

TOP = "ahir_system"


@dataclass(slots=True)
class _Top:
    scopes: ProgramScope
    shapes: dict[str, Shape] = field(default_factory=dict[str, Shape])
    entities: list[tuple[aa.Module, Entity]] = field(default_factory=list[tuple[aa.Module, Entity]])
    ports: list[str] = field(default_factory=list[str])
    signals: list[str] = field(default_factory=list[str])
    body: list[str] = field(default_factory=list[str])

    def write(self, name: str) -> str:
        names = Namer()
        for taken in ("aa_fifo", "aa_memory", "aa_support", name):
            names.claim(taken)
        self._shapes(names)
        self._modules(names)
        for item in self.shapes:
            symbol = self.scopes.root.symbols[item]
            readers = self._users(item, write=False)
            writers = self._users(item, write=True)
            if max(len(readers), len(writers)) > 1:
                both = [module.name for module, _ in (readers if len(readers) > 1 else writers)]
                unsupported(symbol.loc, f"'{item}' shared by modules {', '.join(both)}")
            if symbol.kind is Kind.PIPE:
                self._pipe(symbol, bool(readers), bool(writers))
            else:
                self._storage(symbol, bool(readers), bool(writers))
        for module, entity in self.entities:
            self._instance(module, entity)
        return self._text(name)

    def _shapes(self, names: Namer) -> None:
        for symbol in self.scopes.root.symbols.values():
            if symbol.kind not in (Kind.PIPE, Kind.STORAGE):
                continue
            origin = symbol.origin
            if isinstance(origin, aa.Pipe) and (
                origin.kind is not aa.PipeKind.FIFO or origin.signal or origin.shift_register
            ):
                unsupported(symbol.loc, f"the pipe '{symbol.name}' that is no plain FIFO")
            self.shapes[symbol.name] = item_shape(symbol, names.claim(symbol.name))

    def _modules(self, names: Namer) -> None:
        typing = Typing(self.scopes)
        called: set[str] = set()
        for module in self.scopes.program.modules():
            called |= callees(module, self.scopes.modules[module.name])
        for module in self.scopes.program.modules():
            if module.name in called or module.body is None:
                continue
            name = names.claim(f"m_{module.name}")
            entity = compile_module(module, self.scopes, typing, self.shapes, name)
            self.entities.append((module, entity))

    def _users(self, item: str, *, write: bool) -> list[tuple[aa.Module, Entity]]:
        return [
            (module, entity) for module, entity in self.entities if (item, write) in entity.uses
        ]

    def _signal(self, name: str, width: int | None) -> None:
        kind = "std_logic" if width is None else f"std_logic_vector({width - 1} downto 0)"
        self.signals.append(f"signal {name} : {kind};")

    def _pipe(self, symbol: Symbol, read: bool, written: bool) -> None:
        """Add a FIFO, and ports where one side is outside."""
        if not read and not written:
            return
        shape, origin = self.shapes[symbol.name], symbol.origin
        assert isinstance(origin, aa.Pipe)
        name, port = shape.name, symbol.name
        depth = 1 if origin.depth is None else max(1, self.scopes.size(origin.depth, origin.loc))
        self.body += [f"-- {line}" for line in origin.comment.splitlines()]
        for signal in ("write_data", "read_data"):
            self._signal(f"{name}_{signal}", shape.width)
        for signal in ("write_put", "write_room", "read_take", "read_valid"):
            self._signal(f"{name}_{signal}", None)
        word = f"std_logic_vector({shape.width - 1} downto 0)"
        if not written:
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
        if not read:
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
        signals = ("write_data", "write_put", "write_room", "read_data", "read_take", "read_valid")
        self._component("fifo", name, f"width => {shape.width}, depth => {depth}", signals)

    def _storage(self, symbol: Symbol, read: bool, written: bool) -> None:
        if not read and not written:
            return
        shape, type_ = self.shapes[symbol.name], symbol.type
        assert isinstance(type_, ty.Array)
        for side, driven in (("write", written), ("read", read)):
            for signal, width in (
                ("enable", None),
                ("address", shape.address),
                ("data", shape.width),
            ):
                self._signal(f"{shape.name}_{side}_{signal}", width)
            if not driven:
                self.body.append(f"{shape.name}_{side}_enable <= '0';")
                self.body.append(f"{shape.name}_{side}_address <= (others => '0');")
                if side == "write":
                    self.body.append(f"{shape.name}_write_data <= (others => '0');")
        generics = (
            f"width => {shape.width}, words => {type_.dims[0]}, address_bits => {shape.address}"
        )
        signals = ("write_enable", "write_address", "write_data")
        signals += ("read_enable", "read_address", "read_data")
        self._component("memory", shape.name, generics, signals)

    def _component(self, kind: str, name: str, generics: str, signals: tuple[str, ...]) -> None:
        reset = ["reset => reset"] if kind == "fifo" else []
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
        for item, shape in self.shapes.items():
            for write in (False, True):
                if (item, write) not in entity.uses:
                    continue
                side = "write" if write else "read"
                signals = ("data", "put", "room") if write else ("data", "take", "valid")
                if shape.address:
                    signals = ("enable", "address", "data")
                names = [f"{shape.name}_{side}_{signal}" for signal in signals]
                links += [f"{name} => {name}" for name in names]
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
        return comment + "\n".join([PACKAGE, COMPONENTS, *texts, top])


def program_text(program: aa.Program, name: str = TOP) -> str:
    """Compile a program to VHDL; the program must be one that the verifier accepts."""
    scopes = build_scopes(program)
    scopes.report.raise_if_any()
    text = _Top(scopes).write(name)
    scopes.report.raise_if_any()
    return text
