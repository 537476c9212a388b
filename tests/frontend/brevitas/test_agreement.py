"""The golden model against Brevitas' own forward, and our forward in torch against both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from pyahir.engines import compare, input_codes, run_ir, run_torch
from pyahir.frontend.brevitas import load, original
from pyahir.frontend.brevitas.network import network_of
from pyahir.frontend.brevitas.reference import Reference
from pyahir.frontend.brevitas.topologies import NAMES, topology
from pyahir.frontend.source import SourceModel, load_model
from pyahir.ir.eval import Evaluator
from pyahir.ir.types import Bipolar
from pyahir.quant.few_bit import few_bit_graph, input_table
from tests.frontend.brevitas.states import calibrated, random_images, untrained

brevitas = pytest.mark.skipif(not original.installed(), reason="Brevitas is not installed")
SMALL = [name for name in NAMES if name[:3] in ("TFC", "SFC")]
LARGE = [name for name in NAMES if name not in SMALL]


@cache
def state_of(name: str) -> Mapping[str, torch.Tensor]:
    return calibrated(topology(name))


def saved(name: str, folder: Path, **options: str) -> SourceModel:
    path = folder / "net.pth"
    torch.save(dict(state_of(name)), path)
    return load_model(path, network=name, **options)  # type: ignore[arg-type]  # text only


def differences(model: SourceModel, images: np.ndarray) -> dict[str, int]:
    codes = input_codes(model.graph, images, model.engine)
    results = {"torch": run_torch(model, images, model.graph), "ir": run_ir(model.graph, codes)}
    order = [item.name for item in (*model.graph.inputs, *model.graph.nodes)]
    found = compare(results, order)
    assert all(item.compared == results["ir"][item.layer].size for item in found)
    return {item.layer: item.differing for item in found}


def check(name: str, folder: Path, count: int) -> None:
    model = saved(name, folder)
    assert model.engine == "brevitas"
    images = random_images(topology(name), count)
    found = differences(model, images)
    sections = topology(name).sections
    pools = sum(section.pool is not None for section in sections)
    assert len(found) == 2 + len(sections) + pools  # the pixels and the first codes among them
    assert set(found.values()) == {0}
    for values in run_ir(model.graph, input_codes(model.graph, images)).values():
        assert len(np.unique(values)) > 1, "a layer that says nothing"


@brevitas
@pytest.mark.parametrize("name", [*SMALL, "LFC_1W2A"])
def test_every_layer_is_that_of_brevitas(name: str, tmp_path: Path) -> None:
    check(name, tmp_path, 40)


@brevitas
@pytest.mark.parametrize("name", ["CNV_1W1A", "CNV_2W2A"])
def test_convolutions_are_those_of_brevitas(name: str, tmp_path: Path) -> None:
    check(name, tmp_path, 2)


@pytest.mark.slow
@brevitas
@pytest.mark.parametrize("name", LARGE)
def test_the_large_networks_on_more_images(name: str, tmp_path: Path) -> None:
    check(name, tmp_path, 100)


@brevitas
@pytest.mark.parametrize("name", [*SMALL[:3], "CNV_1W2A"])
def test_our_forward_is_that_of_brevitas(name: str) -> None:
    chosen, state = topology(name), dict(state_of(name))
    sections = chosen.sections
    paths = [chosen.input_path, *(item.activation or item.path for item in sections)]
    images = torch.from_numpy(random_images(chosen, 4))
    with torch.no_grad():
        expected = original.Original(original.build(chosen, state), paths)(images)
        actual = Reference(chosen, state)(images)
    assert set(paths) <= set(actual)
    for path in paths:
        torch.testing.assert_close(actual[path].reshape(expected[path].shape), expected[path])


@pytest.mark.parametrize("name", ["TFC_1W2A", "CNV_1W1A"])
def test_without_brevitas_torch_runs_our_forward(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(original, "installed", lambda: False)
    model = saved(name, tmp_path)
    assert model.engine == "plain torch"
    assert set(differences(model, random_images(topology(name), 2)).values()) == {0}


@brevitas
@pytest.mark.parametrize("width", [1, 2, 8])
def test_all_pixels_become_the_first_codes_of_brevitas(width: int) -> None:
    name = {1: "TFC_1W1A", 2: "TFC_1W2A", 8: "CNV_1W1A"}[width]
    chosen = topology(name)
    assert chosen.input_bits == width
    module = original.build(chosen, dict(state_of(name)))
    pixels = torch.arange(256).float() / 255
    with torch.no_grad():
        quantizer = module.get_submodule(chosen.input_path)
        given = quantizer(2.0 * pixels - torch.tensor([1.0]))
    table, exponent = input_table(width)
    values = (
        np.where(table == 1, 1.0, -1.0)
        if width == 1
        else np.ldexp(table.astype(np.float64), exponent)
    )
    np.testing.assert_array_equal(given.numpy(), values)


def test_the_tables_have_their_closed_forms() -> None:
    pixel = np.arange(256)
    np.testing.assert_array_equal(input_table(1)[0], pixel >= 128)
    np.testing.assert_array_equal(input_table(2)[0], 1 * (pixel >= 192) - (pixel <= 63))
    q7 = np.where(pixel <= 127, pixel - 128, np.minimum(pixel - 127, 127))
    np.testing.assert_array_equal(input_table(8)[0], q7)
    assert [input_table(width)[1] for width in (1, 2, 8)] == [0, 0, -7]


@brevitas
@pytest.mark.parametrize("name", ["TFC_1W1A", "TFC_1W2A", "TFC_2W2A"])
def test_ties_are_those_of_brevitas_and_the_rest_is_listed(name: str) -> None:
    """Batch norms as torch makes them: a sum of 0 lies on the step of every bit."""
    chosen = topology(name)
    state = untrained(chosen)
    network = network_of(chosen, state)
    first = chosen.sections[0]
    assert first.activation is not None
    module = original.build(chosen, state)
    images = random_images(chosen, 64)
    with torch.no_grad():
        found = original.Original(module, [first.activation])(torch.from_numpy(images))
    float_codes = np.rint(found[first.activation].numpy()).astype(np.int64)
    layer = network.layers[0].name
    for ties in ("source", "low", "high"):
        compiled = few_bit_graph(network, ties)
        codes = input_codes(compiled.graph, images)
        values = Evaluator(compiled.graph).run(codes, keep=[f"{layer}_acc", layer])
        mine = values[layer].astype(np.int64)
        if isinstance(compiled.graph.types()[layer].element, Bipolar):
            mine = 2 * mine - 1
        differing = np.argwhere(mine != float_codes)
        listed = {(tie.channel, tie.accumulator) for tie in compiled.ties[layer] if tie.exact}
        if ties == "source":
            assert not len(differing)
        elif ties == "low" and chosen.act_bits == 1:
            assert len(differing), "no sum was 0: the test shows nothing"
        for image, channel in differing.tolist():
            assert (channel, int(values[f"{layer}_acc"][image, channel])) in listed


@brevitas
def test_scores_are_the_real_ones_of_brevitas(tmp_path: Path) -> None:
    for name, sign in (("TFC_1W1A", -1.0), ("TFC_2W2A", 1.0)):
        chosen, state = topology(name), dict(state_of(name))
        last = chosen.sections[-1]
        state[f"{last.norm}.weight"] = torch.full((1,), 0.7 * sign)
        path = tmp_path / f"{name}.pth"
        torch.save(state, path)
        model = load_model(path, network=name)
        images = random_images(chosen, 16)
        with torch.no_grad():
            expected = original.build(chosen, state)(torch.from_numpy(images)).numpy()
        raw = run_ir(model.graph, input_codes(model.graph, images))[model.graph.outputs[0]]
        assert model.scores is not None
        assert model.scores.factor > 0
        np.testing.assert_allclose(model.scores(raw), expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(
            run_torch(model, images)[model.graph.outputs[0]], raw.astype(np.int64)
        )


def test_images_between_pixels_are_rounded_for_both(tmp_path: Path) -> None:
    model = saved("TFC_1W1A", tmp_path)
    images = np.random.default_rng(5).random((8, 1, 28, 28), dtype=np.float32)
    assert set(differences(model, images).values()) == {0}


def test_a_bias_of_ties_is_told() -> None:
    network = network_of(topology("TFC_1W1A"), untrained(topology("TFC_1W1A")))
    compiled = few_bit_graph(network)
    assert load.note(compiled).startswith("192 accumulators lie on a step, 0 nearer")
    quiet = few_bit_graph(replace(network, layers=network.layers[-1:], input_shape=(1, 8, 8)))
    assert load.note(quiet) == ""
