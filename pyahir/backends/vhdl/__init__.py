"""Aa programs as VHDL: readable, synthesizable, with the top-level ports of AHIR's tools.

In: an Aa ``Program``. Out: one text (``to_vhdl``) whose top entity is ``TOP``. What the back end
does not support is one ``AaError`` with its position.
"""

from __future__ import annotations

from pyahir.backends.vhdl.top import TOP
from pyahir.backends.vhdl.top import program_text as to_vhdl

__all__ = ["TOP", "to_vhdl"]
