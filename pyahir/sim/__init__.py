"""Simulation of designs as VHDL: a testbench for any design, GHDL, the engines ghdl, ahir
and verilator.

In: an Aa program and words for its input pipes. Out: the words of its output pipes with the clock
cycle of each.
"""

from __future__ import annotations

from pyahir.sim.ahir import AhirEngine
from pyahir.sim.engine import GhdlEngine
from pyahir.sim.run import SimulationError, SimulationResult, Stalls, simulate
from pyahir.sim.tools import ToolError, require_tool
from pyahir.sim.verilator import VerilatorEngine

__all__ = [
    "AhirEngine",
    "GhdlEngine",
    "SimulationError",
    "SimulationResult",
    "Stalls",
    "ToolError",
    "VerilatorEngine",
    "require_tool",
    "simulate",
]
