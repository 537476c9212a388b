"""Whose the cells are: every process, pipe and memory of a design, and the layer it belongs to.

In: a netlist and the names of layers. Out: ``Area``: parts, rows by layer, the total. Names say it
all: the modules, pipes and storages of a layer carry its name, ``mv_conv1`` and ``col_conv1``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pyahir.synth.cells import Resources, SynthesisError, resources_of
from pyahir.synth.flow import Netlist

__all__ = ["Area", "Part", "area_of"]

PREFIXES = {"u_m_": "process", "fifo_": "pipe", "memory_": "memory"}
OTHERS = {"process": "other processes", "pipe": "other pipes", "memory": "other memories"}


@dataclass(frozen=True, slots=True)
class Part:
    """A process, a pipe or a memory; ``row`` is its layer, or where the parts of no layer go."""

    name: str
    kind: str
    module: str
    row: str
    resources: Resources


@dataclass(frozen=True, slots=True)
class Area:
    """All parts in the order of the text, and the cells of the top entity itself among them."""

    parts: tuple[Part, ...]
    layers: tuple[str, ...]

    @property
    def total(self) -> Resources:
        return sum((part.resources for part in self.parts), Resources())

    def by_row(self) -> dict[str, Resources]:
        """Add up the layers, in stream order, then what belongs to none."""
        return self._sums([part.row for part in self.parts], self.layers)

    def by_kind(self) -> dict[str, Resources]:
        """Add up processes, pipes and memories."""
        return self._sums([part.kind for part in self.parts], tuple(OTHERS))

    def _sums(self, keys: Sequence[str], first: Sequence[str]) -> dict[str, Resources]:
        found = {key: Resources() for key in first}
        for key, part in zip(keys, self.parts, strict=True):
            found[key] = found.get(key, Resources()) + part.resources
        return found


def area_of(netlist: Netlist, layers: Sequence[str], family: str) -> Area:
    """Give every cell of the design to a part."""
    parts = [
        _part(instance, module, layers, _whole(netlist, module, family))
        for instance, module in netlist.instances[netlist.top]
    ]
    glue = resources_of(family, netlist.cells[netlist.top])
    parts.append(Part(netlist.top, "top", netlist.top, "top", glue))
    return Area(tuple(parts), tuple(layers))


def _whole(netlist: Netlist, module: str, family: str) -> Resources:
    """Add up a module and all that is inside it."""
    if module not in netlist.cells:
        raise SynthesisError(f"synth: yosys gave no statistics of the module '{module}'")
    total = resources_of(family, netlist.cells[module])
    for _, inner in netlist.instances[module]:
        total += _whole(netlist, inner, family)
    return total


def _part(instance: str, module: str, layers: Sequence[str], resources: Resources) -> Part:
    for prefix, kind in PREFIXES.items():
        if instance.startswith(prefix):
            name = instance.removeprefix(prefix)
            return Part(name, kind, module, _layer(name, layers) or OTHERS[kind], resources)
    return Part(instance, "top", module, "top", resources)


def _layer(name: str, layers: Sequence[str]) -> str | None:
    """Find the layer whose name is among the words of ``name``; the longest where several are."""
    fitting = [layer for layer in layers if re.search(rf"(^|_){re.escape(layer)}(_|\Z)", name)]
    return max(fitting, key=len, default=None)
