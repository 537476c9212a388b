"""A pipelined loop as VHDL: stages with a valid bit each, elastic, one iteration a cycle.

In: a scheduled body. Out: ``Part``: declarations, concurrent statements, clocked statements and
the uses of pipes and storages. Stage i holds at most one iteration; it fires when all its pipes
are ready and the next stage is empty or fires too, so a stage that waits holds only those before
it. Registers change when the stage before them fires: between iterations they keep their value,
which is what a guarded statement and a read of the previous iteration's value mean.
Not here: what runs before and after the loop (``module``).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pyahir.backends.aa import types as ty
from pyahir.backends.vhdl.expr import Writer, declared
from pyahir.backends.vhdl.names import Namer
from pyahir.backends.vhdl.schedule import Schedule
from pyahir.backends.vhdl.tree import Action, Operation, Tree, Variable, leaves

__all__ = ["LoopWriter", "Part", "Site"]


@dataclass(frozen=True, slots=True)
class Site:
    """One use of a pipe or storage: when, which address, which data."""

    action: Action
    item: str
    strobe: str
    address: str = ""
    data: str = ""


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


@dataclass(slots=True)
class LoopWriter:
    """Writes one loop; ``tag`` begins the names of its control signals."""

    tag: str
    plan: Schedule
    namer: Namer
    carried: list[tuple[Variable, Tree]]
    condition: Tree | None
    part: Part = field(default_factory=Part)
    names: dict[tuple[Variable, int], str] = field(default_factory=dict[tuple[Variable, int], str])
    kept: dict[Variable, str] = field(default_factory=dict[Variable, str])
    delayed: dict[int, list[str]] = field(default_factory=dict[int, list[str]])
    ready: dict[int, list[str]] = field(default_factory=dict[int, list[str]])
    actions: dict[int, list[str]] = field(default_factory=dict[int, list[str]])

    @property
    def turn(self) -> int:
        """The stage that knows whether and with what the next iteration starts."""
        trees = [tree for _, tree in self.carried]
        trees += [] if self.condition is None else [self.condition]
        stages = [v.stage for tree in trees for v in leaves(tree) if not v.outer]
        return max([self.plan.hold, *stages])

    @property
    def last(self) -> int:
        """The last stage."""
        return max([self.turn, *(operation.stage for operation in self.plan.operations)])

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
        self.part.concurrent += [f"-- {self.tag}: {note}" for note in self._notes()]
        self._control()
        return self.part

    def _notes(self) -> list[str]:
        """Say why iterations do not start in every cycle, if they do not."""
        if self.plan.notes or self.turn == 0:
            return self.plan.notes
        names = ", ".join(f"'{variable.name}'" for variable, _ in self.carried)
        return [f"a new iteration only every {self.turn + 1} cycles: it needs {names}"]

    # Names of values in stages

    def _base(self, variable: Variable) -> str:
        key = (variable, variable.stage)
        if key not in self.names:
            self.names[key] = self.namer.claim(variable.name)
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
                self.names[key] = self.namer.claim(f"{self._base(variable)}_s{place}")
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
            self.kept[variable] = self.namer.claim(f"{name}_before")
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
                assert operation.target is not None
                kind = "signed" if isinstance(operation.target.type, ty.Int) else "unsigned"
                self._register(operation, guard, target, f"{kind}({operation.item}_read_data)")
                self._site(operation, guard, "valid")
            case Action.WRITE:
                self._site(operation, guard, "room", data=f"std_logic_vector({value})")
            case Action.LOAD | Action.STORE:
                assert operation.index is not None
                address = writer.bits(operation.index)
                data = f"std_logic_vector({value})" if value else ""
                self._site(operation, guard, "", address=address, data=data)
                if operation.target is not None:
                    signed = isinstance(operation.target.type, ty.Int)
                    kind = "signed" if signed else "unsigned"
                    self.part.concurrent.append(f"{target} <= {kind}({operation.item}_read_data);")

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
        self, operation: Operation, guard: str, status: str, *, address: str = "", data: str = ""
    ) -> None:
        side = "read" if operation.action in (Action.READ, Action.LOAD) else "write"
        fire = f"{self.tag}_fire({operation.stage})"
        on = f"not {guard}" if operation.inverted else guard
        off = guard if operation.inverted else f"not {guard}"
        strobe = f"{fire} and {on}" if guard else fire
        if status:
            flag = f"{operation.item}_{side}_{status}"
            wait = f"({off} or {flag})" if guard else flag
            self.ready.setdefault(operation.stage, []).append(wait)
        self.part.sites.append(Site(operation.action, operation.item, strobe, address, data))

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
        for stage in range(last + 1):
            terms = [f"{tag}_full({stage})", *self.ready.get(stage, [])]
            if stage < last:
                terms.append(f"(not {tag}_full({stage + 1}) or {tag}_fire({stage + 1}))")
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
