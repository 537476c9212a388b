"""The engine torch for posit and float schemes: the same bits as the golden model."""

from __future__ import annotations

import numpy as np
import pytest

from pyahir.engines import input_codes, run_ir
from pyahir.errors import PyahirError
from pyahir.frontend.positrun import run_real
from pyahir.quant.scheme import RealScheme, real_scheme
from tests.quant.test_posit import NINE, made, net


def assert_the_same(scheme: RealScheme, seed: int, count: int = 5) -> None:
    chain = net(seed)
    _, graph = made(chain, scheme)
    images = chain.images(count, seed=8)
    expected, actual = run_real(graph, images), run_ir(graph, input_codes(graph, images))
    assert expected.keys() == actual.keys()
    assert len(expected) > 6
    for name, values in expected.items():
        np.testing.assert_array_equal(values, actual[name], err_msg=name)


@pytest.mark.parametrize("weights", ["posit8", "float"])
@pytest.mark.parametrize(("arith", "es"), [item for item in NINE if item != ("quire", 2)])
def test_torch_is_the_golden_model(arith: str, es: int, weights: str) -> None:
    assert_the_same(RealScheme(arith=arith, es=es, weights=weights, scale="auto"), seed=es + 3)


@pytest.mark.parametrize("scheme", ["float16", "float32"])
def test_floats_as_well(scheme: str) -> None:
    chosen = real_scheme(scheme)
    assert chosen is not None
    assert_the_same(chosen, seed=1)


def test_a_quire_that_float64_does_not_hold() -> None:
    chain = net()
    _, graph = made(chain, RealScheme(arith="quire", es=2, weights="posit8", scale="1"))
    message = (
        r"net.py:1 \(conv1\) conv1_acc: a quire of \d+ bits is more than torch's float64 holds; "
        r"compare other engines, or --es 0 and 1 \(here posit8_2\)"
    )
    with pytest.raises(PyahirError, match=f"^{message}$"):
        run_real(graph, chain.images(1))
