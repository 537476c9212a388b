"""Which process of a design reads and writes which pipe, and to which layer it belongs.

In: an Aa program and the manifest. Out: ``ProcessRow`` for each module that carries data. The
loader of the weights and its signals are no part of the data's way and are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyahir.backends.aa import ast as aa
from pyahir.backends.aa.scopes import Kind, build_scopes
from pyahir.backends.aa.traverse import scoped, uses
from pyahir.report.model import ProcessRow

__all__ = ["processes"]


def processes(program: aa.Program, manifest: Mapping[str, Any]) -> tuple[ProcessRow, ...]:
    """List the processes in the order of the text."""
    owner = {row["name"]: row["layer"] for row in manifest["pipes"]}
    scopes = build_scopes(program)
    found: list[ProcessRow] = []
    for module in program.modules():
        reads, writes = dict[str, None](), dict[str, None]()
        memory = False
        for statement, inner in scoped(module.body or (), scopes.modules[module.name]):
            for use in uses(statement, inner):
                match use.symbol.kind if use.symbol else None:
                    case Kind.PIPE if use.node.name in owner:
                        (writes if use.write else reads)[use.node.name] = None
                    case Kind.STORAGE:
                        memory = memory or not use.write
                    case _:
                        pass
        if writes:
            layer = owner[next(iter(writes))]
            found.append(
                ProcessRow(
                    module=module.name,
                    layer=layer,
                    reads=tuple(reads),
                    writes=tuple(writes),
                    memory=memory,
                )
            )
    return tuple(found)
