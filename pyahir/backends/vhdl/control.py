"""State machines: states, the ways between them, and their text.

In: states with the work of each and the conditions under which it is done. Out: the branches
of an ``if`` chain, one a state. A ``Target`` is a state that may not have been made yet: the end
of an arm leads to whatever comes next.
Not here: which statements become which states (``steps``).
"""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Exit", "Machine", "State", "Target"]


@dataclass(slots=True, eq=False)
class Target:
    """A place to go on at: a state, or another target that is known later."""

    state: State | None = None
    forward: Target | None = None

    def final(self) -> Target:
        """Follow the targets that this one leads to."""
        target = self
        while target.forward is not None:
            target = target.forward
        return target


@dataclass(slots=True)
class Exit:
    """A way out of a state, taken if no exit before it was and ``condition`` holds ("": always)."""

    target: Target
    condition: str = ""


@dataclass(slots=True, eq=False)
class State:
    """One state; it is left when ``go`` is '1' ("": after one cycle), doing ``work`` then.

    Where ``unless`` holds, ``start`` is done instead: so a state starts what it waits for.
    """

    number: int
    note: str
    go: str = ""
    work: list[str] = field(default_factory=list[str])
    unless: str = ""
    start: list[str] = field(default_factory=list[str])
    exits: list[Exit] = field(default_factory=list[Exit])


@dataclass(slots=True)
class Machine:
    """One state machine; ``step`` is its state, ``open`` the targets that the next state meets.

    ``end`` are the lines of a way that leads to the end.
    """

    step: str
    thread: str
    end: list[str]
    states: list[State] = field(default_factory=list[State])
    open: list[Target] = field(default_factory=list[Target])

    def state(self, note: str, go: str = "") -> State:
        """Make the next state, with one way out."""
        made = State(len(self.states), note, go)
        self.states.append(made)
        for target in self.open:
            target.final().state = made
        exit_ = Exit(Target())
        made.exits.append(exit_)
        self.open = [exit_.target]
        return made

    @property
    def next_number(self) -> int:
        """The number that the next state will have."""
        return len(self.states)

    def here(self) -> str:
        """Write that the machine is in the state made next; a branch waits in its first state."""
        on = f"{self.thread}_on and " if self.thread and not self.states else ""
        return f"{on}bit_of({self.step} = {self.next_number})"

    def choices(self, state: State, conditions: list[str]) -> list[Target]:
        """Give a state one way out for each condition and one for all else."""
        state.exits = [Exit(Target(), condition) for condition in [*conditions, ""]]
        self.open = []
        return [exit_.target for exit_ in state.exits]

    def jump(self, label: Target) -> None:
        """Lead everything that is open to a label."""
        if any(target.final() is label.final() for target in self.open):
            self.state("nothing")
        for target in self.open:
            target.final().forward = label
        self.open = []

    def arms(self) -> list[str]:
        """Write one arm for each state.

        No ``case``: GHDL 2.0 writes it to Verilog without its default, and latches come of that.
        """
        lines: list[str] = []
        for state in self.states:
            word = "elsif" if lines else "if"
            lines.append(f"{word} {self.step} = {state.number} then  -- {state.note}")
            lines += [f"  {line}" for line in self._arm(state)]
        return [*lines, "end if;"]

    def _arm(self, state: State) -> list[str]:
        lines = [*state.work, *self._exits(state.exits)] or ["null;"]
        if not state.go and not state.unless:
            return lines
        head: list[str] = []
        if state.unless:
            head = [f"if {state.unless} then", *(f"  {line}" for line in state.start)]
            if not state.exits:
                return [*head, "end if;"]
        test = f"if {state.go} then" if state.go else "else"
        word = f"els{test}" if head and state.go else test
        return [*head, word, *(f"  {line}" for line in lines), "end if;"]

    def _exits(self, exits: list[Exit]) -> list[str]:
        if not exits:
            return []
        if len(exits) == 1 and not exits[0].condition:
            return self._goto(exits[0].target)
        lines: list[str] = []
        for position, exit_ in enumerate(exits):
            word = "elsif" if position else "if"
            test = f"{word} {exit_.condition} then" if exit_.condition else "else"
            lines += [test, *(f"  {line}" for line in self._goto(exit_.target))]
        return [*lines, "end if;"]

    def _goto(self, target: Target) -> list[str]:
        state = target.final().state
        return [f"{self.step} <= {state.number};"] if state is not None else list(self.end)
