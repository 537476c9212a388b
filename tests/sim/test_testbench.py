"""The testbench alone: its verdict, its files, both dialects of VHDL, undefined words, stalls."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from pyahir.backends.aa.parser import parse
from pyahir.sim import SimulationError, Stalls, simulate
from pyahir.sim.ghdl import OUR_STANDARD, run_ghdl
from pyahir.sim.run import border_ports
from pyahir.sim.testbench import (
    BenchResult,
    Mismatch,
    Port,
    SimulationStopError,
    read_results,
    write_bench,
)
from pyahir.sim.tools import require_tool, run_tool
from tests.sim.programs import PAIR_SUM, SOURCE, TWO_WAYS

PORTS = [Port("p", 5, 4, output=False), Port("o", 5, 4, output=True)]
WORDS = [1, 30, 7, 16]

# A register between p and o, in VHDL-87 style types: what any compiler of Aa may give.
REGISTER = """\
library ieee;
use ieee.std_logic_1164.all;
entity ahir_system is
  port (
    clk, reset : in std_logic;
    p_pipe_write_data : in std_logic_vector(4 downto 0);
    p_pipe_write_req : in std_logic_vector(0 downto 0);
    p_pipe_write_ack : out std_logic_vector(0 downto 0);
    o_pipe_read_data : out std_logic_vector(4 downto 0);
    o_pipe_read_req : in std_logic_vector(0 downto 0);
    o_pipe_read_ack : out std_logic_vector(0 downto 0));
end ahir_system;
architecture rtl of ahir_system is
  signal full : std_logic;
  signal word : std_logic_vector(4 downto 0);
begin
  p_pipe_write_ack(0) <= not full;
  o_pipe_read_ack(0) <= full;
  o_pipe_read_data <= word;
  process (clk)
  begin
    if clk'event and clk = '1' then
      if reset = '1' then
        full <= '0';
      elsif full = '0' then
        full <= p_pipe_write_req(0);
        word <= p_pipe_write_data;
      elsif o_pipe_read_req(0) = '1' then
        full <= '0';
      end if;
    end if;
  end process;
end rtl;
"""
FOREIGN = ("--std=93", "--ieee=synopsys", "-fexplicit")


def run(
    folder: Path,
    golden: Sequence[int] | None,
    *,
    design: str = REGISTER,
    options: Sequence[str] = OUR_STANDARD,
    stalls: Stalls | None = None,
) -> BenchResult:
    (folder / "design.vhd").write_text(design)
    expected = None if golden is None else {"o": golden}
    write_bench(folder, PORTS, {"p": WORDS}, expected, stalls, 100)
    run_ghdl(folder, options=options)
    return read_results(folder, PORTS, 100)


@pytest.mark.ghdl
@pytest.mark.parametrize("options", [OUR_STANDARD, FOREIGN])
def test_the_same_text_in_both_dialects(tmp_path: Path, options: Sequence[str]) -> None:
    found = run(tmp_path, WORDS, options=options)
    assert found.passed
    assert found.outputs == {"o": WORDS}
    assert found.cycles == {"o": [12, 14, 16, 18]}
    assert found.taken == {"p": [11, 13, 15, 17]}
    assert (tmp_path / "testbench.results").read_text() == (
        "input p 4 4\noutput o 4 4\nend words 19\nPASS\n"
    )


@pytest.mark.ghdl
@pytest.mark.parametrize("options", [OUR_STANDARD, FOREIGN])
def test_the_first_mismatch_is_reported(tmp_path: Path, options: Sequence[str]) -> None:
    found = run(tmp_path, [1, 29, 7, 17], options=options)
    assert not found.passed
    assert found.outputs == {"o": WORDS}
    assert found.mismatches == {"o": Mismatch("o", 2, 1, 14, 29, "1e")}
    assert str(found.mismatches["o"]) == (
        "o: word 1 in cycle 14: 1d expected, 1e found; 2 words differ"
    )
    assert (tmp_path / "testbench.results").read_text() == (
        "input p 4 4\noutput o 4 4\nwrong o 2 1 14 1d 1e\nend words 19\nFAIL\n"
    )


@pytest.mark.ghdl
def test_the_simulator_prints_the_mismatch_itself(tmp_path: Path) -> None:
    run(tmp_path, [1, 29, 7, 16])
    text = run_tool([require_tool("ghdl"), "-r", *OUR_STANDARD, "testbench"], tmp_path)
    assert "o: word 1 in cycle 14: 1d expected, 1e found" in text
    assert "testbench: FAIL, words that differ: 1" in text


@pytest.mark.ghdl
@pytest.mark.parametrize("bit", ["U", "X", "Z"])
def test_undefined_bits_differ_from_every_golden_word(tmp_path: Path, bit: str) -> None:
    design = REGISTER.replace(
        "o_pipe_read_data <= word;", f"o_pipe_read_data <= word(4 downto 1) & '{bit}';"
    )
    found = run(tmp_path, WORDS, design=design)
    assert not found.passed
    assert found.outputs == {"o": [-1, -1, -1, -1]}
    assert str(found.mismatches["o"]) == (
        "o: word 0 in cycle 12: 01 expected, 0x found; 4 words differ"
    )
    with pytest.raises(SimulationError) as caught:
        run(tmp_path / "..", None, design=design)
    assert str(caught.value) == "simulation: word 0 of o is undefined: 0x"


@pytest.mark.ghdl
def test_stalls_change_cycles_only(tmp_path: Path) -> None:
    free = run(tmp_path, WORDS)
    ends = {free.end}
    for number, stalls in enumerate(
        [Stalls(1, 0.5), Stalls(2, 0.5), Stalls(1, inputs=0.9), Stalls(1, outputs=0.9)]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        found = run(folder, WORDS, stalls=stalls)
        assert found.passed
        assert found.outputs == free.outputs
        ends.add(found.end)
    assert len(ends) == 5


def test_shares_of_stalls() -> None:
    assert (Stalls(0, 0.5).input_share, Stalls(0, 0.5).output_share) == (0.5, 0.5)
    apart = Stalls(0, 0.5, inputs=0.0)
    assert (apart.input_share, apart.output_share) == (0.0, 0.5)


@pytest.mark.parametrize(
    ("inputs", "golden", "message"),
    [
        ([1, 32], [1] * 4, "p: word 1 is 32; accepted: 0 to 31 (5 bits)"),
        ([1, -1], [1] * 4, "p: word 1 is -1; accepted: 0 to 31 (5 bits)"),
        ([1], [1, 2, 3, 40], "o: word 3 is 40; accepted: 0 to 31 (5 bits)"),
        ([1], [1], "o: 1 golden words for 4 words; accepted: as many"),
    ],
)
def test_words_out_of_range_are_refused(
    tmp_path: Path, inputs: list[int], golden: list[int], message: str
) -> None:
    with pytest.raises(SimulationError) as caught:
        write_bench(tmp_path, PORTS, {"p": inputs}, {"o": golden})
    assert str(caught.value) == message


def test_a_run_without_verdict_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "testbench.results").write_text("input p 4 4\noutput o 3 4\n")
    with pytest.raises(SimulationError) as caught:
        read_results(tmp_path, PORTS, 100)
    assert str(caught.value) == "simulation: the testbench did not come to its end"


@pytest.mark.ghdl
def test_golden_words_of_a_program() -> None:
    program = parse(PAIR_SUM)
    inputs = {"x": [1, 254, 3, 127, 127]}
    golden = [1, 511, 1, 130, 254]
    found = simulate(program, inputs, {}, golden={"y": golden})
    assert found.passed
    assert found.outputs == {"y": golden}
    assert len(found.taken["x"]) == 5
    assert all(out > taken for out, taken in zip(found.cycles["y"], found.taken["x"], strict=True))
    wrong = simulate(program, inputs, {}, golden={"y": [1, 511, 1, 130, 255]})
    assert not wrong.passed
    assert str(wrong.mismatches["y"]).endswith("0ff expected, 0fe found; 1 words differ")


@pytest.mark.ghdl
@pytest.mark.parametrize("name", ["results", "testbench", "cycle", "words", "row", "fills", "out"])
def test_pipes_may_have_any_name(name: str) -> None:
    text = PAIR_SUM.replace("$pipe y ", f"$pipe {name} ").replace("y := s", f"{name} := s")
    found = simulate(parse(text), {"x": [1, 2]}, {}, golden={name: [1, 3]}, monitor=True)
    assert found.passed
    assert found.fills[name].words == 2


@pytest.mark.ghdl
def test_open_ended_outputs() -> None:
    program = parse(PAIR_SUM)
    found = simulate(program, {"x": [1, 2, 3]}, {"y": None}, patience=50)
    assert found.outputs == {"y": [1, 3, 5]}
    assert found.notes == []
    found = simulate(parse(SOURCE), {}, {"o": None}, limit=100)
    assert found.outputs["o"][:3] == [0, 1, 2]
    assert found.notes == ["stopped after 100 cycles"]


@pytest.mark.ghdl
def test_a_limit_that_is_too_low_is_an_error() -> None:
    with pytest.raises(SimulationStopError) as caught:
        simulate(parse(SOURCE), {}, {"o": 1000}, limit=100)
    assert str(caught.value).startswith("simulation: stopped after 100 cycles; o gave ")


@pytest.mark.ghdl
def test_a_deadlock_names_the_full_pipe() -> None:
    program = parse(TWO_WAYS)
    with pytest.raises(SimulationStopError) as caught:
        simulate(program, {"p": list(range(20))}, {"o": 8}, patience=100)
    first, full, holding = str(caught.value).splitlines()
    assert first.startswith("simulation: nothing moves for 100 cycles; p took ")
    assert first.endswith(" of 20 words, o gave 0 of 8 words")
    assert full == "  full: near (4 of 4: written by fork, read by join)"
    assert holding == "  empty: far"


@pytest.mark.ghdl
def test_input_words_left_over_are_noted() -> None:
    found = simulate(parse(TWO_WAYS), {"p": list(range(20))}, {"o": None}, patience=100)
    assert found.outputs == {"o": []}
    (note,) = found.notes
    assert note.startswith("p took ")
    assert note.endswith(" of 20 words")


def test_ports_take_open_counts() -> None:
    ports = border_ports(parse(PAIR_SUM), {"x": [1]}, {"y": None})
    assert ports == [Port("x", 8, 1, output=False), Port("y", 9, None, output=True)]
