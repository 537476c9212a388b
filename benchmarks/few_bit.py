"""``python -m benchmarks.few_bit``: the golden model of binary networks beside Brevitas' forward.

Both run in one process, in turns, one thread each; the integers are compared before they are timed.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from pyahir.frontend.brevitas import original
from pyahir.frontend.brevitas.network import network_of
from pyahir.frontend.brevitas.topologies import Topology, topology
from pyahir.ir.eval import Evaluator
from pyahir.quant.few_bit import few_bit_graph

NETWORKS = ("TFC_1W1A", "SFC_1W1A", "LFC_1W1A", "LFC_1W2A", "CNV_1W1A", "CNV_1W2A", "CNV_2W2A")
BATCHES = {"CNV": (1, 64)}
OTHER_BATCHES = (1, 256)
SECONDS = 2.0


def random_state(chosen: Topology) -> dict[str, torch.Tensor]:
    """Weights in [-1, 1]; batch norms as wide as sums of that many random signs."""
    generator = torch.Generator().manual_seed(0)
    state: dict[str, torch.Tensor] = {}
    for section in chosen.sections:
        fan_in = math.prod(section.shape[1:])
        for key, shape in section.keys().items():
            uniform = torch.rand(shape, generator=generator) * 2 - 1
            match key.removeprefix(f"{section.norm}."):
                case "running_var":
                    state[key] = (uniform + 2) * fan_in / 2
                case "running_mean":
                    state[key] = uniform * math.sqrt(fan_in)
                case _:
                    state[key] = uniform
    return state


def rates(works: list[Callable[[], object]], images: int) -> list[float]:
    """Give images a second of each: the median over runs that take turns."""
    times: list[list[float]] = [[] for _ in works]
    start = time.perf_counter()
    while not times[0] or time.perf_counter() - start < SECONDS:
        for work, taken in zip(works, times, strict=True):
            work()
            before = time.perf_counter()
            work()
            taken.append(time.perf_counter() - before)
    return [images / statistics.median(taken) for taken in times]


def measured(chosen: Topology, batch: int) -> list[float]:
    """Compare and time Brevitas and the golden model on one batch of random pixels."""
    state = random_state(chosen)
    compiled = few_bit_graph(network_of(chosen, state))
    evaluator, module = Evaluator(compiled.graph), original.build(chosen, state)
    pixels = np.random.default_rng(batch).integers(0, 256, (batch, *chosen.input_shape))
    images = torch.from_numpy(pixels.astype(np.float32)) / 255
    codes = np.moveaxis(pixels, 1, -1).astype(np.uint8)
    with torch.no_grad():
        expected = module(images).numpy()
        raw = evaluator.run(codes)[compiled.graph.outputs[0]]
        np.testing.assert_allclose(compiled.scores(raw), expected, rtol=1e-4, atol=1e-4)
        return rates([lambda: module(images), lambda: evaluator.run(codes)], batch)


def main() -> None:
    torch.set_num_threads(1)
    original.require("this benchmark")
    table = Table(title="images/s, one thread", title_justify="left")
    for column in ("network", "batch", "Brevitas", "golden model", "ratio"):
        table.add_column(column, justify="left" if column == "network" else "right")
    for chosen in map(topology, NETWORKS):
        for batch in BATCHES.get(chosen.family, OTHER_BATCHES):
            theirs, ours = measured(chosen, batch)
            cells = (f"{batch}", f"{theirs:,.0f}", f"{ours:,.0f}", f"{ours / theirs:.1f}")
            table.add_row(chosen.name, *cells)
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
