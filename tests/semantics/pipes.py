"""Pipes between modules: depths, speeds, chains, loops, and modules without a pipelined loop.

In: nothing. Out: ``BATCHES``; each part is one small program.
"""

from __future__ import annotations

from tests.semantics.table import DATA, Batch, Part, loop, single

__all__ = ["BATCHES"]

_PIPES = "$pipe @p : $uint<8> $depth 2\n$pipe @o : $uint<8> $depth 2\n"
_COUNT = "        $phi i := $zero<{w}> $on $entry n $on $loopback\n"


def _lines(body: str) -> str:
    return "".join(f"      {line.strip()}\n" for line in body.split(";"))


def _plain(name: str, body: str) -> str:
    """Write a module without a loop: it runs again and again."""
    lines = "".join(f"  {line.strip()}\n" for line in body.split(";"))
    return f"$module [{name}] $in () $out () $is\n{{\n{lines}}}\n"


def _fast(name: str, source: str, target: str) -> str:
    return loop(name, _lines(f"x := {source};y := (x + 1);{target} := y"))


def _slow(name: str, source: str, target: str) -> str:
    return loop(
        name,
        _lines(f"x := {source};a := (x + acc);b := (a ^ 3);acc := (b + 1);{target} := acc"),
        depth=1,
    )


def _expand(name: str, source: str, target: str) -> str:
    """Take one word for every three that are written."""
    return loop(
        name,
        _lines(
            "$volatile last := (i == 2);$volatile n := ($mux last $zero<2> (i + 1));"
            f"$volatile take := (i == 0);$guard (take) x := {source};"
            "y := (x + ($bitcast ($uint<8>) i))"
            f";{target} := y"
        ),
        phis=_COUNT.format(w=2),
    )


def _reduce(name: str, source: str, target: str) -> str:
    """Write one word for every three that are taken."""
    return loop(
        name,
        _lines(
            "$volatile last := (i == 2);$volatile n := ($mux last $zero<2> (i + 1));"
            f"x := {source};acc := (acc + x);$guard (last) {target} := acc"
        ),
        phis=_COUNT.format(w=2),
    )


_SPEEDS = {
    "fast": (_fast, 1, 1),
    "slow": (_slow, 1, 1),
    "expand": (_expand, 3, 1),
    "reduce": (_reduce, 1, 3),
}


def _pair(depth: int, producer: str, consumer: str) -> Part:
    first, up, down = _SPEEDS[producer]
    second, up2, down2 = _SPEEDS[consumer]
    text = first("@a", "@p", "@c") + second("@b", "@c", "@o")
    pipes = f"{_PIPES}$pipe @c : $uint<8> $depth {depth}\n"
    words = len(DATA) // down * up // down2 * up2
    return single(f"depth_{depth}_{producer}_{consumer}", text, {"p": DATA}, {"o": words}, pipes)


def _chain(count: int, depth: int) -> Part:
    names = ["@p", *(f"@c{number}" for number in range(count - 1)), "@o"]
    text = "".join(
        (_fast if number % 2 else _slow)(f"@m{number}", names[number], names[number + 1])
        for number in range(count)
    )
    pipes = _PIPES + "".join(f"$pipe {name} : $uint<8> $depth {depth}\n" for name in names[1:-1])
    return single(f"chain_{count}_depth_{depth}", text, pipes=pipes)


def _recirculating(words: int, depth: int) -> Part:
    """Let ``words`` sums go round in a pipe of the loop that writes it."""
    width = 8
    body = _lines(
        f"$volatile n := (i + 1);$volatile old := (i >= {words});x := @p;"
        "$guard (old) s := @r;od := old $buffering 3;sum := (($mux od s $zero<8>) + x);"
        "@r := sum;@o := sum"
    )
    text = loop("@m", body, phis=_COUNT.format(w=width))
    pipes = f"{_PIPES}$pipe @r : $uint<8> $depth {depth}\n"
    return single(f"recirculating_{words}_depth_{depth}", text, pipes=pipes)


_FORK = loop("@a", _lines("x := @p;@c := x;@d := (x + 1)"))
_JOIN = loop("@b", _lines("x := @c;y := @d;t := (x * y);@o := t"))
_PING = loop(
    "@a",
    _lines(
        "$volatile n := ($mux (i == 3) i (i + 1));$volatile old := (i != 0);x := @p;"
        "$guard (old) y := @d;t := (x + y);@c := t;@o := t"
    ),
    phis=_COUNT.format(w=2),
)
_PONG = loop("@b", _lines("x := @c;y := (x * 3);@d := y"))
_TWO = "$pipe @c @d : $uint<8> $depth {depth}\n"

BATCHES = (
    Batch(
        "pipes",
        (
            *(
                _pair(depth, producer, consumer)
                for depth in (1, 2, 3, 8)
                for producer, consumer in (
                    ("fast", "fast"),
                    ("fast", "slow"),
                    ("slow", "fast"),
                    ("expand", "slow"),
                    ("slow", "reduce"),
                    ("expand", "reduce"),
                )
            ),
            *(_chain(count, depth) for count in (3, 5) for depth in (1, 2, 8)),
            *(_recirculating(words, depth) for words, depth in ((1, 2), (2, 3), (3, 4), (4, 8))),
            *(
                single(
                    f"fork_join_depth_{depth}",
                    _FORK + _JOIN,
                    pipes=_PIPES + _TWO.format(depth=depth),
                )
                for depth in (1, 2, 8)
            ),
            *(
                single(
                    f"ping_pong_depth_{depth}",
                    _PING + _PONG,
                    pipes=_PIPES + _TWO.format(depth=depth),
                )
                for depth in (1, 2)
            ),
            single("plain_module", _plain("@m", "x := @p;y := (x + 1);@o := y")),
            single("plain_module_direct", _plain("@m", "@o := (@p + 1)")),
            single(
                "plain_two_reads", _plain("@m", "x := @p;y := @p;@o := (x - y)"), expect={"o": 8}
            ),
            single("plain_two_writes", _plain("@m", "x := @p;@o := x;@o := (x + 1)")),
            single(
                "plain_keeps",
                _plain("@m", "x := @p;$volatile g := (x > 9);$guard (g) k := x;@o := k"),
            ),
            single(
                "plain_guarded_read",
                _plain("@m", "x := @p;$volatile g := (x > 9);$guard (g) y := @p;@o := y"),
                expect={"o": 8},
            ),
            single(
                "plain_guarded_write",
                _plain("@m", "x := @p;$volatile g := (x > 9);$guard (g) @o := x"),
                expect={"o": sum(word > 9 for word in DATA)},
            ),
            single(
                "plain_barrier",
                _plain("@m", "x := @p;$barrier;y := @p;$barrier;@o := (x - y)"),
                expect={"o": 8},
            ),
            single(
                "lifo",
                _plain(
                    "@m",
                    "x := @p;y := @p;z := @p;$barrier;@l := x;$barrier;@l := y;$barrier;@l := z;"
                    "$barrier;@o := @l;$barrier;@o := @l;$barrier;@o := @l",
                ),
                expect={"o": 15},
                pipes=_PIPES + "$lifo $pipe @l : $uint<8> $depth 4\n",
            ),
            single(
                "signal_in_module",
                _plain("@m", "x := @p;$barrier;@s := x;$barrier;y := @s;$barrier;@o := y"),
                pipes=_PIPES + "$pipe @s : $uint<8> $signal\n",
            ),
            single(
                "split_plain",
                _plain("@m", "x := @p;$split (x 3 5) (h l);@o := ($concat l h)"),
            ),
        ),
    ),
)
