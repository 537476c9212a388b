"""Aa programs as VHDL: readable, synthesizable, with the top-level ports of AHIR's tools.

In: an Aa ``Program``. Out: one text (``to_vhdl``) whose top entity is ``TOP``, and for each loop
how often it starts an iteration (``loops``). What the back end does not support is one
``AaError`` with its position.
"""

from __future__ import annotations

from pyahir.backends.vhdl.part import LoopReport
from pyahir.backends.vhdl.top import TOP, loops
from pyahir.backends.vhdl.top import program_text as to_vhdl

__all__ = ["TOP", "LoopReport", "loops", "to_vhdl"]
