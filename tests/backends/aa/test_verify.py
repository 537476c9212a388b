"""The verifier: a valid program, one thing broken, the whole message.

``BODY`` cases are statements inside a branch block of a module with an argument ``a`` of 8 bits,
``c`` of one bit, ``s`` signed; ``TEXT`` cases are whole programs.
"""

from __future__ import annotations

import pytest

from pyahir.backends.aa import ast as aa
from pyahir.backends.aa import types as ty
from pyahir.backends.aa.parser import parse
from pyahir.backends.aa.verify import verify
from pyahir.errors import AaError

PRELUDE = """\
$pipe x_in : $uint<8> $depth 2
$pipe y_out : $uint<8> $depth 2
$storage mem : $array[4] $of $uint<8>
$constant k : $int<16> := -300
$parameter size 4
$module [plain] $in (p : $uint<8>) $out (q : $uint<8>) $is { q := p }
$volatile $module [comb] $in (p : $uint<8>) $out (q : $uint<8>) $is { $volatile q := p }
$module [m] $in (a : $uint<8> c : $uint<1> s : $int<16>) $out () $is
{
$branchblock [b] {
BODY
}
}
"""

GOOD = """\
z := (a + 1)
$volatile v := ($mux c z a)
$guard (~ c) mem[(a + 1)] := v
x := x_in
y_out := x
$if (a > 3) $then $null $endif"""

# The statements, line and column within them, the message.
BODY = [
    ("z := (a + s)", 1, 11, "'s' has type $int<16>; accepted: $uint<8>"),
    ("z := q", 1, 6, "'q' is not declared"),
    ("z := (3 < 5)", 1, 7, "'3' and '5' have no type here; wrap one in a bitcast"),
    ("z := 5", 1, 6, "literal '5' has no type here; wrap it in a bitcast"),
    ("z := ($mux a a a)", 1, 12, "'a' has type $uint<8>; accepted: $uint<1>"),
    ("z := (a && 5)", 1, 12, "literal '5' has no type here; wrap it in a bitcast"),
    ("z := (a && s)", 1, 12, "'s' has type $int<16>; accepted in a concatenation: unsigned"),
    ("z := ($concat s a)", 1, 15, "'s' has type $int<16>; accepted in a concatenation: unsigned"),
    ("z := ($slice a 8 0)", 1, 6, "slice 8 0 of 8 bits; accepted: 7 >= high >= low >= 0"),
    ("z := ($slice a 2 3)", 1, 6, "slice 2 3 of 8 bits; accepted: 7 >= high >= low >= 0"),
    ("z := mem[s]", 1, 10, "index 's' has type $int<16>; accepted: an unsigned integer"),
    ("z := mem", 1, 6, "'mem' is an array; accepted: one element of it"),
    ("z := a[0]", 1, 6, "'a[0]' has an index that its type does not have"),
    ("mem[0] := s", 1, 11, "'s' has type $int<16>; accepted: $uint<8>"),
    ("y_out := s", 1, 10, "'s' has type $int<16>; accepted: $uint<8>"),
    ("z := (a / a)", 1, 6, "'/': the tools have no hardware for division"),
    ("z := (a ** a)", 1, 6, "'**': the tools have no hardware for power"),
    ("z := (a >< a)", 1, 6, "'><' compares floating point only"),
    ("z := (a + 256)", 1, 11, "literal '256' does not fit $uint<8>"),
    ("z := (a + -1)", 1, 11, "literal '-1' does not fit $uint<8>"),
    ("z := (s + 40000)", 1, 11, "literal '40000' does not fit $int<16>"),
    (
        "z := ($bitcast ($int<64>) -5)",
        1,
        27,
        "negative literal '-5' in $int<64>: the tools extend it with zeros from 32 bits; "
        "write _hFFFFFFFFFFFFFFFB",
    ),
    (
        "z := ($bitcast ($uint<64>) 8589934593)",
        1,
        28,
        "decimal literal '8589934593': the tools keep 32 bits of it; write _h200000001",
    ),
    (
        "z := (k >> 2)",
        1,
        6,
        "'(k >> 2)' is constant and signed: the tools fold '>>' as unsigned; write the result",
    ),
    (
        "z := (k < 0)",
        1,
        6,
        "'(k < 0)' is constant and signed: the tools fold '<' as unsigned; write the result",
    ),
    (
        "z := ($cast ($int<16>) ($bitcast ($uint<8>) 200))",
        1,
        6,
        "'($cast ($int<16>) ($bitcast ($uint<8>) 200))' is constant: the tools fold the cast "
        "without the sign; write the result",
    ),
    ("z := ($encode ($slice a 2 0))", 1, 6, "encode of 3 bits; accepted: a power of 2"),
    ("z := ($decode s)", 1, 6, "operand has type $int<16>; accepted: unsigned"),
    (
        "$volatile z := ($bitmap c 0 1)",
        1,
        16,
        "bitmap of 1 bits; accepted: each target bit 0 to 0 once",
    ),
    ("z := ($bitmap c 0 0)", 1, 6, "bitmap in a registered statement; accepted: in a volatile one"),
    ("z := $zero<width>", 1, 6, "'width' is not a parameter; declare it before its use"),
    ("z := ($call plain (a a))", 1, 6, "call of 'plain' with 2 arguments; accepted: 1"),
    ("$call plain (a) (z w)", 1, 1, "call of 'plain' with 2 results; accepted: 1"),
    ("$call nobody (a) (z)", 1, 1, "'nobody' is not a module"),
    ("$call plain (s) (z)", 1, 14, "'s' has type $int<16>; accepted: $uint<8>"),
    (
        "$split (a 4 3) (z w)",
        1,
        1,
        "split of 'a' ($uint<8>) into [4, 3]; accepted: unsigned, widths that add up to its width",
    ),
    ("$split (a 4 4) (z)", 1, 1, "split into 2 parts and 1 targets"),
    ("$guard (s) z := a", 1, 1, "condition 's' has type $int<16>; accepted: an unsigned integer"),
    ("$guard (g) z := a", 1, 1, "'g' is not declared"),
    (
        "$if s $then $null $endif",
        1,
        5,
        "condition 's' has type $int<16>; accepted: an unsigned integer",
    ),
    ("a := (a + 1)", 1, 1, "'a' is an input argument; it cannot be written"),
    ("k := s", 1, 1, "'k' is a constant; it cannot be written"),
    ("z := plain", 1, 6, "'plain' is a module; accepted: an object or a value"),
    ("z := @(a)", 1, 6, "'a' has no address; accepted: a storage"),
    ("z := ->(a)", 1, 6, "'a' has type $uint<8>; accepted: a pointer"),
    ("z := a z := a", 1, 8, "'z' is already a variable at t.aa:11:1; a scope defines a name once"),
    (
        "$if c $then z := a $else z := (a + 1) $endif",
        1,
        26,
        "'z' is already a variable at t.aa:11:13; a scope defines a name once",
    ),
    (
        "m := a",
        1,
        1,
        "variable 'm' has the name of a module; labels, modules and objects share one scope",
    ),
    (
        "$seriesblock [x_in] { $null }",
        1,
        1,
        "block label 'x_in' has the name of a pipe; labels, modules and objects share one scope",
    ),
    (
        "b := a",
        1,
        1,
        "variable 'b' has the name of a block label; labels, modules and objects share one scope",
    ),
    (
        "$volatile z := x_in",
        1,
        16,
        "a volatile statement reads pipe 'x_in'; accepted: variables and constants",
    ),
    (
        "$volatile z := mem[0]",
        1,
        16,
        "a volatile statement reads storage 'mem'; accepted: variables and constants",
    ),
    (
        "$volatile y_out := a",
        1,
        11,
        "a volatile statement writes pipe 'y_out'; accepted: variables and constants",
    ),
    (
        "$guard (c) $volatile z := a",
        1,
        1,
        "the tools ignore guard 'c' of a volatile statement; use a mux",
    ),
    (
        "$volatile z := (w + 1)\nw := a",
        1,
        17,
        "a volatile statement uses 'w', which is defined further down; accepted: values from above",
    ),
    ("$volatile $call plain (a) (z)", 1, 1, "volatile call of 'plain', which is not volatile"),
    ("$call comb (a) (z)", 1, 1, "the call of volatile module 'comb' is not volatile"),
    (
        "$volatile z := (($bitcast ($float<8,23>) ($concat a a a a)) + _f1.0e+0)",
        1,
        16,
        "volatile '+' on $float<8,23>; accepted: $float<5,10>",
    ),
    ("z := a $synch (early)", 1, 1, "no statement of the module is marked 'early'"),
    ("$lock door", 1, 1, "'door' is not a mutex"),
    (
        "$switch a $when 1 $then $null $endswitch",
        1,
        1,
        "the switch has no default: an unmatched value hangs the module",
    ),
    ("$place [nowhere]", 1, 1, "place 'nowhere' leads to 0 merges; accepted: exactly one"),
    ("$merge $entry there $endmerge", 1, 1, "no place leads to 'there' of the merge"),
    (
        "$if c $then $place [p] $endif $merge p $endmerge",
        1,
        31,
        "the merge is entered from the statement before; add 'entry' to it",
    ),
    (
        "$merge $entry p $phi z := a $on p $endmerge $if c $then $place [p] $endif",
        1,
        17,
        "phi 'z' has 0 sources on 'entry'; accepted: exactly one",
    ),
    (
        "$merge $entry p $phi z := a $on $entry a $on p a $on q $endmerge $if c $then $place "
        "[p] $endif",
        1,
        17,
        "phi 'z' has a source on 'q', which its merge does not name",
    ),
    (
        "$merge $entry p $phi z := a $on $entry, p $endmerge $if c $then $place [p] $endif",
        1,
        17,
        "phi 'z' shares a source between entries; accepted: in a dopipeline only",
    ),
    (
        "$merge $entry p $phi z := 0 $on $entry 1 $on p $endmerge $if c $then $place [p] $endif",
        1,
        17,
        "the type of phi 'z' cannot be determined; wrap one source in a bitcast",
    ),
    (
        "$merge $entry p $endmerge $place [p] $null",
        1,
        38,
        "the statement is never reached: a place goes before it",
    ),
    (
        "$dopipeline $merge $entry $loopback $phi i := a $on $entry $endmerge $null $while 0",
        1,
        37,
        "phi 'i' has 0 sources on 'loopback'; accepted: exactly one",
    ),
    (
        "$dopipeline $merge $entry $loopback $endmerge $seriesblock { $null } $while 0",
        1,
        47,
        "a dopipeline holds Block; accepted: simple statements",
    ),
    (
        "$dopipeline $merge $entry $loopback $endmerge\nz := ($call plain (a))\n"
        "w := ($call plain ((z + 1)))\n$while 0",
        3,
        1,
        "the call of 'plain' needs a result of another call of it in the same dopipeline: "
        "the hardware deadlocks; use two modules or an operator",
    ),
    (
        "$forkblock { $join early $endjoin }",
        1,
        14,
        "join of 'early'; accepted: an earlier block's label",
    ),
    (
        "$seriesblock { z := a } (w => v)",
        1,
        1,
        "found export of 'w'; accepted: a variable of the block",
    ),
]

TEXT = [
    (
        "$storage s : $uint<8> := 5\n",
        "t.aa:1:10: storage 's' has an initial value, which the tools ignore; load it through a "
        "pipe",
    ),
    (
        "$pipe p : $uint<8> := 5\n",
        "t.aa:1:7: pipe 'p' has an initial value, which the tools ignore",
    ),
    (
        "$pipe p : $array[2] $of $uint<8>\n",
        "t.aa:1:7: pipe 'p' has type $array[2] $of $uint<8>; accepted: a scalar",
    ),
    (
        "$constant c : $array[2] $of $uint<8> := 5\n",
        "t.aa:1:11: constant 'c' has type $array[2] $of $uint<8>; accepted: a scalar",
    ),
    ("$pipe p : $uint<8> $depth {1 - 2}\n", "t.aa:1:7: pipe 'p' has depth -1; accepted: 0 or more"),
    ("$pipe p : $uint<{2 - 2}>\n", "t.aa:1:7: found size 0; accepted: 1 or more"),
    ("$pipe p : word\n", "t.aa:1:7: 'word' is not a record type"),
    ("$parameter n {4 / 0}\n", "t.aa:1:1: a size is divided by zero"),
    (
        "$pipe p : $uint<8>\n$pipe p : $uint<8>\n",
        "t.aa:2:7: 'p' is already a pipe at t.aa:1:7; a scope defines a name once",
    ),
    ("$pipe p__q : $uint<8>\n", "t.aa:1:7: pipe 'p__q' has '__' or a last '_', which VHDL rejects"),
    ("$pipe p_ : $uint<8>\n", "t.aa:1:7: pipe 'p_' has '__' or a last '_', which VHDL rejects"),
    ("$pipe pq pQ : $uint<8>\n", "t.aa:1:10: pipes 'pq' and 'pQ' differ only in case"),
    (
        "$constant begin : $uint<8> := 5\n",
        "t.aa:1:11: constant 'begin' is a word of VHDL; rename it",
    ),
    (
        "$module [process] $in () $out () $is { $null }\n",
        "t.aa:1:1: module 'process' is a word of VHDL; rename it",
    ),
    (
        "$module [m] $in (in : $uint<8>) $out () $is { $null }\n",
        "t.aa:1:18: module 'm': input argument 'in' is a word of VHDL; rename it",
    ),
    (
        "$module [m] $in (clk : $uint<8>) $out () $is { $null }\n",
        "t.aa:1:18: module 'm': input argument 'clk' is a port of every entity; rename it",
    ),
    (
        "$module [m] $in () $out (r : $uint<8>) $is { $null }\n",
        "t.aa:1:26: module 'm': output 'r' is written 0 times; accepted: once",
    ),
    (
        "$module [m] $in () $out (r : $uint<1>) $is { r := 1 r := 0 }\n",
        "t.aa:1:26: module 'm': output 'r' is written 2 times; accepted: once",
    ),
    (
        "$module [m] $in () $out ()\n",
        "t.aa:1:1: module 'm': found no body; only a foreign module has none, and no other does",
    ),
    (
        "$inline $module [m] $in () $out () $is { $null }\n",
        "t.aa:1:1: module 'm': inline modules are lost by the tools; accepted: macro",
    ),
    (
        "$macro $module [m] $in () $out () $is { $null }\n",
        "t.aa:1:41: module 'm': a macro module holds Null; accepted: Assign, Call",
    ),
    (
        "$pipeline $module [m] $in () $out () $is { $null }\n",
        "t.aa:1:1: module 'm': a pipeline module needs at least one input and one output",
    ),
    (
        "$pipeline $module [m] $in (a : $uint<8>) $out (r : $uint<8>) $is { r := a $barrier }\n",
        "t.aa:1:75: module 'm': a pipeline module holds Barrier; accepted: Assign, Call, Split, "
        "Null",
    ),
    (
        "$pipe p : $uint<8>\n$operator $module [m] $in () $out (r : $uint<8>) $is { r := p }\n",
        "t.aa:2:61: module 'm': an operator module uses pipe 'p'; accepted: no pipes and no "
        "storages",
    ),
    (
        "$storage s : $uint<8>\n$volatile $module [m] $in () $out (r : $uint<8>) $is { r := s }\n",
        "t.aa:2:61: module 'm': a volatile module uses storage 's'; accepted: no pipes and no "
        "storages",
    ),
    (
        "$module [p] $in (a : $uint<8>) $out (r : $uint<8>) $is { r := a }\n"
        "$operator $module [m] $in (a : $uint<8>) $out (r : $uint<8>) $is { r := ($call p (a)) }\n",
        "t.aa:2:73: module 'm': an operator module calls 'p'; "
        "accepted: operator, volatile or foreign modules",
    ),
    (
        "$operator $module [p] $in (a : $uint<8>) $out (r : $uint<8>) $is { r := a }\n"
        "$pipeline $deterministic $operator $module [m] $in (a : $uint<8>) $out (r : $uint<8>) "
        "$is { r := ($call p (a)) }\n",
        "t.aa:2:98: module 'm': a deterministic module calls 'p'; "
        "accepted: volatile or deterministic modules",
    ),
    (
        "$module [f] $in () $out () $is { $call g () () }\n"
        "$module [g] $in () $out () $is { $call f () () }\n",
        "t.aa:1:1: modules call each other in a circle: f calls g calls f",
    ),
    (
        "$pipe p : $uint<8>\n$module [m] $in () $out () $is { p := 1 }\n"
        "$module [n] $in () $out () $is { p := 2 }\n",
        "t.aa:1:7: pipe 'p' is written by m and n; accepted: one module",
    ),
    (
        "$pipe p : $uint<8>\n$module [m] $in () $out () $is { x := p }\n"
        "$module [n] $in () $out () $is { x := p }\n",
        "t.aa:1:7: pipe 'p' is read by m and n; accepted: one module",
    ),
    (
        "$pipe p : $uint<8> $in\n$module [m] $in () $out () $is { p := 1 }\n",
        "t.aa:1:7: pipe 'p' is declared 'in' but written by m",
    ),
]

EMITTED = [
    (
        "z := (a + 1)\nmem[0] := z\n$guard (c) y_out := (z + 1)",
        3,
        1,
        "guarded write of '(z + 1)' to 'y_out' runs at half rate; write a plain name",
    ),
    (
        "$guard (c) mem[0] := ($slice s 7 0)",
        1,
        1,
        "guarded write of '($slice s 7 0)' to 'mem[0]' runs at half rate; write a plain name",
    ),
    ("$guard (a) y_out := a", 1, 1, "guard 'a' has type $uint<8>; accepted: $uint<1>"),
    ("Z := a", 1, 1, "identifier 'Z'; accepted: lower case words joined by '_'"),
    ("z__z := a", 1, 1, "identifier 'z__z'; accepted: lower case words joined by '_'"),
]


def errors(text: str, *, emitted: bool = False) -> str:
    with pytest.raises(AaError) as caught:
        verify(parse(text, "t.aa"), emitted=emitted)
    return str(caught.value)


def test_the_valid_program_passes() -> None:
    program = parse(PRELUDE.replace("BODY", GOOD), "t.aa")
    verify(program)
    verify(program, emitted=True)


@pytest.mark.parametrize(("body", "line", "column", "message"), BODY)
def test_statement(body: str, line: int, column: int, message: str) -> None:
    text = PRELUDE.replace("BODY", body)
    assert errors(text).split("\n")[0] == f"t.aa:{10 + line}:{column}: module 'm': {message}"


@pytest.mark.parametrize(("text", "message"), TEXT)
def test_text(text: str, message: str) -> None:
    assert message == errors(text)


@pytest.mark.parametrize(("body", "line", "column", "message"), EMITTED)
def test_emitted(body: str, line: int, column: int, message: str) -> None:
    text = PRELUDE.replace("BODY", body)
    verify(parse(text, "t.aa"))
    assert errors(text, emitted=True) == f"t.aa:{10 + line}:{column}: module 'm': {message}"


def test_emitted_pipes_hold_something() -> None:
    text = "$pipe p : $uint<8> $depth 0\n"
    verify(parse(text))
    message = "t.aa:1:7: pipe 'p' has depth 0; accepted: 1 or more"
    assert message == errors(text, emitted=True)


def test_all_errors_come_at_once() -> None:
    found = errors(PRELUDE.replace("BODY", "z := q\nw := (a + s)"))
    assert found.split("\n") == [
        "t.aa:11:6: module 'm': 'q' is not declared",
        "t.aa:12:11: module 'm': 's' has type $int<16>; accepted: $uint<8>",
    ]


def test_trees_that_the_grammar_cannot_make() -> None:
    loop = aa.DoPipeline(body=(aa.Null(),), condition=aa.Literal(0))
    name = aa.Pipe(name="1x", type=ty.UInt(8))
    join = aa.Join(labels=())
    module = aa.Module(name="m", body=(loop, join))
    empty = aa.Module(name="n", body=())
    with pytest.raises(AaError) as caught:
        verify(aa.Program(items=(name, module, empty)))
    assert str(caught.value).split("\n") == [
        "identifier '1x'; accepted: a letter, then letters, digits, '_', '.'",
        "module 'm': DoPipeline stands outside a branch block; accepted: directly in one",
        "module 'm': Join stands outside a fork block; accepted: directly in one",
        "module 'n': a body has no statement; accepted: one or more",
    ]
