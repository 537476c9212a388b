"""The manifest of a design: what a host needs to feed it, and what it was made from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from pyahir.backends.aa.lower import Design, Tap
from pyahir.backends.aa.lower.loader import ITEM_BITS, WEIGHTS_PIPE
from pyahir.ir.types import Bipolar, PowerOfTwo, TensorType
from pyahir.plan.cost import cost
from pyahir.plan.plan import Plan, PlannedLayer

__all__ = ["build_manifest", "layer_rows"]


def build_manifest(
    plan: Plan, design: Design, text: bytes, weights: bytes, provenance: Mapping[str, Any]
) -> dict[str, Any]:
    """Collect ports, packing, scales, hashes and versions, in JSON types only."""
    types = plan.graph.types()
    inputs = [_stream(tap, types[tap.value]) for tap in design.inputs]
    return {
        "format": 1,
        "name": plan.graph.name,
        "input": inputs[0],
        **({"inputs": inputs} if len(inputs) > 1 else {}),
        "output": {
            **_output(plan, design.output),
            "order": "the stream is in NHWC order, the first code lowest in its word",
        },
        "layers": layer_rows(plan, design),
        "weights": {
            "pipe": WEIGHTS_PIPE if design.memories or design.streams else None,
            "item_bits": ITEM_BITS,
            "memories": [
                {"name": m.name, "words": m.words, "width": m.width} for m in design.memories
            ],
            **_streams(plan, design),
        },
        "pipes": [
            {"name": name, "layer": layer, "width": width, "depth": depth}
            for name, layer, width, depth in design.pipes
        ],
        "totals": {
            "macs": plan.macs,
            "multipliers": plan.multipliers,
            "cycles_per_frame": plan.cycles_per_frame,
            "weight_items_per_frame": plan.packets.items,
            **_cost_totals(plan, design),
            "exceptions": plan.exceptions,
        },
        "hashes": {
            "aa_sha256": hashlib.sha256(text).hexdigest(),
            "weights_sha256": hashlib.sha256(weights).hexdigest(),
        },
        "made_from": dict(provenance),
    }


def _streams(plan: Plan, design: Design) -> dict[str, Any]:
    """Say which items of the file are loaded, and how the others come with every frame."""
    first = loaded = sum(memory.words * memory.items for memory in design.memories)
    streams: list[dict[str, Any]] = []
    for stream in design.streams:
        streams.append(
            {
                "layer": stream.layer,
                "pipe": stream.name,
                "first_item": first,
                "words": stream.words,
                "width": stream.width,
                "items_per_word": stream.items,
                "packet_words": stream.packet_words,
                "late": stream.late,
            }
        )
        first += stream.words * stream.items
    return {"loaded_items": loaded, "packet_items": plan.packets.size, "streams": streams}


def _cost_totals(plan: Plan, design: Design) -> dict[str, int]:
    """Add up the parts of all layers, and the bits of all pipes as they are in the text."""
    costs = [cost(planned, plan.cycles_per_frame) for planned in plan.layers]
    return {
        "adders": sum(item.adders for item in costs),
        "requantizers": sum(item.requantizers for item in costs),
        "memory_bits": sum(item.memory_bits for item in costs),
        "pipe_bits": sum(width * depth for _, _, width, depth in design.pipes),
        "ram_blocks": sum(item.ram_blocks for item in costs),
    }


def _output(plan: Plan, tap: Tap) -> dict[str, Any]:
    """Describe the last stream as the network's output: flattened, where that is its last step."""
    (value,), types = plan.graph.outputs, plan.graph.types()
    flattened = plan.layers[-1].layer.gives_flattened
    kind = types[tap.value]
    if flattened is None and types[value].layout is not kind.layout:
        flattened = (kind.channels, *kind.spatial)
    return {**_stream(tap, types[value], flattened), "value": value}


def _stream(
    tap: Tap, kind: TensorType, flattened: tuple[int, int, int] | None = None
) -> dict[str, Any]:
    scale = kind.quantization
    assert scale is not None or isinstance(kind.element, Bipolar)
    return {
        "name": tap.layer,
        "value": tap.value,
        "pipe": tap.pipe,
        "lanes": tap.lanes,
        "shape": list(kind.shape[1:]),
        "layout": kind.layout.value,
        "flattened": None if flattened is None else list(flattened),
        "element": str(kind.element),
        "scale": scale.scale if scale else None,
        "exponent": scale.exponent if isinstance(scale, PowerOfTwo) else None,
        "zero_point": kind.zero_point,
    }


def layer_rows(plan: Plan, design: Design) -> list[dict[str, Any]]:
    """Describe each layer: its stream, folding, and what the plan predicts."""
    return [
        {
            **_stream(tap, planned.layer.y, planned.layer.gives_flattened),
            **_figures(planned, plan.cycles_per_frame),
        }
        for tap, planned in zip(design.taps, plan.layers, strict=True)
    ]


def _figures(planned: PlannedLayer, cycles: int) -> dict[str, Any]:
    rescale, parts = planned.layer.rescale, cost(planned, cycles)
    return {
        "kind": planned.layer.kind,
        "source": str(planned.layer.loc),
        "nodes": list(planned.layer.nodes),
        "pe": planned.folding.pe,
        "simd": planned.folding.simd,
        "requantizers": planned.requantizers,
        "whole": bool(planned.folding.whole),
        "streamed": planned.streamed,
        "macs": planned.layer.macs,
        "multipliers": planned.multipliers,
        "adders": parts.adders,
        "cycles": planned.cycles,
        "memory_bits": parts.memory_bits,
        "weight_bits": parts.weight_bits,
        "parameter_bits": parts.parameter_bits,
        "line_bits": parts.line_bits,
        "pipe_bits": parts.pipe_bits,
        "ram_blocks": parts.ram_blocks,
        "exceptions": len(rescale.exceptions) if rescale else 0,
    }
