"""Lowering: a plan becomes an Aa program of free-running processes joined by pipes."""

from __future__ import annotations

from pyahir.backends.aa.lower.loader import Memory
from pyahir.backends.aa.lower.lower import Design, Tap, lower

__all__ = ["Design", "Memory", "Tap", "lower"]
