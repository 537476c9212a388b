"""An Aa module as a VHDL entity: its state machines, its loops, and its ports.

In: a module. Out: the text of an entity with ports for the pipes, storages and modules it uses. A
free-running module begins again when it has ended; a called one has ports for its arguments and
results, takes them when ``call_start`` and ``call_ready`` are '1', and keeps the results until
``call_taken``.
Not here: states (``steps``), the stages of a loop (``loop``), what the ports lead to (``top``).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pyahir.backends.aa import ast as aa
from pyahir.backends.aa.scopes import ProgramScope, Symbol
from pyahir.backends.aa.typing_rules import Typing
from pyahir.backends.vhdl.context import Context, Frame
from pyahir.backends.vhdl.control import Machine
from pyahir.backends.vhdl.items import Facts, ItemKind, Link, Shape, Side, link_ports
from pyahir.backends.vhdl.names import Namer
from pyahir.backends.vhdl.part import LoopReport, Site, cast_from_bits
from pyahir.backends.vhdl.steps import Places, Steps
from pyahir.backends.vhdl.tree import unsupported

__all__ = ["Entity", "Surroundings", "compile_module", "port_names", "sorted_links"]


@dataclass(slots=True)
class Entity:
    """A finished entity; ``uses`` counts the places where it uses each link."""

    name: str
    text: str
    uses: dict[Link, int] = field(default_factory=dict[Link, int])
    reports: list[LoopReport] = field(default_factory=list[LoopReport])


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a module must know of its program."""

    scopes: ProgramScope
    typing: Typing
    shapes: dict[Symbol, Shape]
    facts: Facts
    taken: frozenset[str]
    levels: int | None = None


def port_names(shapes: dict[Symbol, Shape]) -> frozenset[str]:
    """Collect the names of all ports that a module may have for the items of a program."""
    return frozenset(
        f"{shape.name}_{port.suffix}".lower()
        for shape in shapes.values()
        for side in Side
        for port in link_ports(shape, side, contested=True)
    )


def compile_module(
    module: aa.Module, around: Surroundings, name: str, shape: Shape | None = None
) -> Entity:
    """Compile a free-running module, or with its ``shape`` a called one."""
    return _ModuleWriter(module, around, name, shape).write()


class _ModuleWriter:
    def __init__(
        self, module: aa.Module, around: Surroundings, name: str, shape: Shape | None
    ) -> None:
        self.module = module
        self.around = around
        self.own = shape
        namer = Namer(set(around.taken))
        for taken in (name, *self._own_ports()):
            namer.claim(taken)
        self.context = Context(
            module,
            around.scopes,
            around.typing,
            around.shapes,
            around.facts,
            namer,
            around.levels,
        )
        self.entity = Entity(name, "", reports=self.context.reports)

    def write(self) -> Entity:
        scope = self.around.scopes.modules[self.module.name]
        frame = Frame.of(self.module, scope)
        machine = self.context.machine("", [])
        steps = Steps(self.context, machine)
        if self.own is not None:
            self._arguments(machine, frame)
        steps.body(self.module.body or (), scope, frame, Places())
        if self.own is not None:
            self._results(machine, frame)
        if not machine.states:
            unsupported(self.module.loc, f"the empty module '{self.module.name}'")
        for target in machine.open:
            target.final().state = machine.states[0]
        self._connect()
        self.entity.text = self._text()
        return self.entity

    # Arguments and results

    def _own_ports(self) -> list[str]:
        if self.own is None:
            return []
        names = ["call_start", "call_ready", "call_done", "call_taken"]
        names += [f"in_{name}" for name, _ in self.own.arguments]
        return names + [f"out_{name}" for name, _ in self.own.results]

    def _arguments(self, machine: Machine, frame: Frame) -> None:
        """Add the state that waits for a call and takes its arguments."""
        assert self.own is not None
        scope, context = self.around.scopes.modules[self.module.name], self.context
        context.part.concurrent.append("call_ready <= bit_of(step = 0);")
        state = machine.state("wait for a call", "call_start = '1'")
        for argument, (name, _) in zip(self.module.inputs, self.own.arguments, strict=True):
            variable = context.variable(frame, scope.symbols[argument.name])
            value = cast_from_bits(variable.type, f"in_{name}")
            state.work.append(f"{variable.name} <= {value};")

    def _results(self, machine: Machine, frame: Frame) -> None:
        """Add the state that gives the results."""
        assert self.own is not None
        scope, context = self.around.scopes.modules[self.module.name], self.context
        state = machine.state("give the results", "call_taken = '1'")
        context.part.concurrent.append(f"call_done <= bit_of(step = {state.number});")
        for argument, (name, _) in zip(self.module.outputs, self.own.results, strict=True):
            variable = context.variable(frame, scope.symbols[argument.name])
            line = f"out_{name} <= std_logic_vector({variable.name});"
            context.part.concurrent.append(line)

    # Ports

    def _connect(self) -> None:
        """Drive the ports of each link from all its uses."""
        groups: dict[Link, list[Site]] = {}
        for site in self.context.part.sites:
            groups.setdefault(site.link, []).append(site)
        for link, sites in groups.items():
            self.entity.uses[link] = len(sites)
            shape = self.around.shapes[link.symbol]
            if shape.kind is ItemKind.SIGNAL and link.side is Side.READ:
                continue
            self._drive(link, shape, sites)

    def _drive(self, link: Link, shape: Shape, sites: list[Site]) -> None:
        prefix, lines = link.prefix(self.around.shapes), self.context.part.concurrent
        memory = shape.kind is ItemKind.MEMORY
        port = {Side.READ: "read_take", Side.WRITE: "write_put", Side.CALL: "start"}[link.side]
        if memory:
            port = f"{link.side.value}_enable"
        strobes = self._strobes(f"{prefix}_{port}", sites)

        def chosen(values: list[str]) -> str:
            if len(set(values)) == 1:
                return values[0]
            pairs = zip(values[:-1], strobes[:-1], strict=True)
            choices = [f"{value} when {strobe} = '1' else" for value, strobe in pairs]
            return " ".join([*choices, values[-1]])

        if link.side is Side.WRITE:
            lines.append(f"{prefix}_write_data <= {chosen([site.data[0] for site in sites])};")
        if memory:
            width = shape.address
            values = [f"std_logic_vector(resize({site.address}, {width}))" for site in sites]
            lines.append(f"{prefix}_{link.side.value}_address <= {chosen(values)};")
        if link.side is Side.CALL:
            for number, (name, _) in enumerate(shape.arguments):
                lines.append(f"{prefix}_in_{name} <= {chosen([s.data[number] for s in sites])};")
            lines.append(f"{prefix}_taken <= {' or '.join(site.taken for site in sites)};")
        if (link.symbol, link.side) in self.around.facts.contested:
            wishes = [f"({site.request})" for site in sites]
            lines.append(f"{prefix}_{link.side.value}_request <= {' or '.join(wishes)};")

    def _strobes(self, port: str, sites: list[Site]) -> list[str]:
        part = self.context.part
        if len(sites) == 1:
            part.concurrent.append(f"{port} <= {sites[0].strobe};")
            return [sites[0].strobe]
        strobes: list[str] = []
        for site in sites:
            strobe = self.context.namer.claim(f"{port}_{len(strobes)}")
            part.bit(strobe)
            part.concurrent.append(f"{strobe} <= {site.strobe};")
            strobes.append(strobe)
        part.concurrent.append(f"{port} <= {' or '.join(strobes)};")
        return strobes

    def _ports(self) -> list[str]:
        """The ports of the entity: the call, then the links in the order of the items."""
        lines = ["clk, reset : in std_logic"]
        if self.own is not None:
            lines += ["call_start, call_taken : in std_logic"]
            lines += ["call_ready, call_done : out std_logic"]
            for way, values in (("in", self.own.arguments), ("out", self.own.results)):
                lines += [
                    f"{way}_{name} : {way} std_logic_vector({width - 1} downto 0)"
                    for name, width in values
                ]
        for link in sorted_links(self.entity.uses, self.around.shapes):
            contested = (link.symbol, link.side) in self.around.facts.contested
            shape, prefix = self.around.shapes[link.symbol], link.prefix(self.around.shapes)
            for port in link_ports(shape, link.side, contested=contested):
                lines.append(port.declared(prefix))
        return lines

    # Text

    def _machine(self, machine: Machine) -> list[str]:
        lines = machine.arms()
        if not machine.thread:
            return lines
        inner = [f"  {line}" for line in lines]
        return [f"if {machine.thread}_on = '1' then", *inner, "end if;"]

    def _text(self) -> str:
        name, part, machines = self.entity.name, self.context.part, self.context.machines
        notes = [f"-- {line}" for line in self.module.comment.splitlines()]
        head = [f"entity {name} is", "  port (", "    " + ";\n    ".join(self._ports()) + ");"]
        declarations = [
            f"signal {machine.step} : natural range 0 to {len(machine.states) - 1} := 0;"
            for machine in machines
        ]
        declarations += part.declarations
        body = ["process (clk)", "begin", "  if rising_edge(clk) then"]
        body += [f"    {line}" for line in part.clocked]
        for machine in machines:
            body += [f"    {line}" for line in self._machine(machine)]
        body += ["    if reset = '1' then"]
        body += [f"      {machine.step} <= 0;" for machine in machines]
        body += [f"      {line}" for line in dict.fromkeys(part.reset)]
        body += ["    end if;", "  end if;", "end process;"]
        return "\n".join(
            [
                *notes,
                "library ieee;",
                "use ieee.std_logic_1164.all;",
                "use ieee.numeric_std.all;",
                "use work.aa_support.all;",
                "",
                *head,
                "end entity;",
                "",
                f"architecture rtl of {name} is",
                *(f"  {line}" for line in declarations),
                "begin",
                *(f"  {line}" for line in part.concurrent),
                "",
                *(f"  {line}" for line in body),
                "end architecture;",
                "",
            ]
        )


def sorted_links(links: dict[Link, int], shapes: dict[Symbol, Shape]) -> list[Link]:
    """Order links as their items, reading before writing, the first state machine first."""
    if len(links) < 2:
        return list(links)
    place = {symbol: number for number, symbol in enumerate(shapes)}
    sides = list(Side)
    return sorted(links, key=lambda link: (place[link.symbol], sides.index(link.side), link.thread))
