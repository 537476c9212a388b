"""The golden model in several processes gives what it gives in one."""

from __future__ import annotations

import numpy as np
import pytest

from pyahir.ir.eval import Evaluator, evaluate_batch
from tests.networks import small


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_values_are_those_of_one_process(jobs: int) -> None:
    chain = small()
    graph, images = chain.graph(), chain.images(600)
    output, seen = graph.outputs[0], list[tuple[int, int]]()
    found = evaluate_batch(
        graph, images, output, jobs=jobs, progress=lambda done, of: seen.append((done, of))
    )
    np.testing.assert_array_equal(Evaluator(graph).run(images)[output], found)
    assert seen == [(256, 600), (512, 600), (600, 600)]
