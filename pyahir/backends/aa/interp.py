"""The Aa interpreter: runs a program from its AST, one generator a module.

In: a ``Program`` (normally parsed from text) and items for its input pipes. Out: the items of its
output pipes, taps of inner pipes and how full each pipe became, all as unsigned bit patterns.
Every module is compiled to Python once (``codegen``). Results of programs whose pipes block and
have one writer and one reader do not depend on the order in which modules run.
Not here: time. ``steps`` counts resumptions of modules, not clock cycles.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, cast

import networkx as nx

from pyahir.backends.aa import ast as aa
from pyahir.backends.aa import types as ty
from pyahir.backends.aa.codegen import ModuleCoder, Shared
from pyahir.backends.aa.scopes import Kind, Report, build_scopes
from pyahir.backends.aa.traverse import (
    blocking_modules,
    called_modules,
    is_copied,
    scoped,
    uses,
)
from pyahir.backends.aa.typing_rules import Typing, array_parts, scalar_width
from pyahir.backends.aa.values import (
    AaDeadlockError,
    PipeState,
    Tick,
    Wait,
    WaitFor,
    outside,
    undefined,
)
from pyahir.backends.aa.verify import check_types
from pyahir.errors import AaError

if TYPE_CHECKING:
    from collections.abc import (
        Callable,
        Collection,
        Generator,
        Iterable,
        Iterator,
        Mapping,
        Sequence,
    )
    from types import CodeType

    from pyahir.backends.aa.scopes import Scope, Symbol

    Running = Generator[Wait | Tick | None, None, tuple[int, ...] | None]

__all__ = ["AaDeadlockError", "RunResult", "Simulator"]


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run produced; ``steps`` counts the resumptions of modules."""

    outputs: dict[str, list[int]]
    taps: dict[str, list[int]]
    steps: int
    max_fill: dict[str, int]


class _Tapped(deque[int]):
    """A queue that remembers what was put into it."""

    def __init__(self) -> None:
        super().__init__()
        self.record: list[int] | None = None

    def append(self, item: int) -> None:
        if self.record is not None:
            self.record.append(item)
        super().append(item)


@dataclass(slots=True, eq=False)
class _Task:
    name: str
    running: Running
    wait: Wait | None = None
    result: tuple[int, ...] | None = None
    done: bool = False


class Simulator:
    """A program with its state: pipes, storages and registers persist between runs.

    ``undefined`` is the value of storage words that nobody has written; by default reading one is
    an error. Items of inputs and outputs that a run leaves over are there for the next one.
    """

    def __init__(
        self,
        program: aa.Program,
        *,
        tops: Sequence[str] | None = None,
        undefined: int | None = None,
    ) -> None:
        scopes = build_scopes(program, Report())
        typing = Typing(scopes)
        check_types(scopes, typing)
        scopes.report.raise_if_any()
        self._program = program
        self._scopes = scopes
        self._shared = Shared(scopes, typing, blocking=blocking_modules(scopes), fill=undefined)
        self._pipes: dict[str, PipeState] = {}
        self._pending: dict[str, Iterator[int]] = {}
        for module_scope in (scopes.root, *scopes.modules.values()):
            self._allocate(module_scope)
        self._connect()
        self._compile()
        names = self._default_tops() if tops is None else tuple(tops)
        self._tasks = [_Task(name, self._start(name)) for name in names]

    # Construction

    def _allocate(self, scope: Scope) -> None:
        for symbol in scope.symbols.values():
            if symbol.scope is not scope:
                continue
            if symbol.kind is Kind.PIPE:
                self._allocate_pipe(symbol)
            elif symbol.kind is Kind.STORAGE:
                dims, _ = array_parts(symbol.type or ty.UInt(1))
                count = 1
                for dim in dims:
                    count *= dim
                self._shared.bases[symbol] = 1 + sum(map(len, self._shared.storages.values()))
                self._shared.storages[symbol] = [self._shared.fill] * count
        for inner in scope.blocks.values():
            self._allocate(inner)

    def _allocate_pipe(self, symbol: Symbol) -> None:
        declared = symbol.origin
        assert isinstance(declared, aa.Pipe)
        depth = 1 if declared.depth is None else self._scopes.size(declared.depth, declared.loc)
        type_ = symbol.type or ty.UInt(1)
        state = PipeState(
            name=symbol.name,
            width=scalar_width(type_),
            signed=isinstance(type_, ty.Int),
            capacity=max(depth, 1),
            queue=_Tapped(),
            signal=declared.signal,
        )
        if declared.signal:
            state.queue.append(0)
        self._shared.pipes[symbol] = state
        self._pipes.setdefault(symbol.name, state)

    def _connect(self) -> None:
        """Note which modules read and write each pipe."""
        for module in self._program.modules():
            scope = self._scopes.modules[module.name]
            for statement, inner in scoped(module.body or (), scope):
                for use in uses(statement, inner):
                    if use.symbol is None or use.symbol.kind is not Kind.PIPE:
                        continue
                    state = self._shared.pipes[use.symbol]
                    if use.write and module.name not in state.writers:
                        state.writers += (module.name,)
                    if not use.write and module.name not in state.readers:
                        state.readers += (module.name,)

    def _compile(self) -> None:
        names = self._shared.names
        names.update(
            TICK=Tick.TICK,
            AaError=AaError,
            Loc=aa.Loc,
            undefined=undefined,
            outside=outside,
            concurrent=_concurrent,
            encode=_encode,
            load_pointer=self._load_pointer,
            store_pointer=self._store_pointer,
        )
        modules = [module for module in self._program.modules() if module.body is not None]
        self._shared.called = called_modules(self._scopes)
        for module in modules:
            source = ModuleCoder(self._shared, module).source()
            exec(_compiled(source, module.name), names)
        for module in modules:
            key = module.name.replace(".", "_dot_")
            if not is_copied(module):
                make: Callable[[], object] = names[f"make_{key}"]  # pyright: ignore[reportAssignmentType] (made by exec)
                names[f"shared_{key}"] = make()

    def _default_tops(self) -> tuple[str, ...]:
        called = self._shared.called
        return tuple(
            module.name
            for module in self._program.modules()
            if not module.inputs
            and not module.outputs
            and module.body is not None
            and module.name not in called
        )

    def _start(self, name: str, *args: int) -> Running:
        run: Callable[..., Running] = self._shared.names[f"shared_{name.replace('.', '_dot_')}"]  # pyright: ignore[reportAssignmentType] (made by exec)
        return run(*args)

    def _word(self, pointer: int) -> tuple[list[int | None], int, str]:
        for symbol, words in self._shared.storages.items():
            index = pointer - self._shared.bases[symbol]
            if 0 <= index < len(words):
                return words, index, symbol.name
        raise AaError(f"pointer {pointer} names no storage")

    def _load_pointer(self, pointer: int) -> int:
        words, index, name = self._word(pointer)
        value = words[index]
        if value is None:
            raise AaError(
                f"word {index} of storage '{name}' is read through a pointer but not written"
            )
        return value

    def _store_pointer(self, pointer: int, value: int) -> None:
        words, index, _ = self._word(pointer)
        words[index] = value

    # Running

    def run(
        self,
        inputs: Mapping[str, Iterable[int]],
        expect: Mapping[str, int],
        *,
        taps: Collection[str] = (),
        order_seed: int | None = None,
        max_steps: int | None = None,
    ) -> RunResult:
        """Feed ``inputs`` until each pipe of ``expect`` has given as many items.

        Without expectations, run until all inputs are taken and nothing can move. ``order_seed``
        shuffles the modules in every round; ``max_steps`` bounds the resumptions.
        """
        for name, items in inputs.items():
            self._check_border(name, given=True)
            self._pending[name] = chain(self._pending.get(name, iter(())), items)
        for name in expect:
            self._check_border(name, given=False)
        for name in taps:
            if name not in self._pipes:
                raise AaError(f"tap '{name}': no such pipe; accepted: {', '.join(self._pipes)}")
        for name, state in self._pipes.items():
            assert isinstance(state.queue, _Tapped)
            state.queue.record = [] if name in taps else None
        outputs: dict[str, list[int]] = {name: [] for name in expect}
        steps = self._loop(outputs, expect, order_seed, max_steps, self._tasks)
        recorded = {
            name: [self._pipes[name].encode(item) for item in self._record(name)] for name in taps
        }
        fill = {name: state.most for name, state in self._pipes.items()}
        return RunResult(outputs, recorded, steps, fill)

    def _record(self, name: str) -> list[int]:
        queue = self._pipes[name].queue
        assert isinstance(queue, _Tapped)
        return queue.record or []

    def _check_border(self, name: str, *, given: bool) -> None:
        state = self._pipes.get(name)
        inner = state is None or bool(state.writers if given else state.readers)
        if inner:
            what = "n input" if given else "n output"
            accepted = [
                other.name
                for other in self._pipes.values()
                if not (other.writers if given else other.readers)
            ]
            raise AaError(f"'{name}' is not a{what} pipe; accepted: {', '.join(accepted)}")

    def _loop(
        self,
        outputs: dict[str, list[int]],
        expect: Mapping[str, int],
        order_seed: int | None,
        max_steps: int | None,
        tasks: Sequence[_Task],
        goal: _Task | None = None,
    ) -> int:
        shuffler = None if order_seed is None else random.Random(order_seed)
        order = list(tasks)
        steps = 0
        while True:
            moved = self._feed()
            if shuffler is not None:
                shuffler.shuffle(order)
            for task in order:
                if not task.done and self._step(task):
                    moved = True
                steps += 1
            self._note_fill()
            moved = self._drain(outputs, expect) or moved
            if goal is not None and goal.done:
                return steps
            if expect and all(len(outputs[name]) >= count for name, count in expect.items()):
                return steps
            if max_steps is not None and steps >= max_steps:
                raise AaError(f"no end after {steps} steps; {self._missing(outputs, expect)}")
            if not moved:
                if goal is None and not expect and not self._pending:
                    return steps
                raise AaDeadlockError(self._deadlock(outputs, expect, tasks))

    def _step(self, task: _Task) -> bool:
        try:
            event = next(task.running)
        except StopIteration as stop:
            task.result = stop.value
            task.done = True
            return True
        if event is None:
            return False
        task.wait = event if isinstance(event, Wait) else None
        return True

    def _feed(self) -> bool:
        moved = False
        for name in list(self._pending):
            state, items = self._pipes[name], self._pending[name]
            if state.signal:
                for item in items:
                    state.queue[0] = state.decode(item)
                    moved = True
                del self._pending[name]
                continue
            while len(state.queue) < state.capacity:
                item = next(items, None)
                if item is None:
                    del self._pending[name]
                    break
                state.queue.append(state.decode(item))
                moved = True
            state.most = max(state.most, len(state.queue))
        return moved

    def _note_fill(self) -> None:
        for state in self._pipes.values():
            if len(state.queue) > state.most:
                state.most = len(state.queue)

    def _drain(self, outputs: dict[str, list[int]], expect: Mapping[str, int]) -> bool:
        moved = False
        for name, count in expect.items():
            state, items = self._pipes[name], outputs[name]
            if state.signal:
                items[:] = [state.encode(state.queue[0])] * count
                continue
            while state.queue and len(items) < count:
                items.append(state.encode(state.queue.popleft()))
                moved = True
        return moved

    def call(self, module: str, *args: int) -> tuple[int, ...]:
        """Run one module with arguments to its end and return its results as bit patterns."""
        try:
            declared = self._program.module(module)
        except KeyError:
            raise AaError(f"'{module}' is not a module") from None
        if len(args) != len(declared.inputs):
            raise AaError(
                f"module '{module}' takes {len(declared.inputs)} arguments, not {len(args)}"
            )
        scope = self._scopes.modules[module]
        states = [self._argument(scope, argument) for argument in declared.inputs]
        patterns = [state.decode(arg) for state, arg in zip(states, args, strict=True)]
        key = module.replace(".", "_dot_")
        make: Callable[[], Callable[..., object]] = self._shared.names[f"make_{key}"]  # pyright: ignore[reportAssignmentType] (made by exec)
        shared: Callable[..., object] = self._shared.names.get(f"shared_{key}") or make()  # pyright: ignore[reportAssignmentType] (made by exec)
        outcome = shared(*patterns)
        if self._shared.blocking[module]:
            task = _Task(module, outcome)  # pyright: ignore[reportArgumentType] (a generator when blocking)
            self._loop({}, {}, None, None, [task, *self._tasks], task)
            outcome = task.result
        assert isinstance(outcome, tuple)
        values = cast("tuple[int, ...]", outcome)
        results = [self._argument(scope, argument) for argument in declared.outputs]
        return tuple(state.encode(value) for state, value in zip(results, values, strict=True))

    def _argument(self, scope: Scope, argument: aa.Argument) -> PipeState:
        """Describe an argument as a pipe of its type, for its bit patterns."""
        type_ = scope.symbols[argument.name].type or ty.UInt(1)
        return PipeState(argument.name, scalar_width(type_), isinstance(type_, ty.Int), 1)

    # Deadlock

    def _missing(self, outputs: dict[str, list[int]], expect: Mapping[str, int]) -> str:
        counts = [f"{name} gave {len(outputs[name])} of {count}" for name, count in expect.items()]
        waiting = [f"{name} has items that nobody takes" for name in self._pending]
        return ", ".join(counts + waiting) or "the module called has not ended"

    def _deadlock(
        self,
        outputs: dict[str, list[int]],
        expect: Mapping[str, int],
        tasks: Sequence[_Task],
    ) -> str:
        blocked = {task.name: task.wait for task in tasks if not task.done and task.wait}
        graph: nx.DiGraph[str] = nx.DiGraph()
        for name, wait in blocked.items():
            graph.add_edges_from((name, other) for other in self._others(wait))
        try:
            cycle: list[str] = [edge[0] for edge in nx.find_cycle(graph)]  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] (networkx is partly typed)
        except nx.NetworkXNoCycle:
            cycle = []
        lines = [f"deadlock: {self._missing(outputs, expect)}"]
        if cycle:
            texts = [self._describe(name, blocked[name]) for name in cycle]
            lines.append("cycle: " + "; ".join(texts))
        rest = [name for name in blocked if name not in cycle]
        lines += [self._describe(name, blocked[name]) for name in rest]
        return "\n  ".join(lines)

    def _others(self, wait: Wait) -> tuple[str, ...]:
        if wait.need is WaitFor.MUTEX:
            return ()
        state = self._pipes[wait.name]
        return state.writers if wait.need is WaitFor.DATA else state.readers

    def _describe(self, name: str, wait: Wait) -> str:
        inside = "" if wait.module == name else f" (in {wait.module})"
        where = "" if wait.loc is None else f" at {wait.loc}"
        if wait.need is WaitFor.MUTEX:
            return f"{name}{inside} waits for '{wait.name}', which another holds{where}"
        state = self._pipes[wait.name]
        count = f"({len(state.queue)} of {state.capacity})"
        if wait.need is WaitFor.DATA:
            others = " and ".join(state.writers) or "nobody in the program"
            what = f"data in pipe {wait.name} {count}, written by {others}"
            return f"{name}{inside} waits for {what}{where}"
        others = " and ".join(state.readers) or "nobody in the program"
        what = f"room in pipe {wait.name} {count}, read by {others}"
        return f"{name}{inside} waits for {what}{where}"


def _encode(bits: int) -> int:
    """Return the index of the bit that is set; with several, the indices joined by OR."""
    found = 0
    while bits:
        lowest = bits & -bits
        found |= lowest.bit_length() - 1
        bits ^= lowest
    return found


def _concurrent(
    branches: list[tuple[Callable[[], Running], list[int]]],
) -> Generator[Wait | Tick | None, None, None]:
    """Run generators in turn; each starts when those it comes after have ended."""
    running = [branch() for branch, _ in branches]
    after = [set(needed) for _, needed in branches]
    ended: set[int] = set()
    while len(ended) < len(running):
        event: Wait | Tick | None = None
        for number, generator in enumerate(running):
            if number in ended or not after[number] <= ended:
                continue
            try:
                event = next(generator) or event
            except StopIteration:
                ended.add(number)
                event = Tick.TICK
        if len(ended) < len(running):
            yield event


@lru_cache(maxsize=256)
def _compiled(source: str, name: str) -> CodeType:
    return compile(source, f"<aa module {name}>", "exec")
