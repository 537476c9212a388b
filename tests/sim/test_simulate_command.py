"""``pyahir simulate`` as a user types it: tables, files, exit statuses, messages word for word."""

from __future__ import annotations

import json
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

from pyahir.commands.simulate import simulate_command
from pyahir.compiler import Compiled, CompileOptions, compile_plan
from pyahir.errors import PyahirError
from pyahir.ir.eval import Evaluator, quantize, to_nchw
from pyahir.ir.graph import Graph
from pyahir.ir.types import Affine
from pyahir.plan.search import Options, make_plan
from pyahir.plan.single import single_layer
from tests.designs import written
from tests.lower.test_join import quantized as joined
from tests.lower.test_join import residual
from tests.networks import small
from tests.sim.programs import PAIR_SUM, SOURCE, TWO_WAYS

OPERANDS = ("conv5", "conv1")  # of the join add6
CASES = {
    "pair_sum.aa": PAIR_SUM,
    "two_ways.aa": TWO_WAYS,
    "source.aa": SOURCE,
    "x.txt": "1\n-2 # a comment\n\n0x03\n127\n127\n",
    "same.txt": "1\n-1\n1\n130\n254\n",
    "other.txt": "1\n-1\n0\n130\n255\n",
    "large.txt": "1\n200\n",
    "word.txt": "1\ntwo\n",
    "empty.txt": "# nothing\n",
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with small files, as a user does."""
    monkeypatch.chdir(tmp_path)
    for name, text in CASES.items():
        Path(name).write_text(text)
    return tmp_path


def run(*arguments: str) -> tuple[int, str]:
    """Run the command; give exit status and standard output. Errors are for ``refused``."""
    found = CliRunner().invoke(simulate_command, arguments, standalone_mode=False)
    if found.exception is not None:
        raise found.exception
    return found.return_value, found.stdout


def refused(*arguments: str) -> str:
    """Run what must fail as the user's mistake; give its one message."""
    with pytest.raises((PyahirError, click.ClickException)) as caught:
        run(*arguments)
    return str(caught.value)


@pytest.mark.ghdl
def test_the_table() -> None:
    code, out = run("pair_sum.aa", "--input", "x.txt")
    assert code == 0
    (row,) = [line for line in out.splitlines() if line.startswith("│ y ")]
    cells = [cell.strip() for cell in row.strip("│").split("│")]
    assert cells[:2] == ["y", "5"]
    assert int(cells[3]) - int(cells[2]) == 4
    assert cells[4:] == ["1.00", "1 -1 1 130 254"]


@pytest.mark.ghdl
def test_stalls_waves_fills_and_files(folder: Path) -> None:
    np.save("x.npy", np.array([[1, -2, 3], [127, 127, 0]], np.int64))
    code, out = run(
        *("pair_sum.aa", "--input", "x=x.npy", "-o", "y=y.npy", "--wave", "run.vcd"),
        *("--stalls", "0,0.8", "--seed", "4", "--fills", "--vhdl", "design.vhd"),
    )
    assert code == 0
    assert out.endswith("wrote y.npy\nwrote run.vcd\nwrote design.vhd\n")
    assert "cycles full" in out
    found = np.load("y.npy")
    assert found.dtype == np.int16
    assert found.tolist() == [1, -1, 1, 130, 254, 127]
    assert Path("run.vcd").stat().st_size > 1000
    assert "entity ahir_system is" in Path("design.vhd").read_text()
    run("pair_sum.aa", "--input", "x=x.npy", "-o", "y.txt")
    assert Path("y.txt").read_text() == "1\n-1\n1\n130\n254\n127\n"
    assert {path.name for path in folder.iterdir()} - CASES.keys() == {
        *("x.npy", "y.npy", "y.txt", "run.vcd", "design.vhd")
    }


@pytest.mark.parametrize("engine", ["aa", pytest.param("ghdl", marks=pytest.mark.ghdl)])
def test_json_in_each_engine(engine: str) -> None:
    code, out = run("pair_sum.aa", "--input", "x.txt", "--json", "--engine", engine)
    assert code == 0
    found = json.loads(out)
    assert found["engine"] == engine
    y = found["outputs"]["y"]
    assert (y["words"], y["values"]) == (5, [1, -1, 1, 130, 254])
    assert y["cycles_per_word"] == (1.0 if engine == "ghdl" else None)


@pytest.mark.parametrize("engine", ["aa", pytest.param("ghdl", marks=pytest.mark.ghdl)])
def test_golden_words(engine: str) -> None:
    start = ("pair_sum.aa", "--input", "x.txt", "--engine", engine, "--golden")
    code, out = run(*start, "y=same.txt")
    assert (code, out.splitlines()[-1]) == (0, "simulate: PASSED: 5 golden words, 0 differ")
    code, out = run(*start, "other.txt")
    assert code == 1
    verdict, first = out.splitlines()[-2:]
    assert verdict == "simulate: FAILED: 2 of 5 golden words differ"
    assert first.startswith("  y: word 2")
    assert first.endswith(": 000 expected, 001 found; 2 words differ")


@pytest.mark.parametrize("engine", ["aa", pytest.param("ghdl", marks=pytest.mark.ghdl)])
def test_a_program_without_input_ends_at_the_limit(engine: str) -> None:
    code, out = run("source.aa", "--cycles", "60", "--json", "--engine", engine)
    assert code == 0
    values = json.loads(out)["outputs"]["o"]["values"]
    assert len(values) > 10
    assert values == list(range(len(values)))
    code, out = run("source.aa", "--expect", "o=5", "--json", "--engine", engine)
    assert json.loads(out)["outputs"]["o"]["values"] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("option", "value"), [("--vhdl", "a.vhd"), ("--levels", "2")])
def test_what_only_our_vhdl_has(folder: Path, option: str, value: str) -> None:
    arguments = ("pair_sum.aa", "--input", "x.txt", "--engine", "aa", option, value)
    message = f"{option}: only with --engine ghdl or verilator, whose VHDL is pyahir's own"
    assert message == refused(*arguments)
    assert not (folder / "a.vhd").exists()


@pytest.mark.ghdl
def test_a_slow_loop_is_told_with_its_reason() -> None:
    text = """$pipe a : $uint<8> $depth 2
$pipe o : $uint<8> $depth 2
$module [slow] $in () $out () $is
{
  $branchblock [b] {
    $dopipeline $depth 7 $buffering 2 $fullrate
      $merge $entry $loopback
        $phi s := $zero<8> $on $entry n $on $loopback
      $endmerge
      x := a
      n := (s + x)
      o := n
    $while 1
  }
}
"""
    Path("slow.aa").write_text(text)
    Path("few.txt").write_text("1\n2\n3\n4\n")
    code, out = run("slow.aa", "--input", "few.txt")
    assert code == 0
    assert "slow: a new iteration only every 3 cycles: the next one needs 'n' of line 11\n" in out


@pytest.mark.ghdl
def test_a_deadlock_is_one_error() -> None:
    Path("p.txt").write_text("7\n" * 20)
    message = refused("two_ways.aa", "--input", "p.txt", "--expect", "o=8", "--patience", "100")
    assert message.startswith("simulation: nothing moves for 100 cycles; p took ")
    assert "full: near (4 of 4: written by fork, read by join)" in message


REFUSED = {
    "none.aa: no such file": ["none.aa"],
    "no words for the input pipes x; give them with --input x=FILE": ["pair_sum.aa"],
    "none.txt: no such file": ["pair_sum.aa", "--input", "none.txt"],
    "none.npy: no such file": ["pair_sum.aa", "--input", "x=none.npy"],
    "--input q: not an input pipe; accepted: x": ["pair_sum.aa", "--input", "q=x.txt"],
    "--golden x: not an output pipe; accepted: y": [
        *("pair_sum.aa", "--input", "x.txt", "--golden", "x=x.txt")
    ],
    "--expect x: not an output pipe; accepted: y": [
        *("pair_sum.aa", "--input", "x.txt", "--expect", "x=3")
    ],
    "--expect y=many: accepted is PIPE=COUNT, a number from 1 on": [
        *("pair_sum.aa", "--input", "x.txt", "--expect", "y=many")
    ],
    "--expect y=4: there are 5 golden words; accepted: as many": [
        *("pair_sum.aa", "--input", "x.txt", "--golden", "same.txt", "--expect", "y=4")
    ],
    "--input: two files for pipe 'x'; accepted: one": [
        *("pair_sum.aa", "--input", "x=x.txt", "--input", "x=x.txt")
    ],
    "--input x.txt: which pipe? accepted: PIPE=FILE with PIPE one of none": [
        *("pair_sum.aa", "--input", "x=x.txt", "--input", "x.txt")
    ],
    "large.txt: word 1 is 200; pipe 'x' holds -128 to 127 (signed, 8 bits)": [
        *("pair_sum.aa", "--input", "large.txt")
    ],
    "word.txt:2: 'two' is no integer; accepted: one a line, as 12, -12 or 0x0c": [
        *("pair_sum.aa", "--input", "word.txt")
    ],
    "empty.txt: no words; at least one is needed": ["pair_sum.aa", "--input", "empty.txt"],
    "pair_sum.aa: no kind of words ends in '.aa'; accepted: .npy, .txt": [
        *("pair_sum.aa", "--input", "pair_sum.aa")
    ],
    "y.csv: no kind of words ends in '.csv'; accepted: .npy, .txt": [
        *("pair_sum.aa", "--input", "x.txt", "-o", "y.csv")
    ],
    "none/y.txt: cannot write: the folder none does not exist": [
        *("pair_sum.aa", "--input", "x.txt", "-o", "none/y.txt")
    ],
    "run.gif: no kind of waves ends in '.gif'; accepted: .vcd, .ghw, .fst": [
        *("pair_sum.aa", "--input", "x.txt", "--wave", "run.gif")
    ],
    "--stalls 1: accepted are one share from 0 to below 1, or two: 0.2,0.5": [
        *("pair_sum.aa", "--input", "x.txt", "--stalls", "1")
    ],
    "engine aa: there are no waves without a clock; accepted: engine ghdl": [
        *("pair_sum.aa", "--input", "x.txt", "--wave", "run.vcd", "--engine", "aa")
    ],
    "engine aa: there are no stalls without a clock; accepted: engine ghdl": [
        *("pair_sum.aa", "--input", "x.txt", "--stalls", "0.5", "--engine", "aa")
    ],
}


@pytest.mark.parametrize("message", REFUSED)
def test_mistakes_are_one_message(message: str) -> None:
    assert refused(*REFUSED[message]) == message


def test_an_unknown_engine_is_refused() -> None:
    message = refused("pair_sum.aa", "--input", "x.txt", "--engine", "best")
    assert message.startswith("--engine best: no such engine; accepted: ghdl, aa")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(3), "the array is float64; accepted: integers of any size"),
        (np.zeros(0, np.int8), "no words; at least one is needed"),
        (np.array([300]), "word 0 is 300; pipe 'x' holds -128 to 127 (signed, 8 bits)"),
        (np.array(["a"], object), "not an .npy file of plain numbers; write it with np.save"),
    ],
)
def test_arrays_that_are_no_words(array: np.ndarray, message: str) -> None:
    np.save("a.npy", array)
    assert refused("pair_sum.aa", "--input", "a.npy") == f"a.npy: {message}"


@pytest.fixture
def network(folder: Path) -> tuple[Graph, Compiled]:
    graph = small().graph()
    compiled, _ = written(graph, folder)
    return graph, compiled


@pytest.mark.parametrize("engine", ["aa", pytest.param("ghdl", marks=pytest.mark.ghdl)])
@pytest.mark.parametrize("kind", ["float32", "uint8"])
def test_a_network(network: tuple[Graph, Compiled], engine: str, kind: str) -> None:
    graph, compiled = network
    source = graph.inputs[0].type
    images = np.random.default_rng(0).random((2, 2, 6, 6), dtype=np.float32)
    codes = quantize(np.moveaxis(images, 1, -1), source)
    given = images if kind == "float32" else np.moveaxis(codes, -1, 1)
    name = graph.outputs[0]
    kinds = graph.types()[name]
    expected = to_nchw(Evaluator(graph).run(codes, keep=[name])[name], kinds)
    np.save("images.npy", given)
    np.save("expected.npy", expected)
    pipe = compiled.manifest["output"]["pipe"]
    start = ("net.aa", "--input", "images.npy", "--engine", engine)
    code, out = run(*start, "--golden", f"{pipe}=expected.npy", "-o", f"{pipe}=found.npy")
    assert code == 0
    assert out.splitlines()[-1] == "simulate: PASSED: 6 golden words, 0 differ"
    np.testing.assert_array_equal(expected, np.load("found.npy"))
    code, out = run(*start, "--json")
    assert code == 0
    assert json.loads(out)["outputs"][pipe]["values"] == expected.ravel().tolist()


@pytest.mark.parametrize("engine", ["aa", pytest.param("ghdl", marks=pytest.mark.ghdl)])
def test_a_join_alone(folder: Path, engine: str) -> None:
    """Both operands are codes in files of their own; floats are quantized with their scales."""
    graph = joined(residual(), None)
    plan = make_plan(graph, Options(multipliers=40))
    compile_plan(single_layer(plan, "add6"), CompileOptions()).write(folder / "add6.aa")
    rng = np.random.default_rng(0)
    codes = {name: rng.integers(0, 256, (2, 4, 8, 8)).astype(np.uint8) for name in OPERANDS}
    files = [("--input", f"{name}_in={name}.npy") for name in OPERANDS]
    inputs = [option for pair in files for option in pair]
    found: list[np.ndarray] = []
    for form in ("codes", "numbers"):
        for name, array in codes.items():
            scale = graph.types()[name].quantization
            assert isinstance(scale, Affine)
            numbers = ((array.astype(np.float32) - scale.zero_point) * scale.scale).astype("f4")
            np.save(f"{name}.npy", array if form == "codes" else numbers)
        code, _ = run("add6.aa", *inputs, "--engine", engine, "-o", "found.npy")
        assert code == 0
        found.append(np.load("found.npy"))
    kernel = Evaluator(single_layer(plan, "add6").graph)
    given = {name: np.moveaxis(array, 1, -1) for name, array in codes.items()}
    (expected,) = kernel.run(given).values()
    for array in found:
        np.testing.assert_array_equal(np.moveaxis(expected, -1, 1), array)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (
            np.zeros((1, 1, 6, 6), np.float32),
            "the array has shape 1x1x6x6; the model takes Nx2x6x6",
        ),
        (
            np.zeros((1, 2, 6, 6), np.int16),
            "the array is int16; accepted is float32 of shape Nx2x6x6",
        ),
        (np.zeros((0, 2, 6, 6), np.uint8), "the array is empty; at least one image is needed"),
    ],
)
@pytest.mark.usefixtures("network")
def test_images_that_do_not_fit(array: np.ndarray, message: str) -> None:
    np.save("a.npy", array)
    assert refused("net.aa", "--input", "a.npy", "--engine", "aa") == f"a.npy: {message}"


def test_golden_codes_that_do_not_fit(network: tuple[Graph, Compiled]) -> None:
    pipe = network[1].manifest["output"]["pipe"]
    np.save("images.npy", np.zeros((1, 2, 6, 6), np.uint8))
    np.save("a.npy", np.zeros((1, 4), np.uint8))
    message = refused("net.aa", "--input", "images.npy", "--golden", f"{pipe}=a.npy")
    assert message == (
        "a.npy: the array is uint8 of shape (1, 4); accepted: uint8 codes of shape ('N', 3)"
    )
