"""From the plan to the program: one call per layer, in the order of the plan; forks between.

In: a ``Plan``. Out: ``Design``: the Aa program, which pipe carries which layer's values, and the
memories in loading order. The contents of the memories are made in ``packing``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pyahir.backends.aa import ast
from pyahir.backends.aa.build import Loop, name
from pyahir.backends.aa.lower.convert import converted
from pyahir.backends.aa.lower.floats import float_matvec
from pyahir.backends.aa.lower.join import join
from pyahir.backends.aa.lower.loader import Memory, WeightStream, loader
from pyahir.backends.aa.lower.matvec import matvec
from pyahir.backends.aa.lower.mean import mean
from pyahir.backends.aa.lower.order import least
from pyahir.backends.aa.lower.pool import elementwise, pool
from pyahir.backends.aa.lower.process import Emitter, Stream
from pyahir.backends.aa.lower.tiles import reordered, replayed, weight_room
from pyahir.backends.aa.lower.window import Border, windows
from pyahir.backends.aa.natural_types import scalar_width
from pyahir.backends.aa.types import UInt
from pyahir.plan.branches import join_rooms
from pyahir.plan.finish import finish
from pyahir.plan.layers import LayerKind
from pyahir.plan.plan import Plan, PlannedLayer
from pyahir.plan.rooms import line_buffer_rooms
from pyahir.plan.streaming import LATE

__all__ = ["Design", "Tap", "lower"]


LEAST = 4  # words of a pipe between two processes that work evenly


@dataclass(frozen=True, slots=True, kw_only=True)
class Tap:
    """The pipe that carries the values of a node; ``layer`` is the process that writes it."""

    layer: str
    value: str
    pipe: str
    lanes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """The program and what its streams and memories hold."""

    program: ast.Program
    input: Tap
    taps: tuple[Tap, ...]
    memories: tuple[Memory, ...]
    streams: tuple[WeightStream, ...]
    owners: Mapping[str, str]  # of the pipes that carry data: the layer that each belongs to

    @property
    def pipes(self) -> tuple[tuple[str, str, int, int], ...]:
        """Name, layer, bits a word and depth of each pipe that carries data."""
        found: list[tuple[str, str, int, int]] = []
        for item in self.program.pipes():
            if item.name in self.owners:
                assert isinstance(item.type, UInt)
                depth = int(str(item.depth))
                found.append((item.name, self.owners[item.name], scalar_width(item.type), depth))
        return tuple(found)

    @property
    def output(self) -> Tap:
        return self.taps[-1]


def lower(plan: Plan, *, native: bool = False) -> Design:
    """Emit every layer; deterministic, a function of the plan alone.

    ``native``: floats are added and multiplied by AHIR's own operators.
    """
    emitter = Emitter(native=native)
    source = plan.graph.inputs[0]
    emitter.layer = source.name
    width = source.type.element.width
    stream = emitter.stream(
        f"{source.name}_in", plan.input_lanes, 2, width, comment=f"input {source.name}"
    )
    first = Tap(layer=source.name, value=source.name, pipe=stream.pipe, lanes=stream.lanes)
    taps: list[Tap] = []
    memories: list[Memory] = []
    streams = _weight_streams(emitter, plan)
    last, cycles = plan.layers[-1].name, plan.cycles_per_frame
    held = join_rooms(plan)
    readers = _readers(plan)
    branches: dict[tuple[str, str, int], Stream] = {}  # value, and who reads it as which operand
    _fork(emitter, plan, source.name, stream, readers, held, branches)
    for planned in plan.layers:
        layer = planned.layer
        out = f"{planned.name}_out" if planned.name == last else f"s_{planned.name}"
        following = readers.get(layer.value, [])
        front = LEAST
        if len(following) == 1:
            front = _front(following[0], cycles, held)
        front += _finished(planned)
        emitter.layer = planned.name
        given = [branches[value, layer.value, place] for place, value in enumerate(layer.sources)]
        stream = _layer(emitter, planned, given, out, (_behind(planned, cycles), front))
        taps.append(
            Tap(layer=planned.name, value=layer.value, pipe=stream.pipe, lanes=stream.lanes)
        )
        _fork(emitter, plan, layer.value, stream, readers, held, branches)
        memories += _memories(planned)
    loader(emitter, memories, streams, plan.packets.size)
    program = ast.Program(items=tuple(_pipes_first(emitter.items)))
    return Design(
        program=program,
        input=first,
        taps=tuple(taps),
        memories=tuple(memories),
        streams=tuple(streams),
        owners=emitter.owners,
    )


def _weight_streams(emitter: Emitter, plan: Plan) -> list[WeightStream]:
    """Declare the pipes of streamed weights."""
    late, found = plan.late(), list[WeightStream]()
    for planned, held in zip(plan.streamed, plan.packets.lines, strict=True):
        emitter.layer = planned.name
        lines, width = planned.lines
        room = weight_room(planned, held)
        note = f"weights of {planned.name}"
        lanes = planned.multipliers * planned.line_words
        bits = planned.layer.weight_element.width
        pipe = emitter.stream(f"ws_{planned.name}", lanes, room, bits, comment=note)
        found.append(
            WeightStream(
                name=pipe.pipe,
                layer=planned.name,
                words=lines,
                width=width,
                packet_words=held,
                late=late[planned.name],
            )
        )
    return found


def _pipes_first(items: list[ast.Item]) -> list[ast.Item]:
    """Put declarations before modules, each kind in its order."""
    modules = [item for item in items if isinstance(item, ast.Module)]
    return [item for item in items if not isinstance(item, ast.Module)] + modules


Reader = tuple[PlannedLayer, int]  # and which of its operands


def _readers(plan: Plan) -> dict[str, list[Reader]]:
    """Map the values of streams to those that read them."""
    found: dict[str, list[Reader]] = {}
    for planned in plan.layers:
        for number, value in enumerate(planned.layer.sources):
            found.setdefault(value, []).append((planned, number))
    return found


def _front(reader: Reader, cycles: int, held: Mapping[tuple[str, int], int]) -> int:
    """Give the depth of the pipe in front of an operand."""
    planned, number = reader
    if planned.layer.kind != LayerKind.JOIN:
        return _before(planned, cycles)
    words = planned.layer.x.channels // planned.lanes_in
    return LEAST + held[planned.layer.value, number] * words


def _fork(
    emitter: Emitter,
    plan: Plan,
    value: str,
    x: Stream,
    readers: Mapping[str, list[Reader]],
    held: Mapping[tuple[str, int], int],
    branches: dict[tuple[str, str, int], Stream],
) -> None:
    """Give every reader of a value a stream of its own."""
    following = readers.get(value, [])
    if len(following) == 1:
        ((planned, number),) = following
        branches[value, planned.layer.value, number] = x
    if len(following) < 2:
        return
    loop = Loop()
    loop.set("x", name(x.pipe))
    for place, reader in enumerate(following):
        planned, number = reader
        depth = _front(reader, plan.cycles_per_frame, held)
        note = f"{value} for {planned.name}"
        branch = emitter.stream(f"fk{place}_{value}", x.lanes, depth, x.width, comment=note)
        loop.set(branch.pipe, name("x"))
        branches[value, planned.layer.value, number] = branch
    emitter.process(f"fork_{value}", loop, comment=f"{value} for {len(following)} readers")


def _finished(planned: PlannedLayer) -> int:
    """Give the words of frames that a layer finishes before the next streamed layer takes any.

    That one is ``LATE`` turns behind, and has room for one of the frames. Where there are tiles the
    two memories that reorder results hold the others.
    """
    waits = planned.streamed and not planned.tiled
    return LATE * planned.layer.y.size // planned.lanes_out if waits else 0


def _before(planned: PlannedLayer, cycles: int) -> int:
    """Give the depth of the pipe in front of a layer.

    A layer that goes through its inputs once for every output fold takes new ones in the first
    fold only: the pipe holds those of the next pixel or frame. A window layer cannot start a frame
    before all rows of its first windows but one have arrived. So that it need not wait for them,
    the layer before works on the next frame meanwhile, and the pipe holds what it makes. In front
    of a layer that waits for weights there is room for a frame.
    """
    if planned.streamed:
        return LEAST + planned.layer.x.size // planned.lanes_in
    if planned.sweep is None:
        return _next_inputs(planned)
    return LEAST + line_buffer_rooms(planned.sweep, cycles).before


def _behind(planned: PlannedLayer, cycles: int) -> int:
    """Give the depth of the pipe behind a layer's line buffer."""
    if planned.sweep is None:
        return 0
    return LEAST + line_buffer_rooms(planned.sweep, cycles // planned.passes).behind


def _next_inputs(planned: PlannedLayer) -> int:
    """Give the depth of the pipe from which a matvec reads, where nothing converts its words."""
    repeats = planned.layer.kind == LayerKind.MATVEC and planned.output_folds > 1
    repeats &= not planned.input_major and not planned.tiled
    converted_before = planned.arriving_lanes != planned.folding.simd
    return LEAST if converted_before or not repeats else LEAST + planned.input_folds


def _layer(
    emitter: Emitter,
    planned: PlannedLayer,
    given: list[Stream],
    target: str,
    rooms: tuple[int, int],
) -> Stream:
    """Add a layer; ``rooms`` is that behind its line buffer, and that for its results."""
    x = given[0]
    layer, (columns, room) = planned.layer, rooms
    note = f"{planned.name} {layer.loc}".strip()
    width = layer.y.element.width
    x = replayed(emitter, planned, x, note)
    if planned.sweep is not None and x.lanes != planned.lanes_in:
        x = converted(emitter, f"{planned.name}_in", x, planned.lanes_in, x.lanes, LEAST, note)
    if planned.sweep is not None:
        depth = _next_inputs(planned) + planned.sweep.row_gap
        border = Border(fill=_fill(planned), room=columns, depth=depth)
        x = windows(emitter, planned.name, planned.sweep, x, border, note)
    match layer.kind:
        case LayerKind.MATVEC:
            depth = max(LEAST, planned.input_folds)
            elements = layer.inputs * (layer.pixels if planned.packed else 1)
            x = converted(emitter, planned.name, x, planned.folding.simd, elements, depth, note)
            out = emitter.stream(target, planned.lanes_out, room, width, comment=note)
            if planned.passes > 1:
                tiles = emitter.stream(f"tl_{planned.name}", planned.lanes_out, LEAST, width)
                matvec(emitter, planned, x, tiles, note)
                reordered(emitter, planned, tiles, out, note)
            else:
                (float_matvec if layer.floats else matvec)(emitter, planned, x, out, note)
        case LayerKind.JOIN:
            both: list[Stream] = []
            for side, part in zip("ab", given, strict=True):
                stem, lanes = f"{planned.name}_{side}", planned.lanes_in
                elements = math.lcm(part.lanes, lanes)
                both.append(converted(emitter, stem, part, lanes, elements, LEAST, note))
            out = emitter.stream(target, planned.lanes_out, room, width, comment=note)
            join(emitter, planned, both, out, note)
        case LayerKind.ELEMENTWISE:
            out = emitter.stream(target, x.lanes, room, width, comment=note)
            elementwise(emitter, planned, x, out, note)
        case _:
            out = emitter.stream(target, planned.lanes_out, room, width, comment=note)
            (pool if layer.rounding is None else mean)(emitter, planned, x, out, note)
    return out


def _fill(planned: PlannedLayer) -> int:
    """Give the code that stands in padded places: the zero point; under a maximum the least."""
    layer = planned.layer
    return least(layer.x.element) if layer.kind == LayerKind.MAX_POOL else layer.x.zero_point


def _memories(planned: PlannedLayer) -> list[Memory]:
    """List the weights of a layer, and the parameters of its channels, where it has them."""
    layer, tag = planned.layer, planned.name
    found: list[Memory] = []
    if layer.weight is not None and not planned.streamed:
        words, width = planned.weight_words, planned.weight_width
        found.append(Memory(name=f"w_{tag}", layer=tag, words=words, width=width))
    bits = finish(layer).bits if layer.has_sums else 0
    if bits:
        words = layer.outputs // planned.lanes_out
        found.append(
            Memory(name=f"q_{tag}", layer=tag, words=words, width=planned.lanes_out * bits)
        )
    return found
