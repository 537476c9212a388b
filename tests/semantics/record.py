"""Record what the AHIR-V2 tools make of the table: ``python -m tests.semantics.record``.

In: the tools, found as ``pyahir.sim.ahir_tools`` finds them. Out: ``recorded.json``.
"""

from __future__ import annotations

import json

from pyahir.sim.ahir import simulate_ahir
from tests.semantics.every import BATCHES, trusted
from tests.semantics.table import RECORDED, cut, digest, joined, program


def main() -> None:
    """Run every batch and write the digests of its cases."""
    found: dict[str, str] = {}
    for batch in BATCHES:
        for start in range(0, len(batch.parts), 8):
            parts = [part for part in batch.parts[start : start + 8] if part in trusted(batch)]
            part = joined(batch.name, parts)
            outputs = simulate_ahir(program(part), part.inputs, part.expect).outputs
            found |= {case: digest(cut(part, case, outputs)) for case in part.cases}
    RECORDED.write_text(json.dumps(found, indent=0, sort_keys=True) + "\n", encoding="utf-8")
    print(f"{len(found)} cases recorded in {RECORDED}")


if __name__ == "__main__":
    main()
