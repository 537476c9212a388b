"""The front of a network: every plan that no other plan beats in cycles, multipliers and memory.

In: a QUANTIZED graph and fixed foldings. Out: ``Front``, numbered points with their foldings, and
files made of it. Not here: the search for one plan (``plan.search``) and the command line.
"""

from __future__ import annotations

from pyahir.explore.front import Front, Job, Point, Range, best_of, parts, spread, walk
from pyahir.explore.workers import Runner, explore, on_dask, on_processes, serial

__all__ = [
    "Front",
    "Job",
    "Point",
    "Range",
    "Runner",
    "best_of",
    "explore",
    "on_dask",
    "on_processes",
    "parts",
    "serial",
    "spread",
    "walk",
]
