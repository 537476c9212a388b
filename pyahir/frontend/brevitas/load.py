"""A checkpoint or a Brevitas module as what a ``SourceModel`` is made of."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from pyahir.frontend.brevitas import original
from pyahir.frontend.brevitas.checkpoint import load_state
from pyahir.frontend.brevitas.network import network_of
from pyahir.frontend.brevitas.reference import Reference
from pyahir.frontend.brevitas.runner import FewBitRunner, Forward, codings
from pyahir.frontend.brevitas.topologies import topology
from pyahir.ir.types import Layout, TensorType
from pyahir.quant.few_bit import FewBitGraph, FewBitNetwork, few_bit_graph

__all__ = ["FewBitImport", "assemble", "import_checkpoint", "note"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FewBitImport:
    """A network, its graph and torch to compare with; ``engine`` says whose forward that is."""

    network: FewBitNetwork
    compiled: FewBitGraph
    runner: FewBitRunner
    engine: str
    note: str


def import_checkpoint(
    path: str | os.PathLike[str], name: str, *, threshold_ties: str = "source"
) -> FewBitImport:
    """Import the checkpoint of a network by its name, such as ``TFC_1W1A``."""
    chosen = topology(name)
    state = load_state(path, chosen)
    network = network_of(chosen, state)
    activations = {
        section.path: section.activation for section in chosen.sections if section.activation
    }
    compiled = few_bit_graph(network, threshold_ties)
    sources = codings(network, compiled, activations)
    paths = {coding.path for coding in sources.values()}
    forward: Forward = Reference(chosen, state)
    engine = "plain torch"
    if original.installed():
        forward = original.Original(original.build(chosen, state), paths)
        engine = "brevitas"
    return assemble(network, compiled, activations, forward, engine)


def assemble(
    network: FewBitNetwork,
    compiled: FewBitGraph,
    activations: Mapping[str, str],
    forward: Forward,
    engine: str,
) -> FewBitImport:
    """Put a network, its graph and a forward together."""
    runner = FewBitRunner(
        forward=forward,
        sources=codings(network, compiled, activations),
        input_name=compiled.graph.inputs[0].name,
        shapes={name: _torch_shape(kind) for name, kind in compiled.graph.types().items()},
    )
    return FewBitImport(
        network=network, compiled=compiled, runner=runner, engine=engine, note=note(compiled)
    )


def _torch_shape(kind: TensorType) -> tuple[int, ...]:
    if kind.layout is Layout.NHWC:
        return (kind.channels, *kind.spatial)
    return kind.shape[1:]


def note(compiled: FewBitGraph) -> str:
    """Say where the integers and a float network may part."""
    exact = sum(tie.exact for ties in compiled.ties.values() for tie in ties)
    near = sum(len(ties) for ties in compiled.ties.values()) - exact
    if not exact and not near:
        return ""
    return (
        f"{exact} accumulators lie on a step, {near} nearer to one than float32 tells: "
        "there a float network may give the other level"
    )
