"""Programs through the interpreter: pipes, loops, guards, calls, storages, blocks, deadlocks."""

from __future__ import annotations

import math
import random
import time
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from pyahir.backends.aa.interp import AaDeadlockError, Simulator
from pyahir.backends.aa.parser import parse
from pyahir.errors import AaError

PROGRAMS = Path(__file__).parent / "programs"


def load(name: str, **changes: str) -> Simulator:
    return Simulator(parse(source(name, **changes), f"{name}.aa"))


def source(name: str, **changes: str) -> str:
    text = (PROGRAMS / f"{name}.aa").read_text(encoding="utf-8")
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    return text


def daemon(body: str, declarations: str = "", **options: int) -> Simulator:
    """Make a program of one daemon with pipes x_in and y_out of 8 bits."""
    text = (
        f"$pipe x_in y_out : $uint<8> $depth 2\n{declarations}\n"
        f"$module [m] $in () $out () $is\n{{\n{body}\n}}\n"
    )
    return Simulator(parse(text, "m.aa"), **options)


def loop(body: str, condition: str = "1", phis: str = "") -> str:
    merge = f"$merge $entry $loopback {phis} $endmerge"
    return f"$branchblock [b] {{ $dopipeline {merge} {body} $while {condition} }}"


# Programs


def test_gcd_with_a_branch_block() -> None:
    simulator = load("gcd")
    for a, b in product([0, 1, 7, 12, 36, 255], [0, 1, 9, 48, 250]):
        assert (math.gcd(a, b),) == simulator.call("gcd", a, b)


def test_phis_swap() -> None:
    result = load("swap").run({}, {"o_out": 4})
    assert result.outputs["o_out"] == [0x0102, 0x0201, 0x0102, 0x0201]


def test_names_read_above_their_definition_hold_the_previous_value() -> None:
    items = [3, 5, 7, 11, 13]
    result = load("history").run({"x_in": items}, {"o_out": 5, "s_out": 5})
    shifted = [0, 0, *items]
    expected = [shifted[i] << 16 | shifted[i + 1] << 8 | shifted[i + 2] for i in range(5)]
    assert expected == result.outputs["o_out"]
    assert result.outputs["s_out"] == [3, 8, 15, 26, 39]


def test_recirculating_pipe() -> None:
    items = list(range(10, 22))
    result = load("recirculate").run({"x_in": items}, {"y_out": 36}, taps=["loop"])
    groups = [items[start : start + 4] for start in range(0, 12, 4)]
    expected = [item + turn for group in groups for turn in (1, 2, 3) for item in group]
    assert expected == result.outputs["y_out"]
    recirculated = [item + turn for group in groups for turn in (1, 2) for item in group]
    assert recirculated == result.taps["loop"]
    assert result.max_fill["loop"] == 4


def test_loader_and_storage() -> None:
    simulator = load("table")
    simulator.run({"w_in": [1, 2, 0x80, 0xFF, 5]}, {})
    result = simulator.run({"x_in": [2, 3, 0, 4]}, {"y_out": 4})
    assert result.outputs["y_out"] == [0xFF80, 0xFFFF, 1, 5]
    assert simulator.run({"x_in": [1]}, {"y_out": 1}).outputs["y_out"] == [2]


def test_calls() -> None:
    result = load("calls").run({"x_in": [1, 20, 200]}, {"y_out": 3})
    expected = [(3, 2, 2), (6, 40, 6), (9, 144, 9)]
    assert [n << 16 | t << 8 | m for n, t, m in expected] == result.outputs["y_out"]


def test_parallel_branches_that_talk() -> None:
    assert load("concurrent").run({}, {"y_out": 1}).outputs["y_out"] == [42]


@pytest.mark.parametrize("name", ["recirculate", "fork_join"])
def test_the_order_of_modules_does_not_show(name: str) -> None:
    items = [random.Random(1).randrange(256) for _ in range(60)]
    count = 60 if name == "recirculate" else 40
    runs = [
        load(name).run({"x_in": items}, {"y_out": count}, order_seed=seed)
        for seed in (None, 1, 2, 3)
    ]
    assert all(runs[0].outputs == run.outputs for run in runs)


def test_the_order_of_six_stages_does_not_show() -> None:
    text = "".join(
        f"$pipe p{stage} : $uint<8> $depth {1 + stage % 3}\n"
        f"$module [m{stage}] $in () $out () $is {{ v := p{stage} p{stage + 1} := (v * 5) }}\n"
        for stage in range(6)
    )
    program = parse(f"$pipe p6 : $uint<8> $depth 2\n{text}")
    items = list(range(100))
    expected = [item * 5**6 % 256 for item in items]
    steps = set[int]()
    for seed in (None, *range(8)):
        result = Simulator(program).run({"p0": items}, {"p6": 100}, order_seed=seed)
        assert expected == result.outputs["p6"]
        steps.add(result.steps)
    assert len(steps) > 1


# Deadlocks


def test_a_fork_with_a_short_pipe_deadlocks_in_a_cycle() -> None:
    simulator = load("fork_join", **{"{window * 2}": "2"})
    with pytest.raises(AaDeadlockError) as caught:
        simulator.run({"x_in": range(20)}, {"y_out": 4})
    first, cycle, *rest = str(caught.value).split("\n")
    assert first == "deadlock: y_out gave 0 of 4, x_in has items that nobody takes"
    assert rest == []
    assert set(cycle.removeprefix("  cycle: ").split("; ")) == {
        "fork waits for room in pipe p_short (2 of 2), read by join at fork_join.aa:17:7",
        "join waits for data in pipe p_sum (0 of 1), written by gather at fork_join.aa:42:12",
        "gather waits for data in pipe p_long (0 of 1), written by fork at fork_join.aa:30:12",
    }


def test_the_fork_with_a_long_pipe_runs() -> None:
    items = [5, 1, 4, 2, 8, 6, 7, 3]
    result = load("fork_join").run({"x_in": items}, {"y_out": 4})
    sums = [sum(items[: last + 1]) for last in range(4, 8)]
    assert [total % 256 ^ item for total, item in zip(sums, items, strict=False)] == (
        result.outputs["y_out"]
    )
    assert result.max_fill["p_short"] <= 8


def test_missing_input_is_a_deadlock_without_a_cycle() -> None:
    with pytest.raises(AaDeadlockError) as caught:
        daemon("x := x_in\ny_out := x").run({"x_in": [1]}, {"y_out": 2})
    assert str(caught.value) == (
        "deadlock: y_out gave 1 of 2\n"
        "  m waits for data in pipe x_in (0 of 2), written by nobody in the program at m.aa:5:6"
    )


def test_an_output_that_nobody_takes_fills_up() -> None:
    with pytest.raises(AaDeadlockError) as caught:
        daemon("x := x_in\ny_out := x").run({"x_in": range(9)}, {})
    assert str(caught.value) == (
        "deadlock: x_in has items that nobody takes\n"
        "  m waits for room in pipe y_out (2 of 2), read by nobody in the program at m.aa:6:1"
    )


# Semantics that surprise


@pytest.mark.parametrize(
    ("body", "items", "expected"),
    [
        ("z := (x_in - x_in)\ny_out := z", [9, 2, 4, 8], [7, 252]),
        ("a := x_in\n$guard (g) h := a\ng := (a > 4)\ny_out := h", [1, 9, 3, 2], [0, 0, 3, 3]),
        ("g := x_in\n$guard (g) z := x_in\ny_out := z", [1, 7, 0, 2, 1, 8], [7, 7, 7, 8]),
        ("g := x_in\n$guard (~ g) z := x_in\ny_out := z", [1, 0, 9], [0, 9]),
        (
            "x := x_in\n$volatile g := (x > 5)\n$guard (g) y_out := x",
            [1, 6, 3, 9],
            [6, 9],
        ),
        ("a := x_in\nz := ($mux (a > 4) x_in x_in)\ny_out := z", [9, 1, 2, 3, 4, 5], [1, 5]),
        ("a := x_in\n$split (a 3 5) (h l)\ny_out := ($concat l h)", [0b10111001], [0b11001101]),
    ],
)
def test_statements(body: str, items: list[int], expected: list[int]) -> None:
    result = daemon(body).run({"x_in": items}, {"y_out": len(expected)})
    assert expected == result.outputs["y_out"]


def test_the_loop_runs_at_least_once_and_while_its_condition_holds() -> None:
    phi = "$phi i := $zero<8> $on $entry n $on $loopback"
    body = loop("$volatile n := (i + 1) y_out := i", "(n < 3)", phi)
    assert daemon(body).run({}, {"y_out": 5}).outputs["y_out"] == [0, 1, 2, 0, 1]
    once = loop("x := x_in y_out := x", "0") + "\ny_out := 77"
    assert daemon(once).run({"x_in": [5, 6]}, {"y_out": 4}).outputs["y_out"] == [5, 77, 6, 77]


def test_values_of_a_loop_are_readable_after_it() -> None:
    phi = "$phi i := $zero<8> $on $entry n $on $loopback"
    inner = f"$merge $entry $loopback {phi} $endmerge"
    body = f"$branchblock [b] {{ $dopipeline {inner} n := (i + 1) $while (i < 9) y_out := n }}"
    assert daemon(body).run({}, {"y_out": 2}).outputs["y_out"] == [10, 10]


def test_switch_and_exports() -> None:
    body = (
        "x := x_in $branchblock [b] { $switch x $when 1 $then p := (x + 10) $when 2 $then $null "
        "$default q := (x + 20) $endswitch z := ($prioritymux (x == 1) p (x == 2) 2 $default q) "
        "} (z => res)\ny_out := res"
    )
    assert daemon(body).run({"x_in": [1, 2, 3]}, {"y_out": 3}).outputs["y_out"] == [11, 2, 23]


def test_a_switch_without_a_match_is_an_error_not_a_hang() -> None:
    body = "x := x_in $branchblock [b] { $switch x $when 1 $then $null $endswitch }"
    with pytest.raises(AaError) as caught:
        daemon(body).run({"x_in": [2]}, {})
    assert str(caught.value) == "m.aa:5:30: module 'm': no case of the switch matches"


def test_fork_and_join() -> None:
    body = (
        "$forkblock [f] { $seriesblock [one] { a := x_in } (a => p) "
        "$seriesblock [two] { b := ($bitcast ($uint<8>) 3) } (b => q) "
        "$join one two $fork y_out := (p + q) $endjoin }"
    )
    assert daemon(body).run({"x_in": [1, 2]}, {"y_out": 2}).outputs["y_out"] == [4, 5]


@pytest.mark.parametrize(
    ("declaration", "body", "expected"),
    [
        (
            "$lifo $pipe q : $uint<8> $depth 3",
            "q := 1 q := 2 q := 3 y_out := q y_out := q a := q",
            [3, 2],
        ),
        ("$noblock $pipe q : $uint<8> $depth 3", "y_out := q q := 7 y_out := q", [0, 7]),
        ("$pipe q : $uint<8> $signal", "y_out := q q := 7 q := 8 y_out := q", [0, 8, 8]),
        ("$shiftreg $pipe q : $uint<8> $depth 2", "q := 1 q := 2 y_out := q y_out := q", [1, 2]),
        ("$pipe q : $uint<8> $depth 0", "q := 1 y_out := q", [1, 1]),
        ("$constant q : $int<8> := -3", "y_out := ($bitcast ($uint<8>) q)", [253]),
        ("$parameter q 6", "y_out := ($bitcast ($uint<8>) {q * 0x2})", [12]),
        ("$storage q : $uint<8>", "q := 5 y_out := (q + q)", [10]),
        (
            "$storage q : $array[2][3] $of $uint<8>",
            "q[1][2] := 9 q[0][2] := 4 y_out := q[1][2]",
            [9],
        ),
        ("$storage q : $array[4] $of $uint<8>", "q[5] := 9 a := x_in y_out := q[(a + 4)]", [9]),
        (
            "$record [pair] <$uint<4> > <$uint<8> >\n$storage q : $array[2] $of pair",
            "q[1][1] := 200 q[1][0] := 5 y_out := (q[1][1] + ($bitcast ($uint<8>) q[1][0]))",
            [205],
        ),
        (
            "$record [pair] <$uint<4> > <$uint<4> >",
            "r := ($bitcast (pair) ($bitcast ($uint<8>) _h5A)) y_out := ($concat r[0] r[1])",
            [0xA5],
        ),
        (
            "$storage q : $array[4] $of $uint<8>",
            "p := @(q[2]) ->(p) := 6 v := ->(p) y_out := (v + q[2])",
            [12],
        ),
        ("$mutex door", "$lock door y_out := 1 $unlock door", [1, 1]),
    ],
)
def test_objects(declaration: str, body: str, expected: list[int]) -> None:
    simulator = daemon(body, declaration)
    result = simulator.run({"x_in": [1] * 9}, {"y_out": len(expected)})
    assert expected == result.outputs["y_out"]


def test_signed_items_are_bit_patterns_outside() -> None:
    text = (
        "$pipe a b c : $int<8> $depth 2\n"
        "$module [m] $in () $out () $is { v := a c := v }\n"
        "$module [n] $in () $out () $is { v := c b := (v >> 1) }\n"
    )
    result = Simulator(parse(text)).run({"a": [0x80, 6]}, {"b": 2}, taps=["c"])
    assert result.outputs["b"] == [0xC0, 3]
    assert result.taps["c"] == [0x80, 6]


def test_numpy_items_of_64_bits() -> None:
    text = "$pipe a b : $int<64> $depth 2\n$module [m] $in () $out () $is { v := a b := v }\n"
    items = np.array([2**64 - 1, 5], dtype=np.uint64)
    result = Simulator(parse(text)).run({"a": items}, {"b": 2})  # pyright: ignore[reportArgumentType] (any integers)
    assert result.outputs["b"] == [2**64 - 1, 5]


def test_state_and_items_persist_between_runs() -> None:
    simulator = daemon("x := x_in\ns := (s + x)\ny_out := s")
    assert simulator.run({"x_in": [1, 2, 3]}, {"y_out": 2}).outputs["y_out"] == [1, 3]
    assert simulator.run({"x_in": [4]}, {"y_out": 2}).outputs["y_out"] == [6, 10]


def test_registers_of_a_called_module_persist() -> None:
    simulator = load("calls")
    assert [simulator.call("count", 3), simulator.call("count", 5)] == [(3,), (8,)]


# Errors


def test_unwritten_word() -> None:
    body, memory = "x := x_in\ny_out := W[x]", "$storage W : $array[5] $of $uint<8>"
    with pytest.raises(AaError) as caught:
        daemon(body, memory).run({"x_in": [3]}, {"y_out": 1})
    assert str(caught.value) == (
        "m.aa:6:10: module 'm' reads word 3 of storage 'W', which nobody has written; "
        "a storage has no initial contents"
    )
    filled = daemon(body, memory, undefined=9)
    assert filled.run({"x_in": [3]}, {"y_out": 1}).outputs["y_out"] == [9]


def test_index_outside() -> None:
    body = "x := x_in\nW[x] := x"
    with pytest.raises(AaError) as caught:
        daemon(body, "$storage W : $array[5] $of $uint<8>").run({"x_in": [5]}, {})
    assert str(caught.value) == (
        "m.aa:6:1: module 'm' uses index 5 of storage 'W', which has 5 words"
    )


@pytest.mark.parametrize(
    ("inputs", "expect", "taps", "message"),
    [
        ({"nope": [1]}, {}, (), "'nope' is not an input pipe; accepted: x_in"),
        ({"y_out": [1]}, {}, (), "'y_out' is not an input pipe; accepted: x_in"),
        ({}, {"x_in": 1}, (), "'x_in' is not an output pipe; accepted: y_out"),
        ({}, {}, ("nope",), "tap 'nope': no such pipe; accepted: x_in, y_out"),
    ],
)
def test_wrong_pipes(
    inputs: dict[str, list[int]], expect: dict[str, int], taps: tuple[str, ...], message: str
) -> None:
    with pytest.raises(AaError) as caught:
        daemon("x := x_in\ny_out := x").run(inputs, expect, taps=taps)
    assert message == str(caught.value)


def test_wrong_calls() -> None:
    simulator = load("gcd")
    with pytest.raises(AaError, match=r"^'lcm' is not a module$"):
        simulator.call("lcm", 1)
    with pytest.raises(AaError, match=r"^module 'gcd' takes 2 arguments, not 1$"):
        simulator.call("gcd", 1)


def test_a_foreign_module_cannot_be_run() -> None:
    foreign = "$foreign $module [far] $in (a : $uint<8>) $out (r : $uint<8>)"
    with pytest.raises(AaError) as caught:
        daemon("x := x_in\ny_out := ($call far (x))", foreign)
    assert str(caught.value) == "m.aa:6:10: module 'far' has no body: it cannot be run"


def test_an_odd_float_cannot_be_run() -> None:
    pipes = "$pipe f_in f_out : $float<6,9> $depth 2"
    message = r"^float<6,9> cannot be run; accepted: <5,10>, <8,23>, <11,52>$"
    with pytest.raises(AaError, match=message):
        daemon("f := f_in\nf_out := (f + f)", pipes)


def test_type_errors_stop_the_simulator() -> None:
    with pytest.raises(AaError, match=r"^m\.aa:5:6: module 'm': 'q' is not declared$"):
        daemon("x := q")


def test_max_steps() -> None:
    with pytest.raises(AaError, match=r"^no end after 50 steps; y_out gave 0 of 1$"):
        daemon("$null").run({}, {"y_out": 1}, max_steps=50)


def test_speed() -> None:
    """A daemon of 100 multiplications a word: 2000 words stay far below the design's bound."""
    products = "".join(
        f"p{n} := (($cast ($int<16>) ($bitcast ($int<8>) ($slice w {8 * n + 7} {8 * n}))) "
        f"* ($bitcast ($int<16>) ($slice w {8 * n + 7} {8 * n})))\n"
        for n in range(100)
    )
    total = " ".join(f"($cast ($int<32>) p{n})" for n in range(100))
    text = (
        "$pipe x_in : $uint<800> $depth 2\n$pipe y_out : $int<32> $depth 2\n"
        "$module [m] $in () $out () $is\n{\n"
        + loop(f"w := x_in\n{products}\ny_out := ($reduce + {total})")
        + "\n}\n"
    )
    simulator = Simulator(parse(text))
    generator = random.Random(5)
    words = [generator.getrandbits(800) for _ in range(2000)]
    start = time.perf_counter()
    outputs = simulator.run({"x_in": words}, {"y_out": 2000}).outputs["y_out"]
    assert time.perf_counter() - start < 5
    lanes = [[word >> 8 * n & 255 for n in range(100)] for word in words]
    expected = [sum((lane ^ 128) * lane - 128 * lane for lane in row) % 2**32 for row in lanes]
    assert expected == outputs


def test_a_called_module_without_arguments_returns() -> None:
    text = """
    $pipe a : $uint<8> $depth 2
    $pipe o : $uint<8> $depth 2
    $storage s : $uint<8>
    $module [bump] $in () $out () $is { s := (s + 1) }
    $module [main] $in () $out () $is {
      x := a
      s := x
      $barrier
      $call bump () ()
      $barrier
      o := s
    }
    """
    found = Simulator(parse(text)).run({"a": [3, 255]}, {"o": 2})
    assert found.outputs == {"o": [4, 0]}


def test_an_index_that_is_a_slice() -> None:
    text = """
    $pipe a : $uint<8> $depth 2
    $pipe o : $uint<8> $depth 2
    $storage r : $array[4] $of $uint<8>
    $module [main] $in () $out () $is {
      x := a
      r[0] := 10  r[1] := 11  r[2] := 12  r[3] := 13
      $barrier
      o := r[($slice x 2 1)]
    }
    """
    found = Simulator(parse(text)).run({"a": [0, 2, 5, 7]}, {"o": 4})
    assert found.outputs == {"o": [10, 11, 12, 13]}
