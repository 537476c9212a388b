"""IR text: the round trip, what it looks like, and the messages of the parser."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

from pyahir.ir import ops
from pyahir.ir.eval import Evaluator
from pyahir.ir.graph import Graph, Stage
from pyahir.ir.parser import IrSyntaxError, parse
from pyahir.ir.printer import node_text, to_text
from pyahir.ir.types import Layout
from pyahir.ir.verify import verify
from tests.networks import Chain, chains, lenet, small
from tests.op_cases import CASES, Case
from tests.strategies import OPS, graphs

TEXT = """\
graph tiny quantized {
  input %x: 1x2x2x1 u8 nhwc affine(0.0625, 5)
  const @conv_weight: 2x1x1x1 i8 = hex "649c"
  %conv_acc: 1x2x2x2 i16 nhwc = conv2d(%x, @conv_weight) {kernel_size = [1, 1], stride = [1, 1], \
padding = [0, 0, 0, 0], dilation = [1, 1], groups = 1, acc_width = 16} loc("net.py":3, "conv")
  output %conv_acc
}
"""


def assert_round_trip(graph: Graph) -> None:
    text = to_text(graph)
    again = parse(text)
    assert graph == again
    assert [node.loc for node in graph.nodes] == [node.loc for node in again.nodes]
    assert text == to_text(again)


@settings(max_examples=20, deadline=None)
@given(graph=graphs())
def test_any_graph_survives_print_and_parse(graph: Graph) -> None:
    assert_round_trip(graph)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(graph=graphs())
def test_many_graphs_survive_print_and_parse(graph: Graph) -> None:
    assert_round_trip(graph)


@settings(max_examples=15, deadline=None)
@given(chain=chains())
def test_networks_survive(chain: Chain) -> None:
    assert_round_trip(chain.graph())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_cases_survive(case: Case) -> None:
    assert_round_trip(case.graph())


def test_lenet_survives() -> None:
    assert_round_trip(lenet().graph())


def test_the_strategies_draw_every_op() -> None:
    assert set(ops.ALL) == set(OPS)


def test_the_text_is_what_the_documentation_shows() -> None:
    graph = parse(TEXT)
    assert to_text(graph) == TEXT
    assert node_text(graph, graph.nodes[0]) == TEXT.splitlines()[3].strip()
    assert graph.constants[0].array.ravel().tolist() == [100, -100]


def test_an_elided_text_shows_hashes() -> None:
    graph = small().graph()
    text = to_text(graph, elide=True)
    digest = graph.constants[0].data.digest[:16]
    assert f"const @conv1_weight: 4x2x3x3 i8 = sha256 {digest}\n" in text
    assert "hex" not in text


def test_comments_and_layout_do_not_matter() -> None:
    loose = TEXT.replace(" = conv2d", "\n // a comment\n\t= conv2d").replace("{\n", "{ // x\n", 1)
    assert parse(TEXT) == parse(loose)


GOOD = TEXT.splitlines()
CONV = GOOD[3]


def changed(old: str, new: str) -> str:
    assert TEXT.count(old) >= 1
    return TEXT.replace(old, new, 1)


MISTAKES: list[tuple[str, Sequence[str]]] = [
    ("", ["n.ir:1:1: unexpected end of the text", "  ", "  ^"]),
    ("graph tiny", ["n.ir:1:11: unexpected end of the text", "  graph tiny", "            ^"]),
    ("\n".join(GOOD[:3]) + "\n",
     ["n.ir:3:46: unexpected end of the text", f"  {GOOD[2]}", "  " + " " * 45 + "^"]),
    (changed("%x:", "%x"), ["n.ir:2:12: unexpected '1'", "    input %x 1x2x2x1 u8 nhwc "
                            "affine(0.0625, 5)", "             ^"]),
    (changed("input %x", "input %X"),
     ["n.ir:2:10: unexpected 'X'", f"  {GOOD[1].replace('%x', '%X')}", "           ^"]),
    (changed("quantized", "quantised"),
     ["n.ir:1:12: no stage 'quantised'; accepted: float, quantized"]),
    (changed("nhwc", "nwhc"), ["n.ir:2:24: no layout 'nwhc'; accepted: nchw, nhwc, nc, plain"]),
    (changed("1x2x2x1", "1x2x2"),
     ["n.ir:2:13: layout nhwc has rank 4, the shape (1, 2, 2)"]),
    (changed("u8", "q8"),
     ["n.ir:2:13: no element type 'q8'; accepted: f32, f16, iN, uN, posit8_N, bipolar"]),
    (changed("u8", "u0"), ["n.ir:2:13: an integer needs at least 1 bit, not 0"]),
    (changed("0.0625", "0.0"), ["n.ir:2:13: a scale is a positive finite number, not 0.0"]),
    (changed(", 5)", ", 5.5)"), ["n.ir:2:29: the zero point is an integer, not 5.5"]),
    (changed("649c", "649"), ["n.ir:3:3: the data is not hexadecimal, two digits a byte"]),
    (changed("649c", "64"), ["n.ir:3:3: 1 bytes for 2x1x1x1 i8"]),
    (changed("1 i8", "1 posit9_0"),
     ["n.ir:3:3: no constants of posit9_0; accepted: f32, f16, iN, uN, posit8_N, bipolar"]),
    (changed("1 i8", "1 i8 pow2(0.5)"), ["n.ir:3:34: the exponent is an integer, not 0.5"]),
    (changed("1 i8", "1 i8 pow2(2000)"), ["n.ir:3:23: an exponent is at most 1000, not 2000"]),
    (changed("conv2d(", "conv3d("),
     ["n.ir:4:3: no op 'conv3d'; accepted: add, avg_pool2d, batch_norm, clamp, conv2d, encode, "
      "flatten, linear, max_pool2d, multi_threshold, quantized_add, real_add, real_avg_pool2d, "
      "real_conv2d, real_linear, recode, relu, requantize, sum_pool2d"]),
    (changed("groups = 1", "groups = 0"),
     ["n.ir:4:3: conv2d: groups is at least 1, not 0"]),
    (changed("groups = 1", "group = 1"),
     ["n.ir:4:3: conv2d: Conv2d.__init__() got an unexpected keyword argument 'group'"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "lines"), MISTAKES, ids=range(len(MISTAKES)))
def test_a_mistake_is_shown_with_its_place(text: str, lines: Sequence[str]) -> None:
    with pytest.raises(IrSyntaxError) as caught:
        parse(text, "n.ir")
    assert str(caught.value).splitlines() == list(lines)


def test_the_documented_example_is_a_valid_graph() -> None:
    page = (Path(__file__).parents[2] / "docs" / "ir.md").read_text(encoding="utf-8")
    example = page.split("## Example")[1].split("```")[1]
    graph = verify(parse(example, "ir.md"))
    assert_round_trip(graph)
    values = Evaluator(graph).run(np.full((1, 4, 4, 1), 200, np.uint8))
    assert values["pool"].shape == (1, 1, 1, 2)


def test_the_documented_elements_and_layouts_are_all() -> None:
    page = (Path(__file__).parents[2] / "docs" / "ir.md").read_text(encoding="utf-8")
    assert all(f'"{item.value}"' in page for item in Layout if item is not Layout.PLAIN)
    assert all(f'"{item.value}"' in page for item in Stage)
