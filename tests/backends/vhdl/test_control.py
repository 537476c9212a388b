"""Choices, merges, calls, blocks, pipes and storages outside loops: interpreter against GHDL."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pyahir.backends.aa.interp import Simulator
from pyahir.backends.aa.parser import parse
from pyahir.backends.aa.verify import verify
from pyahir.backends.vhdl import to_vhdl
from pyahir.sim import SimulationError, Stalls, require_tool, simulate
from pyahir.sim.tools import run_tool

pytestmark = pytest.mark.ghdl

PIPES = "$pipe p : $uint<8> $depth 2\n$pipe q : $uint<8> $depth 2\n$pipe o : $uint<8> $depth 4\n"
P = [7, 1, 250, 3, 9, 0, 255, 128, 6, 77, 12, 200, 5, 5, 64, 31]
Q = [3, 9, 27, 81, 243, 2, 6, 18, 54, 162, 1, 2, 4, 8, 16, 32]


def module(body: str, *, before: str = "", inside: str = "$branchblock [body]") -> str:
    return f"{PIPES}{before}$module [m] $in () $out () $is\n{{\n{inside} {{\n{body}}}\n}}\n"


LOOP = """\
    $dopipeline $depth 7 $fullrate
      $merge $entry $loopback
        $phi i := $zero<3> $on $entry n $on $loopback
      $endmerge
      $volatile n := (i + 1)
      $volatile more := (i != 4)
"""
FILL = LOOP + "      r[i] := ($bitcast ($uint<8>) i)\n    $while (i != 7)\n"
PROGRAMS = {
    "if_else": module(
        "x := p\n$if (x > 20) $then\n o := (x + 1)\n$else\n o := (x - 1)\n y := q\n o := y\n"
        "$endif\n o := 9\n"
    ),
    "if_reads_a_pipe": module("$if (p > q) $then\n o := 1\n$endif\no := 2\n"),
    "wide_condition": module("x := p\n$if x $then\n o := 1\n$else\n o := 0\n$endif\n"),
    "switch": module(
        "x := p\n$switch ($slice x 1 0)\n $when 0 $then o := 10\n $when 1 $then o := 11\n"
        " $when 2 $then\n  y := q\n  o := y\n $default o := 13\n$endswitch\no := x\n"
    ),
    "switch_on_a_pipe": module(
        "$switch p\n $when 7 $then o := 1\n $when 250 $then o := 2\n $default\n  o := q\n"
        "$endswitch\n"
    ),
    "loop_by_places": module(
        "x := p\n$merge $entry again\n $phi i := $zero<8> $on $entry ni $on again\n"
        " $phi s := x $on $entry ns $on again\n$endmerge\n ni := (i + 1)\n ns := (s + (i * 3))\n"
        " o := ns\n$if (ni != 3) $then\n $place [again]\n$endif\no := s\n"
    ),
    "phis_exchange": module(
        "x := p\n$merge $entry again\n $phi a := x $on $entry b $on again\n"
        " $phi b := ($bitcast ($uint<8>) 5) $on $entry a $on again\n"
        " $phi i := $zero<2> $on $entry ni $on again\n$endmerge\n ni := (i + 1)\n"
        " o := (a - b)\n$if (i < 2) $then\n $place [again]\n$endif\n"
    ),
    "phi_reads_a_pipe": module(
        "$merge $entry again\n $phi a := p $on $entry (q + 1) $on again\n"
        " $phi i := $zero<2> $on $entry ni $on again\n$endmerge\n ni := (i + 1)\n"
        " o := a\n$if (i != 2) $then\n $place [again]\n$endif\n"
    ),
    "two_places_one_merge": module(
        "x := p\n$if (x > 100) $then\n a := (x - 100)\n $place [big]\n$else\n b := (x + 1)\n"
        " $place [small]\n$endif\n$merge big small\n $phi c := a $on big b $on small\n$endmerge\n"
        "o := c\n"
    ),
    "switch_with_places": module(
        "x := p\n$switch ($slice x 0 0)\n $when 0 $then $place [even]\n $default $place [odd]\n"
        "$endswitch\n$merge even odd\n $phi c := x $on even (x + 1) $on odd\n$endmerge\no := c\n"
    ),
    "merge_in_an_arm": module(
        "x := p\n$if (x > 9) $then\n $merge $entry again\n"
        "  $phi y := x $on $entry ny $on again\n $endmerge\n ny := (y >> 1)\n o := y\n"
        " $if (ny != 0) $then $place [again] $endif\n$else\n o := 0\n$endif\no := 99\n"
    ),
    "nested_blocks": module(
        "x := p\n$seriesblock [one] {\n $constant k : $uint<8> := 11\n y := (x + k)\n"
        " $branchblock [two] {\n  $if (y > 50) $then\n   z := (y * 2)\n   o := z\n  $endif\n"
        "  w := (y ^ x)\n } (w => v)\n u := (v + 1)\n} (u => r)\no := r\n"
    ),
    "path_names": module("x := p\n$seriesblock [one] {\n y := (x + 1)\n}\n o := %one:y\n o := x\n"),
    "guards_and_old_values": module(
        "x := p\n $volatile odd := ($slice x 0 0)\n $guard (odd) y := (x + 100)\n"
        " $guard (~ odd) o := x\n $guard (odd) z := q\n o := y\n o := z\n"
    ),
    "wide_guard": module("x := p\n $guard (x) o := x\n $guard (~ x) o := 1\n"),
    "read_above_the_definition": module("o := t\nx := p\nt := (t + x)\n"),
    "values_live_on": module(
        "x := p\n$merge $entry again\n $phi i := $zero<8> $on $entry ni $on again\n$endmerge\n"
        " ni := (i + 1)\n s := (s + x)\n o := s\n$if (ni != 3) $then $place [again] $endif\n"
    ),
    "loop_in_an_arm": module(
        f"x := p\n$if (x > 10) $then\n{LOOP}      s := (s + x)\n      o := (s + q)\n"
        "    $while more\n$else\n o := x\n$endif\n"
    ),
    "values_after_a_loop": module(
        f"x := p\n{LOOP}      y := q\n      z := (y + x)\n      $volatile w := (z ^ i)\n"
        "      d := z\n      $guard (more) g := y\n    $while more\n".replace("(z ^ i)", "(~ z)")
        + "o := y\no := z\no := w\no := d\no := g\n$volatile j := ($bitcast ($uint<8>) i)\no := j\n"
        " o := ($bitcast ($uint<8>) more)\n"
    ),
    "a_loaded_word_after_a_loop": module(
        f"{LOOP}      x := p\n      y := r[i]\n      z := (y + 1)\n      r[i] := x\n"
        "      $guard (more) w := r[n]\n    $while more\no := y\no := z\no := w\n",
        before="$storage r : $array[8] $of $uint<8>\n",
    ),
    "phi_begins_with_what_the_loop_made": module(
        "$dopipeline $depth 7 $fullrate\n  $merge $entry $loopback\n"
        "    $phi a := last $on $entry b $on $loopback\n"
        "    $phi i := $zero<3> $on $entry n $on $loopback\n  $endmerge\n"
        "  $volatile n := (i + 1)\n  x := p\n  $volatile b := (a + 1)\n"
        "  last := (a + x)\n  o := a\n$while (i != 2)\n"
    ),
    "loop_in_a_loop": module(
        "$merge $entry again\n $phi k := $zero<8> $on $entry nk $on again\n$endmerge\n"
        f"nk := (k + last)\n{LOOP}      x := p\n      s := (s + x)\n      t := (s ^ k)\n"
        "      last := ($mux more x t)\n    $while more\no := last\n"
        "$if (nk < 200) $then $place [again] $endif\no := 1\n"
    ),
    "phi_begins_with_a_result": module(
        f"{LOOP}      x := p\n      s := (s + x)\n    $while more\no := s\n"
        "$dopipeline $merge $entry $loopback\n  $phi a := s $on $entry b $on $loopback\n"
        "  $phi c := q $on $entry d $on $loopback\n$endmerge\n"
        "  $volatile b := (a >> 1)\n  $volatile d := (c + 1)\n  o := (a + c)\n"
        "$while (b != 0)\no := a\no := c\n"
    ),
    "storage": module(
        f"{FILL}x := p\n$volatile k := ($slice x 2 0)\nr[k] := x\ny := r[(~ k)]\no := y\n"
        "c := (c1 + x)\nc1 := c\no := c\nz := (r[(k ^ 1)] + c)\no := z\n",
        before="$storage r : $array[8] $of $uint<8>\n$storage c : $uint<8>\n",
    ),
    "storage_of_two_dimensions": module(
        "x := p\n$volatile a := ($slice x 0 0)\n$volatile b := ($slice x 2 1)\n"
        "r[a][b] := x\nr[(~ a)][b] := (~ x)\no := r[a][b]\n",
        before="$storage r : $array[2][4] $of $uint<8>\n",
    ),
    "storage_of_three_rows": module(
        "x := p\n$volatile a := ($slice x 1 0)\n$volatile b := ($slice x 4 3)\n"
        "$if (a != 3) $then\n r[a][b] := x\n r[0][(b + 1)] := 7\n o := r[a][b]\n"
        "$else\n o := x\n$endif\n",
        before="$storage r : $array[3][4] $of $uint<8>\n",
    ),
    "pipe_as_an_index": module(
        "$volatile two := ($bitcast ($uint<8>) 2)\nr[p] := q\nr[two] := 5\no := r[(two + 0)]\n",
        before="$storage r : $array[256] $of $uint<8>\n",
    ),
    "split": module(
        "x := p\n$split (x 3 5) (a b)\no := ($bitcast ($uint<8>) a)\no := ($bitcast ($uint<8>) b)\n"
    ),
    "split_into_pipes": module("x := p\ny := q\n $volatile w := (x && y)\n$split (w 8 8) (o o)\n"),
    "series_at_the_end": module("$if (p > 9) $then\n o := 1\n$endif\n", inside="$branchblock"),
}
BACK = "$pipe back : $uint<8> $depth 2\n"
GCD = """\
$module [gcd] $in (a : $uint<8> b : $uint<8>) $out (r : $uint<8>) $is
{
  $branchblock [body] {
    $merge $entry again
      $phi x := a $on $entry nx $on again
      $phi y := b $on $entry ny $on again
    $endmerge
    $if (y != 0) $then
      $if (x > y) $then
        dx := (x - y)
        $place [first]
      $else
        dy := (y - x)
        $place [second]
      $endif
      $merge first second
        $phi nx := dx $on first dy $on second
        $phi ny := y $on first x $on second
      $endmerge
      $place [again]
    $endif
  } (x => found)
  r := found
}
"""
FUNCTIONS = f"""\
{GCD}
$operator $module [unused] $in (a : $uint<8>) $out (r : $uint<8>) $is
{{
  r := a
}}
$module [count] $in (by : $uint<8>) $out (n : $uint<8> old : $uint<8>) $is
{{
  old := total
  total := (total + by)
  n := total
}}
$pipeline $depth 4 $fullrate $deterministic $operator $module [twice]
  $in (a : $uint<8>) $out (r : $uint<8>) $is
{{
  t := (a << 1)
  r := (t + 1)
}}
$operator $module [bits] $in (a : $uint<8>) $out (r : $uint<8>) $is
{{
  $branchblock [body] {{
    $merge $entry again
      $phi v := a $on $entry nv $on again
      $phi s := $zero<8> $on $entry ns $on again
    $endmerge
    ns := (s + ($bitcast ($uint<8>) ($slice v 0 0)))
    nv := (v >> 1)
    calls := (calls + ($bitcast ($uint<8>) 1))
    $if (nv != 0) $then $place [again] $endif
  }} (ns => found calls => total)
  r := (found ^ total)
}}
$volatile $module [least] $in (a : $uint<8> b : $uint<8>) $out (r : $uint<8>) $is
{{
  $volatile r := ($mux (a < b) a b)
}}
"""
ANSWER = """\
$module [answer] $in () $out () $is
{
  back := 42
}
"""
CALLS = {
    "gcd": module("$call gcd (p q) (g)\no := g\n", before=FUNCTIONS),
    "two_calls": module(
        "$call count (p) (a b)\no := a\no := b\n$call count (3) (c d)\no := c\no := d\n",
        before=FUNCTIONS,
    ),
    "guarded_call": module(
        "x := p\n$volatile odd := ($slice x 0 0)\n$guard (odd) $call count (x) (a b)\no := a\n",
        before=FUNCTIONS,
    ),
    "call_in_an_expression": module(
        "o := (($call gcd (p q)) + ($call twice (p)))\n", before=FUNCTIONS
    ),
    "results_in_pipes_and_storages": module(
        "$call count (p) (o c)\no := c\n",
        before=FUNCTIONS + "$storage c : $uint<8>\n",
    ),
    "operators_have_memory_of_their_own": module(
        "a := ($call bits (p))\nb := ($call bits (q))\no := a\no := b\n", before=FUNCTIONS
    ),
    "operators_in_a_loop": module(
        f"{LOOP}      x := p\n      y := ($call twice (x))\n      z := (($call twice (y)) + x)\n"
        "      $volatile $call least (z x) (l)\n      $guard (more) $call twice (l) (k)\n"
        "      $call twice (k) (o)\n      o2 := (k ^ l)\n    $while more\no := o2\n",
        before=FUNCTIONS,
    ),
    "calls_of_calls": module(
        "$call outer (p) (g)\no := g\n$call gcd (g 12) (h)\no := h\n",
        before=FUNCTIONS + "$module [outer] $in (a : $uint<8>) $out (r : $uint<8>) $is\n{\n"
        "  $call gcd (a 30) (x)\n  $call count (x) (y z)\n  r := (y + z)\n}\n",
    ),
    "loop_in_a_called_module": module(
        "$call total (p) (s)\no := s\n",
        before="$module [total] $in (a : $uint<8>) $out (r : $uint<8>) $is\n{\n"
        f"$branchblock [b] {{\n{LOOP}      x := q\n      r := (x + a)\n"
        "    $while more\n  }\n}\n",
    ),
}
BLOCKS = {
    "parallel": module(
        "$parallelblock {\n $seriesblock {\n  x := p\n  a := (x + 1)\n } (a => a1)\n"
        " $seriesblock {\n  y := q\n  b := (y * 3)\n } (b => b1)\n} (a1 => c b1 => d)\n"
        "o := c\no := d\n"
    ),
    "parallel_statements": module(
        "$parallelblock {\n a := p\n b := q\n} (a => x b => y)\no := x\no := y\n"
    ),
    "fork_and_join": module(
        "$forkblock [all] {\n $seriesblock [one] {\n  x := p\n  a := (x + 1)\n }\n"
        " $seriesblock [two] {\n  y := q\n  b := (y * 3)\n }\n $join one two $fork\n"
        "  o := %one:a\n  o := %two:b\n $endjoin\n $seriesblock [three] {\n  $null\n }\n}\n"
        "o := 255\n"
    ),
    "threads_share_a_module": module(
        "$parallelblock {\n $call gcd (p 12) (x)\n $call gcd (q 18) (y)\n} (x => v y => w)\n"
        "o := v\no := w\n",
        before=FUNCTIONS,
    ),
    "threads_share_a_storage": module(
        "$parallelblock {\n $seriesblock {\n  r[0] := p\n  x := r[0]\n } (x => x1)\n"
        " $seriesblock {\n  r[1] := q\n  y := r[1]\n } (y => y1)\n} (x1 => v y1 => w)\n"
        "o := (v + w)\n",
        before="$storage r : $array[2] $of $uint<8>\n",
    ),
    "loops_side_by_side": module(
        f"$parallelblock [both] {{\n $branchblock [one] {{\n{LOOP}      s := (s + p)\n"
        f"      r[i] := s\n    $while more\n }}\n $branchblock [two] {{\n{LOOP}"
        "      t := (t ^ q)\n      c := (i && i)\n      r[c] := t\n    $while more\n }\n}\n"
        f"{LOOP}      x := r[i]\n      o := x\n    $while more\n",
        before="$storage r : $array[64] $of $uint<8>\n",
    ).replace("c := (i && i)", "$volatile c := ($concat ($bitcast ($uint<1>) 1) i)"),
    "threads_in_turn": module(
        "$parallelblock {\n $seriesblock {\n  x := p\n  f := x\n  z := g\n  o := z\n }\n"
        " $seriesblock {\n  y := f\n  g := (y + 7)\n }\n}\n",
        before="$pipe f g : $uint<8> $depth 1\n",
    ),
}
KINDS = {
    "lifo": module(
        "s := p\ns := p\ns := q\na := s\nb := s\nc := s\no := a\no := b\no := c\n",
        before="$lifo $pipe s : $uint<8> $depth 3\n",
    ),
    "signal": module("o := s\ns := p\no := s\no := s\n", before="$pipe s : $uint<8> $signal\n"),
    "noblock": module(
        "o := s\ns := p\no := s\no := s\n",
        before="$noblock $pipe s : $uint<8> $depth 2\n",
    ),
    "shiftreg": module(
        "s := p\ns := q\no := s\no := s\n", before="$shiftreg $pipe s : $uint<8> $depth 2\n"
    ),
    "signed_noblock": module(
        "s := ($bitcast ($int<8>) p)\nx := s\ny := s\no := ($bitcast ($uint<8>) (x >> 1))\n"
        "o := ($bitcast ($uint<8>) y)\n",
        before="$noblock $pipe s : $int<8> $depth 2\n",
    ),
    "local_pipe": module(
        "$pipe s : $uint<8> $depth 2\n$storage c : $uint<8>\ns := p\nc := s\no := c\n"
    ),
}
EVERY = PROGRAMS | CALLS | BLOCKS | KINDS


WORDS = 24


def check(text: str, share: float) -> None:
    """Compare the first words of ``o``."""
    program = parse(text)
    verify(program)
    inputs = {"p": P * 8, "q": Q * 8}
    inputs = {name: words for name, words in inputs.items() if re.search(rf"\b{name}\b", text[90:])}
    wanted = Simulator(program, undefined=0).run(inputs, {"o": WORDS}).outputs["o"]
    found = simulate(program, inputs, {"o": WORDS}, stalls=Stalls(seed=4, share=share))
    assert found.outputs["o"] == wanted


@pytest.mark.parametrize("name", sorted(EVERY))
def test_program_equals_the_interpreter(name: str) -> None:
    check(EVERY[name], 0.0)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(EVERY))
def test_program_with_stalls(name: str) -> None:
    check(EVERY[name], 0.4)


def test_a_called_module_without_arguments_runs_once_a_call() -> None:
    """The interpreter runs it for ever, so the words are given here."""
    text = module("$call answer () ()\nx := back\no := (x + p)\n", before=f"{BACK}{ANSWER}")
    found = simulate(parse(text), {"p": P}, {"o": len(P)}, stalls=Stalls(seed=4, share=0.3))
    assert found.outputs["o"] == [(42 + word) % 256 for word in P]


def test_a_switch_without_a_case_hangs() -> None:
    text = module("$switch p\n $when 7 $then o := 1\n $when 1 $then o := 2\n$endswitch\n")
    with pytest.raises(
        SimulationError, match=r"nothing moves for 200 cycles; .*o gave 2 of 3 words"
    ):
        simulate(parse(text), {"p": P}, {"o": 3}, patience=200)


def test_an_empty_endless_loop_is_a_state() -> None:
    text = module("o := p\n$merge $entry again\n$endmerge\n$place [again]\n")
    found = simulate(parse(text), {"p": P}, {"o": 1})
    assert found.outputs["o"] == P[:1]


def test_modules_that_share_pipes_and_storages_take_turns() -> None:
    """The order is that of the hardware; no word is lost and none comes twice."""
    worker = (
        "$module [wNUMBER] $in () $out () $is\n{\n  $branchblock [b] {\n"
        "    $dopipeline $depth 7 $fullrate $merge $entry $loopback $endmerge\n"
        "      x := p\n      $volatile a := ($slice x 3 0)\n      r[a] := x\n"
        "      y := r[a]\n      z := (y + 100)\n      o := z\n    $while 1\n  }\n}\n"
    )
    names = "123"
    text = f"{PIPES}$storage r : $array[16] $of $uint<8>\n"
    text += "".join(worker.replace("NUMBER", name) for name in names)
    words = list(range(16))
    for share in (0.0, 0.4):
        stalls = Stalls(seed=2, share=share)
        found = simulate(parse(text), {"p": words}, {"o": 16}, stalls=stalls).outputs["o"]
        assert sorted(found) == [word + 100 for word in words]


CALLED_FROM_OUTSIDE = """\
$module [gcd_and_sum] $in (a : $uint<8> b : $uint<8>) $out (g : $uint<8> s : $uint<8>) $is
{
  $call gcd (a b) (g)
  s := (a + b)
}
"""
CALLER = """\
library ieee;
use ieee.std_logic_1164.all;
use ieee.numeric_std.all;

entity caller is
end entity;

architecture simulation of caller is
  signal clk : std_logic := '0';
  signal reset : std_logic := '1';
  signal ended : boolean := false;
  signal start_req, start_ack, fin_req, fin_ack : std_logic := '0';
  signal tag_in, tag_out : std_logic_vector(1 downto 0) := "00";
  signal a, b, g, s : std_logic_vector(7 downto 0) := (others => '0');
begin
  clk <= not clk after 5 ns when not ended else '0';
  reset <= '0' after 102 ns;
  design : entity work.ahir_system
    port map (
      clk => clk, reset => reset, gcd_and_sum_a => a, gcd_and_sum_b => b,
      gcd_and_sum_g => g, gcd_and_sum_s => s, gcd_and_sum_start_req => start_req,
      gcd_and_sum_start_ack => start_ack, gcd_and_sum_fin_req => fin_req,
      gcd_and_sum_fin_ack => fin_ack, gcd_and_sum_tag_in => tag_in, gcd_and_sum_tag_out => tag_out);

  process
  begin
    wait until rising_edge(clk) and reset = '0';
    for factor in 1 to 9 loop
      a <= std_logic_vector(to_unsigned(12 * factor, 8));
      b <= std_logic_vector(to_unsigned(18 * factor, 8));
      tag_in <= std_logic_vector(to_unsigned(factor mod 4, 2));
      start_req <= '1';
      wait until rising_edge(clk) and start_ack = '1';
      start_req <= '0';
      fin_req <= '1';
      wait until rising_edge(clk) and fin_ack = '1';
      fin_req <= '0';
      assert to_integer(unsigned(g)) = 6 * factor report "divisor" severity failure;
      assert to_integer(unsigned(s)) = 30 * factor mod 256 report "sum" severity failure;
      assert to_integer(unsigned(tag_out)) = factor mod 4 report "tag" severity failure;
    end loop;
    report "nine calls answered";
    ended <= true;
    wait;
  end process;
end architecture;
"""


def test_a_module_that_nobody_calls_is_called_from_outside(tmp_path: Path) -> None:
    program = parse(GCD + CALLED_FROM_OUTSIDE)
    verify(program)
    (tmp_path / "design.vhd").write_text(to_vhdl(program))
    (tmp_path / "caller.vhd").write_text(CALLER)
    ghdl = require_tool("ghdl")
    run_tool([ghdl, "-a", "--std=08", "design.vhd", "caller.vhd"], tmp_path)
    run_tool([ghdl, "-e", "--std=08", "caller"], tmp_path)
    output = run_tool([ghdl, "-r", "--std=08", "caller", "--stop-time=1ms"], tmp_path)
    assert "nine calls answered" in output


SIGNALS = """\
$pipe level : $uint<8> $in $signal
$pipe shown : $uint<8> $out $signal
$pipe o : $uint<8> $depth 2
$module [m] $in () $out () $is
{
  $branchblock [body] {
    x := level
    shown := (x + 1)
    o := x
  }
}
"""


def test_signals_at_the_border_are_plain_ports(tmp_path: Path) -> None:
    text = to_vhdl(parse(SIGNALS))
    (tmp_path / "design.vhd").write_text(text)
    run_tool([require_tool("ghdl"), "-a", "--std=08", "design.vhd"], tmp_path)
    top = text[text.index("entity ahir_system is") :]
    assert "level : in std_logic_vector(7 downto 0)" in top
    assert "shown : out std_logic_vector(7 downto 0)" in top
    assert "level_pipe" not in top


@pytest.mark.parametrize("name", ["gcd", "threads_share_a_storage", "lifo", "loop_in_a_loop"])
def test_synthesis_accepts_the_text(name: str, tmp_path: Path) -> None:
    (tmp_path / "design.vhd").write_text(to_vhdl(parse(EVERY[name])))
    command = [require_tool("ghdl"), "--synth", "--std=08", "design.vhd", "-e", "ahir_system"]
    assert "entity ahir_system" in run_tool(command, tmp_path)
