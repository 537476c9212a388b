"""The probes' activity: words in equal stretches of cycles, however long a run is."""

from __future__ import annotations

import pytest

from pyahir.backends.aa.parser import parse
from pyahir.sim.monitor import BINS
from pyahir.sim.run import simulate
from tests.sim.programs import PAIR_SUM

pytestmark = pytest.mark.ghdl


@pytest.mark.parametrize("count", [10, 2 * BINS + 300], ids=["one cycle", "doubled twice"])
def test_words_are_counted_where_they_moved(count: int) -> None:
    found = simulate(parse(PAIR_SUM), {"x": [0] * count}, {"y": count}, monitor=True)
    activities = {name: fill.activity for name, fill in found.fills.items()}
    sizes = {item.bin_cycles for item in activities.values() if item is not None}
    assert sizes == ({1} if count == 10 else {4})
    (size,) = sizes
    for name, moves in (("x", found.taken["x"]), ("y", found.cycles["y"])):
        activity = activities[name]
        assert activity is not None
        assert len(activity.put) == len(activity.taken) <= BINS
        assert sum(activity.put) == sum(activity.taken) == count == found.fills[name].words
        expected = [0] * len(activity.put)
        for cycle in moves:
            expected[cycle // size] += 1
        # Words enter x and leave y where the testbench saw them go.
        assert list(activity.put if name == "x" else activity.taken) == expected
        assert found.fills[name].first_cycle // size == next(
            place for place, words in enumerate(activity.put) if words
        )
