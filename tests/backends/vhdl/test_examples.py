"""The hand-written examples: interpreter and GHDL against Python's own arithmetic."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from pyahir.backends.aa.interp import Simulator
from pyahir.backends.aa.parser import parse
from pyahir.backends.aa.verify import verify
from pyahir.backends.vhdl import loops, to_vhdl
from pyahir.sim import Stalls, require_tool, simulate
from pyahir.sim.tools import run_tool

pytestmark = pytest.mark.ghdl

FOLDER = Path(__file__).parents[3] / "examples" / "aa"
COUNT = 300
TAPS = [3, -9, 21, 50, 50, 21, -9, 3]
Words = dict[str, list[int]]


@dataclass(frozen=True, slots=True)
class Example:
    """A file, words for its inputs, and what they must give."""

    name: str
    make: Callable[[random.Random], tuple[Words, Words]]


def gcd(generator: random.Random) -> tuple[Words, Words]:
    special = [(0, 0), (0, 9), (9, 0), (1, 65535), (65535, 65535), (32768, 16384), (21, 14)]
    pairs = special + [
        (generator.randrange(1 << 16), generator.randrange(1 << generator.randint(1, 16)))
        for _ in range(COUNT - len(special))
    ]
    inputs = {"a_in": [a for a, _ in pairs], "b_in": [b for _, b in pairs]}
    return inputs, {"gcd_out": [math.gcd(a, b) for a, b in pairs]}


def fir(generator: random.Random) -> tuple[Words, Words]:
    samples = [generator.randrange(-32768, 32768) for _ in range(COUNT)]
    samples[:4] = [-32768, 32767, -32768, 32767]
    sums = np.convolve(np.array(samples, dtype=np.int64), np.array(TAPS))[:COUNT]
    inputs = {"x_in": [sample % (1 << 16) for sample in samples]}
    return inputs, {"y_out": [int(total) % (1 << 32) for total in sums]}


def sort8(generator: random.Random) -> tuple[Words, Words]:
    rows = [bytes(generator.choices(range(256), k=8)) for _ in range(COUNT)]
    rows[:3] = [bytes(range(8)), bytes(range(7, -1, -1)), bytes([5, 0, 255, 5, 0, 255, 1, 5])]
    words = [int.from_bytes(row, "little") for row in rows]
    return (
        {"word_in": words},
        {"sorted_out": [int.from_bytes(bytes(sorted(row)), "little") for row in rows]},
    )


EXAMPLES = [Example("gcd", gcd), Example("fir", fir), Example("sort8", sort8)]
by_name = pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)


@by_name
def test_interpreter(example: Example) -> None:
    program = parse((FOLDER / f"{example.name}.aa").read_text(), example.name)
    verify(program)
    inputs, expected = example.make(random.Random(1))
    wanted = {name: len(words) for name, words in expected.items()}
    assert Simulator(program).run(inputs, wanted).outputs == expected


@by_name
@pytest.mark.parametrize("share", [0.0, 0.4])
def test_hardware(example: Example, share: float) -> None:
    inputs, expected = example.make(random.Random(2))
    wanted = {name: len(words) for name, words in expected.items()}
    path = FOLDER / f"{example.name}.aa"
    found = simulate(path, inputs, wanted, stalls=Stalls(seed=7, share=share))
    assert found.outputs == expected


@pytest.mark.parametrize(("name", "stages"), [("fir", 6), ("sort8", 10)])
def test_one_word_a_cycle(name: str, stages: int) -> None:
    """The heads of the files promise it: interval 1, and so many stages."""
    text = (FOLDER / f"{name}.aa").read_text()
    assert f"{stages} stages from" in text
    assert [(one.stages, one.interval) for one in loops(parse(text))] == [(stages, 1)]
    example = next(example for example in EXAMPLES if example.name == name)
    inputs, expected = example.make(random.Random(3))
    wanted = {pipe: len(words) for pipe, words in expected.items()}
    (cycles,) = simulate(FOLDER / f"{name}.aa", inputs, wanted).cycles.values()
    assert cycles[-1] - cycles[0] == COUNT - 1


@pytest.mark.slow
@by_name
@pytest.mark.parametrize("levels", [1, 2])
def test_bounded_levels(example: Example, levels: int) -> None:
    inputs, expected = example.make(random.Random(4))
    wanted = {name: len(words) for name, words in expected.items()}
    program = parse((FOLDER / f"{example.name}.aa").read_text(), example.name)
    vhdl = to_vhdl(program, levels=levels)
    assert simulate(program, inputs, wanted, vhdl=vhdl).outputs == expected


@by_name
def test_synthesis_accepts_the_text(example: Example, tmp_path: Path) -> None:
    program = parse((FOLDER / f"{example.name}.aa").read_text(), example.name)
    (tmp_path / "design.vhd").write_text(to_vhdl(program))
    command = [require_tool("ghdl"), "--synth", "--std=08", "design.vhd", "-e", "ahir_system"]
    assert "entity ahir_system" in run_tool(command, tmp_path)
