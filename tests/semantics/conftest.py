"""The AHIR-V2 tools are optional: without them the tests marked ``ahir`` skip with the reason."""

from __future__ import annotations

import pytest

from pyahir.sim.ahir_tools import AhirMissing, find_ahir


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("ahir") is None:
        return
    try:
        find_ahir()
    except AhirMissing as error:
        pytest.skip(str(error))
