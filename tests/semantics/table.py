"""The table of Aa programs with inputs, and the engines that run it.

In: parts (a program text, its input words, its named cases). Out: the words of every case. A case
is the words of a few output pipes, or one field of each word of a pipe in which many small results
lie side by side. Parts of one batch run as one program: their names must differ.
Not here: the programs themselves (the modules that ``every`` lists).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import zip_longest
from pathlib import Path

from pyahir.backends.aa import ast as aa
from pyahir.backends.aa.interp import Simulator
from pyahir.backends.aa.parser import parse
from pyahir.backends.aa.verify import verify

__all__ = [
    "DATA",
    "RECORDED",
    "Batch",
    "Field",
    "Part",
    "cut",
    "differences",
    "digest",
    "joined",
    "loop",
    "program",
    "recorded",
    "run_interpreter",
    "single",
]

Words = dict[str, list[int]]

RECORDED = Path(__file__).with_name("recorded.json")
DATA = (7, 1, 250, 3, 9, 0, 255, 128, 6, 77, 12, 200, 200, 5, 31, 64)


@dataclass(frozen=True, slots=True)
class Field:
    """Some bits of the words of a pipe; all bits where ``width`` is None."""

    pipe: str
    low: int = 0
    width: int | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """A program with its inputs, how many words to expect, and the cases that they decide."""

    name: str
    text: str
    inputs: Mapping[str, Sequence[int]]
    expect: Mapping[str, int]
    cases: Mapping[str, tuple[Field, ...]]


@dataclass(frozen=True, slots=True)
class Batch:
    """Parts that are simulated together; ``heavy`` ones belong to the slow tests."""

    name: str
    parts: tuple[Part, ...]
    heavy: bool = field(default=False, kw_only=True)


def joined(name: str, parts: Iterable[Part]) -> Part:
    """Make one part of several."""
    parts = tuple(parts)
    names = [case for part in parts for case in part.cases]
    assert len(names) == len(set(names)), "two cases of one name"
    return Part(
        name,
        "".join(part.text for part in parts),
        {pipe: words for part in parts for pipe, words in part.inputs.items()},
        {pipe: count for part in parts for pipe, count in part.expect.items()},
        {case: fields for part in parts for case, fields in part.cases.items()},
    )


def single(
    name: str,
    text: str,
    inputs: Mapping[str, Sequence[int]] | None = None,
    expect: Mapping[str, int] | None = None,
    pipes: str = "$pipe @p : $uint<8> $depth 2\n$pipe @o : $uint<8> $depth 2\n",
) -> Part:
    """Make a part with one case; ``@`` in a text stands for a prefix that no other part has."""
    prefix = f"{name}_"
    inputs = {"p": DATA} if inputs is None else inputs
    expect = {"o": len(DATA)} if expect is None else expect
    fields = tuple(Field(prefix + pipe) for pipe in expect)
    return Part(
        name,
        (pipes + text).replace("@", prefix),
        {prefix + pipe: words for pipe, words in inputs.items()},
        {prefix + pipe: count for pipe, count in expect.items()},
        {name: fields},
    )


def program(part: Part) -> aa.Program:
    """Parse and verify a part."""
    parsed = parse(part.text, "part.aa")
    verify(parsed)
    return parsed


def cut(part: Part, case: str, outputs: Mapping[str, Sequence[int]]) -> Words:
    """Pick the words of a case from those of the part."""
    found: Words = {}
    for place in part.cases[case]:
        mask = -1 if place.width is None else (1 << place.width) - 1
        found[place.pipe] = [word >> place.low & mask for word in outputs[place.pipe]]
    return found


def differences(
    part: Part, wanted: Mapping[str, Sequence[int]], found: Mapping[str, Sequence[int]]
) -> dict[str, str]:
    """Name the cases whose words differ, each with its first difference."""
    result: dict[str, str] = {}
    for case in part.cases:
        left, right = cut(part, case, wanted), cut(part, case, found)
        for pipe in left:
            pairs = enumerate(zip_longest(left[pipe], right[pipe]))
            first = next((row for row in pairs if row[1][0] != row[1][1]), None)
            if first is not None:
                number, (one, other) = first
                result[case] = f"word {number} of {pipe}: {other}, not {one}"
    return result


def run_interpreter(part: Part) -> Mapping[str, Sequence[int]]:
    """Run a part in the Aa interpreter."""
    return Simulator(program(part)).run(part.inputs, part.expect).outputs


def digest(words: Words) -> str:
    """Shorten the words of a case to what the file of recorded results holds."""
    text = repr([(pipe, list(words[pipe])) for pipe in sorted(words)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@cache
def recorded() -> dict[str, str]:
    """Read what the AHIR-V2 tools gave for each case: name to digest of the words."""
    return json.loads(RECORDED.read_text(encoding="utf-8"))


def loop(
    name: str,
    body: str,
    *,
    phis: str = "",
    condition: str = "1",
    depth: int = 7,
    after: str = "",
) -> str:
    """Write a module of one pipelined loop; ``after`` follows the loop."""
    return (
        f"$module [{name}] $in () $out () $is\n{{\n  $branchblock [{name}_block] {{\n"
        f"    $dopipeline $depth {depth} $fullrate\n      $merge $entry $loopback\n{phis}"
        f"      $endmerge\n{body}    $while {condition}\n{after}  }}\n}}\n"
    )
