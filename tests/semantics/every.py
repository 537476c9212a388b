"""All batches of the table, and the parts of which the AHIR-V2 tools make something else.

In: the modules of programs. Out: ``BATCHES``, ``PARTS`` by name, and ``TOOLS_WRONG``: the name of a
part and what the verifier says of it when pyahir is about to emit it.
"""

from __future__ import annotations

from tests.semantics import branches, calls, literals, loops, operators, pipes, storages
from tests.semantics.table import Batch, Part

__all__ = ["BATCHES", "PARTS", "TOOLS_WRONG", "trusted"]

BATCHES: tuple[Batch, ...] = (
    *operators.BATCHES,
    *literals.BATCHES,
    *loops.BATCHES,
    *storages.BATCHES,
    *pipes.BATCHES,
    *branches.BATCHES,
    *calls.BATCHES,
)
PARTS: dict[str, tuple[Batch, Part]] = {
    part.name: (batch, part) for batch in BATCHES for part in batch.parts
}

TOOLS_WRONG = {
    "prev_of_volatile": "'v' is volatile and defined further down",
    "prev_of_constant": "variable 'k' is constant",
    "guard_of_constant": "variable 'k' is constant",
    "guard_from_previous": "guard 'g' is defined further down",
    "call_accumulates": "argument 'y' is defined further down",
    "call_guarded_operator": "guarded call of 'call_guarded_operator_f'",
}


def trusted(batch: Batch) -> list[Part]:
    """List the parts that the AHIR-V2 tools compile rightly."""
    return [part for part in batch.parts if part.name not in TOOLS_WRONG]
