"""Layers of ResNet-18 at full size on their own, in Verilator, against the golden model.

In: a number system, names of layers. Out: a table: what differs, and the cycles of the frame, those
in which the weights come in before it left out. Not here: the whole network (``pyahir verify``).
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import click
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.residual import SHAPE
from benchmarks.residual_compile import SYSTEMS, network, options_of
from pyahir.frontend.source import from_module
from pyahir.frontend.torchrun import quiet
from pyahir.layerwise import verify_layers

LAYERS = ("conv1", "blocks_0_conv1", "blocks_2_shortcut_0", "blocks_6_conv2", "pool", "fc")
JOINS = tuple(f"blocks_{block}_add" for block in range(8))


@click.command()
@click.option("--system", type=click.Choice(list(SYSTEMS)), default="uint8", show_default=True)
@click.option("--layer", "layers", multiple=True, help="A layer's name; default: one of each kind.")
@click.option("--width", type=click.IntRange(min=1), default=64, show_default=True)
@click.option("--multipliers", type=click.IntRange(min=1), default=512, show_default=True)
def main(system: str, layers: tuple[str, ...], width: int, multipliers: int) -> None:
    """Simulate one image in each layer, with the folding that it has in the whole network."""
    model, images = network(width)
    options = options_of(system, images, multipliers)
    with quiet():
        source = from_module(model, torch.zeros(1, *SHAPE))
    table = Table(title=f"ResNet-18, width {width}, {system}", title_justify="left")
    table.add_column("layer")
    for column in ("values", "differ", "cycles of the frame", "planned", "seconds"):
        table.add_column(column, justify="right")
    for name in layers or (*LAYERS, *JOINS):
        start = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="pyahir-") as folder:
            where = Path(folder)
            (check,) = verify_layers(
                source, options, [name], ["ir", "verilator"], images[:1], where
            )
        (timing,), seconds = check.timings, time.perf_counter() - start
        table.add_row(
            name,
            f"{sum(item.compared for item in check.comparisons):,}",
            f"{sum(item.differing for item in check.comparisons):,}",
            f"{timing.frames.latency:,}",
            f"{check.predicted:,}",
            f"{seconds:.0f}",
        )
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
