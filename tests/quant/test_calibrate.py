"""Calibration: which values, which ranges, progress, and every message about the data."""

from __future__ import annotations

import re

import numpy as np
import pytest

from pyahir.errors import DataError
from pyahir.ir.eval import Evaluator
from pyahir.ir.ops import AvgPool2d, Clamp, Conv2d, MaxPool2d, Relu
from pyahir.quant.calibrate import calibrate, calibrated_names, fused_clamps
from pyahir.quant.observers import MinMax
from tests.quant.floats import FloatNet, cnn


def test_ranges_are_those_of_the_values() -> None:
    net = cnn()
    graph, images = net.graph(), net.images(70)
    ranges = calibrate(graph, images, MinMax)
    assert tuple(ranges) == ("x", "relu2", "relu5", "relu8", "fc9")
    values = Evaluator(graph).run(images, keep=tuple(ranges))
    for name, (low, high) in ranges.items():
        assert (values[name].min(), values[name].max()) == (low, high), name


def test_progress_counts_images() -> None:
    net = cnn()
    calls: list[tuple[int, int]] = []
    calibrate(net.graph(), net.images(70), MinMax, progress=lambda *done: calls.append(done))
    assert calls == [(32, 70), (64, 70), (70, 70)]


def test_a_vector_is_a_model_input_too() -> None:
    net = FloatNet((7,))
    net.linear(3)
    ranges = calibrate(net.graph(), net.images(5), MinMax)
    assert tuple(ranges) == ("x", "fc1")


def test_clamps_fuse_only_where_nothing_else_reads() -> None:
    net = FloatNet((2, 5, 5))
    conv = net.conv(3, Conv2d(kernel_size=(1, 1)))
    net.plain("relu", Relu())
    clamp = net.plain("clamp", Clamp(minimum=0.0, maximum=1.0))
    net.plain("pool", MaxPool2d(kernel_size=(2, 2)))
    net.plain("relu", Relu())
    average = net.plain("avg", AvgPool2d(kernel_size=(2, 2)))
    graph = net.graph()
    assert [node.name for node in fused_clamps(graph, graph.node_map()[conv])] == ["relu2", clamp]
    assert calibrated_names(graph) == ("x", clamp, average)
    seen = graph.update(outputs=("relu2", *graph.outputs))
    assert calibrated_names(seen) == ("x", "relu2", average)
    seen = graph.update(outputs=(conv, *graph.outputs))
    assert calibrated_names(seen) == ("x", conv, average)


NET = cnn()
GRAPH = NET.graph()


def with_value(value: float) -> np.ndarray:
    images = NET.images(4)
    images[2, 1, 3, 5] = value
    return images


BAD = [
    (NET.images(4).astype(np.float64),
     "digits.npz: the array is float64; accepted is float32 of shape Nx3x12x11"),
    (np.zeros((4, 3, 12, 11), np.uint8),
     "digits.npz: the array is uint8; accepted is float32 of shape Nx3x12x11"),
    (np.zeros((4, 12, 11, 3), np.float32),
     "digits.npz: the array has shape 4x12x11x3; the model takes Nx3x12x11"),
    (np.zeros((3, 12, 11), np.float32),
     "digits.npz: the array has shape 3x12x11; the model takes Nx3x12x11"),
    (np.zeros((0, 3, 12, 11), np.float32),
     "digits.npz: the array is empty; at least one image is needed"),
    (with_value(np.nan),
     "digits.npz: NaN or infinity at index [2, 1, 3, 5]; images hold finite numbers"),
    (with_value(-np.inf),
     "digits.npz: NaN or infinity at index [2, 1, 3, 5]; images hold finite numbers"),
    (np.full((1, 3, 12, 11), 3e38, np.float32),
     "digits.npz: the values of relu2 overflow float32; accepted are images scaled as in training"),
]  # fmt: skip


@pytest.mark.parametrize(("images", "message"), BAD, ids=range(len(BAD)))
def test_data_that_cannot_be_used_is_named(images: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        calibrate(GRAPH, images, MinMax, where="digits.npz")


def test_without_a_name_the_data_is_called_what_it_is() -> None:
    with pytest.raises(DataError, match=r"^the calibration data: the array is empty"):
        calibrate(GRAPH, np.zeros((0, 3, 12, 11), np.float32), MinMax)
