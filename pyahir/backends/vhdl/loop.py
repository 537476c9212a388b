"""A pipelined loop as VHDL: stages with a valid bit each, elastic, one iteration a cycle.

In: a scheduled body. Out: ``Part``: declarations, concurrent statements, clocked statements and
the uses of pipes and storages. Stage i holds at most one iteration; it fires when all its pipes
are ready and the next stage is empty or fires too, so a stage that waits holds only those before
it. Registers change when the stage before them fires: between iterations they keep their value,
which is what a guarded statement and a read of the previous iteration's value mean.
Not here: what runs before and after the loop (``running``, ``steps``).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pyahir.backends.aa import types as ty
from pyahir.backends.aa.scopes import Symbol
from pyahir.backends.vhdl.expr import Writer
from pyahir.backends.vhdl.items import Facts, ItemKind, Link, Shape, Side
from pyahir.backends.vhdl.names import Namer
from pyahir.backends.vhdl.part import Part, Site, cast_from_bits, zero
from pyahir.backends.vhdl.schedule import Schedule, Zone
from pyahir.backends.vhdl.tree import Action, Operation, Tree, Variable, leaves

__all__ = ["LoopWriter", "Surroundings"]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a loop must know of its module; ``thread`` is the state machine that it runs in."""

    shapes: dict[Symbol, Shape]
    facts: Facts
    namer: Namer
    thread: str = ""


@dataclass(slots=True)
class LoopWriter:
    """Writes one loop; ``tag`` begins the names of its control signals.

    ``exports`` are values that others read, with the signals that keep those of the last iteration.
    """

    tag: str
    plan: Schedule
    around: Surroundings
    carried: list[tuple[Variable, Tree]]
    condition: Tree | None
    exports: list[tuple[Variable, str]] = field(default_factory=list[tuple[Variable, str]])
    part: Part = field(default_factory=Part)
    names: dict[tuple[Variable, int], str] = field(default_factory=dict[tuple[Variable, int], str])
    kept: dict[Variable, str] = field(default_factory=dict[Variable, str])
    delayed: dict[int, list[str]] = field(default_factory=dict[int, list[str]])
    ready: dict[int, list[str]] = field(default_factory=dict[int, list[str]])
    grants: dict[int, list[str]] = field(default_factory=dict[int, list[str]])
    actions: dict[int, list[str]] = field(default_factory=dict[int, list[str]])

    @property
    def turn(self) -> int:
        """The stage that knows whether and with what the next iteration starts."""
        trees = [tree for _, tree in self.carried]
        trees += [] if self.condition is None else [self.condition]
        stages = [v.stage for tree in trees for v in leaves(tree) if not v.outer]
        return max([0, *stages])

    @property
    def last(self) -> int:
        """The last stage."""
        stages = [operation.stage for operation in self.plan.operations]
        return max([self.turn, *stages, *(variable.stage for variable, _ in self.exports)])

    @property
    def zones(self) -> list[Zone]:
        """Ranges of stages that hold one iteration at a time."""
        return list(self.plan.zones())

    @property
    def interval(self) -> int:
        """The cycles from one iteration to the next."""
        return max([self.turn + 1, *(zone.interval for zone in self.zones)])

    @property
    def reason(self) -> str:
        """Say what forbids to start an iteration in every cycle; "" where nothing does."""
        notes = dict(reversed(self.notes()))
        return notes.get(self.interval, "")

    def write(self) -> Part:
        """Write the loop."""
        for variable, _ in self.carried:
            name = self._base(variable)
            self.part.reset.append(f"{name} <= (others => '0');")
        for operation in self.plan.operations:
            if operation.target is not None:
                self._base(operation.target)
        for operation in self.plan.operations:
            self._operation(operation)
        self._next_iteration()
        for variable, name in self.exports:
            self._export(variable, name)
        self.part.concurrent += [
            f"-- {self.tag}: a new iteration only every {interval} cycles: {reason}"
            for interval, reason in self.notes()
        ]
        self._control()
        return self.part

    def notes(self) -> list[tuple[int, str]]:
        """Say why iterations do not start in every cycle, if they do not."""
        notes = [(self.turn + 1, f"the next one needs {self._needed()}")] if self.turn else []
        return list(dict.fromkeys([*notes, *((z.interval, z.reason) for z in self.zones)]))

    def _needed(self) -> str:
        """Name the values that decide when the next iteration starts."""
        trees = [tree for _, tree in self.carried]
        trees += [] if self.condition is None else [self.condition]
        found: dict[str, None] = {}
        for variable in (variable for tree in trees for variable in leaves(tree)):
            if not variable.outer and variable.stage == self.turn:
                loc = None if variable.maker is None else variable.maker.loc
                where = "" if loc is None else f" of line {loc.line}"
                found[f"'{variable.name}'{where}"] = None
        return " and ".join(found)

    def _export(self, variable: Variable, name: str) -> None:
        """Keep the value of the last iteration for those who read it after the loop."""
        maker = variable.maker
        if maker is not None and maker.action is not Action.VOLATILE:
            self.part.concurrent.append(f"{name} <= {self._base(variable)};")
            if maker.action is not Action.LOAD:
                self.part.reset.append(zero(self._base(variable)))
            return
        self.part.reset.append(zero(name))
        lines = self.delayed.setdefault(variable.stage, [])
        lines.append(f"{name} <= {self._base(variable)};")

    # Names of values in stages

    def _base(self, variable: Variable) -> str:
        key = (variable, variable.stage)
        if key not in self.names:
            self.names[key] = self.around.namer.claim(variable.name)
            self.part.signal(self.names[key], variable.type, variable.width)
        return self.names[key]

    def _at(self, variable: Variable, stage: int) -> str:
        """Name a value in a stage, adding the registers that carry it there."""
        if variable.outer:
            return variable.name
        name = self._base(variable)
        for place in range(variable.stage + 1, stage + 1):
            key = (variable, place)
            if key not in self.names:
                self.names[key] = self.around.namer.claim(f"{self._base(variable)}_s{place}")
                self.part.signal(self.names[key], variable.type, variable.width)
                self.delayed.setdefault(place - 1, []).append(f"{self.names[key]} <= {name};")
            name = self.names[key]
        return name

    def _previous(self, variable: Variable) -> str:
        """Name the value of the iteration before, in the stage that makes the new one."""
        maker = variable.maker
        assert maker is not None
        name = self._base(variable)
        if maker.action is not Action.VOLATILE:
            return name
        if variable not in self.kept:
            self.kept[variable] = self.around.namer.claim(f"{name}_before")
            self.part.signal(self.kept[variable], variable.type, variable.width)
            self.part.reset.append(f"{self.kept[variable]} <= (others => '0');")
            line = f"{self.kept[variable]} <= {name};"
            self.delayed.setdefault(maker.stage, []).append(line)
        return self.kept[variable]

    def _named(self, operation: Operation, variable: Variable) -> str:
        if self.plan.is_previous(operation, variable):
            return self._previous(variable)
        return self._at(variable, operation.stage)

    # Statements

    def _operation(self, operation: Operation) -> None:
        writer = Writer(lambda variable: self._named(operation, variable))
        target = "" if operation.target is None else self._base(operation.target)
        guard = ""
        if operation.guard is not None:
            guard = f"{self._named(operation, operation.guard)}(0)"
        value = "" if operation.value is None else writer.text(operation.value)
        match operation.action:
            case Action.VOLATILE:
                self.part.concurrent.append(f"{target} <= {value};")
            case Action.REGISTER:
                self._register(operation, guard, target, value)
            case Action.READ:
                self._read(operation, guard, target)
            case Action.WRITE:
                self._site(operation, guard, data=(f"std_logic_vector({value})",))
            case Action.LOAD | Action.STORE:
                assert operation.index is not None
                address = writer.bits(operation.index)
                data = (f"std_logic_vector({value})",) if value else ()
                self._site(operation, guard, address=address, data=data)
                if operation.target is not None:
                    self._loaded(operation, operation.target, guard)
            case Action.CALL:
                raise AssertionError("calls are written into loops")

    def _read(self, operation: Operation, guard: str, target: str) -> None:
        assert operation.target is not None
        link, type_ = self._link(operation), operation.target.type
        prefix = link.prefix(self.around.shapes)
        word = cast_from_bits(type_, f"{prefix}_read_data")
        if self.around.shapes[link.symbol].kind is ItemKind.NOBLOCK:
            nothing = f"to_{'signed' if isinstance(type_, ty.Int) else 'unsigned'}"
            width = operation.target.width
            word = f"pick({prefix}_read_valid = '1', {word}, {nothing}(0, {width}))"
        self._register(operation, guard, target, word)
        self._site(operation, guard)

    def _loaded(self, operation: Operation, target: Variable, guard: str) -> None:
        """Take the word that a load gives in the next cycle; keep it if others load as well."""
        link = self._link(operation)
        name, part = self._base(target), self.part
        word = cast_from_bits(target.type, f"{link.prefix(self.around.shapes)}_read_data")
        exported = any(variable is target for variable, _ in self.exports)
        if link.symbol not in self.around.facts.crowded and not exported:
            part.concurrent.append(f"{name} <= {word};")
            return
        fresh, held = (self.around.namer.claim(f"{name}_{end}") for end in ("fresh", "held"))
        part.bit(fresh)
        part.signal(held, target.type, target.width)
        part.concurrent.append(f"{name} <= {word} when {fresh} = '1' else {held};")
        part.clocked += [f"{fresh} <= '0';", f"if {fresh} = '1' then"]
        part.clocked += [f"  {held} <= {name};", "end if;"]
        part.reset += [f"{fresh} <= '0';", zero(held)]
        lines = self.actions.setdefault(operation.stage, [])
        if not guard:
            lines.append(f"{fresh} <= '1';")
            return
        level = "0" if operation.inverted else "1"
        lines += [f"if {guard} = '{level}' then", f"  {fresh} <= '1';", "end if;"]

    def _link(self, operation: Operation) -> Link:
        return Link(operation.named_item(), Side.of(operation.action), self.around.thread)

    def _register(self, operation: Operation, guard: str, target: str, value: str) -> None:
        lines = self.actions.setdefault(operation.stage, [])
        if not guard:
            lines.append(f"{target} <= {value};")
            if any(self.plan.is_previous(operation, v) for v in operation.reads()):
                self.part.reset.append(f"{target} <= (others => '0');")
            return
        level = "0" if operation.inverted else "1"
        lines += [f"if {guard} = '{level}' then", f"  {target} <= {value};", "end if;"]
        self.part.reset.append(f"{target} <= (others => '0');")

    def _site(
        self, operation: Operation, guard: str, *, address: str = "", data: tuple[str, ...] = ()
    ) -> None:
        link, stage = self._link(operation), operation.stage
        shape, prefix = self.around.shapes[link.symbol], link.prefix(self.around.shapes)
        on = f"not {guard}" if operation.inverted else guard
        off = guard if operation.inverted else f"not {guard}"

        def unless_off(flag: str) -> str:
            return f"({off} or {flag})" if guard else flag

        status = "read_valid" if link.side is Side.READ else "write_room"
        waits = shape.kind in (ItemKind.FIFO, ItemKind.LIFO)
        if waits or (shape.kind is ItemKind.NOBLOCK and link.side is Side.WRITE):
            self.ready.setdefault(stage, []).append(unless_off(f"{prefix}_{status}"))
        elif shape.kind is ItemKind.NOBLOCK:
            on = f"{on} and {prefix}_read_valid" if guard else f"{prefix}_read_valid"
        fire, request = f"{self.tag}_fire({stage})", ""
        if (link.symbol, link.side) in self.around.facts.contested:
            granted = unless_off(f"{prefix}_{link.side.value}_granted")
            self.grants.setdefault(stage, []).append(granted)
            wish = f"{self.tag}_wish({stage})"
            request = f"{wish} and {on}" if guard else wish
        strobe = f"{fire} and {on}" if on else fire
        self.part.sites.append(Site(link, strobe, request, address, data))

    # Control

    def _next_iteration(self) -> None:
        turn = self.turn
        writer = Writer(lambda variable: self._at(variable, turn))
        lines = self.actions.setdefault(turn, [])
        for variable, tree in self.carried:
            lines.append(f"{self._base(variable)} <= {writer.text(tree)};")
        if turn > 0:
            self.actions.setdefault(0, []).append(f"{self.tag}_full(0) <= '0';")
        if self.condition is not None:
            again = writer.condition(self.condition)
            lines.append(f"{self.tag}_full(0) <= bit_of({_bare(again)});")
        elif turn > 0:
            lines.append(f"{self.tag}_full(0) <= '1';")

    def _control(self) -> None:
        tag, last, part = self.tag, self.last, self.part
        for name in ("full", "fire"):
            vector = f"signal {tag}_{name} : std_logic_vector(0 to {last}) := (others => '0');"
            part.declarations.append(vector)
        part.reset.append(f"{tag}_full <= (others => '0');")
        if self.grants:
            part.declarations.append(f"signal {tag}_wish : std_logic_vector(0 to {last});")
        alone: dict[int, int] = {}
        for zone in self.zones:
            alone[zone.first] = max(zone.last, alone.get(zone.first, 0))
        for stage in range(last + 1):
            terms = [f"{tag}_full({stage})", *self.ready.get(stage, [])]
            if stage in alone:
                terms += [f"not {tag}_full({i})" for i in range(stage + 1, alone[stage] + 1)]
            elif stage < last:
                terms.append(f"(not {tag}_full({stage + 1}) or {tag}_fire({stage + 1}))")
            if self.grants:
                granted = [f"{tag}_wish({stage})", *self.grants.get(stage, [])]
                part.concurrent.append(f"{tag}_wish({stage}) <= {' and '.join(terms)};")
                terms = granted
            part.concurrent.append(f"{tag}_fire({stage}) <= {' and '.join(terms)};")
            lines = self.actions.get(stage, []) + self.delayed.get(stage, [])
            if lines:
                part.clocked.append(f"if {tag}_fire({stage}) = '1' then")
                part.clocked += [f"  {line}" for line in lines]
                part.clocked.append("end if;")
        for stage in range(1, last + 1):
            free = f"{tag}_full({stage}) = '0' or {tag}_fire({stage}) = '1'"
            part.clocked += [
                f"if {free} then",
                f"  {tag}_full({stage}) <= {tag}_fire({stage - 1});",
                "end if;",
            ]

    def start(self, values: dict[Variable, Tree], outer: Writer) -> list[str]:
        """Give the clocked lines that start the loop."""
        lines = [
            f"{self._base(variable)} <= {outer.text(values[variable])};"
            for variable, _ in self.carried
        ]
        return [*lines, f"{self.tag}_full(0) <= '1';"]


def _bare(text: str) -> str:
    return (
        text[1:-1] if text.startswith("(") and text.endswith(")") and text.count("(") == 1 else text
    )
