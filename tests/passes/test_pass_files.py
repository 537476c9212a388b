"""Before and after, as text files: ``// run: PASS``, the input, ``// ----``, what is expected."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pyahir.ir.eval import Evaluator
from pyahir.ir.graph import Stage
from pyahir.ir.parser import parse
from pyahir.ir.verify import verify
from pyahir.passes.base import Pass
from pyahir.passes.pipeline import LINEAR_ROUNDING, SIMPLIFY, Pipeline

FILES = sorted(Path(__file__).parent.glob("*/*.ir"))
PASSES: dict[str, Pass] = {item.name: item for item in (*SIMPLIFY, *LINEAR_ROUNDING)}


def cut(file: Path) -> tuple[Pass, str, str]:
    text = file.read_text(encoding="utf-8")
    header = text.splitlines()[0]
    before, after = text.split("// ----\n")
    return PASSES[header.removeprefix("// run: ")], before, after


def test_every_pass_has_files_in_its_folder() -> None:
    assert {cut(file)[0].name for file in FILES} == set(PASSES)
    assert all(cut(file)[0].name == file.parent.name for file in FILES)


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_a_pass_does_what_its_file_says(file: Path) -> None:
    item, before, after = cut(file)
    given, expected = parse(before, str(file)), parse(after, str(file))
    verify(expected)
    actual = Pipeline((item,)).run(given)
    assert expected == actual
    assert [node.loc for node in expected.nodes] == [node.loc for node in actual.nodes]


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_what_is_done_is_left_alone(file: Path) -> None:
    item, _, after = cut(file)
    graph = parse(after)
    assert item.run(graph) is graph


@pytest.mark.parametrize(
    "file",
    [file for file in FILES if file.parent.name != "eliminate_exceptions"],
    ids=lambda file: f"{file.parent.name}/{file.stem}",
)
def test_results_stay(file: Path) -> None:
    _, before, after = cut(file)
    given, expected = parse(before), parse(after)
    rng = np.random.default_rng(3)
    batch = {
        item.name: rng.normal(0, 4, (5, *item.type.shape[1:])).astype(np.float32)
        if given.stage is Stage.FLOAT
        else rng.integers(0, 256, (5, *item.type.shape[1:]))
        for item in given.inputs
    }
    one, two = Evaluator(given).run(batch), Evaluator(expected).run(batch)
    for left, right in zip(given.outputs, expected.outputs, strict=True):
        if given.stage is Stage.QUANTIZED:
            np.testing.assert_array_equal(one[left], two[right])
        else:
            np.testing.assert_allclose(one[left], two[right], rtol=1e-5, atol=1e-6)
