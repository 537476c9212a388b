"""``pyahir export-pynq``: a few-bit network as a folder of parameters for BNN-PYNQ hardware.

In: what click collected. Out: a new folder. Not here: the formats.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pyahir.commands.options import PATH, model_options, open_model
from pyahir.errors import DataError, PyahirError

if TYPE_CHECKING:
    from pyahir.formats.bnn_pynq.topology import Topology

__all__ = ["export_pynq_command"]


@click.command("export-pynq")
@click.argument("model", type=PATH)
@click.option("-o", "--output", type=PATH, required=True, help="The folder to make.")
@click.option("--hardware", metavar="NAME", help="The published hardware: lfcW1A1, cnvW1A1, ...")
@click.option("--config", type=PATH, help="The config.h of other hardware.")
@click.option("--classes", type=PATH, help="Their names, a line each.  [default: their numbers]")
@click.option(
    "--last-threshold",
    type=int,
    help="The sum above which the bit of a class is set, where the hardware ends in bits.  "
    "[default: where the source's score turns positive]",
)
@model_options
def export_pynq_command(
    model: Path,
    output: Path,
    hardware: str | None,
    config: Path | None,
    classes: Path | None,
    last_threshold: int | None,
    **given: Any,
) -> None:
    """Write MODEL, a few-bit network, as parameters of BNN-PYNQ hardware."""
    from pyahir.compiler import quantized_graph
    from pyahir.formats.bnn_pynq.export import export_graph
    from pyahir.formats.bnn_pynq.folder import write_folder

    topology = _topology(hardware, config)
    source, options = open_model(model, **given)
    graph = quantized_graph(source, options)
    count = graph.types()[graph.outputs[0]].channels
    names = [str(number) for number in range(count)] if classes is None else _lines(classes)
    if last_threshold is None and source.scores is not None and source.scores.factor > 0:
        last_threshold = math.floor(-source.scores.term / source.scores.factor)
    parameters = export_graph(graph, topology, names, last_threshold=last_threshold)
    write_folder(output, topology, parameters)
    click.echo(f"wrote {output}: {topology.name}, {len(topology.layers)} layers, {count} classes")


def _topology(hardware: str | None, config: Path | None) -> Topology:
    from pyahir.formats.bnn_pynq.config import read_config
    from pyahir.formats.bnn_pynq.topology import NETWORKS, network

    if (hardware is None) == (config is None):
        raise PyahirError(f"give --config FILE or --hardware: one of {', '.join(NETWORKS)}")
    if config is not None:
        return read_config(config)
    assert hardware is not None
    return network(hardware)


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise DataError(f"{path}: cannot read; give a text file with a class a line") from None
    return [line.strip() for line in lines if line.strip()]
