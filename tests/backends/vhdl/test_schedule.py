"""Stages of pipelined loops: order of accesses, bounded depth, and the report of intervals."""

from __future__ import annotations

import random
import re
from pathlib import Path

import numpy as np
import pytest

from pyahir.backends.aa.interp import Simulator
from pyahir.backends.aa.parser import parse
from pyahir.backends.aa.verify import verify
from pyahir.backends.vhdl import LoopReport, loops, to_vhdl
from pyahir.ir.eval import Evaluator
from pyahir.sim import GhdlEngine, Stalls, simulate
from tests.backends.vhdl.test_fuzz import Maker
from tests.backends.vhdl.test_programs import COUNTER, HEAD, INPUTS, NEXT, ODD, PROGRAMS, loop
from tests.designs import written
from tests.networks import small

ARRAY = f"{HEAD}$storage r : $array[8] $of $uint<8>\n"
KEPT = "      $guard (odd) y := r[i]\n"
FILLED = (
    f"{ARRAY}$module [m] $in () $out () $is\n{{\n  $branchblock [blk] {{\n"
    "    $dopipeline $depth 7 $fullrate\n      $merge $entry $loopback\n"
    "        $phi j := $zero<3> $on $entry nj $on $loopback\n      $endmerge\n"
    "      $volatile nj := (j + 1)\n      x0 := p\n      r[j] := x0\n    $while (nj != 0)\n"
    "    $dopipeline $depth 7 $fullrate\n      $merge $entry $loopback\n"
    f"{COUNTER}      $endmerge\n{NEXT}{ODD}BODY    $while (n != 0)\n  }}\n}}\n"
)
ACCESSES = {
    "two_reads": (loop("      o := ((p + 1) - (p * 3))\n"), 2),
    "three_reads": (
        loop("      x := p\n      y := p\n      z := (x - p)\n      o := (z ^ y)\n"),
        3,
    ),
    "two_writes": (loop("      x := p\n      o := x\n      o := (x + 1)\n"), 2),
    "writes_that_exclude_each_other": (
        loop(
            NEXT + ODD + "      x := p\n      y := (x + 1)\n"
            "      $guard (odd) o := x\n      $guard (~ odd) o := y\n",
            phis=COUNTER,
        ),
        1,
    ),
    "guarded_reads": (
        loop(
            NEXT + ODD + "      x := p\n      $guard (odd) y := p\n      o := (x + y)\n",
            phis=COUNTER,
        ),
        2,
    ),
    "load_and_store_of_one_word": (
        FILLED.replace(
            "BODY", "      x := r[i]\n      y := (x + 1)\n      r[i] := y\n      o := y\n"
        ),
        3,
    ),
    "store_then_load": (
        FILLED.replace(
            "BODY", "      r[i] := ($bitcast ($uint<8>) i)\n      x := r[i]\n      o := x\n"
        ),
        1,
    ),
    "two_loads": (
        FILLED.replace("BODY", "      x := r[i]\n      y := r[n]\n      o := (x - y)\n"),
        2,
    ),
    "a_kept_load_of_two": (
        FILLED.replace("BODY", f"{KEPT}      x := r[n]\n      o := (x - y)\n"),
        2,
    ),
    "two_stores": (
        FILLED.replace("BODY", "      r[i] := 1\n      r[n] := 2\n      x := r[i]\n      o := x\n"),
        3,
    ),
    "a_signal": (
        loop(
            "      x := p\n      s := x\n      y := s\n      o := y\n",
            head=f"{HEAD}$pipe s : $uint<8> $signal\n",
        ),
        1,
    ),
    "a_signal_of_the_iteration_before": (
        loop(
            "      x := p\n      y := s\n      s := x\n      o := y\n",
            head=f"{HEAD}$pipe s : $uint<8> $signal\n",
        ),
        1,
    ),
    "a_stack": (
        loop(
            "      x := p\n      s := x\n      y := s\n      o := y\n",
            head=f"{HEAD}$lifo $pipe s : $uint<8> $depth 3\n",
        ),
        2,
    ),
    "a_pipe_that_never_waits": (
        loop(
            "      y := s\n      x := p\n      s := x\n      o := y\n",
            head=f"{HEAD}$noblock $pipe s : $uint<8> $depth 3\n",
        ),
        2,
    ),
    "a_pipe_written_before_it_is_read": (
        loop("      s := p\n      o := s\n", head=f"{HEAD}$pipe s : $uint<8> $depth 1\n"),
        1,
    ),
    "recurrence_of_two_stages": (PROGRAMS["recurrence_of_two_stages"], 2),
    "accumulator": (PROGRAMS["accumulator"], 1),
}


def compare(text: str, share: float, levels: int | None = None) -> None:
    """Compare the words of ``o``."""
    program = parse(text)
    verify(program)
    inputs = {"p": INPUTS["p"] * 6}
    wanted = Simulator(program).run(inputs, {"o": 24}).outputs["o"]
    found = simulate(
        program,
        inputs,
        {"o": 24},
        stalls=Stalls(seed=3, share=share),
        vhdl=to_vhdl(program, levels=levels),
    )
    assert found.outputs["o"] == wanted


@pytest.mark.ghdl
@pytest.mark.parametrize("share", [0.0, pytest.param(0.4, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", sorted(ACCESSES))
def test_uses_of_one_item_keep_their_order(name: str, share: float) -> None:
    compare(ACCESSES[name][0], share)


@pytest.mark.parametrize("name", sorted(ACCESSES))
def test_intervals(name: str) -> None:
    text, interval = ACCESSES[name]
    assert loops(parse(text))[-1].interval == interval


def test_the_report_names_the_dependence() -> None:
    recurrence = parse(PROGRAMS["recurrence_of_two_stages"])
    assert loops(recurrence) == [
        LoopReport("m", "loop0 of line 6", 4, 2, "line 10 needs 'acc' of the iteration before")
    ]
    text = to_vhdl(recurrence)
    assert "a new iteration only every 2 cycles: line 10 needs 'acc' of the iteration" in text
    both = loops(parse(ACCESSES["two_writes"][0]))
    assert both[0].reason == "lines 10 and 11 use 'o' one after the other"
    late = loops(parse(PROGRAMS["loop_carried_for_two_stages"]))
    assert late[0].interval == 4
    assert late[0].reason == "the next one needs 'n' of line 12"
    assert loops(parse(PROGRAMS["accumulator"])) == [LoopReport("m", "loop0 of line 6", 3, 1, "")]


@pytest.mark.ghdl
@pytest.mark.parametrize("name", ["two_reads", "two_writes", "load_and_store_of_one_word"])
def test_the_interval_is_what_the_hardware_takes(name: str) -> None:
    text, interval = ACCESSES[name]
    words = 2 if name == "two_writes" else 1
    count = 8 * words
    found = simulate(parse(text), {"p": INPUTS["p"] * 4}, {"o": count})
    cycles = found.cycles["o"]
    assert cycles[7 * words] - cycles[0] == 7 * interval


DEEP = """\
      x := p
      y := (((x + 1) * (x + 3)) ^ ((x >> 1) + (x * 5)))
      z := ($reduce + x y x1 (y & x2) 7 (x1 ^ y))
      x2 := x1
      x1 := x
      acc := (acc + ((z * y) + (x - 9)))
      $volatile t := ((z + 1) * (acc ^ x))
      $volatile odd := ($slice (y + (t * 3)) 0 0)
      $guard (odd) g := ($prioritymux (t > 9) (t + 1) (t > 5) (t - 1) $default (z + t))
      w := ((g + g1) - (t + (g1 * 3)))
      g1 := (w ^ 1)
      o := (w + (t + (y + g)))
"""


@pytest.mark.ghdl
@pytest.mark.parametrize("levels", [1, 2, 4])
def test_cut_statements_keep_their_values(levels: int) -> None:
    compare(loop(DEEP), 0.3, levels)


def test_cut_statements_keep_the_interval() -> None:
    program = parse(loop(DEEP))
    plain = loops(program)[0]
    stages = [loops(program, levels=levels)[0] for levels in (4, 2, 1)]
    assert [report.interval for report in stages] == [plain.interval] * 3
    counts = [plain.stages, *(report.stages for report in stages)]
    assert counts == sorted(set(counts))


@pytest.mark.ghdl
def test_a_cut_statement_reads_the_iteration_before_in_one_stage() -> None:
    text = loop("      x := p\n      z := (((x1 + 1) * x) + x1)\n      x1 := x\n      o := z\n")
    assert [report.interval for report in loops(parse(text), levels=1)] == [1]
    compare(text, 0.3, 1)


def test_no_sum_is_deeper_than_the_levels() -> None:
    """Without recurrences each line of the text has at most one operator at level 1."""
    text = loop("      x := p\n      o := (((x + 1) + (x + 3)) + ((x + 5) + (x + 7)))\n")
    lines = to_vhdl(parse(text), levels=1).splitlines()
    assert max(len(re.findall(r" \+ ", line)) for line in lines if "<=" in line) == 1
    assert max(len(re.findall(r" \+ ", line)) for line in to_vhdl(parse(text)).splitlines()) == 7


@pytest.mark.ghdl
@pytest.mark.slow
@pytest.mark.parametrize("levels", [1, 2, 4])
def test_random_loops_with_bounded_levels(levels: int) -> None:
    for seed in range(levels * 100, levels * 100 + 60):
        text = Maker(seed).text()
        program = parse(text)
        generator = random.Random(seed)
        inputs = {name: [generator.randrange(256) for _ in range(24)] for name in "pq"}
        deep = parse(text.replace("$depth 3\n", "$depth 48\n"))
        count = len(Simulator(deep).run(inputs, {"o": 24}, taps=["z"]).taps["z"])
        expect = {"o": 24, "z": count}
        wanted = Simulator(program).run(inputs, expect).outputs
        vhdl = to_vhdl(program, levels=levels)
        found = simulate(program, inputs, expect, stalls=Stalls(seed=seed, share=0.3), vhdl=vhdl)
        assert found.outputs == wanted, f"seed {seed}\n{text}"


@pytest.mark.ghdl
@pytest.mark.slow
@pytest.mark.parametrize("levels", [1, 2, 4])
def test_a_network_with_bounded_levels(tmp_path: Path, levels: int) -> None:
    chain = small()
    graph = chain.graph()
    _, path = written(graph, tmp_path, multipliers=16)
    engine = GhdlEngine.open(path)
    images = chain.images(2)
    last = engine.layers[-1]["value"]
    expected = Evaluator(graph).run(images, keep=[last])[last]
    vhdl = to_vhdl(engine.program, levels=levels)
    found = engine.run(images, vhdl=vhdl, stalls=Stalls(seed=5, share=0.3))[last]
    np.testing.assert_array_equal(expected, found)
    assert {report.interval for report in loops(engine.program, levels=levels)} == {1}
