"""The simulators: without one the tests that need it skip with the reason, but in CI they fail."""

from __future__ import annotations

import gc
import os

import pytest

from pyahir.sim.tools import ToolError, require_tool
from pyahir.sim.verilator_tools import find_tools

NEEDS = {"ghdl": lambda: require_tool("ghdl"), "verilator": find_tools}


def pytest_collection_finish() -> None:
    """Keep what has been imported out of the garbage collector's rounds: 6 % of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker, find in NEEDS.items():
        if item.get_closest_marker(marker) is None:
            continue
        try:
            find()
        except ToolError as error:
            if os.environ.get("CI"):
                raise
            pytest.skip(str(error))
