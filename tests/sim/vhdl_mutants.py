"""Mutants of VHDL text: one operator, constant, condition or bound changed in each."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass

RULES = (
    ("operator", r" \+ ", " - "),
    ("operator", r"(?<=[\w)]) - (?=\d+[ );])(?!\d+ downto)", " + "),
    ("operator", r" and ", " or "),
    ("operator", r" or ", " and "),
    ("operator", r" \* ", " + "),
    ("condition", r"(?<!:) = ", " /= "),
    ("condition", r" /= ", " = "),
    ("condition", r" > ", " >= "),
    ("condition", r" < ", " <= "),
    ("condition", r"\bnot ", ""),
    ("constant", r"'1'", "'0'"),
    ("constant", r"'0'", "'1'"),
    ("bound", r"(?<=[=<>+] )(\d+)(?=\))", "+1"),
    ("bound", r"(?<=to_unsigned\()(\d+)(?=,)", "+1"),
)


@dataclass(frozen=True)
class Mutant:
    """A text with one change; ``line`` is the changed line."""

    text: str
    kind: str
    number: int
    line: str


def mutants(text: str, start: str) -> Iterator[Mutant]:
    """Give every mutant of the text from ``start`` on; declarations and comments stay.

    So do the values that registers of data have after reset: nothing reads one before it is
    written, because the bits that say which registers are in use (``_full``) are reset as well.
    And ``>`` and ``<`` in a choice: at a tie both sides of a maximum or clamp are the same. And
    the form that a pipe takes, which no word shows.
    """
    lines = text.splitlines(keepends=True)
    first = next(number for number, line in enumerate(lines) if line.startswith(start))
    for number, line in enumerate(lines[first:], start=first):
        if line.lstrip().startswith(("--", "signal", "variable", "type", "generic", "library")):
            continue
        if "<= (others => '0');" in line and "_full" not in line:
            continue
        if line.rstrip().endswith("generate"):
            continue
        for kind, pattern, replacement in RULES:
            if pattern in (r" > ", r" < ") and "pick(" in line:
                continue
            for match in re.finditer(pattern, line):
                new = str(int(match[0]) + 1) if replacement == "+1" else replacement
                changed = line[: match.start()] + new + line[match.end() :]
                whole = "".join([*lines[:number], changed, *lines[number + 1 :]])
                yield Mutant(whole, kind, number + 1, f"{line.strip()} -> {changed.strip()}")


def sample(text: str, start: str, count: int, seed: int) -> list[Mutant]:
    """Draw mutants of every kind, as many of each as there are."""
    kinds: dict[str, list[Mutant]] = {}
    for mutant in mutants(text, start):
        kinds.setdefault(mutant.kind, []).append(mutant)
    draw = random.Random(seed)
    share = -(-count // len(kinds))
    return [
        mutant for group in kinds.values() for mutant in draw.sample(group, min(share, len(group)))
    ][:count]
