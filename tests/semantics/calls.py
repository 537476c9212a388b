"""Calls: each class of module, from a plain body, a branch block and a pipelined loop.

In: nothing. Out: ``BATCHES``; each part is one small program.
"""

from __future__ import annotations

from tests.semantics.table import DATA, Batch, Part, loop, single

__all__ = ["BATCHES", "CLASSES"]

_PIPES = "$pipe @p : $uint<8> $depth 2\n$pipe @o : $uint<8> $depth 2\n"
CLASSES = {
    "plain": ("$module", ""),
    "pipeline": ("$pipeline $depth 7 $fullrate $module", ""),
    "operator": ("$operator $module", ""),
    "pipeline_operator": ("$pipeline $depth 7 $buffering 2 $fullrate $operator $module", ""),
    "deterministic": ("$pipeline $depth 7 $fullrate $deterministic $operator $module", ""),
    "volatile": ("$volatile $module", "$volatile "),
    "macro": ("$macro $module", ""),
    "useonce": ("$useonce $module", ""),
    "noopt": ("$noopt $module", ""),
    "opaque": ("$opaque $module", ""),
}


def _function(name: str, head: str, body: str, results: str = "$uint<8>") -> str:
    lines = "".join(f"  {line.strip()}\n" for line in body.split(";"))
    return f"{head} [{name}] $in (a b : $uint<8>) $out (r : {results}) $is\n{{\n{lines}}}\n"


def _lines(body: str) -> str:
    return "".join(f"      {line.strip()}\n" for line in body.split(";"))


def _in_loop(name: str, functions: str, body: str, pipes: str = _PIPES, depth: int = 7) -> Part:
    return single(name, functions + loop("@m", _lines(body), depth=depth), pipes=pipes)


def _in_body(name: str, functions: str, body: str, **options: object) -> Part:
    text = f"$module [@m] $in () $out () $is\n{{\n{_lines(body)}}}\n"
    return single(name, functions + text, **options)  # pyright: ignore[reportArgumentType]


def _class_parts(kind: str) -> list[Part]:
    head, prefix = CLASSES[kind]
    deep = f"{prefix}t := (a * 3);{prefix}u := (t ^ b);{prefix}r := (u - a)"
    if kind == "volatile":
        deep = "$volatile t := (a * 3);$volatile u := (t ^ b);$volatile r := (u - a)"
    function = _function("@f", head, deep)
    call = f"{prefix}$call @f (x 9) (y)"
    parts = [
        _in_loop(f"call_{kind}", function, f"x := @p;{call};@o := y"),
        _in_body(f"call_{kind}_in_body", function, f"x := @p;{call};@o := y"),
        _in_loop(
            f"call_{kind}_sum",
            function,
            f"x := @p;{call};t := (x + y);@o := t",
        ),
    ]
    if kind not in ("useonce",):
        parts.append(
            _in_loop(
                f"call_{kind}_twice",
                function,
                f"x := @p;{call};{prefix}$call @f (7 x) (z);t := (y - z);@o := t",
            )
        )
    if kind not in ("useonce", "plain", "pipeline", "noopt", "opaque"):
        parts.append(
            _in_loop(
                f"call_{kind}_chain",
                function,
                f"x := @p;{call};{prefix}$call @f (y x) (z);@o := z",
            )
        )
    parts.append(
        _in_body(
            f"call_{kind}_chain_in_body",
            function,
            f"x := @p;{call};{prefix}$call @f (y x) (z);@o := z",
        )
        if kind != "useonce"
        else _in_body("call_useonce_of_pipe", function, "$call @f (@p 3) (y);@o := y")
    )
    return parts


def _module(name: str, head: str, body: str) -> str:
    lines = "".join(f"  {line.strip()}\n" for line in body.split(";"))
    return f"$module [{name}] {head} $is\n{{\n{lines}}}\n"


_F = _function("@f", "$module", "r := (a + b)")
_TWO = _module("@f", "$in (a b : $uint<8>) $out (s d : $uint<8>)", "s := (a + b);d := (a - b)")
_STATE = _function("@f", "$module", "$volatile g := (a > b);$guard (g) k := a;r := (k + 1)")
_PIPED = _function("@f", "$module", "y := @q;r := ((a + b) + y)")
_STORED = _function("@f", "$module", "$volatile k := ($slice b 1 0);@s[k] := a;r := @s[k]")
_LOOPED = _function(
    "@f",
    "$module",
    "$branchblock [@fb] {;$merge $entry @again;"
    "$phi i := $zero<3> $on $entry n $on @again;$phi s := a $on $entry t $on @again;$endmerge;"
    "n := (i + 1);t := (s + b);$if (i < 3) $then;$place [@again];$endif;} (t => u);r := u",
)
_SIGNED = _module("@f", "$in (a : $int<8>) $out (r : $int<16>)", "r := (($cast ($int<16>) a) * -3)")
_THREE = _PIPES + "$pipe @q : $uint<8> $depth 2\n"
_BOTH = {"p": DATA, "q": DATA[::-1]}


def _late_parts(kind: str) -> list[Part]:
    """Use a result of the iteration before, and use it only where a guard holds."""
    function = _function("@f", CLASSES[kind][0], "t := (a + b);r := (t ^ 1)")
    return [
        _in_loop(f"call_{kind}_late", function, "d := e;x := @p;$call @f (x d) (y);e := y;@o := y"),
        _in_loop(
            f"call_{kind}_late_sum",
            function,
            "d := (e + 1);x := @p;$call @f (x d) (y);e := y;@o := y",
        ),
        _in_loop(
            f"call_{kind}_guarded_use",
            function,
            "x := @p;$volatile g := (x > 9);$call @f (x 3) (y);"
            "gd := g $buffering 6;$guard (gd) k := y;@o := k",
        ),
    ]


_LATE = ("plain", "pipeline", "operator", "pipeline_operator", "deterministic")

BATCHES = (
    Batch(
        "calls",
        (
            *(part for kind in _LATE for part in _late_parts(kind)),
            *(part for kind in CLASSES for part in _class_parts(kind)),
            _in_loop("call_expression", _F, "x := @p;y := (($call @f (x 3)) + 1);@o := y"),
            _in_body("call_expression_in_body", _F, "x := @p;@o := ($call @f (x 3))"),
            _in_body("call_of_pipe", _F, "$call @f (@p 3) (y);@o := y"),
            _in_body("call_of_expression", _F, "x := @p;$call @f ((x + 1) (x * 3)) (y);@o := y"),
            _in_body("call_result_to_pipe", _F, "x := @p;$call @f (x 3) (@o)"),
            _in_loop("call_two_results", _TWO, "x := @p;$call @f (x 9) (s d);t := (s ^ d);@o := t"),
            _in_body(
                "call_two_results_in_body", _TWO, "x := @p;$call @f (x 9) (s d);@o := (s ^ d)"
            ),
            _in_loop(
                "call_swapped_results", _TWO, "x := @p;$call @f (9 x) (s d);t := (d ^ s);@o := t"
            ),
            _in_loop("call_keeps_state", _STATE, "x := @p;$call @f (x 9) (y);@o := y"),
            _in_body("call_keeps_state_in_body", _STATE, "x := @p;$call @f (x 9) (y);@o := y"),
            _in_body(
                "call_reads_pipe",
                _PIPED,
                "x := @p;$call @f (x 9) (y);@o := y",
                pipes=_THREE,
                inputs=_BOTH,
            ),
            _in_body(
                "call_uses_storage",
                _STORED,
                "x := @p;$call @f (x x) (y);@o := y",
                pipes=f"{_PIPES}$storage @s : $array[4] $of $uint<8>\n",
            ),
            _in_body("call_loops", _LOOPED, "x := @p;$call @f (x 9) (y);@o := y"),
            _in_body(
                "call_signed",
                _SIGNED,
                "x := @p;$call @f (x) (y);@o := y",
                pipes="$pipe @p : $int<8> $depth 2\n$pipe @o : $int<16> $depth 2\n",
            ),
            _in_body(
                "call_in_call",
                _F + _function("@g", "$module", "$call @f (a b) (t);$call @f (t a) (r)"),
                "x := @p;$call @g (x 9) (y);@o := y",
            ),
            _in_body(
                "call_guarded",
                _F,
                "x := @p;$volatile g := (x > 9);$guard (g) $call @f (x 3) (y);@o := y",
            ),
            _in_loop(
                "call_guarded_in_loop",
                _F,
                "x := @p;$volatile g := (x > 9);$guard (g) $call @f (x 3) (y);@o := y",
            ),
            _in_loop(
                "call_guarded_operator",
                _function("@f", CLASSES["deterministic"][0], "r := (a + b)"),
                "x := @p;$volatile g := (x > 9);$guard (g) $call @f (x 3) (y);@o := y",
            ),
            _in_loop("call_of_previous", _F, "t := (y + 1);x := @p;$call @f (x 3) (y);@o := t"),
            _in_loop("call_accumulates", _F, "x := @p;$call @f (x y) (y);@o := y"),
            _in_loop(
                "call_volatile_expression",
                _function("@f", "$volatile $module", "$volatile r := (a + b)"),
                "x := @p;$volatile y := ($call @f (x 3));t := (y * 3);@o := t",
            ),
        ),
    ),
)
