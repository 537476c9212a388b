"""The self-checking testbench is able to fail: wrong golden words and wrong VHDL are caught.

A mutant of the VHDL is run with frames back to back, with gaps on both sides and without. It is
killed when the testbench's own verdict is FAIL, when words are missing, or when the simulator stops
on a broken bound. What GHDL does not analyse is no mutant at all and is not counted.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from pyahir.backends.aa import ast as aa
from pyahir.backends.vhdl import to_vhdl
from pyahir.ir.eval import Evaluator
from pyahir.sim import GhdlEngine, SimulationError, Stalls, ToolError, require_tool
from pyahir.sim.design import words_of_codes
from pyahir.sim.ghdl import OUR_STANDARD, run_ghdl
from pyahir.sim.run import border_ports
from pyahir.sim.testbench import BenchResult, Port, read_results, write_bench
from pyahir.sim.tools import run_tool
from tests.designs import written
from tests.networks import small
from tests.sim.vhdl_mutants import Mutant, sample

pytestmark = pytest.mark.ghdl

FRAMES = 10
PATIENCE = 2_000
LIMIT = 20_000
# An output taken in one of a hundred cycles makes every pipe full up to the input.
STALLS = (Stalls(seed=5, inputs=0.2, outputs=0.99), Stalls())


@dataclass(frozen=True)
class Bench:
    """A network as VHDL, its words in, and the golden words out."""

    program: aa.Program
    text: str
    ports: list[Port]
    inputs: dict[str, list[int]]
    golden: dict[str, list[int]]

    def run(
        self, folder: Path, text: str, golden: dict[str, list[int]], stalls: Stalls = STALLS[1]
    ) -> BenchResult:
        """Run a design's text against golden words: the verdict is the testbench's."""
        folder.mkdir(exist_ok=True)
        (folder / "design.vhd").write_text(text)
        write_bench(folder, self.ports, self.inputs, golden, stalls, PATIENCE, limit=LIMIT)
        run_ghdl(folder)
        return read_results(folder, self.ports, PATIENCE)

    def outcome(self, folder: Path, mutant: Mutant) -> str:
        """Say what became of a mutant."""
        folder.mkdir(exist_ok=True)
        (folder / "design.vhd").write_text(mutant.text)
        try:
            run_tool([require_tool("ghdl"), "-a", *OUR_STANDARD, "design.vhd"], folder)
        except ToolError:
            return "no VHDL"
        for stalls in STALLS:
            try:
                if not self.run(folder, mutant.text, self.golden, stalls).passed:
                    return "words differ"
            except SimulationError:
                return "words missing"
            except ToolError:
                return "simulator stopped"
        return "survived"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    chain = small()
    graph = chain.graph()
    _, path = written(graph, tmp_path_factory.mktemp("design"))
    engine = GhdlEngine.open(path)
    images = chain.images(FRAMES)
    source, output = engine.files.manifest["input"], engine.layers[-1]
    expected = Evaluator(graph).run(images, keep=[output["value"]])[output["value"]]
    inputs = {
        source["pipe"]: words_of_codes(source, images),
        "weights_in": list(engine.files.items),
    }
    words = words_of_codes(output, expected)
    assert len(words) == FRAMES * math.prod(output["shape"]) // output["lanes"]
    golden = {output["pipe"]: words}
    ports = border_ports(engine.program, inputs, {output["pipe"]: len(words)})
    return Bench(engine.program, to_vhdl(engine.program), ports, inputs, golden)


def test_the_design_itself_passes(bench: Bench, tmp_path: Path) -> None:
    for stalls in STALLS:
        found = bench.run(tmp_path, bench.text, bench.golden, stalls)
        assert found.passed
        assert found.mismatches == {}
        assert found.outputs == bench.golden
        assert (tmp_path / "testbench.results").read_text().splitlines()[-1] == "PASS"


def check_golden(bench: Bench, folder: Path, changes: list[tuple[int, int]]) -> None:
    """Assert that every (word, bit) changed in the golden words is found at its place."""
    ((pipe, words),) = bench.golden.items()
    for number, bit in changes:
        wrong = list(words)
        wrong[number] ^= 1 << bit
        found = bench.run(folder, bench.text, {pipe: wrong})
        assert not found.passed, f"word {number}, bit {bit} survived"
        mismatch = found.mismatches[pipe]
        assert (mismatch.count, mismatch.number) == (1, number)
        assert (mismatch.expected, int(mismatch.found, 16)) == (wrong[number], words[number])
        assert mismatch.cycle == found.cycles[pipe][number]
        assert (folder / "testbench.results").read_text().splitlines()[-1] == "FAIL"
    print(f"golden words: {len(changes)} of {len(changes)} mutants killed")


def test_a_changed_golden_word_is_caught(bench: Bench, tmp_path: Path) -> None:
    check_golden(bench, tmp_path, [(0, 0), (29, 7)])


@pytest.mark.slow
def test_every_changed_golden_word_is_caught(bench: Bench, tmp_path: Path) -> None:
    check_golden(bench, tmp_path, [(number, number % 8) for number in range(30)])


def kill_rate(bench: Bench, folder: Path, chosen: list[Mutant]) -> float:
    """Run mutants, print what became of them, give the share that is killed."""
    counts: Counter[str] = Counter()
    for mutant in chosen:
        what = bench.outcome(folder, mutant)
        counts[what] += 1
        if what == "survived":
            print(f"  survived: {mutant.kind}, line {mutant.number}: {mutant.line}")
    real = counts.total() - counts["no VHDL"]
    killed = real - counts["survived"]
    print(f"VHDL: {killed} of {real} mutants killed; {dict(counts)}")
    return killed / real


def test_mutants_of_the_vhdl_are_caught(bench: Bench, tmp_path: Path) -> None:
    chosen = sample(bench.text, "entity aa_fifo", 4, seed=2)
    assert kill_rate(bench, tmp_path, chosen) >= 0.5


@pytest.mark.slow
def test_most_mutants_of_the_vhdl_are_caught(bench: Bench, tmp_path: Path) -> None:
    """Those that survive change nothing that frames can show.

    Most are equivalent: bits of the loop that loads the weights, which runs once; stages that
    reset marks as in use, which hold zeros and so send nothing; a second token in a pipe that is
    read once; the wait for room in a pipe that cannot become full; the large form of a pipe, which
    this network has not. The others are bounds of a clamp, and need an accumulator of exactly that
    value, or lie in a channel whose codes a maximum always hides.
    """
    chosen = sample(bench.text, "entity aa_fifo", 100, seed=1)
    assert kill_rate(bench, tmp_path, chosen) >= 0.8
