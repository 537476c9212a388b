"""A free-running Aa module as a VHDL entity: its steps in order, then again from the first.

In: a module without arguments. Out: the text of an entity with ports for the pipes and storages
it uses. A step is a single statement or a pipelined loop; the next step begins when a statement
has been done, or a loop has ended and its pipeline is empty.
Not here: the stages of a loop (``loop``), pipes and storages themselves (``top``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pyahir.backends.aa import ast as aa
from pyahir.backends.aa import types as ty
from pyahir.backends.aa.scopes import Kind, ProgramScope, Scope, Symbol
from pyahir.backends.aa.typing_rules import Typing, scalar_width
from pyahir.backends.vhdl.expr import Writer
from pyahir.backends.vhdl.flatten import Flattener, used
from pyahir.backends.vhdl.loop import LoopWriter, Part, Site
from pyahir.backends.vhdl.names import Namer
from pyahir.backends.vhdl.schedule import schedule
from pyahir.backends.vhdl.tree import Action, Operation, Tree, Variable, scalar, unsupported

__all__ = ["Entity", "Shape", "compile_module"]


@dataclass(frozen=True, slots=True)
class Shape:
    """What a module must know of a pipe or storage: bits a word, and bits of an address."""

    name: str  # in VHDL
    width: int
    address: int = 0


@dataclass(slots=True)
class Entity:
    """A finished entity and how it uses pipes and storages."""

    name: str
    text: str
    uses: dict[tuple[str, bool], Action] = field(default_factory=dict[tuple[str, bool], Action])


def compile_module(
    module: aa.Module,
    scopes: ProgramScope,
    typing: Typing,
    shapes: dict[str, Shape],
    name: str,
) -> Entity:
    """Compile a free-running module."""
    writer = _ModuleWriter(module, scopes, typing, shapes, name)
    return writer.write()


def _steps(body: Sequence[aa.Statement], scope: Scope) -> Iterator[tuple[aa.Statement, Scope]]:
    """Yield statements and loops in order, those of plain blocks among them."""
    for statement in body:
        match statement:
            case aa.Null() | aa.Barrier() | aa.Trace() | aa.Sleep() | aa.Report():
                continue
            case aa.Block(kind=aa.BlockKind.BRANCH | aa.BlockKind.SERIES):
                if statement.declarations or statement.exports:
                    unsupported(statement.loc, "a block with declarations or exports")
                yield from _steps(statement.body, scope.block(statement))
            case aa.Assign() | aa.DoPipeline():
                yield statement, scope
            case _:
                unsupported(statement.loc, f"the statement {type(statement).__name__} here")


class _ModuleWriter:
    def __init__(
        self,
        module: aa.Module,
        scopes: ProgramScope,
        typing: Typing,
        shapes: dict[str, Shape],
        name: str,
    ) -> None:
        self.module = module
        self.scopes = scopes
        self.typing = typing
        self.shapes = shapes
        self.entity = Entity(name, "")
        self.namer = Namer()
        self.namer.claim(name)
        for shape in shapes.values():
            for suffix in ("read_data", "read_valid", "read_take", "write_data", "write_room"):
                self.namer.claim(f"{shape.name}_{suffix}")
            for suffix in ("write_put", "read_address", "write_address", "enable"):
                self.namer.claim(f"{shape.name}_{suffix}")
        self.outer: dict[Symbol, Variable] = {}
        self.part = Part()
        self.arms: list[list[str]] = []
        self.writer = Writer(lambda variable: variable.name)

    def write(self) -> Entity:
        if self.module.inputs or self.module.outputs or self.module.declarations:
            unsupported(
                self.module.loc, f"the module '{self.module.name}' with arguments or declarations"
            )
        scope = self.scopes.modules[self.module.name]
        steps = list(_steps(self.module.body or (), scope))
        if not steps:
            unsupported(self.module.loc, f"the empty module '{self.module.name}'")
        for number, (statement, inner) in enumerate(steps):
            following = (number + 1) % len(steps)
            if isinstance(statement, aa.DoPipeline):
                self._loop(statement, inner, number, following)
            else:
                assert isinstance(statement, aa.Assign)
                self._single(statement, inner, number, following)
        self._connect()
        self.entity.text = self._text()
        return self.entity

    def _join(self, part: Part) -> None:
        self.part.declarations += part.declarations
        self.part.concurrent += part.concurrent
        self.part.clocked += part.clocked
        self.part.reset += part.reset
        self.part.sites += part.sites

    # Steps

    def _single(self, statement: aa.Assign, scope: Scope, number: int, following: int) -> None:
        """Write a statement outside a loop: a state that waits for its pipe."""
        if statement.guard is not None:
            unsupported(statement.loc, "a guarded statement outside a loop")
        flat = Flattener(self.scopes, self.typing, dict(self.outer))
        flat.body((statement,), scope)
        if len(flat.operations) != 1:
            unsupported(statement.loc, "this statement outside a loop")
        operation = flat.operations[0]
        if operation.target is not None:
            for symbol, variable in flat.environment.items():
                if variable is operation.target:
                    variable.outer = True
                    variable.name = self.namer.claim(variable.name)
                    self.outer[symbol] = variable
                    self.part.signal(variable.name, variable.type, variable.width)
        self.arms.append(self._state(operation, number, following))

    def _state(self, operation: Operation, number: int, following: int) -> list[str]:
        go = self.namer.claim(f"step{number}_done")
        self.part.declarations.append(f"signal {go} : std_logic := '0';")
        item, here = operation.item, f"bit_of(step = {number})"
        value = "" if operation.value is None else self.writer.text(operation.value)
        match operation.action:
            case Action.READ:
                assert operation.target is not None
                kind = "signed" if isinstance(operation.target.type, ty.Int) else "unsigned"
                name = self.shapes[item].name
                self.part.concurrent.append(f"{go} <= {here} and {name}_read_valid;")
                self.part.sites.append(Site(Action.READ, name, go))
                work = [f"{operation.target.name} <= {kind}({name}_read_data);"]
            case Action.WRITE:
                name = self.shapes[item].name
                self.part.concurrent.append(f"{go} <= {here} and {name}_write_room;")
                data = f"std_logic_vector({value})"
                self.part.sites.append(Site(Action.WRITE, name, go, data=data))
                work = []
            case Action.REGISTER | Action.VOLATILE:
                assert operation.target is not None
                self.part.concurrent.append(f"{go} <= {here};")
                work = [f"{operation.target.name} <= {value};"]
            case _:
                unsupported(operation.loc, "a load or store outside a loop")
        lines = [f"if {go} = '1' then", *(f"  {line}" for line in work)]
        return [*lines, f"  step <= {following};", "end if;"]

    def _loop(self, loop: aa.DoPipeline, scope: Scope, number: int, following: int) -> None:
        flat = Flattener(self.scopes, self.typing, dict(self.outer))
        carried = [self._phi(phi, scope) for phi in loop.phis]
        for phi, variable in zip(loop.phis, carried, strict=True):
            flat.environment[scope.symbols[phi.target]] = variable
        flat.body(loop.body, scope)
        entries: dict[Variable, Tree] = {}
        following_values: list[tuple[Variable, Tree]] = []
        outside = Flattener(self.scopes, self.typing, self.outer)
        for phi, variable in zip(loop.phis, carried, strict=True):
            entry = self._source(phi, aa.Entry.ENTRY)
            entries[variable] = outside.tree(self.typing.typed(entry, scope, variable.type))
            back = self._source(phi, aa.Entry.LOOPBACK)
            tree = flat.tree(self.typing.typed(back, scope, variable.type))
            following_values.append((variable, tree))
        condition = flat.tree(self.typing.condition(loop.condition, scope))
        endless = condition.typed.number is not None and condition.typed.number != 0
        kept = [tree for _, tree in following_values] + [condition]
        self._check_order(flat.operations)
        for operation in flat.operations:
            if operation.item:
                operation.item = self.shapes[operation.item].name
        plan = schedule(used(flat.operations, kept))
        writer = LoopWriter(
            self.namer.claim(f"loop{number}"),
            plan,
            self.namer,
            following_values,
            None if endless else condition,
        )
        self._join(writer.write())
        self.arms.append(self._running(writer, entries, following, endless=endless))

    def _check_order(self, operations: Sequence[Operation]) -> None:
        """Refuse what overlapping iterations could do in another order than the text."""
        sides = {
            Action.READ: "read",
            Action.WRITE: "write",
            Action.LOAD: "access",
            Action.STORE: "access",
        }
        seen: set[tuple[str, str]] = set()
        for operation in operations:
            side = sides.get(operation.action)
            if side is None:
                continue
            if (operation.item, side) in seen:
                unsupported(operation.loc, f"a second {side} of '{operation.item}' in one loop")
            seen.add((operation.item, side))

    def _running(
        self, writer: LoopWriter, entries: dict[Variable, Tree], following: int, *, endless: bool
    ) -> list[str]:
        """Write the state of a loop: start it once, go on when it has drained."""
        on = self.namer.claim(f"{writer.tag}_on")
        self.part.declarations.append(f"signal {on} : std_logic := '0';")
        self.part.reset.append(f"{on} <= '0';")
        lines = [f"if {on} = '0' then", f"  {on} <= '1';"]
        lines += [f"  {line}" for line in writer.start(entries, self.writer)]
        if not endless:
            lines += [
                f"elsif unsigned({writer.tag}_full) = 0 then",
                f"  {on} <= '0';",
                f"  step <= {following};",
            ]
        return [*lines, "end if;"]

    def _phi(self, phi: aa.Phi, scope: Scope) -> Variable:
        type_ = self.typing.variable_type(scope.symbols[phi.target])
        kind = scalar(type_ or ty.Void(), phi.loc, f"a phi '{phi.target}'")
        return Variable(phi.target, kind, carried=True)

    def _source(self, phi: aa.Phi, entry: aa.Entry) -> aa.Expr:
        for source in phi.sources:
            if entry in source.entries and source.guard is None:
                return source.value
        unsupported(phi.loc, f"a phi '{phi.target}' without an unguarded source for each entry")

    # Ports

    def _connect(self) -> None:
        """Drive the ports of each pipe and storage from all its uses."""
        groups: dict[tuple[str, Action], list[Site]] = {}
        for site in self.part.sites:
            groups.setdefault((site.item, site.action), []).append(site)
        names = {shape.name: (item, shape) for item, shape in self.shapes.items()}
        for (name, action), sites in groups.items():
            item, shape = names[name]
            write = action in (Action.WRITE, Action.STORE)
            if len(sites) > 1 and action in (Action.LOAD, Action.STORE):
                unsupported(self.module.loc, f"more than one {action.value} of '{item}'")
            self.entity.uses[item, write] = action
            strobes = self._strobes(name, action, sites)
            if write:
                choices = [
                    f"{site.data} when {strobe} = '1' else"
                    for site, strobe in zip(sites[:-1], strobes[:-1], strict=True)
                ]
                data = " ".join([*choices, sites[-1].data])
                self.part.concurrent.append(f"{name}_write_data <= {data};")
            if shape.address:
                side = "write" if write else "read"
                address = f"std_logic_vector(resize({sites[0].address}, {shape.address}))"
                self.part.concurrent.append(f"{name}_{side}_address <= {address};")

    def _strobes(self, name: str, action: Action, sites: list[Site]) -> list[str]:
        port = {
            Action.READ: "read_take",
            Action.WRITE: "write_put",
            Action.LOAD: "read_enable",
            Action.STORE: "write_enable",
        }[action]
        if len(sites) == 1:
            self.part.concurrent.append(f"{name}_{port} <= {sites[0].strobe};")
            return [sites[0].strobe]
        strobes: list[str] = []
        for site in sites:
            strobe = self.namer.claim(f"{name}_{port}_{len(strobes)}")
            self.part.declarations.append(f"signal {strobe} : std_logic := '0';")
            self.part.concurrent.append(f"{strobe} <= {site.strobe};")
            strobes.append(strobe)
        self.part.concurrent.append(f"{name}_{port} <= {' or '.join(strobes)};")
        return strobes

    # Text

    def ports(self) -> list[str]:
        """The ports of the entity, in the order of the shapes."""
        lines = ["clk, reset : in std_logic"]
        for item, shape in self.shapes.items():
            for write in (False, True):
                action = self.entity.uses.get((item, write))
                if action is not None:
                    lines += port_lines(shape, write=write)
        return lines

    def _text(self) -> str:
        name, part = self.entity.name, self.part
        notes = [f"-- {line}" for line in self.module.comment.splitlines()]
        head = [f"entity {name} is", "  port (", "    " + ";\n    ".join(self.ports()) + ");"]
        last = len(self.arms) - 1
        declarations = [f"signal step : natural range 0 to {last} := 0;", *part.declarations]
        body = ["process (clk)", "begin", "  if rising_edge(clk) then"]
        body += [f"    {line}" for line in part.clocked]
        body.append("    case step is")
        for number, arm in enumerate(self.arms):
            body += [f"      when {number} =>", *(f"        {line}" for line in arm)]
        body += ["    end case;", "    if reset = '1' then", "      step <= 0;"]
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


def port_lines(shape: Shape, *, write: bool) -> list[str]:
    """Declare the ports of one side of a pipe or storage."""
    name, side = shape.name, "write" if write else "read"
    way = "out" if write else "in"
    data = f"{name}_{side}_data : {way} std_logic_vector({shape.width - 1} downto 0)"
    if shape.address:
        return [
            f"{name}_{side}_enable : out std_logic",
            f"{name}_{side}_address : out std_logic_vector({shape.address - 1} downto 0)",
            data,
        ]
    flow = ("write_put", "write_room") if write else ("read_take", "read_valid")
    return [data, f"{name}_{flow[0]} : out std_logic", f"{name}_{flow[1]} : in std_logic"]


def item_shape(symbol: Symbol, name: str) -> Shape:
    """Describe a pipe, or a storage of one dimension."""
    type_ = symbol.type or ty.UInt(1)
    if symbol.kind is Kind.PIPE:
        scalar(type_, symbol.loc, f"a pipe '{symbol.name}'")
        return Shape(name, scalar_width(type_))
    if not isinstance(type_, ty.Array) or len(type_.dims) != 1:
        unsupported(symbol.loc, f"the storage '{symbol.name}' that is no array of one dimension")
    scalar(type_.element, symbol.loc, f"a storage '{symbol.name}'")
    words = type_.dims[0]
    assert isinstance(words, int)
    return Shape(name, scalar_width(type_.element), max(1, (words - 1).bit_length()))
