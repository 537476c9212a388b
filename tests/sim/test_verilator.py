"""The engine verilator against the engine ghdl: the same words in the same cycles."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from pyahir.backends.aa.parser import parse
from pyahir.backends.vhdl import to_vhdl
from pyahir.commands.simulate import simulate_command
from pyahir.ir.eval import Evaluator
from pyahir.ir.graph import Graph
from pyahir.sim import GhdlEngine, SimulationError, SimulationResult, Stalls, ToolError, simulate
from pyahir.sim import verilator_tools as tools
from pyahir.sim.testbench import SimulationStopError
from pyahir.sim.verilator import VerilatorEngine, simulate_verilator
from tests.designs import written
from tests.networks import lenet, small
from tests.sim.programs import PAIR_SUM, SOURCE, TWO_WAYS

pytestmark = [pytest.mark.ghdl, pytest.mark.verilator]
EXAMPLES = Path(__file__).parents[2] / "examples" / "aa"
STALLS = (Stalls(), Stalls(seed=5, share=0.3), Stalls(seed=8, inputs=0.1, outputs=0.8))

# A word through registers of 1 to 300 bits, and the words before it by exclusive or.
WIDE = """\
$pipe x : $uint<{width}> $depth 3
$pipe y : $uint<{width}> $depth 2
$module [wide] $in () $out () $is
{{
  $branchblock [blk] {{
    $dopipeline $depth 7 $fullrate
      $merge $entry $loopback
      $endmerge
      a := x
      s := (a ^ b)
      b := s
      y := s
    $while 1
  }}
}}
"""
# Words of Verilog that VHDL does not know, as names of all kinds.
WORDS_OF_VERILOG = """\
$pipe initial : $uint<8> $depth 2
$pipe wire : $uint<8> $depth 2
$pipe output : $uint<8> $depth 2
$module [always] $in () $out () $is
{
  $branchblock [endmodule] {
    $dopipeline $depth 7 $fullrate
      $merge $entry $loopback
      $endmerge
      reg := initial
      assign := (reg + 1)
      wire := assign
    $while 1
  }
}
$module [forever] $in () $out () $is
{
  $branchblock [blk] {
    $dopipeline $depth 7 $fullrate
      $merge $entry $loopback
      $endmerge
      input := wire
      output := input
    $while 1
  }
}
"""


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep executables for this file's tests, apart from the user's."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


def check_same(expected: SimulationResult, actual: SimulationResult) -> None:
    for name in ("outputs", "cycles", "taken", "end", "notes", "mismatches", "passed", "lines"):
        assert getattr(actual, name) == getattr(expected, name), name


@pytest.mark.slow
@pytest.mark.parametrize("multipliers", [4, 64])
def test_a_network(tmp_path: Path, multipliers: int) -> None:
    chain = small()
    graph = chain.graph()
    _, path = written(graph, tmp_path, multipliers=multipliers)
    ghdl, verilator = GhdlEngine.open(path), VerilatorEngine.open(path)
    images = chain.images(3)
    last = ghdl.layers[-1]["value"]
    golden = Evaluator(graph).run(images, keep=[last])[last]
    for stalls in (None, ghdl.after_weights(), STALLS[1], STALLS[2]):
        for engine in (ghdl, verilator):
            found = engine.run(images, stalls=stalls, golden=golden)[last]
            np.testing.assert_array_equal(golden, found)
        assert ghdl.result is not None
        assert verilator.result is not None
        check_same(ghdl.result, verilator.result)
        assert verilator.cycles == ghdl.cycles
        assert verilator.result.passed


@pytest.mark.parametrize(
    "width",
    [
        300,
        *(
            pytest.param(w, marks=pytest.mark.slow)
            for w in (1, 8, 9, 16, 17, 32, 33, 63, 64, 65, 95, 96, 97, 128, 1000)
        ),
    ],
)
def test_words_of_any_width(width: int) -> None:
    program = parse(WIDE.format(width=width))
    draw = random.Random(width)
    words = [0, (1 << width) - 1, *(draw.getrandbits(width) for _ in range(30))]
    expected: list[int] = []
    for word in words:
        expected.append(word ^ (expected[-1] if expected else 0))
    for stalls in STALLS:
        found = simulate_verilator(program, {"x": words}, {"y": len(words)}, stalls=stalls)
        assert found.outputs == {"y": expected}
        check_same(simulate(program, {"x": words}, {"y": len(words)}, stalls=stalls), found)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gcd", "fir", "sort8"])
def test_programs_written_by_hand(name: str) -> None:
    draw = random.Random(3)
    ports = {
        "gcd": (["a_in", "b_in"], 16, "gcd_out"),
        "fir": (["x_in"], 16, "y_out"),
        "sort8": (["word_in"], 64, "sorted_out"),
    }
    sources, width, output = ports[name]
    inputs = {source: [draw.getrandbits(width) for _ in range(20)] for source in sources}
    for stalls in STALLS:
        runs = [
            engine(EXAMPLES / f"{name}.aa", inputs, {output: 20}, stalls=stalls)
            for engine in (simulate, simulate_verilator)
        ]
        check_same(*runs)


@pytest.mark.slow
def test_words_of_verilog_as_names() -> None:
    program = parse(WORDS_OF_VERILOG)
    request = ({"initial": [1, 2, 255]}, {"output": 3})
    found = simulate_verilator(program, *request)
    assert found.outputs == {"output": [2, 3, 0]}
    check_same(simulate(program, *request), found)


@pytest.mark.slow
def test_how_a_run_ends() -> None:
    """All that comes, no input, a limit: the ends are those of the VHDL testbench."""
    source, pair_sum = parse(SOURCE), parse(PAIR_SUM)
    for program, inputs, expect, limit in (
        (source, {}, {"o": None}, 60),
        (source, {}, {"o": 5}, None),
        (pair_sum, {"x": [1, 2, 3]}, {"y": None}, None),
        (pair_sum, {"x": [1, 2, 3]}, {"y": 2}, None),
        (pair_sum, {"x": [1, 2, 3]}, {"y": 0}, 5),
    ):
        runs = [
            engine(program, inputs, expect, patience=40, limit=limit)
            for engine in (simulate, simulate_verilator)
        ]
        check_same(*runs)


def test_golden_words_are_compared_in_the_bench() -> None:
    program = parse(PAIR_SUM)
    request = ({"x": [1, 255, 3, 127, 127]}, {})
    golden = {"y": [1, 0, 3, 130, 255]}
    found = simulate_verilator(program, *request, golden=golden)
    check_same(simulate(program, *request, golden=golden), found)
    assert not found.passed
    assert str(found.mismatches["y"]).endswith("003 expected, 002 found; 2 words differ")


@pytest.mark.slow
def test_a_deadlock() -> None:
    program = parse(TWO_WAYS)
    with pytest.raises(SimulationError) as theirs:
        simulate(program, {"p": [1] * 9}, {"o": 1}, patience=50)
    with pytest.raises(SimulationError) as ours:
        simulate_verilator(program, {"p": [1] * 9}, {"o": 1}, patience=50)
    first, second = str(ours.value).splitlines()
    assert str(theirs.value).startswith(first)
    assert second == (
        "which pipes are full, the engine ghdl says: run the same with --engine ghdl "
        "(verify: --engines ir,ghdl)"
    )
    assert "\n  full: near (4 of 4: written by fork, read by join)" in str(theirs.value)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(" + ", " - ", marks=pytest.mark.slow),
        ("resize(a, 9)", "resize(not a, 9)"),
        pytest.param("has_room <= '0';", "has_room <= '1';", marks=pytest.mark.slow),
    ],
)
def test_changed_vhdl_is_found(old: str, new: str) -> None:
    program = parse(PAIR_SUM)
    text = to_vhdl(program)
    start = text.index("entity aa_fifo") if "has_room" in old else text.index("entity m_")
    changed = text[:start] + text[start:].replace(old, new)
    assert changed != text
    words = [5, 100, 27, 127, 255, 128, 1, 2, 3]
    golden = simulate(program, {"x": words}, {"y": len(words)}).outputs
    stalls = Stalls(outputs=0.6)
    request = (program, {"x": words}, {})
    assert simulate_verilator(*request, golden=golden, stalls=stalls).passed
    try:
        found = simulate_verilator(*request, golden=golden, stalls=stalls, vhdl=changed)
    except SimulationStopError:  # words are lost
        return
    assert not found.passed


@pytest.mark.slow
def test_an_executable_is_made_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = (parse(WIDE.format(width=77)), {"x": [1]}, {"y": 1})
    first = simulate_verilator(*request)
    again = simulate_verilator(*request, stalls=STALLS[1])
    assert first.tool_seconds.keys() == {"ghdl", "verilator", "g++"}
    assert again.tool_seconds.keys() == {"ghdl"}
    assert again.outputs == first.outputs
    monkeypatch.setattr(tools, "KEPT", 1)
    simulate_verilator(parse(WIDE.format(width=78)), {"x": [1]}, {"y": 1})
    assert len(list(cache.glob("pyahir/verilator-design-*"))) == 1
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/none")  # nothing can be kept there
    assert simulate_verilator(*request).outputs == first.outputs


@pytest.mark.slow
def test_seeds_change_what_is_undefined(tmp_path: Path) -> None:
    """VHDL's U is random here: a word that nobody wrote differs from run to run."""
    program = parse(WIDE.format(width=64))
    text = to_vhdl(program).replace(
        "y_pipe_read_data <= y_read_data;", "y_pipe_read_data <= (others => 'X');"
    )
    found = [
        simulate_verilator(program, {"x": [1]}, {"y": 1}, vhdl=text, stalls=Stalls(seed=seed))
        for seed in (1, 1, 2)
    ]
    first, same, other = (item.outputs["y"] for item in found)
    assert first == same != other


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        (
            "PYAHIR_VERILATOR",
            "/none/verilator",
            "PYAHIR_VERILATOR=/none/verilator: no such executable; accepted: the path of verilator",
        ),
        (
            "CXX",
            "/none/g++",
            "engine verilator: /none/g++ is not installed, and Verilator's C++ needs it: install "
            "it (Debian: apt install g++ make) or set CXX to its path",
        ),
        (
            "MAKE",
            "/none/make",
            "engine verilator: /none/make is not installed, and Verilator's C++ needs it: install "
            "it (Debian: apt install g++ make) or set MAKE to its path",
        ),
    ],
)
def test_a_missing_tool(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ToolError) as caught:
        simulate_verilator(parse(PAIR_SUM), {"x": [1]}, {"y": 1})
    assert str(caught.value) == message


@pytest.mark.parametrize("option", [["--fills"], ["--wave", "w.vcd"]])
def test_what_only_ghdl_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pair_sum.aa").write_text(PAIR_SUM)
    Path("x.txt").write_text("1\n2\n")
    arguments = ["pair_sum.aa", "--engine", "verilator", "--input", "x.txt", *option]
    result = CliRunner().invoke(simulate_command, arguments, standalone_mode=False)
    what = "fills" if option == ["--fills"] else "waves"
    assert str(result.exception) == f"engine verilator: no {what}; accepted: engine ghdl"


@pytest.mark.slow
def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pair_sum.aa").write_text(PAIR_SUM)
    Path("x.txt").write_text("1\n-2\n0\n")
    shown: list[str] = []
    for engine in ("ghdl", "verilator"):
        arguments = ["pair_sum.aa", "--engine", engine, "--input", "x.txt", "--json"]
        result = CliRunner().invoke(simulate_command, arguments, standalone_mode=False)
        assert result.exception is None
        shown.append(result.output.replace(engine, "ENGINE"))
    assert shown[0] == shown[1]


@pytest.mark.slow
def test_lenet(tmp_path: Path) -> None:
    chain = lenet()
    graph: Graph = chain.graph()
    _, path = written(graph, tmp_path)
    ghdl, verilator = GhdlEngine.open(path), VerilatorEngine.open(path)
    images = chain.images(2)
    for stalls in (STALLS[0], STALLS[1]):
        values = [engine.run(images, stalls=stalls) for engine in (ghdl, verilator)]
        for name, expected in values[0].items():
            np.testing.assert_array_equal(expected, values[1][name])
        assert ghdl.result is not None
        assert verilator.result is not None
        check_same(ghdl.result, verilator.result)
        rates = [result.end / result.seconds for result in (ghdl.result, verilator.result)]
        print(f"LeNet: {rates[0]:,.0f} and {rates[1]:,.0f} cycles/s")
        assert rates[1] > 10 * rates[0]
