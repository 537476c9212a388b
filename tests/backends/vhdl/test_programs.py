"""Hand-written Aa programs through VHDL: loops, guards, previous values, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from pyahir.backends.aa.interp import Simulator
from pyahir.backends.aa.parser import parse
from pyahir.backends.aa.verify import verify
from pyahir.backends.vhdl import to_vhdl
from pyahir.errors import AaError
from pyahir.sim import SimulationError, Stalls, require_tool, simulate
from pyahir.sim.tools import ToolError

HEAD = "$pipe p : $uint<8> $depth 2\n$pipe o : $uint<8> $depth 2\n"
INPUTS = {"p": [7, 1, 250, 3, 9, 0, 255, 128, 6, 77, 12, 200]}


def loop(body: str, condition: str = "1", phis: str = "", head: str = HEAD) -> str:
    return (
        f"{head}$module [m] $in () $out () $is\n{{\n  $branchblock [blk] {{\n"
        f"    $dopipeline $depth 7 $fullrate\n      $merge $entry $loopback\n{phis}"
        f"      $endmerge\n{body}    $while {condition}\n  }}\n}}\n"
    )


COUNTER = "        $phi i := $zero<3> $on $entry n $on $loopback\n"
NEXT = "      $volatile n := (i + 1)\n"
ODD = "      $volatile odd := ($slice i 0 0)\n"
PROGRAMS = {
    "shift_register": loop(
        "      a2 := a1\n      a1 := a0\n      a0 := p\n      t := ((a0 + a1) + a2)\n      o := t\n"
    ),
    "pipe_in_an_expression": loop("      o := ((p + 1) * 3)\n"),
    "pipe_to_pipe": loop("      o := p\n"),
    "guarded_pipe_in_an_expression": loop(
        NEXT + ODD + "      $guard (odd) x := (p + 1)\n      o := x\n", phis=COUNTER
    ),
    "accumulator": loop("      x := p\n      acc := (acc + x)\n      o := acc\n"),
    "restarted_accumulator": loop(
        NEXT + "      x := p\n      $volatile first := (i == 0)\n"
        "      acc := (($mux first $zero<8> acc) + x)\n      o := acc\n",
        phis=COUNTER,
    ),
    "guarded_value_is_kept": loop(
        NEXT + ODD + "      x := p\n      $guard (odd) k := (x + 1)\n      o := k\n", phis=COUNTER
    ),
    "guarded_read_and_write": loop(
        NEXT + ODD + "      $guard (odd) x := p\n      $guard (~ odd) o := x\n", phis=COUNTER
    ),
    "volatile_of_the_iteration_before": loop(
        "      x := p\n      y := (x - v)\n      $volatile v := (x + 3)\n      o := y\n"
    ),
    "loop_carried_for_two_stages": loop(
        "      x := p\n      s := (x + i)\n      n := (s ^ 3)\n      o := n\n",
        phis="        $phi i := $zero<8> $on $entry n $on $loopback\n",
    ),
    "recurrence_of_two_stages": loop(
        "      x := p\n      y := (x + acc)\n      acc := (y ^ 5)\n      o := acc\n"
    ),
    "recurrence_from_a_late_reader": loop(
        "      x := p\n      y := (x + 1)\n      z := (y + x0)\n      x0 := (x * 3)\n      o := z\n"
    ),
    "phis_read_pipes": loop(
        "      o := a\n",
        phis="        $phi a := p $on $entry (p + 1) $on $loopback\n",
    ),
    "phis_read_pipes_while_the_loop_goes_on": loop(
        NEXT + "      o := a\n",
        condition="(i < 2)",
        phis=COUNTER + "        $phi a := p $on $entry (p + 1) $on $loopback\n",
    ),
    "condition_is_a_bit": loop(
        NEXT + "      x := p\n      y := (x + ($bitcast ($uint<8>) i))\n      o := y\n",
        condition="($slice (n + 1) 1 1)",
        phis=COUNTER,
    ),
    "condition_reads_a_pipe": loop("      x := p\n      o := x\n", condition="(p > 9)"),
    "call_that_counts": loop(
        "      x := p\n      $call count (x) (y)\n      o := y\n",
        head=f"{HEAD}$module [count] $in (a : $uint<8>) $out (r : $uint<8>) $is\n"
        "{\n  t := (t + a)\n  r := t\n}\n",
    ),
    "loops_in_sequence": (
        f"{HEAD}$storage r : $array[8] $of $uint<8>\n"
        "$module [m] $in () $out () $is\n{\n  first := p\n  $branchblock [blk] {\n"
        "    $dopipeline $depth 7 $fullrate\n      $merge $entry $loopback\n"
        "        $phi i := $zero<3> $on $entry n $on $loopback\n      $endmerge\n"
        "      $volatile n := (i + 1)\n      $volatile more := (i != 4)\n"
        "      x := p\n      r[i] := x\n    $while more\n    $barrier\n    o := first\n"
        "    $barrier\n"
        "    $dopipeline $depth 7 $fullrate\n      $merge $entry $loopback\n"
        "        $phi j := $zero<3> $on $entry nj $on $loopback\n      $endmerge\n"
        "      $volatile nj := (j + 1)\n      $volatile again := (j != 4)\n"
        "      y := r[j]\n      z := (y + first)\n      o := z\n    $while again\n  }\n}\n"
    ),
}


@pytest.mark.ghdl
@pytest.mark.parametrize("share", [0.0, 0.4])
@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_program_equals_the_interpreter(name: str, share: float) -> None:
    program = parse(PROGRAMS[name])
    verify(program)
    expect = {"o": len(INPUTS["p"])}
    inputs = {"p": INPUTS["p"] * 2}
    wanted = Simulator(program).run(inputs, expect).outputs["o"]
    found = simulate(program, inputs, expect, stalls=Stalls(seed=3, share=share))
    assert found.outputs["o"] == wanted


@pytest.mark.ghdl
def test_one_word_a_cycle() -> None:
    program = parse(PROGRAMS["accumulator"])
    found = simulate(program, INPUTS, {"o": 12})
    cycles = found.cycles["o"]
    assert cycles[-1] - cycles[0] == 11


@pytest.mark.ghdl
def test_waiting_pipes_are_named() -> None:
    program = parse(PROGRAMS["accumulator"])
    with pytest.raises(SimulationError) as caught:
        simulate(program, {"p": [1, 2]}, {"o": 3}, patience=100)
    assert str(caught.value) == ("simulation: nothing moves for 100 cycles; o gave 2 of 3 words")


@pytest.mark.ghdl
@pytest.mark.parametrize(
    ("inputs", "expect", "message"),
    [
        ({"x": [1]}, {"o": 1}, "'x' is not an input pipe; accepted: p"),
        ({"p": [1]}, {"y": 1}, "'y' is not an output pipe; accepted: o"),
    ],
)
def test_unknown_pipes_are_refused(
    inputs: Mapping[str, Sequence[int]], expect: Mapping[str, int], message: str
) -> None:
    with pytest.raises(SimulationError) as caught:
        simulate(parse(PROGRAMS["accumulator"]), inputs, expect)
    assert str(caught.value) == message


COUNTING = (
    "$module [f] $in (a : $uint<8>) $out (r : $uint<8>) $is\n{\n  t := (t + a)\n  r := t\n}\n"
)
BLOCK = "$module [m] $in () $out () $is\n{ $branchblock [blk] {\nBODY  }\n}\n"
MEMORY = "which has jumps or loops or remembers values from call to call,"
REFUSED = {
    f"15:13: in a loop a call of 'f', {MEMORY}": loop(
        "      x := p\n      y := (($call f (x)) + ($call f (1)))\n      o := y\n",
        head=f"{HEAD}{COUNTING}",
    ),
    "6:5: the statement Lock": (
        f"{HEAD}$mutex k\n{BLOCK}".replace("BODY", "    $lock k\n    o := p\n    $unlock k\n")
    ),
    "3:10: a storage 'r' of a type that is not an integer": (
        f"{HEAD}$storage r : $array[2] $of $record <$uint<8> > <$uint<8> >\n"
        + BLOCK.replace("BODY", "    o := r[0][1]\n")
    ),
    "5:11: the local pipe 's' with one side only": (
        HEAD + BLOCK.replace("BODY", "    $pipe s : $uint<8> $depth 2\n    s := p\n    o := 1\n")
    ),
    "3:1: the empty module 'm'": HEAD + BLOCK.replace("BODY", "    $null\n"),
}


@pytest.mark.parametrize("message", sorted(REFUSED))
def test_what_is_not_supported_is_one_error(message: str) -> None:
    with pytest.raises(AaError) as caught:
        to_vhdl(parse(REFUSED[message], "m.aa"))
    assert str(caught.value) == f"m.aa:{message} is not supported by the VHDL back end"


def test_a_missing_simulator_is_one_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PYAHIR_GHDL", str(tmp_path / "none"))
    with pytest.raises(ToolError) as caught:
        require_tool("ghdl")
    assert str(caught.value) == (
        f"PYAHIR_GHDL={tmp_path / 'none'}: no such executable; accepted: the path of ghdl"
    )
    monkeypatch.delenv("PYAHIR_GHDL")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError) as caught:
        require_tool("ghdl")
    assert str(caught.value) == ("ghdl is not installed: install it or set PYAHIR_GHDL to its path")
