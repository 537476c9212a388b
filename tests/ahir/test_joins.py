"""A join alone through the AHIR-V2 tools: two input pipes, the same sums."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lower.test_join import quantized, residual
from tests.plan.test_single_joins import SCHEMES, checked, wide_plan

pytestmark = [pytest.mark.ghdl, pytest.mark.ahir]


@pytest.mark.parametrize("scheme", ["uint8", "quire"])
def test_the_tools_take_both_streams(scheme: str, tmp_path: Path) -> None:
    graph = quantized(residual(), SCHEMES[scheme])
    for check in checked(graph, wide_plan(graph), tmp_path, "ahir"):
        (timing,) = check.timings
        assert timing.frames.interval <= 1.05 * check.predicted, check.layer
