"""Folders become graphs that compute what the hardware does, and graphs become folders."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyahir.errors import ImportModelError
from pyahir.formats.bnn_pynq.export import export_graph
from pyahir.formats.bnn_pynq.folder import LayerParameters, Parameters, files_of, write_folder
from pyahir.formats.bnn_pynq.graph import bit_table, import_graph, pixel_table
from pyahir.formats.bnn_pynq.steps import LIMITS, popcounts, to_steps, to_stored
from pyahir.formats.bnn_pynq.topology import NETWORKS, RAW, Accumulator, Topology
from pyahir.frontend.pynq import FolderRunner
from pyahir.ir.eval import Evaluator
from pyahir.ir.graph import Graph
from pyahir.ir.types import Bipolar, Int, PowerOfTwo
from tests.formats import pynq_reference
from tests.formats.pynq_cases import SMALL, digits, drawn

IMAGES = 3
small = pytest.mark.parametrize("topology", SMALL, ids=lambda topology: topology.name)


def pixels(topology: Topology, count: int = IMAGES) -> np.ndarray:
    """Draw images (N, C, H, W) of pixels."""
    rng = np.random.default_rng(5)
    return rng.integers(0, 256, (count, *topology.image), dtype=np.uint8)


def golden(graph: Graph, images: np.ndarray, names: list[str]) -> dict[str, np.ndarray]:
    """Run the golden model; feature maps come as (N, C, H, W)."""
    found = Evaluator(graph).run(np.moveaxis(images, 1, -1), keep=names)
    return {
        name: np.moveaxis(value, -1, 1).astype(np.int64) if value.ndim == 4 else value
        for name, value in found.items()
    }


def imported(topology: Topology, parameters: Parameters) -> Graph:
    return import_graph(topology, parameters, "folder")


@small
@pytest.mark.parametrize("seed", [1, 2])
def test_graph_computes_what_the_hardware_does(topology: Topology, seed: int) -> None:
    parameters = drawn(topology, seed)
    files = files_of(topology, parameters)
    names = [f"l{index}" for index in range(len(topology.layers))]
    images = pixels(topology)
    actual = golden(imported(topology, parameters), images, names)
    last = len(names) - 1
    if topology.layers[last].activation_bits == RAW and (
        topology.accumulator(last) is Accumulator.POPCOUNT
    ):
        sums = actual[names[last]].astype(np.int64)
        actual[names[last]] = popcounts(sums, topology.layers[last].synapses)
    for number, image in enumerate(images):
        expected = pynq_reference.run(topology, files, 5, image)
        for name, value in zip(names, expected, strict=True):
            assert np.array_equal(value, actual[name][number]), f"{name} of image {number}"
    for name in names[:last]:
        assert len(np.unique(actual[name])) > 1, f"{name} is the same everywhere"


@small
def test_torch_computes_what_the_graph_does(topology: Topology) -> None:
    parameters = drawn(topology, 3)
    graph = imported(topology, parameters)
    names = ["x", "image", *(f"l{index}" for index in range(len(topology.layers)))]
    images = pixels(topology, 40)
    runner = FolderRunner(topology=topology, parameters=parameters)
    found = runner.run(images.astype(np.float32) / np.float32(255), names)
    expected = golden(graph, images, names)
    for name in names:
        assert np.array_equal(expected[name], found[name]), name


def test_types_say_what_the_hardware_has() -> None:
    graph = imported(SMALL[5], drawn(SMALL[5], 1))
    types = graph.types()
    assert types["image"].element == Int(8)
    assert types["image"].quantization == types["l0_acc"].quantization == PowerOfTwo(exponent=-7)
    assert types["l0"].element == types["l0_weight"].element == Int(2)
    binary = imported(SMALL[0], drawn(SMALL[0], 1)).types()
    assert {binary[name].element for name in ("image", "l0", "l0_weight", "l2")} == {Bipolar()}
    assert binary["l2"].shape == (1, 5)


def test_tables_of_pixels_are_the_closed_forms() -> None:
    exact = [pynq_reference.pixel_code(pixel) for pixel in range(256)]
    assert pixel_table().tolist() == exact
    assert 0 not in exact
    assert bit_table().tolist() == [int(pixel >= 128) for pixel in range(256)]


@st.composite
def layers(draw: st.DrawFn) -> tuple[Accumulator, int, int, int]:
    """Draw a kind of accumulator, a fan-in, a padding and a threshold."""
    kind = draw(st.sampled_from(Accumulator))
    padding = 0 if kind is Accumulator.FIXED else draw(st.integers(0, 6))
    return kind, draw(st.integers(1, 40)), padding, draw(st.integers(-100, 100))


@given(layers(), st.integers(0, 2**32))
@settings(max_examples=300)
def test_thresholds_fire_at_the_same_sums(
    drawn_layer: tuple[Accumulator, int, int, int], seed: int
) -> None:
    kind, fan_in, count, threshold = drawn_layer
    padding = np.random.default_rng(seed).integers(0, 2, (1, count)) * 2 - 1
    padding = padding.astype(np.int8)
    stored = np.array([[threshold]])
    step = to_steps(kind, stored, fan_in, padding, "here")
    sums = np.arange(-fan_in, fan_in + 1, 2)
    if kind is Accumulator.FIXED:
        sums = np.arange(-128 * fan_in, 128 * fan_in + 1)
    match kind:
        case Accumulator.POPCOUNT:
            hardware = (sums + fan_in) // 2 + int((padding < 0).sum())
        case Accumulator.SIGNED:
            hardware = sums - int(padding.sum())
        case Accumulator.FIXED:
            hardware = 2 * sums
    assert np.array_equal(hardware > threshold, sums > step[0, 0])
    bound = int(np.abs(sums).max())
    again = to_stored(kind, step, fan_in, padding, bound, "here")
    assert np.array_equal(hardware > threshold, hardware > again[0, 0])
    if kind is not Accumulator.FIXED:
        assert again[0, 0] == threshold


def test_thresholds_beyond_the_hardware_are_moved_to_its_end() -> None:
    none = np.zeros((1, 0), np.int8)
    steps = np.array([[-(10**6), 10**6]])
    found = to_stored(Accumulator.SIGNED, steps, 9, none, 9, "here")
    assert found.tolist() == [[-32768, 32767]]
    message = r"^here: thresholds from -1000000 to 1000000 for sums from -40000 to 40000; the hardw"
    with pytest.raises(ImportModelError, match=message):
        to_stored(Accumulator.SIGNED, steps, 9, none, 40000, "here")


@pytest.mark.parametrize(("kind", "limit"), LIMITS.items())
def test_thresholds_that_the_hardware_cannot_hold_are_refused(
    kind: Accumulator, limit: int
) -> None:
    none = np.zeros((2, 0), np.int8)
    message = rf"^here: threshold 0 of neuron 1 is {limit}; accepted is -{limit} to {limit - 1}$"
    with pytest.raises(ImportModelError, match=message):
        to_steps(kind, np.array([[0], [limit]]), 9, none, "here")


@small
@pytest.mark.parametrize("seed", [4, 5])
def test_export_computes_the_same_and_is_steady(topology: Topology, seed: int) -> None:
    graph = imported(topology, drawn(topology, seed))
    classes = [f"class {number}" for number in range(5)]
    exported = export_graph(graph, topology, classes)
    assert imported(topology, exported) == graph
    again = export_graph(imported(topology, exported), topology, classes)
    assert files_of(topology, again) == files_of(topology, exported)


def test_export_fills_the_padding_as_the_hardware_wants() -> None:
    topology = SMALL[1]
    exported = export_graph(imported(topology, drawn(topology, 1)), topology, list("abcde"))
    assert (exported.layers[0].weights[:, 11:] == 1).all()
    assert (exported.layers[2].weights[5:] == 1).all()
    assert (exported.layers[2].thresholds[5:] == 32767).all()
    two = SMALL[5]
    exported = export_graph(imported(two, drawn(two, 1)), two, list("abcde"))
    assert (exported.layers[3].weights[5:] == 0).all()
    assert exported.class_text == b"a\nb\nc\nd\ne"


def test_a_last_layer_of_sums_takes_a_threshold() -> None:
    raw, bits = SMALL[2], SMALL[0]
    graph = imported(raw, drawn(raw, 6))
    exported = export_graph(graph, bits, list("abcde"), last_threshold=1)
    images = pixels(bits, 20)
    sums = golden(graph, images, ["l2"])["l2"]
    found = golden(imported(bits, exported), images, ["l2"])["l2"]
    assert np.array_equal(sums > 1, found.astype(bool))


def test_export_to_another_network_is_refused_with_the_reason() -> None:
    one, two, raw = SMALL[0], SMALL[1], SMALL[2]
    plain, classes = imported(one, drawn(one, 1)), list("abcde")
    colour = imported(SMALL[5], drawn(SMALL[5], 1))
    wide = replace(one, layers=(*one.layers, digits("x", 1).layers[1]))
    cases = [
        (
            plain,
            two,
            classes,
            "layer 0 (l0_acc): 1 thresholds from 0 to 1 bits; the hardware has 2",
        ),
        (
            plain,
            raw,
            classes,
            "layer 2 (l2_acc): has thresholds; the hardware's last layer has non",
        ),
        (
            imported(raw, drawn(raw, 1)),
            one,
            classes,
            "layer 2 (l2): has no thresholds; the hardware",
        ),
        (plain, one, classes[:4], "4 names for 5 classes"),
        (plain, wide, classes, "3 layers; the hardware has 4"),
        (
            plain,
            NETWORKS["lfcW1A1"],
            classes,
            "an image of shape (1, 11, 1); the hardware takes (2",
        ),
        (colour, SMALL[3], classes, "layer 0 (l0_acc): weights -2 to 1 do not fit 1 bit"),
        (
            colour,
            replace(SMALL[5], layers=_other_pixels()),
            classes,
            "8 bits of the pixels come in",
        ),
    ]
    for graph, topology, names, message in cases:
        start = re.escape(f"{graph.name} as {topology.name}: {message}")
        with pytest.raises(ImportModelError, match=f"^{start}"):
            export_graph(graph, topology, names)


def _other_pixels():
    """Give full connections alone: their first one takes bits."""
    first, *rest = digits("x", 2).layers
    return (replace(first, inputs=304), *rest)


def test_export_refuses_other_pixels() -> None:
    topology = SMALL[0]
    graph = imported(topology, drawn(topology, 1))
    table = bit_table()
    table[100] = 1
    constants = tuple(
        replace(item, data=type(item.data)(table)) if item.name == "image_table" else item
        for item in graph.constants
    )
    message = r"^digits1 as digits1: pixel 100 becomes 1, in the hardware 0$"
    with pytest.raises(ImportModelError, match=message):
        export_graph(replace(graph, constants=constants), topology, list("abcde"))


def test_padding_of_any_content_is_made_up_for(tmp_path) -> None:
    """Padding that counts: -1 agrees with the input bit 0 of the padding."""
    topology = SMALL[0]
    parameters = drawn(topology, 9)
    first = parameters.layers[0]
    images = pixels(topology, 30)
    results = []
    for filler in (-1, 1):
        weights = first.weights.copy()
        weights[:, 11:] = filler
        steps = first.thresholds + (5 if filler < 0 else 0)
        layers = (LayerParameters(weights=weights, thresholds=steps), *parameters.layers[1:])
        changed = replace(parameters, layers=layers)
        write_folder(tmp_path / str(filler), topology, changed)
        results.append(golden(imported(topology, changed), images, ["l0"])["l0"])
    assert np.array_equal(*results)
