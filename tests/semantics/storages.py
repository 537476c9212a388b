"""Storages: the order of loads and stores within a loop, sizes, widths, indices.

In: nothing. Out: ``BATCHES``; each part is one small program.
"""

from __future__ import annotations

from tests.semantics.table import DATA, Batch, Part, loop, single

__all__ = ["BATCHES"]

_PIPES = "$pipe @p : $uint<8> $depth 2\n$pipe @o : $uint<8> $depth 2\n"
_COUNT = "        $phi i := $zero<{w}> $on $entry n $on $loopback\n"


def _fill_then(
    name: str,
    body: str,
    *,
    words: int = 8,
    bits: int = 8,
    index: int = 3,
    store: str = "@r[i] := x",
    kind: str = "uint",
) -> Part:
    """Load a storage in one loop and run ``body`` in a second one, both over all words."""
    own = f"${kind}<{bits}>"
    pipes = (
        f"$pipe @p : {own} $depth 2\n$pipe @o : {own} $depth 2\n"
        f"$storage @r : $array[{words}] $of {own}\n"
    )
    last = words - 1
    first = (
        f"    $dopipeline $depth 7 $fullrate\n      $merge $entry $loopback\n"
        f"        $phi i := $zero<{index}> $on $entry n $on $loopback\n      $endmerge\n"
        f"      $volatile n := (i + 1)\n      $volatile more := (i != {last})\n"
        f"      x := @p\n      {store}\n    $while more\n    $barrier\n"
    )
    second = (
        f"    $dopipeline $depth 7 $fullrate\n      $merge $entry $loopback\n"
        f"        $phi j := $zero<{index}> $on $entry nj $on $loopback\n      $endmerge\n"
        f"      $volatile nj := (j + 1)\n      $volatile again := (j != {last})\n"
        + "".join(f"      {line.strip()}\n" for line in body.split(";"))
        + "    $while again\n"
    )
    text = f"$module [@m] $in () $out () $is\n{{\n  $branchblock [@b] {{\n{first}{second}  }}\n}}\n"
    generator = [(word * 0x9E3779B97F4A7C15F39CC0605CEDC8341082276B) % (1 << bits) for word in DATA]
    data = generator * (2 * words // len(generator) + 1)
    return single(name, text, {"p": data[: 2 * words]}, {"o": 2 * words}, pipes)


def _within(
    name: str, body: str, size: int = 8, width: int = 3, extra: str = "", **expect: int
) -> Part:
    """Run one loop over a storage whose first words are read before they are written."""
    lines = "".join(f"      {line.strip()}\n" for line in body.split(";"))
    text = loop(
        "@m",
        f"      $volatile n := (i + 1)\n{lines}",
        phis=_COUNT.format(w=width),
    )
    pipes = f"{_PIPES}$storage @r : $array[{size}] $of $uint<8>\n{extra}"
    return single(name, text, {"p": DATA}, expect or None, pipes)


_SECOND = "y := @r[j];@o := y"

BATCHES = (
    Batch(
        "storages",
        (
            _fill_then("storage_copy", _SECOND),
            _fill_then("storage_reversed", "$volatile k := (~ j);y := @r[k];@o := y"),
            _fill_then("storage_of_5_words", _SECOND, words=5),
            _fill_then("storage_of_2_words", _SECOND, words=2, index=1),
            _fill_then("storage_of_3_words", _SECOND, words=3, index=2),
            _fill_then("storage_of_64_words", _SECOND, words=64, index=6),
            _fill_then("storage_1_bit", _SECOND, bits=1),
            _fill_then("storage_7_bits", _SECOND, bits=7),
            _fill_then("storage_33_bits", _SECOND, bits=33),
            _fill_then("storage_65_bits", _SECOND, bits=65),
            _fill_then("storage_100_bits", _SECOND, bits=100),
            _fill_then("storage_signed", "y := @r[j];t := (y >> 1);@o := t", kind="int"),
            _fill_then("storage_index_expression", "y := @r[(j + 3)];@o := y"),
            _fill_then(
                "storage_index_literal", "y := @r[5];t := (y + ($bitcast ($uint<8>) j));@o := t"
            ),
            _fill_then(
                "storage_index_wraps", "$volatile k := ($concat $one<2> j);y := @r[k];@o := y"
            ),
            _fill_then("storage_value_in_expression", "y := (@r[j] + 1);@o := y"),
            _fill_then("storage_load_to_pipe", "@o := @r[j]"),
            _fill_then("storage_store_expression", _SECOND, store="@r[i] := (x + 1)"),
            _fill_then("storage_store_from_pipe", _SECOND, store="@r[(i + 1)] := x"),
            _fill_then(
                "storage_guarded_load",
                "$volatile g := ($slice j 0 0);$guard (g) y := @r[j];@o := y",
            ),
            _fill_then(
                "storage_guarded_load_inverted",
                "$volatile g := ($slice j 0 0);$guard (~ g) y := @r[j];@o := y",
            ),
            _fill_then(
                "storage_index_loaded",
                "a := @r[j];$volatile k := ($slice a 2 0);b := @r[k];@o := b",
            ),
            _fill_then("storage_update", "y := @r[j];z := (y + 1);@r[j] := z;@o := z"),
            _fill_then(
                "storage_update_twice_loaded", "y := @r[j];z := @r[(j + 1)];t := (y - z);@o := t"
            ),
            _fill_then(
                "storage_store_then_load",
                "v := ($bitcast ($uint<8>) j);@r[j] := v;y := @r[j];@o := y",
            ),
            _fill_then("storage_load_then_store", "y := @r[j];v := (y ^ 255);@r[j] := v;@o := y"),
            _fill_then(
                "storage_store_then_load_other",
                "v := ($bitcast ($uint<8>) j);@r[j] := v;y := @r[(j + 1)];@o := y",
            ),
            _fill_then(
                "storage_load_of_last_iteration",
                "v := (($bitcast ($uint<8>) j) * 5);y := @r[(j - 1)];@r[j] := v;@o := y",
            ),
            _fill_then(
                "storage_prefix_sum",
                "y := @r[j];z := @r[(j - 1)];s := (y + z);@r[j] := s;@o := s",
            ),
            _fill_then(
                "storage_two_stores",
                "v := ($bitcast ($uint<8>) j);@r[j] := v;w := (v + 100);@r[j] := w;y := @r[j];"
                "@o := y",
            ),
            _fill_then(
                "storage_two_stores_other_word",
                "v := ($bitcast ($uint<8>) j);@r[j] := v;w := (v + 100);@r[(j + 1)] := w;"
                "y := @r[j];@o := y",
            ),
            _fill_then(
                "storage_same_word_every_iteration",
                "y := @r[0];v := (y + ($bitcast ($uint<8>) j));@r[0] := v;@o := v",
            ),
            _fill_then(
                "storage_guarded_store",
                "$volatile g := ($slice j 0 0);y := @r[j];v := (y + 1);$guard (g) @r[j] := v;"
                "z := @r[j];@o := z",
            ),
            _fill_then(
                "storage_guarded_store_inverted",
                "$volatile g := ($slice j 0 0);y := @r[j];v := (y + 1);$guard (~ g) @r[j] := v;"
                "z := @r[j];@o := z",
            ),
            _within("storage_written_first", "x := @p;@r[i] := x;y := @r[i];@o := y"),
            _within(
                "storage_histogram",
                "x := @p;$volatile k := ($slice x 2 0);@r[k] := x;y := @r[k];t := (y + 1);@o := t",
            ),
            _within(
                "storage_two_banks",
                "x := @p;@r[i] := x;@s[i] := (x + 1);y := @r[i];z := @s[i];t := (y + z);@o := t",
                extra="$storage @s : $array[8] $of $uint<8>\n",
            ),
            _within(
                "storage_scalar",
                "x := @p;@s := x;y := @s;@o := y",
                extra="$storage @s : $uint<8>\n",
            ),
            _within(
                "storage_of_two_dimensions",
                "x := @p;$volatile a := ($slice i 1 1);$volatile b := ($slice i 0 0);"
                "@s[a][b] := x;y := @s[a][b];@o := y",
                extra="$storage @s : $array[2][2] $of $uint<8>\n",
            ),
            _within(
                "storage_of_one_word",
                "x := @p;@s[0] := x;y := @s[0];@o := y",
                extra="$storage @s : $array[1] $of $uint<8>\n",
            ),
        ),
    ),
)
