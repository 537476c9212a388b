"""Kernels on the bench: a daemon that streams words through them, in both simulators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pyahir.backends.aa import ast
from pyahir.backends.aa.balance import Environment, balance, operator_latency
from pyahir.backends.aa.build import Loop, daemon, name
from pyahir.backends.aa.interp import Simulator
from pyahir.backends.aa.verify import verify
from pyahir.sim import simulate


@dataclass(frozen=True)
class Bench:
    """A program that calls each kernel once an iteration; all read the same operands."""

    program: ast.Program
    outputs: tuple[str, ...]
    latency: int

    def interpreted(self, inputs: Mapping[str, Sequence[int]]) -> dict[str, list[int]]:
        words = dict(inputs)
        count = len(next(iter(words.values())))
        return Simulator(self.program).run(words, dict.fromkeys(self.outputs, count)).outputs

    def simulated(self, inputs: Mapping[str, Sequence[int]]) -> dict[str, list[int]]:
        """Run in GHDL; assert that a word leaves in every cycle, and after how many."""
        words = dict(inputs)
        first = next(iter(words))
        count = len(words[first])
        found = simulate(self.program, words, dict.fromkeys(self.outputs, count))
        for output in self.outputs:
            cycles = found.cycles[output]
            assert cycles == list(range(cycles[0], cycles[0] + count)), output
        last = max(found.cycles[output][0] for output in self.outputs)
        # A word is read in one stage and written in another.
        assert last - found.taken[first][0] <= self.latency + 3
        return found.outputs


def bench(modules: Sequence[ast.Module]) -> Bench:
    """Make the program; an operand ``x`` comes from ``x_in``, results go to ``MODULE_y_out``."""
    loop = Loop()
    items: list[ast.Item] = list(modules)
    operands = {item.name: item.type for module in modules for item in module.inputs}
    outputs: list[str] = []
    for operand, kind in operands.items():
        items.append(ast.Pipe(name=f"{operand}_in", type=kind, depth=2))
        loop.set(operand, name(f"{operand}_in"))
    for module in modules:
        results = [f"{module.name}_{item.name}" for item in module.outputs]
        arguments = tuple(name(item.name) for item in module.inputs)
        targets = tuple(name(result) for result in results)
        loop.body.append(ast.Call(module=module.name, arguments=arguments, results=targets))
        for item, result in zip(module.outputs, results, strict=True):
            items.append(ast.Pipe(name=f"{result}_out", type=item.type, depth=2))
            loop.set(f"{result}_out", name(result))
            outputs.append(f"{result}_out")
    latencies = {module.name: operator_latency(module) for module in modules}
    items.append(daemon("bench", [balance(loop, Environment(latencies=latencies))]))
    program = ast.Program(items=tuple(items))
    verify(program, emitted=True)
    return Bench(program, tuple(outputs), max(latencies.values()))
