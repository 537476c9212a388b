"""What the report derives: spans and activity from counted words, decibels, sentences."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pyahir.errors import DataError
from pyahir.ir.builder import GraphBuilder
from pyahir.ir.graph import Graph, Loc, Stage
from pyahir.ir.ops import Conv2d, Flatten, Linear, MaxPool2d, Relu
from pyahir.ir.types import Float32, Layout, TensorType
from pyahir.report.advice import fill_advice, pace_advice, quality_advice, timeline_advice
from pyahir.report.build import build_report
from pyahir.report.measure import timeline
from pyahir.report.model import (
    AccuracyRow,
    LayerRow,
    LoopRow,
    PipeRow,
    ProcessRow,
    Quality,
    QualityRow,
    Report,
)
from pyahir.report.quality import float_values, quality_row, sqnr
from pyahir.sim.engine import GhdlEngine
from pyahir.sim.monitor import Activity, PipeFill
from tests.designs import written
from tests.networks import small
from tests.report.runs import FRAMES, STEP, made_up_run


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> GhdlEngine:
    _, path = written(small().graph(), tmp_path_factory.mktemp("design"))
    return GhdlEngine.open(path)


def test_processes_are_those_that_carry_data(engine: GhdlEngine) -> None:
    report = build_report(engine.files.manifest, engine.program)
    rows = {row.module: row for row in report.processes}
    assert rows["mv_conv1"].layer == "conv1"
    assert rows["mv_conv1"].memory
    assert not rows["lb_conv1"].memory
    assert "x_in" in rows["lb_conv1"].reads
    assert "load_weights" not in rows
    assert {row.layer for row in report.processes} == {row["name"] for row in engine.layers}
    ends = {row.name: (row.writer, row.reader) for row in report.pipes}
    assert ends["x_in"] == (None, "lb_conv1")
    assert ends["fc4_out"][1] is None
    loops = {row.module: row.layer for row in report.loops}
    assert loops["mv_conv1"] == "conv1"
    assert loops["load_weights"] is None


def test_spans_are_first_word_in_to_last_word_out(engine: GhdlEngine) -> None:
    report = build_report(engine.files.manifest, engine.program, run=made_up_run(engine))
    line, seen = report.timeline, report.simulated
    assert line is not None
    assert seen is not None
    for place, layer in enumerate(report.layers):
        for frame in range(FRAMES):
            span = line.span(layer.name, frame)
            start = STEP * (frame + place)
            assert (span.start, span.end) == (start, start + STEP)
    assert (seen.interval, seen.latency, seen.first) == (STEP, 30, 30)
    assert report.planned != STEP
    for row in report.layers:
        assert row.busy == row.cycles / report.planned
        used = row.macs / (row.multipliers * STEP) if row.multipliers else None
        assert row.utilization == used
    assert timeline_advice(report)[0] == (
        "A frame alone takes 30 cycles from its first word in to its last word out; behind it "
        "another one comes out every 10: it takes as long as 3.0 of them."
    )


STREAM = {"shape": [4], "lanes": 2}


def manifest(cycles: float) -> dict[str, Any]:
    layer = {"name": "fc1", "pipe": "fc1_out", "shape": [1], "lanes": 1, "cycles": cycles}
    return {
        "input": {"name": "x", "pipe": "x_in", **STREAM},
        "layers": [layer],
        "weights": {"pipe": "weights_in"},
    }


def fill(name: str, put: tuple[int, ...], taken: tuple[int, ...], last: int = 0) -> PipeFill:
    return PipeFill(name, 4, 1, 0, 0, last, sum(put), 0, activity=Activity(8, put, taken))


@pytest.mark.parametrize(
    ("memory", "cycles", "shares"),
    [
        # Three frames: 11, 4 and 2 words are work for 51 cycles, then for 17, in stretches of 8.
        (True, 17, (1.0, 1.0, 1.0, 1.0)),
        (True, 17 / 3, (1.0, 0.875, 0.25, 0.0)),
        # 2, 2 and 2 words are work for 24 cycles, then for 12 and for 27.
        (False, 8, (1.0, 1.0, 1.0, 0.0)),
        (False, 4, (0.5, 0.5, 0.5, 0.0)),
        (False, 9, (1.0, 1.0, 1.0, 0.375)),
    ],
)
def test_activity_is_the_speed_by_words_taken(
    memory: bool, cycles: float, shares: tuple[float, ...]
) -> None:
    process = ProcessRow(
        module="mv",
        layer="fc1",
        reads=("x_in", "again"),
        writes=("again", "fc1_out"),
        memory=memory,
    )
    fills = {
        "x_in": fill("x_in", (6, 0, 0, 0), (2, 2, 2, 0)),
        "again": fill("again", (9, 2, 0, 0), (9, 2, 0, 0)),
        "fc1_out": fill("fc1_out", (0, 1, 1, 1), (0, 0, 1, 2)),
    }
    found = timeline(manifest(cycles), [process], fills, 3)
    assert found.activity == {"fc1": shares}
    assert [(item.start, item.end) for item in found.spans] == [(0, 16), (8, 24), (16, 32)]
    assert found.bin_cycles == 8


def test_the_process_with_the_weights_tells_the_work() -> None:
    processes = [
        ProcessRow(module=name, layer="fc1", reads=(pipe,), writes=("fc1_out",), memory=memory)
        for name, pipe, memory in (("gear", "x_in", False), ("mv", "inner", True))
    ]
    fills = {
        "x_in": fill("x_in", (6, 0, 0), (6, 0, 0)),
        "inner": fill("inner", (0, 3, 0), (0, 0, 3)),
        "fc1_out": fill("fc1_out", (0, 0, 3), (0, 0, 3)),
    }
    assert timeline(manifest(2), processes, fills, 3).activity == {"fc1": (0.0, 0.0, 0.75)}


@pytest.mark.parametrize(("loaded", "shown"), [(0, (0, 1)), (20, (1, 2))])
def test_frames_that_waited_for_weights_are_not_shown(loaded: int, shown: tuple[int, int]) -> None:
    process = ProcessRow(
        module="mv", layer="fc1", reads=("x_in",), writes=("fc1_out",), memory=True
    )
    fills = {
        "x_in": fill("x_in", (2, 2, 2), (2, 2, 2)),
        "fc1_out": fill("fc1_out", (1, 1, 1), (1, 1, 1)),
        "weights_in": fill("weights_in", (1, 0, 0), (1, 0, 0), last=loaded),
    }
    assert timeline(manifest(8), [process], fills, 3).shown == shown


def layer(name: str, cycles: int, multipliers: int, macs: int) -> LayerRow:
    parts = ["adders", "requantizers", "ram_blocks"]
    bits = [f"{what}_bits" for what in ("weight", "parameter", "line", "pipe", "memory")]
    zeros = dict.fromkeys(parts + bits, 0)
    return LayerRow(
        name=name,
        kind="matvec" if multipliers else "max_pool",
        source="",
        folding="2 x 3" if multipliers else "",
        macs=macs,
        multipliers=multipliers,
        cycles=cycles,
        bound=-(-macs // multipliers) if multipliers else 0,
        utilization=None,
        busy=cycles / 1000,
        interval=1,
        streamed=False,
        **zeros,
    )


def report(*layers: LayerRow, pipes: tuple[PipeRow, ...] = ()) -> Report:
    totals = {
        "cycles_per_frame": max(row.cycles for row in layers),
        "macs": sum(row.macs for row in layers),
        "multipliers": sum(row.multipliers for row in layers),
        "weight_items_per_frame": 0,
    }
    return Report(
        name="net",
        layers=layers,
        totals=totals,
        hashes={},
        made_from={},
        pipes=pipes,
        processes=tuple(
            ProcessRow(module=f"mv_{row.name}", layer=row.name, reads=(), writes=(), memory=False)
            for row in layers
        ),
        loops=(),
    )


@pytest.mark.parametrize(
    ("layers", "sentence"),
    [
        (
            [layer("a", 1000, 6, 6000), layer("b", 400, 1, 400)],
            "Its 6 multipliers work almost all the time (1,000 cycles are 6,000 MACs / 6): only "
            "more of them, a larger pe or simd than 2 x 3, make it faster.",
        ),
        (
            [layer("a", 1000, 6, 6000), layer("b", 400, 1, 400)],
            "There is room: the next slowest layer, b, needs 400 cycles (40%).",
        ),
        (
            [layer("a", 1000, 6, 3000), layer("b", 950, 1, 950)],
            "Its multiplications alone would take 500 cycles; the rest is lost in words that are "
            "not full or arrive late. Another folding of the same size than 2 x 3, wider words "
            "from the layer before it, or whole windows, can make it faster.",
        ),
        (
            [layer("a", 1000, 6, 3000), layer("b", 950, 1, 950)],
            "A faster a alone gains 5.0% at most: b (950) comes next, so the plan is balanced, and "
            "a larger budget (--multipliers) is spread over these layers.",
        ),
        (
            [layer("a", 1000, 6, 6000), layer("b", 1000, 1, 1000)],
            "A faster a alone gains nothing: b (1,000) comes next, so the plan is balanced, and a "
            "larger budget (--multipliers) is spread over these layers.",
        ),
        (
            [layer("a", 100, 6, 600), layer("pool", 1000, 0, 0)],
            "pool multiplies nothing: it takes one word a cycle, so that only wider words (more "
            "requantizers in the layer before it) make it faster.",
        ),
        (
            [layer("a", 1000, 6, 3000), layer("b", 950, 1, 950)],
            "3,950 MACs on 7 multipliers cannot take fewer than 565 cycles a frame; the design "
            "reaches 56.4% of that rate.",
        ),
    ],
)
def test_the_sentence_on_the_slowest_layer(layers: list[LayerRow], sentence: str) -> None:
    found = pace_advice(report(*layers))
    slow = max(layers, key=lambda row: row.cycles)
    assert found[0].startswith(f"{slow.name} sets the pace: it needs 1,000 of the 1,000 cycles")
    assert sentence in found


def test_a_slow_loop_is_named_with_its_reason() -> None:
    loop = LoopRow(module="mv_a", layer="a", loop="l", stages=3, interval=2, reason="one port")
    found = replace(report(layer("a", 1000, 6, 6000)), loops=(loop,))
    assert "mv_a begins an iteration every 2 cycles, not in every one: one port." in pace_advice(
        found
    )


def pipe(name: str, ends: str, depth: int, peak: int, full: int = 0) -> PipeRow:
    writer, reader = (f"mv_{end}" if end != "-" else None for end in ends)
    return PipeRow(
        name=name,
        layer="a",
        writer=writer,
        reader=reader,
        width=8,
        depth=depth,
        words=9,
        peak=peak,
        full=full,
    )


@pytest.mark.parametrize(
    ("pipes", "sentences"),
    [
        ([pipe("p", "ab", 4, 3)], ["No pipe was ever full: nobody waited for room."]),
        (
            [pipe("p", "-a", 4, 4, 9), pipe("q", "ab", 4, 4, 9), pipe("r", "bb", 4, 4, 9)],
            [
                "p, q and r were full at times: then the writer waits. The stream of b, the "
                "slowest layer, was never full: nothing behind it slows it."
            ],
        ),
        (
            [pipe("p", "bc", 4, 4, 9), pipe("r", "ab", 400, 2)],
            [
                "p was full at times: then the writer waits. b, the slowest layer, waited too: its "
                "stream was full in 9 cycles.",
                "Never more than half full: r (2 of 400); in this run 3,184 bits of their room "
                "were not used. The plan sizes them for neighbours that work evenly all through a "
                "frame.",
            ],
        ),
    ],
)
def test_sentences_on_pipes(pipes: list[PipeRow], sentences: list[str]) -> None:
    layers = (layer("a", 10, 1, 10), layer("b", 1000, 1, 1000), layer("c", 10, 1, 10))
    assert fill_advice(report(*layers, pipes=tuple(pipes))) == sentences


def test_decibels() -> None:
    signal = np.array([3.0, -4.0])
    assert sqnr(signal, signal / 10) == pytest.approx(20.0)
    assert sqnr(signal, signal / 1000) == pytest.approx(60.0)
    assert sqnr(signal, signal * 1e-7) is None  # float32's own
    assert sqnr(signal, 0 * signal) is None


def test_the_error_of_a_layer_is_that_of_its_dequantized_codes() -> None:
    row = {
        "name": "a",
        "shape": [2],
        "layout": "nc",
        "element": "u8",
        "exponent": None,
        "scale": 0.5,
        "zero_point": 10,
    }
    real = np.array([[1.25, -200.0], [0.0, 0.5]], np.float32)
    codes = np.array([[14, 0], [10, 11]], np.uint8)  # 2.0, -5.0, 0.0, 0.5
    found = quality_row(row, codes, real)
    power = 1.25**2 + 200**2 + 0.5**2
    assert found.sqnr == pytest.approx(10 * math.log10(power / (0.75**2 + 195**2)))
    # Rounding gives 1.0 (half to even) and, at the end of the range, -5.0 as well.
    assert found.rounding == pytest.approx(10 * math.log10(power / (0.25**2 + 195**2)))
    with pytest.raises(
        DataError,
        match=r"^a: the float model gives shape \(1,\), the design \(2,\); give the float model "
        r"that the design was quantized from$",
    ):
        quality_row(row, codes, real[:, :1])


def float_graph(*, pool: bool = True) -> Graph:
    """Build a convolution, ReLU, a pool and a linear layer whose names tell nothing."""
    made = GraphBuilder("model", Stage.FLOAT)
    kind = TensorType(shape=(1, 1, 6, 6), element=Float32(), layout=Layout.NCHW)
    value = made.input("image", kind)
    weight = made.constant("u", np.zeros((2, 1, 3, 3), np.float32))
    bias = made.constant("b", np.zeros(2, np.float32))
    value = made.node("v1", Conv2d(kernel_size=(3, 3)), [value, weight, bias], Loc())
    value = made.node("v2", Relu(), [value], Loc())
    if pool:
        value = made.node("v3", MaxPool2d(kernel_size=(2, 2), stride=(2, 2)), [value], Loc())
    value = made.node("v4", Flatten(), [value], Loc())
    size = made.types[value].shape[1]
    last = made.constant("w", np.zeros((3, size), np.float32))
    bias = made.constant("c", np.zeros(3, np.float32))
    return made.finish([made.node("v5", Linear(), [value, last, bias], Loc())])


LAYERS = {
    "layers": [
        {"name": "conv", "kind": "matvec"},
        {"name": "pool", "kind": "max_pool"},
        {"name": "fc", "kind": "matvec"},
    ]
}


def test_layers_are_matched_by_what_they_compute() -> None:
    assert float_values(LAYERS, float_graph()) == {"conv": "v2", "pool": "v3", "fc": "v5"}
    apart = {"layers": [LAYERS["layers"][0], {"name": "relu", "kind": "elementwise"}]}
    apart["layers"] += LAYERS["layers"][1:]
    assert float_values(apart, float_graph()) == {"relu": "v2", "pool": "v3", "fc": "v5"}


def test_another_float_model_is_refused() -> None:
    with pytest.raises(
        DataError,
        match=r"^model: the float model computes matvec, matvec, the design matvec, max_pool, "
        r"matvec; give the float model that the design was quantized from$",
    ):
        float_values(LAYERS, float_graph(pool=False))


def test_sentences_on_quality() -> None:
    rows = [("x", 60.0), ("a", 40.0), ("b", 39.0), ("c", 33.0)]
    quality = Quality(
        images=10,
        source="",
        rows=tuple(QualityRow(layer=name, sqnr=value, rounding=None) for name, value in rows),
        accuracy=tuple(
            AccuracyRow(model=name, correct=correct, images=200)
            for name, correct in (("float", 190), ("uint8", 187))
        ),
    )
    assert quality_advice(replace(report(layer("a", 1, 1, 1)), quality=quality)) == [
        "The largest step down from a layer to the next is 6.0 dB, at c: look there first, at its "
        "weights and at the range of its output.",
        "Accuracy goes from 95.00% to 93.50% (-1.50 percentage points) on 200 images.",
    ]


def test_a_design_without_layers_is_refused(engine: GhdlEngine, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^net: the manifest has no layers: compile again$"):
        build_report({**engine.files.manifest, "layers": []}, engine.program)
