"""Vectors whose stream is that of the feature map they were flattened from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pyahir.backends.aa.streams import in_stream_order, in_value_order
from pyahir.compiler import CompileOptions, compile_graph
from pyahir.engines import compare, run_aa, run_ir, run_simulator
from pyahir.errors import PlanError
from pyahir.ir.eval import Evaluator, from_nchw, quantize
from pyahir.ir.graph import Graph
from pyahir.ir.ops import Add, AvgPool2d, Clamp, Conv2d, Flatten, Linear, MaxPool2d, Relu
from pyahir.ir.types import Array, Int
from pyahir.plan.search import Options, make_plan
from pyahir.quant.scheme import RealScheme
from tests.cli.test_cli import pyahir
from tests.lower.test_few_bit import BIT, FewBit
from tests.plan.test_single import graph_of
from tests.quant.floats import FloatNet

SCHEMES = {
    "uint8": None,
    "quire": RealScheme(arith="quire"),
    "float16": RealScheme(scheme="float16", arith="f16", scale="1"),
}
CLAMP = Clamp(minimum=-0.5, maximum=0.5)


def net() -> FloatNet:
    """A pooled map of 4 channels, 2 rows, 3 columns."""
    chain = FloatNet((2, 4, 5))
    chain.conv(4, Conv2d(kernel_size=(2, 2)))
    chain.plain("pool", MaxPool2d(kernel_size=(2, 2), stride=(1, 1)))
    return chain


def between() -> FloatNet:
    chain = net()
    chain.flatten()
    chain.plain("tanh", CLAMP)
    chain.plain("relu", Relu())
    chain.linear(3)
    return chain


def last_clamp() -> FloatNet:
    chain = net()
    chain.flatten()
    chain.plain("tanh", CLAMP)
    return chain


def last_flatten() -> FloatNet:
    chain = net()
    chain.flatten()
    return chain


def first() -> FloatNet:
    """The network's input is flattened."""
    chain = FloatNet((2, 3, 4))
    chain.flatten()
    chain.plain("relu", Relu())
    chain.linear(3)
    return chain


def two_flattened() -> FloatNet:
    """A sum of two flattened maps, whose streams have the same order, is a flattened map."""
    chain = net()
    start = chain.value
    left = chain.flatten()
    chain.value = start
    chain.plain("tanh", CLAMP)
    chain.flatten()
    chain.plain("sum", Add(), left)
    chain.linear(3)
    return chain


NETWORKS = [between, last_clamp, last_flatten, first, two_flattened]


def recoded(last: bool) -> FewBit:
    """Pixels that become bits behind the flattening."""
    chain = FewBit((3, 2, 3), seed=4)
    chain.add("flat", Flatten())
    chain.recode(1)
    if not last:
        chain.matvec(Linear(), (4, 18), BIT)
    return chain


def codes_of(chain: FloatNet, graph: Graph) -> Array:
    kind = graph.inputs[0].type
    return quantize(from_nchw(chain.images(2), kind), kind)


def written(graph: Graph, folder: Path) -> Path:
    path = folder / "net.aa"
    compile_graph(graph, CompileOptions(plan=Options(multipliers=20))).write(path)
    return path


def assert_exact(graph: Graph, codes: Array, folder: Path, *simulators: str) -> None:
    """Compare every value that the engines have, the output among them."""
    path = written(graph, folder)
    results = {"ir": run_ir(graph, codes), "aa": run_aa(path, codes)}
    results |= {name: run_simulator(name, path, codes)[0] for name in simulators}
    found = compare(results, [item.name for item in (*graph.inputs, *graph.nodes)])
    assert [item for item in found if item.differing] == []
    ends = [(item.right, item.layer) for item in found if item.layer == graph.outputs[0]]
    assert ends == [(name, graph.outputs[0]) for name in ("aa", *simulators)]


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_value_is_in_the_models_order(
    make: Callable[[], FloatNet], scheme: str, tmp_path: Path
) -> None:
    chain = make()
    graph = graph_of(chain, SCHEMES[scheme])
    assert_exact(graph, codes_of(chain, graph), tmp_path)


@pytest.mark.parametrize("last", [False, True], ids=["between", "last"])
def test_bits_are_in_the_models_order(last: bool, tmp_path: Path) -> None:
    chain = recoded(last)
    assert_exact(chain.graph(), chain.images(2), tmp_path)


@pytest.mark.ghdl
@pytest.mark.parametrize("make", [last_clamp, last_flatten])
def test_simulated_outputs_are_in_the_models_order(
    make: Callable[[], FloatNet], tmp_path: Path
) -> None:
    chain = make()
    graph = graph_of(chain, None)
    assert_exact(graph, codes_of(chain, graph), tmp_path, "ghdl")


@pytest.mark.ghdl
def test_simulated_bits_are_in_the_models_order(tmp_path: Path) -> None:
    chain = recoded(last=True)
    assert_exact(chain.graph(), chain.images(2), tmp_path, "ghdl")


def test_the_manifest_says_which_map_was_flattened() -> None:
    chain = last_flatten()
    manifest = compile_graph(graph_of(chain, None), CompileOptions()).manifest
    output, layer = manifest["output"], manifest["layers"][-1]
    assert (output["shape"], output["layout"], output["flattened"]) == ([24], "nc", [4, 2, 3])
    assert (layer["shape"], layer["layout"], layer["flattened"]) == ([2, 3, 4], "nhwc", None)
    assert (output["pipe"], output["value"]) == (layer["pipe"], chain.value)


@pytest.mark.ghdl
def test_codes_of_a_flattened_output_on_the_command_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Golden codes and written ones are the vector's, by ``pyahir run`` and ``simulate``."""
    chain = last_clamp()
    graph = graph_of(chain, None)
    path = written(graph, tmp_path)
    images = chain.images(2)
    np.save(tmp_path / "images.npy", images)
    expected = Evaluator(graph).run(codes_of(chain, graph))[graph.outputs[0]]
    np.save(tmp_path / "golden.npy", expected)
    ran, simulated = tmp_path / "ran.npy", tmp_path / "simulated.npy"
    pipe = json.loads(path.with_suffix(".json").read_text())["output"]["pipe"]
    given = ("--input", tmp_path / "images.npy", "--codes", "-o", ran)
    golden = ("--golden", f"{pipe}={tmp_path / 'golden.npy'}")
    words = ("--input", f"x_in={tmp_path / 'images.npy'}", "--output", f"{pipe}={simulated}")
    for arguments in (
        ("run", path, "--engine", "aa", *given),
        ("simulate", path, *golden, *words),
    ):
        code, out, err = pyahir(capsys, *arguments)
        assert (code, err) == (0, ""), out
    np.testing.assert_array_equal(expected, np.load(ran))
    np.testing.assert_array_equal(expected, np.load(simulated))


def test_both_orders_of_a_vector() -> None:
    row = {"flattened": [2, 1, 3]}
    values = np.arange(6, dtype=np.uint8)[None]
    stream = in_stream_order(row, values)
    assert stream.tolist() == [[0, 3, 1, 4, 2, 5]]
    assert in_value_order(row, stream).tolist() == values.tolist()
    for other in ({"flattened": None}, {}):  # manifests of earlier versions do not have it
        assert in_stream_order(other, values) is values
        assert in_value_order(other, values) is values


def test_streams_of_different_orders_are_not_added() -> None:
    chain = net()
    flat = chain.flatten()
    chain.linear(24)
    chain.plain("sum", Add(), flat)
    chain.linear(3)
    message = (
        r"adds a vector and a map \(4, 2, 3\), \(channels, height, width\), whose "
        r"streams come in different orders; accepted: flattened maps of one shape, or vectors "
        r"that are none$"
    )
    with pytest.raises(PlanError, match=message):
        make_plan(graph_of(chain, None), Options())


def test_a_flattened_pixel_is_a_vector_as_any_other(tmp_path: Path) -> None:
    chain = net()
    chain.plain("pool", AvgPool2d(kernel_size=(2, 3)))
    flat = chain.flatten()
    chain.linear(4)
    chain.plain("sum", Add(), flat)
    graph = graph_of(chain, None)
    assert isinstance(graph.inputs[0].type.element, Int)
    assert_exact(graph, codes_of(chain, graph), tmp_path)
