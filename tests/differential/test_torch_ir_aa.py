"""torch = ir = aa on networks that nobody tuned for, drawn at random, quantized by PyTorch."""

from __future__ import annotations

import math
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import nn

from pyahir.compiler import CompileOptions, compile_graph
from pyahir.engines import compare, input_codes, run_aa, run_ir, run_torch
from pyahir.frontend import load_model
from pyahir.plan.search import Options
from tests.frontend.models import Net, quantized, saved

QUIET = list(HealthCheck)


def out_size(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    return (size + padding - dilation * (kernel - 1) - 1) // stride + 1


@st.composite
def bodies(draw: st.DrawFn) -> tuple[nn.Module, tuple[int, ...]]:
    """Draw a CNN: kernels 1 to 7, strides 1 to 3, asymmetric padding, dilation 2, groups."""
    torch.manual_seed(draw(st.integers(0, 1 << 20)))
    channels, height, width = (
        draw(st.sampled_from([1, 2, 3, 4])),
        *draw(st.tuples(st.integers(5, 12), st.integers(5, 12))),
    )
    shape = (channels, height, width)
    layers: list[nn.Module] = []
    for _ in range(draw(st.integers(1, 3))):
        kernel = draw(st.tuples(st.integers(1, 7), st.integers(1, 7)))
        stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
        dilation = draw(st.sampled_from([(1, 1), (1, 1), (2, 2), (2, 1)]))
        padding = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
        groups = draw(st.sampled_from([g for g in (1, 2, 3, 4) if channels % g == 0]))
        sizes = [
            out_size(size, kernel[i], stride[i], 2 * padding[i], dilation[i])
            for i, size in enumerate((height, width))
        ]
        if min(sizes) < 1:
            continue
        out = groups * draw(st.integers(1, 3))
        conv = nn.Conv2d(
            channels, out, kernel, stride=stride, padding=padding, dilation=dilation, groups=groups
        )
        layers.append(conv)
        if draw(st.booleans()):
            layers.append(nn.ReLU())
        channels, (height, width) = out, sizes
        if min(height, width) >= 2 and draw(st.booleans()):
            layers.append(nn.MaxPool2d(2, stride=draw(st.integers(1, 2))))
            step = layers[-1].stride
            height, width = (height - 2) // step + 1, (width - 2) // step + 1
    assume(layers)
    if draw(st.booleans()):
        layers += [nn.Flatten(), nn.Linear(channels * height * width, draw(st.integers(1, 8)))]
    return nn.Sequential(*layers), shape


@st.composite
def perceptrons(draw: st.DrawFn) -> tuple[nn.Module, tuple[int, ...]]:
    """Draw an MLP on vectors."""
    torch.manual_seed(draw(st.integers(0, 1 << 20)))
    sizes = draw(st.lists(st.integers(1, 30), min_size=2, max_size=5))
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1]), (sizes[0],)


def check(
    body: nn.Module, shape: tuple[int, ...], engine: str, scripted: bool, multipliers: int
) -> None:
    """Quantize in PyTorch, save, import, compile, and compare all three engines."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = quantized(Net(body), shape, engine)
        path = saved(model, folder / "net.pt", shape, engine, scripted)
        source = load_model(path, input_shape=shape, quantized_engine=engine)
        images = np.random.default_rng(0).standard_normal((3, *shape)).astype(np.float32)
        graph = source.graph
        codes = input_codes(graph, images, source.engine)
        budget = multipliers + 8 * len(graph.nodes)
        compiled = compile_graph(graph, CompileOptions(plan=Options(multipliers=budget)))
        compiled.write(folder / "net.aa")
        results = {
            "torch": run_torch(source, images),
            "ir": run_ir(graph, codes),
            "aa": run_aa(folder / "net.aa", codes),
        }
    found = compare(results, [graph.inputs[0].name, *(node.name for node in graph.nodes)])
    assert {"torch", "ir"} == {item.left for item in found}
    assert math.prod(images.shape) == found[0].compared
    assert [f"{item.layer}: {item.first}" for item in found if item.differing] == []


CHOICES = {
    "engine": st.sampled_from(["fbgemm", "qnnpack"]),
    "scripted": st.booleans(),
    "multipliers": st.integers(1, 60),
}


@settings(max_examples=5, deadline=None, suppress_health_check=QUIET)
@given(drawn=bodies(), **CHOICES)
def test_random_cnn(
    drawn: tuple[nn.Module, tuple[int, ...]], engine: str, scripted: bool, multipliers: int
) -> None:
    check(*drawn, engine, scripted, multipliers)


@settings(max_examples=4, deadline=None, suppress_health_check=QUIET)
@given(drawn=perceptrons(), **CHOICES)
def test_random_mlp(
    drawn: tuple[nn.Module, tuple[int, ...]], engine: str, scripted: bool, multipliers: int
) -> None:
    check(*drawn, engine, scripted, multipliers)


@pytest.mark.slow
@settings(max_examples=250, deadline=None, suppress_health_check=QUIET)
@given(drawn=bodies(), **CHOICES)
def test_many_random_cnns(
    drawn: tuple[nn.Module, tuple[int, ...]], engine: str, scripted: bool, multipliers: int
) -> None:
    check(*drawn, engine, scripted, multipliers)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=QUIET)
@given(drawn=perceptrons(), **CHOICES)
def test_many_random_mlps(
    drawn: tuple[nn.Module, tuple[int, ...]], engine: str, scripted: bool, multipliers: int
) -> None:
    check(*drawn, engine, scripted, multipliers)
