"""Random programs: the Aa interpreter against GHDL, with random stalls.

Loops one a simulation; modules with control flow many a simulation, as GHDL takes long to start.
"""

from __future__ import annotations

import random

import pytest

from pyahir.backends.aa.interp import Simulator
from pyahir.backends.aa.parser import parse
from pyahir.backends.aa.verify import verify
from pyahir.sim import Stalls, simulate
from tests.backends.vhdl.control_maker import SHARED, module

WORDS = 24


class Maker:
    """Writes one random loop over bytes: guards, values of the iteration before, copies."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.lines: list[str] = []
        self.known = ["i"]
        self.flags = ["odd"]
        self.count = self.random.randint(3, 14)

    def operand(self, *, later: bool) -> str:
        if later and self.random.random() < 0.2:
            return f"v{self.random.randrange(self.count)}"
        if self.random.random() < 0.15:
            return f"($bitcast ($uint<8>) {self.random.randrange(256)})"
        return self.random.choice(self.known)

    def expression(self, *, later: bool) -> str:
        left, right = self.operand(later=False), self.operand(later=later)
        op = self.random.choice(["+", "-", "*", "&", "|", "^", "~^", "<<", ">>", "mux", "cat"])
        if self.random.random() < 0.3 and op in "+-^":
            left, right = right, left
        if op in ("<<", ">>") and left.startswith("("):
            left = self.known[0]  # a constant that is shifted by a constant is refused
        if op == "mux":
            return f"($mux ({left} > {right}) {left} ({left} + {right}))"
        if op == "cat":
            return f"($slice ({left} && {right}) 11 4)"
        return f"({left} {op} {right})"

    def statement(self, number: int) -> str:
        kind = self.random.random()
        name = f"v{number}"
        if kind < 0.3:
            return f"$volatile {name} := {self.expression(later=False)}"
        guard = ""
        if self.random.random() < 0.35:
            guard = f"$guard ({self.random.choice(['', '~ '])}{self.random.choice(self.flags)}) "
        if kind < 0.4 and not guard:
            return f"{name} := {self.random.choice(self.known)} $buffering 3"
        return f"{guard}{name} := {self.expression(later=True)}"

    def text(self) -> str:
        for number in range(self.count):
            if number == 1:
                self.lines.append("$guard (odd) y := q")
                self.known.append("y")
            self.lines.append(self.statement(number))
            self.known.append(f"v{number}")
            if self.random.random() < 0.3:
                flag = f"f{number}"
                self.lines.append(f"$volatile {flag} := ({self.operand(later=False)} > 100)")
                self.flags.append(flag)
        guard = self.random.choice(["", f"$guard ({self.flags[-1]}) "])
        body = "".join(f"      {line}\n" for line in self.lines)
        return (
            "$pipe p : $uint<8> $depth 2\n$pipe q : $uint<8> $depth 2\n"
            "$pipe o : $uint<8> $depth 2\n$pipe z : $uint<8> $depth 3\n"
            "$module [m] $in () $out () $is\n{\n  $branchblock [blk] {\n"
            "    $dopipeline $depth 15 $fullrate\n      $merge $entry $loopback\n"
            "        $phi i := $zero<8> $on $entry n $on $loopback\n      $endmerge\n"
            "      $volatile n := (i + 1)\n      $volatile odd := ($slice i 0 0)\n      x := p\n"
            f"{body}      {guard}z := v{self.count - 1}\n      s := (x ^ v0)\n      o := s\n"
            "    $while 1\n  }\n}\n"
        )


def check(seed: int) -> None:
    """Compare one random program; ``z`` may get fewer words than ``o``."""
    text = Maker(seed).text()
    program = parse(text)
    verify(program)
    generator = random.Random(seed)
    inputs = {name: [generator.randrange(256) for _ in range(WORDS)] for name in "pq"}
    deep = parse(text.replace("$depth 3\n", f"$depth {2 * WORDS}\n"))
    one = Simulator(deep).run(inputs, {"o": WORDS}, taps=["z"])
    expect = {"o": WORDS, "z": len(one.taps["z"])}
    share = generator.choice([0.0, 0.3, 0.6])
    wanted = Simulator(program).run(inputs, expect).outputs
    found = simulate(program, inputs, expect, stalls=Stalls(seed=seed, share=share)).outputs
    assert found == wanted, f"seed {seed}\n{text}"


@pytest.mark.ghdl
@pytest.mark.parametrize("seed", [*range(20), 1149])
def test_random_loop(seed: int) -> None:
    check(seed)


@pytest.mark.ghdl
@pytest.mark.slow
def test_many_random_loops() -> None:
    for seed in range(1000, 2000):
        check(seed)


SOME = 10
BATCH = 50


def check_modules(seeds: list[int]) -> None:
    """Compare the first words of one module a seed, all in one program that shares a function."""
    program = parse(SHARED + "".join(module(seed, n) for n, seed in enumerate(seeds)))
    verify(program)
    generator = random.Random(seeds[0])
    numbers = range(len(seeds))
    inputs = {
        f"{stem}{number}": [generator.randrange(256) for _ in range(15 * SOME)]
        for number in numbers
        for stem in "pq"
    }
    expect = {f"o{number}": SOME for number in numbers}
    share = generator.choice([0.0, 0.3, 0.6])
    wanted = Simulator(program, undefined=0).run(inputs, expect).outputs
    found = simulate(program, inputs, expect, stalls=Stalls(seed=seeds[0], share=share)).outputs
    wrong = [seed for n, seed in enumerate(seeds) if found[f"o{n}"] != wanted[f"o{n}"]]
    assert not wrong, f"seeds {wrong}\n{module(wrong[0], 0)}"


@pytest.mark.ghdl
@pytest.mark.parametrize("seeds", [[40, 53, 70], list(range(20))])
def test_random_control(seeds: list[int]) -> None:
    check_modules(seeds)


@pytest.mark.ghdl
@pytest.mark.slow
def test_much_random_control() -> None:
    for first in range(1000, 3000, BATCH):
        check_modules(list(range(first, first + BATCH)))
