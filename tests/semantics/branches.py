"""Branch blocks: if, switch, merge, place, phis of merges, loops within them, and other blocks.

In: nothing. Out: ``BATCHES``; each part is one small program.
"""

from __future__ import annotations

from tests.semantics.table import DATA, Batch, Part, single

__all__ = ["BATCHES"]

_HALF = {"o": len(DATA) // 2}


def _block(name: str, body: str, kind: str = "branch", **options: object) -> Part:
    """Make a module of one block that runs again and again."""
    lines = "".join(f"    {line.strip()}\n" for line in body.split(";"))
    text = f"$module [@m] $in () $out () $is\n{{\n  ${kind}block [@b] {{\n{lines}  }}\n}}\n"
    return single(name, text, **options)  # pyright: ignore[reportArgumentType]


def _body(name: str, body: str, **options: object) -> Part:
    """Make a module of some statements."""
    lines = "".join(f"  {line.strip()}\n" for line in body.split(";"))
    text = f"$module [@m] $in () $out () $is\n{{\n{lines}}}\n"
    return single(name, text, **options)  # pyright: ignore[reportArgumentType]


_CHOICES = (
    _block("if_else", "x := @p;$if (x > 9) $then;@o := (x + 1);$else;@o := (x - 1);$endif"),
    _block("if_only", "x := @p;$if (x > 9) $then;@o := 255;$endif;@o := x", expect={"o": 20}),
    _block(
        "if_values",
        "x := @p;$if (x > 9) $then;y := (x + 1);@o := y;$else;z := (x * 3);@o := z;$endif",
    ),
    _block(
        "if_nested",
        (
            "x := @p;$if (x > 9) $then;$if (x > 100) $then;@o := 3;$else;@o := 2;$endif;$else;"
            "@o := 1;$endif"
        ),
    ),
    _block("if_wide_condition", "x := @p;$if x $then;@o := x;$else;@o := 1;$endif"),
    _block("if_slice_condition", "x := @p;$if ($slice x 2 1) $then;@o := x;$else;@o := 1;$endif"),
    _block("if_literal", "x := @p;$if 1 $then;@o := x;$else;@o := 1;$endif"),
    _block(
        "if_reads_pipe",
        "x := @p;$if (x > 9) $then;y := @p;@o := (x + y);$else;@o := x;$endif",
        expect={"o": 8},
    ),
    _block(
        "if_two_in_order",
        (
            "x := @p;$if (x > 9) $then;@o := 1;$else;@o := 2;$endif;$if (x > 99) $then;@o := 3;"
            "$endif"
        ),
    ),
    _block("if_keeps_values", "x := @p;$if (x > 9) $then;k := x;$else;$null;$endif;@o := k"),
    _block(
        "if_merge_phi",
        (
            "x := @p;$if (x > 9) $then;y := (x + 1);$place [@t];$else;z := (x * 3);$place [@e];"
            "$endif;"
            "$merge @t @e;$phi r := y $on @t z $on @e;$endmerge;@o := r"
        ),
    ),
    _block(
        "if_one_place",
        (
            "x := @p;$if (x > 9) $then;y := (x + 1);$place [@t];$endif;"
            "$merge $entry @t;$phi r := x $on $entry y $on @t;$endmerge;@o := r"
        ),
    ),
    _block(
        "switch",
        (
            "x := @p;s := ($slice x 1 0);$switch s;$when 0 $then;@o := x;$when 1 $then;"
            "@o := (x + 1);"
            "$when 2 $then;@o := (x + 2);$default;@o := 0;$endswitch"
        ),
    ),
    _block(
        "switch_expression",
        (
            "x := @p;$switch ($slice x 2 0);$when 7 $then;@o := 70;$when 1 $then;@o := 10;"
            "$default;@o := x;$endswitch"
        ),
    ),
    _block(
        "switch_falls_to_default",
        (
            "x := @p;$switch x;$when 250 $then;@o := 1;$when 255 $then;@o := 2;$when _h0 $then;"
            "@o := 3;"
            "$default;@o := 4;$endswitch"
        ),
    ),
    _block(
        "switch_then_more",
        ("x := @p;$switch x;$when 7 $then;y := (x * 2);$default;$null;$endswitch;@o := y"),
    ),
    _block(
        "switch_places",
        (
            "x := @p;$switch ($slice x 0 0);$when 0 $then;y := (x + 1);$place [@a];"
            "$default;z := (x - 1);$place [@d];$endswitch;"
            "$merge @a @d;$phi r := y $on @a z $on @d;$endmerge;@o := r"
        ),
    ),
)

_LOOPS = (
    _block(
        "merge_counter",
        (
            "x := @p;$merge $entry @again;$phi i := $zero<3> $on $entry n $on @again;$endmerge;"
            "n := (i + 1);@o := ($concat $zero<5> i);$if (i < 3) $then;$place [@again];$endif"
        ),
        expect={"o": 40},
    ),
    _block(
        "merge_accumulates",
        (
            "$merge $entry @again;$phi i := $zero<3> $on $entry n $on @again;"
            "$phi s := $zero<8> $on $entry t $on @again;$endmerge;"
            "x := @p;n := (i + 1);t := (s + x);$if (i < 3) $then;$place [@again];$endif;@o := t"
        ),
        expect={"o": 4},
    ),
    _block(
        "merge_swap",
        (
            "$merge $entry @again;$phi i := $zero<3> $on $entry n $on @again;"
            "$phi a := ($bitcast ($uint<8>) 1) $on $entry b $on @again;"
            "$phi b := ($bitcast ($uint<8>) 2) $on $entry a $on @again;$endmerge;"
            "x := @p;n := (i + 1);@o := (x + a);$if (i < 6) $then;$place [@again];$endif"
        ),
    ),
    _block(
        "merge_two_ways",
        (
            "$merge $entry @odd @even;$phi i := $zero<8> $on $entry n $on @odd m $on @even;"
            "$endmerge;"
            "x := @p;@o := (x + i);n := (i + 1);m := (i + 10);"
            "$if ($slice x 0 0) $then;$place [@odd];$else;$place [@even];$endif"
        ),
    ),
    _block(
        "merge_for_ever",
        (
            "$merge $entry @again;$phi s := $zero<8> $on $entry t $on @again;$endmerge;"
            "x := @p;t := (s + x);@o := t;$place [@again]"
        ),
    ),
    _block(
        "merge_without_phi", "$merge $entry @again;$endmerge;x := @p;@o := (x + 3);$place [@again]"
    ),
    _block(
        "merge_nested",
        (
            "$merge $entry @outer;$phi i := $zero<2> $on $entry ni $on @outer;$endmerge;"
            "$merge $entry @inner;$phi j := $zero<2> $on $entry nj $on @inner;$endmerge;"
            "@o := ($concat $zero<4> i j);nj := (j + 1);$if (j != 2) $then;$place [@inner];$endif;"
            "ni := (i + 1);$if (i != 3) $then;$place [@outer];$endif;x := @p"
        ),
        expect={"o": 60},
    ),
    _block(
        "merge_exit_in_the_middle",
        (
            "$merge $entry @again;$phi i := $zero<4> $on $entry n $on @again;$endmerge;"
            "x := @p;n := (i + 1);$if (x > 100) $then;$place [@out];$endif;@o := x;$place [@again];"
            "$merge @out;$endmerge;@o := ($concat $zero<4> i)"
        ),
    ),
    _block(
        "merge_gcd",
        (
            "u := @p;v := @p;$merge $entry @l @r;$phi a := u $on $entry c $on @l a1 $on @r;"
            "$phi b := v $on $entry b1 $on @l d $on @r;$endmerge;"
            "c := (a - b);d := (b - a);a1 := a;b1 := b;"
            "$if ((a > b) & (b > 0)) $then;$place [@l];$else;$if ((b > a) & (a > 0)) $then;"
            "$place [@r];$endif;$endif;"
            "@o := a"
        ),
        expect=_HALF,
    ),
    _block(
        "loop_nested",
        (
            "k := @p;$merge $entry @again;$phi r := $zero<2> $on $entry nr $on @again;$endmerge;"
            "$dopipeline $depth 7 $fullrate;$merge $entry $loopback;"
            "$phi i := $zero<2> $on $entry n $on $loopback;$endmerge;"
            "$volatile n := (i + 1);t := (k + ($concat $zero<4> r i));@o := t;$while (i < 2);"
            "nr := (r + 1);$if (r < 2) $then;$place [@again];$endif"
        ),
        expect={"o": 27},
    ),
    _block(
        "loop_accumulator_goes_on",
        (
            "$merge $entry @again;$phi r := $zero<2> $on $entry nr $on @again;$endmerge;"
            "$dopipeline $depth 7 $fullrate;$merge $entry $loopback;"
            "$phi i := $zero<1> $on $entry n $on $loopback;$endmerge;"
            "$volatile n := (~ i);x := @p;acc := (acc + x);@o := acc;$while (i == 0);"
            "nr := (r + 1);$if (r < 2) $then;$place [@again];$endif"
        ),
    ),
    _block(
        "loop_in_arm",
        (
            "k := @p;$if (k > 9) $then;"
            "$dopipeline $depth 7 $fullrate;$merge $entry $loopback;"
            "$phi i := $zero<2> $on $entry n $on $loopback;$endmerge;"
            "$volatile n := (i + 1);t := (k + ($concat $zero<6> i));@o := t;$while (i < 1);"
            "$else;@o := 0;$endif"
        ),
        expect={"o": 24},
    ),
    _block(
        "loop_phi_from_outside",
        (
            "k := @p;$dopipeline $depth 7 $fullrate;$merge $entry $loopback;"
            "$phi a := k $on $entry b $on $loopback;$endmerge;"
            "b := (a * 3);x := @p;@o := (x + a);$while (b < 100)"
        ),
        expect={"o": 5},
    ),
    _block(
        "two_loops",
        (
            "$dopipeline $depth 7 $fullrate;$merge $entry $loopback;"
            "$phi i := $zero<2> $on $entry n $on $loopback;$endmerge;"
            "$volatile n := (i + 1);x := @p;a := (a + x);@o := a;$while (i < 2);"
            "$dopipeline $depth 7 $fullrate;$merge $entry $loopback;"
            "$phi j := $zero<2> $on $entry nj $on $loopback;$endmerge;"
            "$volatile nj := (j + 1);y := @p;b := (b ^ y);@o := b;$while (j < 1)"
        ),
        expect={"o": 15},
    ),
    _block(
        "loop_then_statements",
        (
            "$dopipeline $depth 7 $fullrate;$merge $entry $loopback;"
            "$phi i := $zero<2> $on $entry n $on $loopback;$endmerge;"
            "$volatile n := (i + 1);x := @p;@o := x;$while (i < 2);"
            "y := @p;@o := (y + 100)"
        ),
    ),
)

_BLOCKS = (
    _body("series_block", "$seriesblock [@s] {;x := @p;@o := (x + 1);}"),
    _body("series_export", "$seriesblock [@s] {;x := @p;y := (x + 1);} (y => z);@o := (z * 3)"),
    _body("series_path", "$seriesblock [@s] {;x := @p;y := (x + 1);};@o := (%@s:y * 3)"),
    _body("series_parent", "x := @p;$seriesblock [@s] {;@o := (../:x + 1);}"),
    _body("series_outer", "x := @p;$seriesblock [@s] {;@o := (x + 1);}"),
    _body(
        "parallel_block",
        ("x := @p;$parallelblock [@s] {;a := (x + 1);b := (x * 3);} (a => c b => d);@o := (c - d)"),
    ),
    _body(
        "parallel_series",
        (
            "x := @p;$parallelblock [@s] {;$seriesblock [@u] {;a := (x + 1);@o := a;};"
            "$seriesblock [@v] {;b := (x * 3);@q := b;};}"
        ),
        pipes="$pipe @p : $uint<8> $depth 2\n$pipe @o @q : $uint<8> $depth 2\n",
        expect={"o": len(DATA), "q": len(DATA)},
    ),
    _body(
        "parallel_pipes",
        "$parallelblock [@s] {;@c := @p;@o := @c;}",
        pipes="$pipe @p : $uint<8> $depth 2\n$pipe @o @c : $uint<8> $depth 2\n",
    ),
    _body(
        "fork_join",
        (
            "x := @p;$forkblock [@f] {;$seriesblock [@u] {;a := (x + 1);} (a => c);"
            "$seriesblock [@v] {;b := (x * 3);} (b => d);$join @u @v;$fork;e := (c - d);"
            "$endjoin;} (e => g);@o := g"
        ),
    ),
    _body(
        "branch_in_series",
        (
            "x := @p;$branchblock [@s] {;$if (x > 9) $then;y := x;$else;z := x;$endif;"
            "} (y => u z => v);@o := (u + v)"
        ),
    ),
    _body(
        "branch_in_parallel",
        (
            "x := @p;$parallelblock [@s] {;$branchblock [@u] {;$if (x > 9) $then;@o := x;$endif;};"
            "$seriesblock [@v] {;@q := x;};}"
        ),
        pipes="$pipe @p : $uint<8> $depth 2\n$pipe @o @q : $uint<8> $depth 2\n",
        expect={"o": sum(word > 9 for word in DATA), "q": len(DATA)},
    ),
)

BATCHES = (
    Batch("branches", (*_CHOICES, *_LOOPS)),
    Batch("blocks", _BLOCKS),
)
