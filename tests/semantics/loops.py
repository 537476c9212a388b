"""Pipelined loops: previous values, guards, phis, ends of loops, buffering, split, volatile.

In: nothing. Out: ``BATCHES``; each part is one small program.
"""

from __future__ import annotations

from tests.semantics.table import DATA, Batch, Part, loop, single

__all__ = ["BATCHES"]

_COUNT = "        $phi i := $zero<{w}> $on $entry n $on $loopback\n"
_NEXT = "      $volatile n := (i + 1)\n"
_ODD = "      $volatile odd := ($slice i 0 0)\n"
_HALF = {"o": len(DATA) // 2}


def _loop(
    name: str,
    body: str,
    *,
    phis: str = "",
    condition: str = "1",
    depth: int = 7,
    after: str = "",
    expect: dict[str, int] | None = None,
    pipes: str | None = None,
    inputs: dict[str, tuple[int, ...]] | None = None,
) -> Part:
    lines = "".join(f"      {line.strip()}\n" for line in body.split(";"))
    text = loop("@m", lines, phis=phis, condition=condition, depth=depth, after=after)
    extra = {} if pipes is None else {"pipes": pipes}
    return single(name, text, inputs, expect, **extra)


def _counted(name: str, body: str, width: int = 3, **options: object) -> Part:
    """Make a loop with a counter ``i`` whose lowest bit is ``odd``."""
    lines = f"$volatile n := (i + 1);$volatile odd := ($slice i 0 0);{body}"
    return _loop(name, lines, phis=_COUNT.format(w=width), **options)  # pyright: ignore[reportArgumentType]


_PREVIOUS = (
    _loop("prev_accumulator", "x := @p;acc := (acc + x);@o := acc"),
    _loop("prev_shift_register", "a2 := a1;a1 := a0;a0 := @p;t := ((a0 + a1) + a2);@o := t"),
    _loop("prev_of_input", "y := (x + 1);x := @p;@o := y"),
    _loop("prev_two_back", "z := (y + x);y := x;x := @p;@o := z"),
    _loop("prev_of_volatile", "x := @p;y := (x - v);$volatile v := (x + 3);@o := y"),
    _loop("prev_cross", "x := @p;a := (b + x);b := (a ^ x);t := (a - b);@o := t"),
    _loop("prev_late_reader", "x := @p;y := (x + 1);z := (y + x0);x0 := (x * 3);@o := z"),
    _loop("prev_two_stages", "x := @p;y := (x + acc);acc := (y ^ 5);@o := acc"),
    _loop("prev_written_directly", "@o := (acc + 1);x := @p;acc := (x * 3)"),
    _loop("prev_max", "x := @p;m := ($mux (x > m) x m);@o := m"),
    _loop(
        "prev_toggle",
        "x := @p;t := ($one<1> ^ t);y := ($mux t x 0);@o := y",
        pipes=("$pipe @p : $uint<1> $depth 2\n$pipe @o : $uint<1> $depth 2\n"),
        inputs={"p": tuple(word % 2 for word in DATA)},
    ),
    _loop("prev_same_statement_twice", "x := @p;s := ((s + s) + x);@o := s"),
    _counted(
        "prev_restarted",
        ("x := @p;$volatile first := (i == 0);acc := (($mux first $zero<8> acc) + x);@o := acc"),
    ),
    _counted(
        "prev_restarted_delayed",
        (
            "x := @p;w := (x ^ 1);$volatile first := (i == 0);fd := first $buffering 4;"
            "acc := (($mux fd $zero<8> acc) + w);@o := acc"
        ),
    ),
)

_GUARDS = (
    _counted("guard_assign", "x := @p;$guard (odd) k := (x + 1);@o := k"),
    _counted("guard_assign_inverted", "x := @p;$guard (~ odd) k := (x + 1);@o := k"),
    _counted(
        "guard_both",
        ("x := @p;$guard (odd) k := (x + 1);$guard (~ odd) j := (x - 1);t := (k ^ j);@o := t"),
    ),
    _loop(
        "guard_of_constant",
        "x := @p;$volatile g := (x > 9);$guard (g) k := ($bitcast ($uint<8>) 5);@o := k",
    ),
    _loop("prev_of_constant", "t := (k + @p);k := ($bitcast ($uint<8>) 5);@o := t"),
    _counted("guard_previous", "x := @p;$guard (odd) acc := (acc + x);@o := acc"),
    _counted("guard_previous_above", "t := (k + 1);x := @p;$guard (odd) k := x;@o := t"),
    _counted("guard_pipe_read", "$guard (odd) x := @p;@o := x"),
    _counted("guard_pipe_read_inverted", "$guard (~ odd) x := @p;@o := x"),
    _counted("guard_pipe_read_expression", "$guard (odd) x := (@p + 1);@o := x"),
    _counted("guard_pipe_write", "x := @p;$guard (odd) @o := x", expect=_HALF),
    _counted("guard_pipe_write_inverted", "x := @p;$guard (~ odd) @o := x", expect=_HALF),
    _counted("guard_pipe_write_expression", "x := @p;$guard (odd) @o := (x + 3)", expect=_HALF),
    _counted("guard_read_and_write", "$guard (odd) x := @p;$guard (~ odd) @o := x"),
    _counted("guard_pipe_to_pipe", "$guard (odd) @o := @p"),
    _loop("guard_from_data", "x := @p;g := ($slice x 0 0);$guard (g) k := x;@o := k"),
    _loop("guard_from_data_volatile", "x := @p;$volatile g := (x > 9);$guard (g) k := x;@o := k"),
    _loop(
        "guard_from_data_write",
        ("x := @p;$volatile g := (x > 9);$guard (g) @o := x"),
        expect={"o": sum(word > 9 for word in DATA)},
    ),
    _loop(
        "guard_from_previous", "$guard (g) k := (k + $one<8>);x := @p;g := ($slice x 0 0);@o := k"
    ),
    _loop(
        "guard_by_kept_guard",
        (
            "x := @p;$volatile g := ($slice x 0 0);$guard (g) h := ($slice x 1 1);"
            "$guard (h) k := x;@o := k"
        ),
    ),
    _counted(
        "guard_delayed",
        ("$guard (odd) x := @p;y := (x + 1);od := odd $buffering 3;$guard (od) k := y;@o := k"),
    ),
    _counted(
        "guard_split",
        (
            "x := @p;$guard (odd) $split (x 3 5) (h l);"
            "t := (($bitcast ($uint<8>) h) + ($bitcast ($uint<8>) l));@o := t"
        ),
    ),
    _counted(
        "guard_two_pipes",
        ("$guard (odd) x := @p;$guard (~ odd) y := @q;t := ($mux odd x y);@o := t"),
        pipes=("$pipe @p @q : $uint<8> $depth 2\n$pipe @o : $uint<8> $depth 2\n"),
        inputs={"p": DATA, "q": DATA[::-1]},
    ),
)

_PHIS = (
    _loop(
        "phi_counter",
        "$volatile n := (i + 1);x := @p;y := (x + i);@o := y",
        phis=_COUNT.format(w=8),
    ),
    _loop(
        "phi_counter_registered",
        "n := (i + 1);x := @p;y := (x + i);@o := y",
        phis=_COUNT.format(w=8),
    ),
    _loop(
        "phi_swap",
        "x := @p;t := (a + x);@o := t",
        phis=(
            "        $phi a := ($bitcast ($uint<8>) 1) $on $entry b $on $loopback\n"
            "        $phi b := ($bitcast ($uint<8>) 9) $on $entry a $on $loopback\n"
        ),
    ),
    _loop(
        "phi_rotate",
        "x := @p;t := (a + (x + c));@o := t",
        phis=(
            "        $phi a := ($bitcast ($uint<8>) 1) $on $entry b $on $loopback\n"
            "        $phi b := ($bitcast ($uint<8>) 9) $on $entry c $on $loopback\n"
            "        $phi c := ($bitcast ($uint<8>) 70) $on $entry a $on $loopback\n"
        ),
    ),
    _loop(
        "phi_fibonacci",
        "$volatile s := (a + b);x := @p;t := (a ^ x);@o := t",
        phis=(
            "        $phi a := $zero<8> $on $entry b $on $loopback\n"
            "        $phi b := $one<8> $on $entry s $on $loopback\n"
        ),
    ),
    _loop(
        "phi_accumulator",
        "x := @p;s := (a + x);@o := s",
        phis=("        $phi a := $zero<8> $on $entry s $on $loopback\n"),
    ),
    _loop(
        "phi_expression_source",
        "x := @p;t := (a + x);@o := t",
        phis=("        $phi a := $zero<8> $on $entry (a + 5) $on $loopback\n"),
    ),
    _loop(
        "phi_pipe_source",
        "t := (a + 1);@o := t",
        phis=("        $phi a := $zero<8> $on $entry @p $on $loopback\n"),
    ),
    _loop(
        "phi_of_previous",
        "x := @p;t := (a + y);y := (x + 3);@o := t",
        phis=("        $phi a := $zero<8> $on $entry x $on $loopback\n"),
    ),
    _loop(
        "phi_two_counters",
        (
            "$volatile wrap := (j == 2);$volatile nj := ($mux wrap $zero<2> (j + 1));"
            "$volatile ni := ($mux wrap (i + 1) i);x := @p;"
            "t := (x + ($concat $zero<2> i j));@o := t"
        ),
        phis=(
            "        $phi i := $zero<4> $on $entry ni $on $loopback\n"
            "        $phi j := $zero<2> $on $entry nj $on $loopback\n"
        ),
    ),
    _loop(
        "phi_signed",
        "x := @p;$volatile n := (i - 3);t := (x + ($bitcast ($uint<8>) i));@o := t",
        phis=("        $phi i := ($bitcast ($int<8>) -5) $on $entry n $on $loopback\n"),
    ),
)

_ENDS = (
    _counted("end_count", "$volatile more := (i != 4);x := @p;@o := x", condition="more"),
    _counted("end_expression", "x := @p;@o := x", condition="(i < 5)"),
    _counted(
        "end_wide_condition", "x := @p;t := (x + ($bitcast ($uint<8>) i));@o := t", condition="n"
    ),
    _loop("end_once", "x := @p;@o := (x + 1)", condition="0"),
    _counted("end_of_registered", "x := @p;more := (i < 6);@o := x", condition="more"),
    _loop("end_by_data", "x := @p;c := (x != 255);@o := x", condition="c"),
    _loop(
        "end_by_data_count",
        ("x := @p;$volatile n := (i + 1);c := (x < 200);t := (x + i);@o := t"),
        phis=_COUNT.format(w=8),
        condition="c",
    ),
    _counted("end_keeps_registers", "x := @p;acc := (acc + x);@o := acc", condition="(i < 3)"),
    _counted("end_keeps_guarded", "x := @p;$guard (odd) k := x;@o := k", condition="(i < 2)"),
    _counted(
        "end_value_after",
        "x := @p;acc := (acc + x)",
        condition="(i < 3)",
        after="    @o := acc\n",
        expect={"o": len(DATA) // 4},
    ),
    _counted(
        "end_last_after",
        "x := @p;y := (x ^ 3)",
        condition="(i < 3)",
        after="    z := (x + y)\n    @o := z\n",
        expect={"o": len(DATA) // 4},
    ),
    _counted(
        "end_phi_after",
        "x := @p",
        condition="(x < 128)",
        width=8,
        after="    z := (x + i)\n    @o := z\n",
        expect={"o": sum(word >= 128 for word in DATA)},
    ),
    _counted(
        "end_depth_1", "x := @p;y := (x + 1);z := (y * 3);@o := z", condition="(i < 5)", depth=1
    ),
    _counted(
        "end_depth_2", "x := @p;y := (x + 1);z := (y * 3);@o := z", condition="(i < 5)", depth=2
    ),
    _counted(
        "end_depth_15", "x := @p;y := (x + 1);z := (y * 3);@o := z", condition="(i < 5)", depth=15
    ),
)


def _buffered(count: int) -> Part:
    return _loop(
        f"buffering_{count}",
        (f"x := @p;y := (x + 1);z := (y * 3);xd := x $buffering {count};t := (z + xd);@o := t"),
    )


_BUFFERS = (
    *(_buffered(count) for count in (1, 2, 3, 8)),
    _loop("buffering_in_expression", "x := @p;y := (x + 1 $buffering 2);t := (x + y);@o := t"),
    _loop("buffering_cut_through", "x := @p;y := x $buffering 2 $cut_through;t := (x + y);@o := t"),
    _loop("buffering_previous", "y := x $buffering 3;x := @p;t := (x - y);@o := t"),
    _loop("buffering_accumulator", "x := @p;acc := (acc + x) $buffering 2;@o := acc"),
    _loop("buffering_pipe_read", "x := @p $buffering 4;t := (x + 1);@o := t"),
    _loop("buffering_pipe_write", "x := @p;@o := x $buffering 2"),
)

_REST = (
    _loop("split_two", "x := @p;$split (x 3 5) (h l);t := ($concat l h);@o := t"),
    _loop("split_many", "x := @p;$split (x 1 2 4 1) (a b c d);t := ($concat d c b a);@o := t"),
    _loop("split_previous", "t := ($concat l h);x := @p;$split (x 4 4) (h l);@o := t"),
    _loop(
        "split_to_pipes",
        "x := @p;$split (x 4 4) (@h @l)",
        pipes=("$pipe @p : $uint<8> $depth 2\n$pipe @h @l : $uint<4> $depth 2\n"),
        expect={"h": len(DATA), "l": len(DATA)},
    ),
    _loop(
        "volatile_chain",
        ("x := @p;$volatile a := (x + 1);$volatile b := (a * a);$volatile c := (b - x);@o := c"),
    ),
    _loop(
        "volatile_of_register", "x := @p;r := (x * 3);$volatile v := (r + x);t := (v + r);@o := t"
    ),
    _loop("volatile_kept", "x := @p;$volatile v := (x + 1);k := (k + v);@o := k"),
    _loop("pipe_to_pipe", "@o := @p"),
    _loop("pipe_in_expression", "@o := ((@p + 1) * 3)"),
    _loop(
        "pipe_dropped",
        "x := @p;y := @q;@o := y",
        pipes=("$pipe @p @q : $uint<8> $depth 2\n$pipe @o : $uint<8> $depth 2\n"),
        inputs={"p": DATA, "q": DATA[::-1]},
    ),
    _loop("pipe_read_twice", "t := (@p - @p);@o := t", expect=_HALF),
    _loop("pipe_two_reads", "x := @p;y := @p;t := (x - y);@o := t", expect=_HALF),
    _loop("pipe_two_writes", "x := @p;@o := x;@o := (x + 1)"),
    _loop(
        "pipe_both_mux_arms",
        "c := @c;t := ($mux c @p @q);@o := t",
        pipes=(
            "$pipe @p @q : $uint<8> $depth 2\n$pipe @c : $uint<1> $depth 2\n"
            "$pipe @o : $uint<8> $depth 2\n"
        ),
        inputs={"p": DATA, "q": DATA[::-1], "c": tuple(w % 2 for w in DATA)},
    ),
    _loop(
        "pipe_same_value_to_two",
        "x := @p;@o := x;@q := x",
        pipes=("$pipe @p : $uint<8> $depth 2\n$pipe @o @q : $uint<8> $depth 2\n"),
        expect={"o": len(DATA), "q": len(DATA)},
    ),
    _loop("null_in_loop", "x := @p;$null;@o := x"),
)

BATCHES = (Batch("loops", (*_PREVIOUS, *_GUARDS, *_PHIS, *_ENDS, *_BUFFERS, *_REST)),)
