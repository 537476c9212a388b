"""What a plan costs: multipliers, adders, memories, and how they fit the block RAMs of a device.

In: a planned layer. Out: ``Cost``. Adders are those of dot products and accumulators; a block RAM
is one of 18 Kbit, in the shapes that AMD's 7 series has (UG473), and a memory that is smaller than
``LEAST_BLOCK`` bits or not deeper than ``LEAST_WORDS`` is made of lookup tables.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pyahir.plan.finish import finish
from pyahir.plan.layers import LayerKind
from pyahir.plan.plan import Plan, PlannedLayer
from pyahir.plan.rooms import line_buffer_rooms

__all__ = ["Cost", "cost", "memory_bits", "ram_blocks", "stream_saving", "weight_bits"]

BLOCK_SHAPES = ((16384, 1), (8192, 2), (4096, 4), (2048, 9), (1024, 18), (512, 36))
LEAST_BLOCK = 2048
FLOAT_ADDERS = 5  # four levels that add up the parts of a sum, and the bias
LEAST_WORDS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Parts of one layer; memories in bits."""

    multipliers: int
    adders: int
    requantizers: int
    weight_bits: int
    parameter_bits: int
    line_bits: int
    pipe_bits: int
    ram_blocks: int

    @property
    def memory_bits(self) -> int:
        return self.weight_bits + self.parameter_bits + self.line_bits + self.pipe_bits


def ram_blocks(words: int, width: int) -> int:
    """Count the 18-Kbit block RAMs of a memory in its best shape; 0 for lookup tables."""
    if words <= LEAST_WORDS or words * width < LEAST_BLOCK:
        return 0
    return min(-(-words // depth) * -(-width // bits) for depth, bits in BLOCK_SHAPES)


def cost(planned: PlannedLayer, cycles: int) -> Cost:
    """Add up a layer in a plan that needs ``cycles`` a frame."""
    weights, parameters = _weights(planned), _parameters(planned)
    line, pipes = _line(planned), list(_pipes(planned, cycles))
    memories = [weights, parameters, line, *pipes]
    return Cost(
        multipliers=planned.multipliers,
        adders=_adders(planned),
        requantizers=planned.requantizers,
        weight_bits=_bits([weights]),
        parameter_bits=_bits([parameters]),
        line_bits=_bits([line]),
        pipe_bits=_bits(pipes),
        ram_blocks=sum(ram_blocks(*memory) for memory in memories),
    )


def weight_bits(planned: PlannedLayer) -> int:
    """Count the bits of the weights that a layer keeps on the chip, and of tiles of streamed ones.

    What is smaller than the whole is counted: two tiles of weights, two frames of the maps on both
    sides.
    """
    return _bits([_weights(planned), *_tiles(planned)])


def stream_saving(planned: PlannedLayer) -> int:
    """Estimate the bits that a layer saves when its weights are streamed, an output at a time."""
    layer = planned.layer
    if layer.pixels == 1:
        return weight_bits(planned)
    tiles = 2 * layer.inputs * layer.weight_element.width
    maps = 2 * sum(side.size * side.element.width for side in (layer.x, layer.y))
    return weight_bits(planned) - tiles - maps


def memory_bits(plan: Plan) -> int:
    """Add up all memories of a plan."""
    return sum(cost(planned, plan.cycles_per_frame).memory_bits for planned in plan.layers)


Memory = tuple[int, int]  # words, bits a word


def _bits(memories: Iterable[Memory]) -> int:
    return sum(words * width for words, width in memories)


def _weights(planned: PlannedLayer) -> Memory:
    if planned.layer.kind != LayerKind.MATVEC or planned.streamed:
        return 0, 0
    return planned.weight_words, planned.weight_width


def _parameters(planned: PlannedLayer) -> Memory:
    layer = planned.layer
    if not layer.has_sums:
        return 0, 0
    return layer.outputs // planned.lanes_out, planned.lanes_out * finish(layer).bits


def _line(planned: PlannedLayer) -> Memory:
    sweep = planned.sweep
    if sweep is None or sweep.window.span[0] == 1:
        return 0, 0
    words = sweep.padded_width * sweep.words
    return words, (sweep.window.span[0] - 1) * sweep.lanes * planned.layer.x.element.width


def _pipes(planned: PlannedLayer, cycles: int) -> Iterable[Memory]:
    """Give the pipes that are more than a few words deep."""
    code = planned.layer.x.element.width
    if planned.sweep is not None:
        rooms = line_buffer_rooms(planned.sweep, cycles // planned.passes)
        yield rooms.before, planned.lanes_in * code
        yield rooms.behind, planned.sweep.column_lanes * code
        yield planned.sweep.row_gap, planned.sweep.window_lanes * code
    if planned.tiled:
        yield from _tiles(planned)
    elif planned.input_major:
        yield planned.output_folds, planned.folding.pe * finish(planned.layer).acc
    elif planned.layer.kind == LayerKind.MATVEC and planned.output_folds > 1:
        width = planned.folding.simd * code
        yield 2 * planned.input_folds, width  # those that come again, and the next ones


def _tiles(planned: PlannedLayer) -> Iterable[Memory]:
    """Give the memories of a layer that goes through its map once for each tile of weights."""
    if not planned.tiled:
        return
    layer = planned.layer
    yield 2 * planned.input_folds, planned.weight_width  # of this output fold and the next
    yield 2 * (layer.x.size // planned.lanes_in), planned.lanes_in * layer.x.element.width
    yield 2 * (layer.y.size // planned.lanes_out), planned.lanes_out * layer.y.element.width


def _adders(planned: PlannedLayer) -> int:
    if planned.layer.kind != LayerKind.MATVEC:
        return 0
    folding = planned.folding
    if planned.layer.floats:
        return folding.pe + planned.requantizers * FLOAT_ADDERS
    sums = folding.simd - 1
    if planned.packed:
        inputs = planned.layer.inputs
        sums += sum(max(0, pixel * inputs % folding.simd - 1) for pixel in range(1, planned.group))
        sums += 1  # what the next pixel has of a shared word
    if planned.input_folds > 1:
        sums += 1
    return folding.pe * sums
