"""Area of a design without vendor tools: VHDL through GHDL and yosys, and whose the cells are.

In: an Aa program and, where there is one, its manifest. Out: LUTs, flip-flops, DSP blocks and RAM
of each layer and of each part (process, pipe, memory).
"""

from __future__ import annotations

from pyahir.synth.area import Area, Part, area_of
from pyahir.synth.cells import FAMILIES, Resources, resources_of
from pyahir.synth.flow import Netlist, synthesize

__all__ = [
    "FAMILIES",
    "Area",
    "Netlist",
    "Part",
    "Resources",
    "area_of",
    "resources_of",
    "synthesize",
]
