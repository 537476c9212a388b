"""Calibration: run sample images through a FLOAT graph and watch the ranges of its values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from pyahir.data import check_images
from pyahir.errors import DataError
from pyahir.ir.eval import Evaluator
from pyahir.ir.graph import Graph, Node, Stage
from pyahir.ir.ops import Add, AvgPool2d, Clamp, Conv2d, Linear, Relu
from pyahir.ir.types import Array, TensorType
from pyahir.quant.observers import Observer, Range

__all__ = ["Ranges", "calibrate", "calibrated_names", "fused_clamps", "watch"]

Ranges = Mapping[str, Range]
BATCH = 32


def fused_clamps(graph: Graph, node: Node) -> tuple[Node, ...]:
    """List the ReLUs and clamps that follow ``node`` with no other reader between.

    The requantize of ``node`` does their work, so that the value of the last is what is quantized.
    """
    users = graph.users()
    found: list[Node] = []
    while node.name not in graph.outputs and len(readers := users.get(node.name, ())) == 1:
        (node,) = readers
        if not isinstance(node.op, Relu | Clamp):
            break
        found.append(node)
    return tuple(found)


def calibrated_names(graph: Graph) -> tuple[str, ...]:
    """Name the values that get a quantization of their own: inputs, and results of sums.

    Pools, flatten and a ReLU that stands alone keep the quantization of their operand.
    """
    names = [item.name for item in graph.inputs]
    for node in graph.nodes:
        if isinstance(node.op, Add | Conv2d | Linear | AvgPool2d):
            names.append((node, *fused_clamps(graph, node))[-1].name)
    return tuple(names)


Watcher = TypeVar("Watcher", bound=Observer)


class _Watch(Generic[Watcher]):
    """The listener: one observer for each value."""

    def __init__(self, names: tuple[str, ...], factory: Callable[[], Watcher], where: str) -> None:
        self.where = where
        self.observers = {name: factory() for name in names}

    def wants(self, name: str) -> bool:
        return name in self.observers

    def observe(self, name: str, kind: TensorType, values: Array) -> None:
        del kind
        real = values.astype(np.float32, copy=False)
        if not np.isfinite(real).all():
            raise DataError(
                f"{self.where}: the values of {name} overflow float32; accepted are images scaled "
                "as in training"
            )
        self.observers[name].observe(real)


def calibrate(
    graph: Graph,
    images: npt.NDArray[np.float32],
    factory: Callable[[], Observer],
    *,
    progress: Callable[[int, int], None] | None = None,
    where: str = "the calibration data",
) -> Ranges:
    """Give the range of each value that ``quantize`` needs, over ``images`` (N, C, H, W)."""
    seen = watch(graph, images, factory, progress=progress, where=where)
    return MappingProxyType({name: item.range() for name, item in seen.items()})


def watch(
    graph: Graph,
    images: npt.NDArray[np.float32],
    factory: Callable[[], Watcher],
    *,
    progress: Callable[[int, int], None] | None = None,
    where: str = "the calibration data",
) -> Mapping[str, Watcher]:
    """Give an observer of each calibrated value that has seen ``images`` (N, C, H, W).

    ``factory`` makes an observer; ``progress`` is called with the images done and in all.
    ``where`` names the array in messages.
    """
    assert graph.stage is Stage.FLOAT, "calibration watches real numbers"
    assert len(graph.inputs) == 1, "a model takes one tensor"
    images = check_images(images, graph.inputs[0].type.shape[1:], where)
    evaluator, found = Evaluator(graph), _Watch(calibrated_names(graph), factory, where)
    for start in range(0, len(images), BATCH):
        with np.errstate(over="ignore", invalid="ignore"):  # the listener reports it
            evaluator.run(images[start : start + BATCH], keep=(), listeners=(found,))
        if progress is not None:
            progress(min(start + BATCH, len(images)), len(images))
    return found.observers
