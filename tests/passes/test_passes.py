"""What files cannot show: large graphs, idempotence, the pipeline, its dumps and its checks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from pyahir.errors import OutputError
from pyahir.ir.builder import GraphBuilder
from pyahir.ir.eval import Evaluator
from pyahir.ir.graph import Graph, Loc, Stage
from pyahir.ir.ops import AvgPool2d, BatchNorm, Conv2d, Linear, MaxPool2d, Relu
from pyahir.ir.parser import parse
from pyahir.ir.verify import VerifyError, verify
from pyahir.passes.base import Pass
from pyahir.passes.eliminate_dead import eliminate_dead
from pyahir.passes.eliminate_exceptions import count_exceptions, eliminate_exceptions
from pyahir.passes.eliminate_identity import eliminate_identity
from pyahir.passes.fold_batch_norm import fold_batch_norm
from pyahir.passes.pipeline import LINEAR_ROUNDING, SIMPLIFY, Pipeline
from tests.networks import lenet
from tests.op_cases import f32
from tests.quant.floats import FloatNet, residual_free


def normalized() -> Graph:
    """Batch norms after everything: convolutions, groups, a pool, a ReLU, linear, the input."""
    net = FloatNet((3, 9, 8), seed=4)
    net.norm()  # on the input
    net.conv(4, Conv2d(kernel_size=(3, 3), padding=(1, 0, 2, 1), stride=(2, 1)))
    net.norm()
    net.plain("relu", Relu())
    net.norm()
    net.conv(8, Conv2d(kernel_size=(1, 3), groups=2, dilation=(1, 2)))
    net.norm()
    net.norm()  # two in a row: the second folds into what the first has become
    net.plain("pool", MaxPool2d(kernel_size=(2, 2)))
    net.norm()
    net.flatten()
    net.norm()  # on a vector, nothing before it
    net.linear(6)
    net.norm()
    return net.graph()


def assert_same_results(before: Graph, after: Graph) -> None:
    images = np.random.default_rng(0).normal(0, 1, (9, *before.inputs[0].type.shape[1:]))
    one = Evaluator(before).run(images.astype(np.float32))
    two = Evaluator(after).run(images.astype(np.float32))
    for left, right in zip(before.outputs, after.outputs, strict=True):
        np.testing.assert_allclose(one[left], two[right], rtol=1e-4, atol=1e-4)


def test_every_batch_norm_folds() -> None:
    graph = verify(normalized())
    folded = graph
    while any(isinstance(node.op, BatchNorm) for node in folded.nodes):
        folded = verify(fold_batch_norm(folded))
    assert_same_results(graph, folded)
    kinds = [node.op.mnemonic() for node in folded.nodes]
    assert "batch_norm" not in kinds
    assert kinds.count("conv2d") == 2 + 4  # input, after the ReLU, the second in a row, the pool
    assert kinds.count("linear") == 1 + 1


def test_one_run_folds_all() -> None:
    folded = fold_batch_norm(normalized())
    assert not any(isinstance(node.op, BatchNorm) for node in folded.nodes)
    assert fold_batch_norm(folded) is folded


def test_a_folded_layer_keeps_its_name_and_loc_even_as_an_output() -> None:
    net = FloatNet((2, 4, 4))
    net.conv(3, Conv2d(kernel_size=(3, 3)))
    net.norm()
    graph = net.graph()
    folded = verify(fold_batch_norm(graph))
    assert graph.outputs == ("bn2",)
    assert folded.outputs == ("conv1",)
    assert folded.nodes[0].loc == graph.nodes[0].loc
    assert_same_results(graph, folded)


def test_two_batch_norms_may_share_parameters_and_weights() -> None:
    builder = GraphBuilder("net", Stage.FLOAT)
    x = builder.input("x", f32(1, 2, 3, 3))
    weight = builder.constant("weight", np.ones((2, 2, 1, 1), np.float32))
    rows = [builder.constant("row", np.array([1, 2], np.float32)) for _ in range(5)]
    values: list[str] = []
    for _ in range(2):
        conv = builder.node("conv", Conv2d(kernel_size=(1, 1)), [x, weight, rows[0]], Loc())
        values.append(builder.node("bn", BatchNorm(eps=0.1), [conv, *rows[1:]], Loc()))
    graph = verify(builder.finish(values))
    folded = verify(fold_batch_norm(graph))
    assert len(folded.nodes) == 2
    assert_same_results(graph, folded)


def test_nothing_to_do_is_the_same_object() -> None:
    graph = residual_free()
    for act in (fold_batch_norm, eliminate_identity, eliminate_dead):
        assert act(graph) is graph
    quantized = eliminate_exceptions(lenet().graph())
    assert eliminate_exceptions(quantized) is quantized
    assert Pipeline(SIMPLIFY).run(graph) is graph


def test_simplify_keeps_results_and_is_idempotent() -> None:
    graph = verify(normalized())
    simple = Pipeline(SIMPLIFY).run(graph)
    assert_same_results(graph, simple)
    assert Pipeline(SIMPLIFY).run(simple) is simple


def test_linear_rounding_differs_where_the_tables_say() -> None:
    chain = lenet(seed=3)
    graph = chain.graph()
    counts = count_exceptions(graph)
    assert list(counts) == [node.name for node in graph.nodes if node.name in counts]
    linear = Pipeline(LINEAR_ROUNDING).run(graph)
    assert set(count_exceptions(linear).values()) == {0}
    assert sum(counts.values()) > 0
    assert len(linear.constants) == len(graph.constants)
    assert linear.nodes == graph.nodes


def test_dumps_can_be_read_again(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "dump"
    graph = normalized()
    result = Pipeline(SIMPLIFY).run(graph, dump_dir=folder)
    assert sorted(file.name for file in folder.iterdir()) == [
        "00-input.ir",
        "01-fold_batch_norm.ir",
        "02-eliminate_identity.ir",
        "03-eliminate_dead.ir",
    ]
    assert parse((folder / "00-input.ir").read_text()) == graph
    assert parse((folder / "03-eliminate_dead.ir").read_text()) == result


def test_a_dump_folder_that_cannot_be_made(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    folder = file / "dump"
    message = (
        f"{folder}: cannot write the graphs there: Not a directory; name a folder that can be "
        "written"
    )
    with pytest.raises(OutputError, match=f"^{re.escape(message)}$"):
        Pipeline(()).run(residual_free(), dump_dir=folder)


class Wrecker(Pass):
    name: ClassVar[str] = "wreck_outputs"

    def run(self, graph: Graph) -> Graph:
        return graph.update(outputs=("nothing",))


def test_a_pass_that_breaks_the_graph_is_named() -> None:
    message = (
        "1 violation(s) in graph 'net' after wreck_outputs:\n  the output 'nothing' does not exist"
    )
    with pytest.raises(VerifyError, match=f"^{re.escape(message)}$"):
        Pipeline((Wrecker(),)).run(residual_free())


def test_a_broken_graph_is_not_even_begun() -> None:
    graph = residual_free().update(outputs=())
    with pytest.raises(VerifyError, match="after import:"):
        Pipeline((Wrecker(),)).run(graph)


def test_stages_are_checked() -> None:
    with pytest.raises(AssertionError, match=r"^eliminate_exceptions takes a"):
        Pipeline(LINEAR_ROUNDING).run(residual_free())


def test_a_pass_without_a_run_says_so() -> None:
    with pytest.raises(AssertionError, match=r"^the pass Pass does nothing$"):
        Pass().run(residual_free())


def test_identities_of_windows_are_exactly_that() -> None:
    net = FloatNet((2, 4, 4))
    net.plain("stride", MaxPool2d(kernel_size=(1, 1), stride=(2, 1)))
    net.plain("pad", AvgPool2d(kernel_size=(1, 1), padding=(1, 0, 0, 0)))
    net.plain("same", AvgPool2d(kernel_size=(1, 1), dilation=(2, 2)))
    net.flatten()
    net.linear(2)
    graph = eliminate_identity(net.graph())
    assert [node.name for node in graph.nodes] == ["stride1", "pad2", "flat4", "fc5"]
    assert isinstance(graph.nodes[-1].op, Linear)
