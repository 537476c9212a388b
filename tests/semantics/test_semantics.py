"""The table of Aa programs in three engines: our interpreter, our VHDL, the AHIR-V2 tools.

Word for word: the interpreter against what the tools gave when ``record`` ran, our VHDL against
the interpreter, and, where the tools are installed, the tools again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import pytest

from pyahir.backends.aa.verify import verify
from pyahir.errors import AaError
from pyahir.sim import Stalls, simulate
from pyahir.sim.ahir import simulate_ahir
from tests.semantics.every import BATCHES, PARTS, TOOLS_WRONG, trusted
from tests.semantics.table import (
    Batch,
    Part,
    cut,
    differences,
    digest,
    joined,
    program,
    recorded,
    run_interpreter,
)

Outputs = Mapping[str, Sequence[int]]


def named(*, heavy: bool) -> list[str]:
    return [name for name, (batch, _) in PARTS.items() if batch.heavy is heavy]


ALL = [*named(heavy=False), *(pytest.param(n, marks=pytest.mark.slow) for n in named(heavy=True))]


def whole(batch: Batch) -> Part:
    return joined(batch.name, batch.parts)


@cache
def interpreted(name: str) -> Outputs:
    batch = next(batch for batch in BATCHES if batch.name == name)
    return run_interpreter(whole(batch))


@cache
def simulated(name: str, share: float = 0.0) -> Outputs:
    batch = next(batch for batch in BATCHES if batch.name == name)
    part = joined(name, batch.parts)
    stalls = Stalls(seed=3, share=share)
    return simulate(program(part), part.inputs, part.expect, stalls=stalls).outputs


@cache
def compiled(name: str) -> Outputs:
    batch = next(batch for batch in BATCHES if batch.name == name)
    found: dict[str, Sequence[int]] = {}
    for start in range(0, len(trusted(batch)), 8):
        part = joined(name, trusted(batch)[start : start + 8])
        found |= simulate_ahir(program(part), part.inputs, part.expect).outputs
    return found


@pytest.mark.parametrize("name", ALL)
def test_interpreter_equals_what_the_tools_gave(name: str) -> None:
    batch, part = PARTS[name]
    outputs = interpreted(batch.name)
    found = {case: digest(cut(part, case, outputs)) for case in part.cases}
    wanted = {case: recorded().get(case) for case in part.cases}
    if name in TOOLS_WRONG:
        assert set(wanted.values()) == {None}
        return
    assert [case for case in found if found[case] != wanted[case]] == []


@pytest.mark.ghdl
@pytest.mark.parametrize("name", ALL)
def test_vhdl_equals_the_interpreter(name: str) -> None:
    batch, part = PARTS[name]
    assert differences(part, interpreted(batch.name), simulated(batch.name)) == {}


@pytest.mark.ghdl
@pytest.mark.slow
@pytest.mark.parametrize("name", named(heavy=False))
def test_vhdl_with_stalls_equals_the_interpreter(name: str) -> None:
    batch, part = PARTS[name]
    assert differences(part, interpreted(batch.name), simulated(batch.name, 0.4)) == {}


@pytest.mark.ahir
@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in PARTS if name not in TOOLS_WRONG])
def test_tools_equal_the_interpreter(name: str) -> None:
    batch, part = PARTS[name]
    assert differences(part, interpreted(batch.name), compiled(batch.name)) == {}


@pytest.mark.parametrize("name", sorted(TOOLS_WRONG))
def test_what_the_tools_get_wrong_is_not_emitted(name: str) -> None:
    with pytest.raises(AaError) as caught:
        verify(program(PARTS[name][1]), emitted=True)
    assert TOOLS_WRONG[name] in str(caught.value)


def test_recorded_cases_are_those_of_the_table() -> None:
    cases = [case for batch in BATCHES for part in trusted(batch) for case in part.cases]
    assert sorted(cases) == sorted(recorded())
