"""What a person asks of a design: multipliers, cycles, frames a second or memory, one of them.

In: the options of the command line. Out: the fields of ``search.Options``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pyahir.errors import PlanError

__all__ = ["parse_quantity", "target"]

PREFIXES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}
KINDS = ("multipliers", "cycles", "fps", "memory")


def parse_quantity(option: str, text: str, unit: str) -> float:
    """Read ``100MHz`` or ``600kbit``: a number, a prefix (k, M, G) and a unit that may be left out.

    Raises ``PlanError`` for anything else, and for a number that is not positive.
    """
    match = re.fullmatch(r"([0-9]*\.?[0-9]+(?:e[0-9]+)?) ?([kMG]?)(?:" + unit + ")?", text.strip())
    value = float(match[1]) * PREFIXES[match[2]] if match else 0.0
    if value <= 0:
        example = {"Hz": "100MHz", "bit": "600kbit"}.get(unit, "10000")
        raise PlanError(f"{option} {text}: accepted is a positive number, for example {example}")
    return value


def target(given: Mapping[str, Any]) -> dict[str, int]:
    """Turn the options into a budget of multipliers, cycles or bits; nothing given is nothing."""
    wanted = [kind for kind in KINDS if given.get(kind)]
    if len(wanted) > 1:
        raise PlanError(f"--{wanted[0]} and --{wanted[1]}: give one target")
    if given.get("clock") and not given.get("fps"):
        raise PlanError("--clock: it says what --fps means; give --fps as well")
    if not wanted:
        return {}
    if wanted[0] == "fps":
        return {"cycles": _cycles(given)}
    if wanted[0] == "memory":
        return {"memory": int(parse_quantity("--memory", given["memory"], "bit"))}
    return {wanted[0]: given[wanted[0]]}


def _cycles(given: Mapping[str, Any]) -> int:
    if not given.get("clock"):
        raise PlanError("--fps: say at which clock, for example --fps 10000 --clock 100MHz")
    rate = parse_quantity("--fps", given["fps"], "fps")
    clock = parse_quantity("--clock", given["clock"], "Hz")
    if clock < rate:
        raise PlanError(
            f"--fps {given['fps']} --clock {given['clock']}: less than one clock cycle a frame"
        )
    return int(clock / rate)
