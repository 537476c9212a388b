"""Brevitas modules in memory: the published classes, chains of one's own, what is refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import nn

from pyahir.engines import compare, input_codes, run_ir, run_torch
from pyahir.errors import ImportModelError
from pyahir.frontend.brevitas import original
from pyahir.frontend.brevitas.topologies import topology
from pyahir.frontend.source import SourceModel, from_brevitas
from pyahir.ir.ops import MaxPool2d
from tests.frontend.brevitas.states import calibrated

pytestmark = pytest.mark.skipif(not original.installed(), reason="Brevitas is not installed")
SHAPE = (2, 9, 8)


def difference(model: SourceModel, count: int = 6) -> int:
    pixels = np.random.default_rng(0).integers(0, 256, (count, *model.input_shape))
    images = (pixels / np.float32(255)).astype(np.float32)
    codes = input_codes(model.graph, images, model.engine)
    results = {"torch": run_torch(model, images, model.graph), "ir": run_ir(model.graph, codes)}
    found = compare(results, [item.name for item in (*model.graph.inputs, *model.graph.nodes)])
    assert len(found) > 3
    return sum(item.differing for item in found)


class Chain(nn.Module):
    """Maps images to [-1, 1] and calls its layers; a plain chain of anything."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.features = nn.ModuleList(layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = 2.0 * x - 1.0
        for layer in self.features:
            x = layer(x)
        return x


def quantizer(bits: int, most: float = 1.0) -> nn.Module:
    from brevitas.nn import QuantIdentity
    from brevitas_examples.bnn_pynq.models.common import CommonActQuant

    return QuantIdentity(act_quant=CommonActQuant, bit_width=bits, min_val=-most, max_val=most)


def weights(kind: str, *shape: int, bits: int = 1, **given: object) -> nn.Module:
    from brevitas import nn as quant
    from brevitas_examples.bnn_pynq.models.common import CommonWeightQuant

    options = {
        "bias": False,
        "weight_quant": CommonWeightQuant,
        "weight_bit_width": bits,
    } | given
    return getattr(quant, kind)(*shape, **options)


def normed(channels: int, *, positive: bool, vector: bool = False) -> nn.Module:
    norm = nn.BatchNorm1d(channels) if vector else nn.BatchNorm2d(channels)
    generator = torch.Generator().manual_seed(channels)
    with torch.no_grad():
        norm.weight.copy_(torch.rand(channels, generator=generator) + 0.2)
        norm.bias.copy_(torch.rand(channels, generator=generator) - 0.5)
        if not positive:
            norm.weight[1::2] *= -1
        assert norm.running_mean is not None
        norm.running_mean.copy_(torch.rand(channels, generator=generator) * 2)
    return norm


def small(between: Sequence[nn.Module], *, act: float = 1.0, bits: int = 2) -> nn.Module:
    """A convolution, what stands between it and its activation, and a linear layer."""
    torch.manual_seed(3)
    return Chain(
        quantizer(2),
        weights("QuantConv2d", 2, 6, 3),
        *between,
        nn.Flatten(),
        weights("QuantLinear", 54, 5, bits=2),
        normed(5, positive=False, vector=True),
        nn.Hardtanh(),
        quantizer(bits, act),
        nn.Dropout(0.5),
        weights("QuantLinear", 5, 3),
    ).eval()


@pytest.mark.parametrize("name", ["TFC_1W1A", "TFC_2W2A", "CNV_1W2A"])
def test_the_published_classes(name: str) -> None:
    chosen = topology(name)
    module = original.build(chosen, calibrated(chosen, images=4))
    model = from_brevitas(module)
    assert model.engine == "brevitas"
    assert model.input_shape == chosen.input_shape
    assert difference(model, 3) == 0


@pytest.mark.parametrize("scale", [1.0, 0.5, 0.3])
@pytest.mark.parametrize("bits", [1, 2])
def test_a_chain_of_ones_own(scale: float, bits: int) -> None:
    between = [normed(6, positive=False), quantizer(1), nn.MaxPool2d(2)]
    model = from_brevitas(small(between, act=scale, bits=bits), input_shape=SHAPE, name="Mine")
    assert model.name == "mine"
    assert difference(model) == 0


@pytest.mark.parametrize("place", [0, 1])
def test_pooling_before_the_activation_is_moved_behind_it(place: int) -> None:
    between = [normed(6, positive=place == 0), quantizer(2)]
    between.insert(place, nn.MaxPool2d((3, 2), stride=(2, 2)))
    model = from_brevitas(small(between), input_shape=SHAPE)
    pool = next(node for node in model.graph.nodes if isinstance(node.op, MaxPool2d))
    assert model.graph.node_map()[pool.inputs[0]].op.mnemonic() == "multi_threshold"
    assert difference(model) == 0


@pytest.mark.parametrize("bits", [1, 2])
def test_a_weight_scale_per_channel_goes_into_the_thresholds(bits: int) -> None:
    """The older bnn_pynq: each output channel is scaled by the mean, or maximum, of its weights."""
    from brevitas.core.restrict_val import RestrictValueType
    from brevitas.core.scaling import ScalingImplType
    from brevitas.core.stats import StatsOp
    from brevitas_examples.bnn_pynq.models.common import CommonWeightQuant

    class PerChannel(CommonWeightQuant):
        scaling_impl_type = ScalingImplType.STATS
        scaling_stats_op = StatsOp.AVE if bits == 1 else StatsOp.MAX
        scaling_per_output_channel = True
        restrict_scaling_type = RestrictValueType.FP

    torch.manual_seed(8)
    module = Chain(
        quantizer(2),
        weights("QuantConv2d", 2, 6, 3, bits=bits, weight_quant=PerChannel),
        normed(6, positive=False),
        quantizer(1),
        nn.Flatten(),
        weights("QuantLinear", 252, 4),
    ).eval()
    values = module.get_submodule("features.1").quant_weight().value  # type: ignore[operator]
    assert len(np.unique(values.abs().detach().numpy())) >= 6
    assert difference(from_brevitas(module, input_shape=SHAPE)) == 0


POOL_FIRST = (
    "features.1: max pooling stands before the batch norm, whose weight is negative in 3 of 6 "
    "channels (1, 3, 5): there the greatest sum gives the least activation; pool after the "
    "activation, or train with positive weights"
)


def behind(*layers: nn.Module) -> nn.Module:
    """The layers behind an 8-pixel input of two bits."""
    torch.manual_seed(0)
    return Chain(nn.Flatten(), quantizer(2), *layers).eval()


NORM = "has no few-bit form; accepted: "
REFUSED: list[tuple[Callable[[], nn.Module], str]] = [
    (
        lambda: small([nn.MaxPool2d(2), normed(6, positive=False), quantizer(2)]),
        POOL_FIRST,
    ),
    (
        lambda: small([normed(6, positive=True), quantizer(1), nn.MaxPool2d(2)]).train(),
        "Chain: is in training mode; call .eval() on the model first",
    ),
    (
        lambda: behind(weights("QuantLinear", 144, 4, bits=4)),
        "Chain (features.2): its weights have 4 bits; accepted: 1, 2",
    ),
    (
        lambda: behind(weights("QuantLinear", 144, 4, bias=True)),
        "Chain (features.2): has a bias; accepted is bias=False, the batch norm has one",
    ),
    (
        lambda: behind(weights("QuantLinear", 144, 4), weights("QuantLinear", 4, 4)),
        "Chain (features.3): no activation stands between it and features.2",
    ),
    (
        lambda: behind(weights("QuantLinear", 144, 4), quantizer(1)),
        "Chain (features.3): no batch norm stands before this activation",
    ),
    (
        lambda: behind(
            weights("QuantLinear", 144, 4), normed(4, positive=True, vector=True), quantizer(4)
        ),
        "Chain (features.4): its activation has 4 bits; accepted: 1, 2, 8",
    ),
    (
        lambda: behind(weights("QuantLinear", 144, 4), nn.BatchNorm1d(4, affine=False)),
        "Chain (features.3): has no weight, bias or running statistics",
    ),
    (
        lambda: behind(weights("QuantLinear", 144, 4), nn.ReLU()),
        "Chain (features.3): ReLU has no few-bit form; accepted: QuantIdentity, QuantConv2d, "
        "QuantLinear, BatchNorm1d, BatchNorm2d, MaxPool2d, TensorNorm, Hardtanh, Dropout, Flatten",
    ),
    (
        lambda: Chain(weights("QuantConv2d", 2, 6, 3)).eval(),
        "Chain: does not begin with a QuantIdentity, which says how many bits the input has",
    ),
    (
        lambda: Chain(quantizer(2), weights("QuantConv2d", 2, 6, 3, padding=1)).eval(),
        "Chain (features.1): has groups, a dilation or a padding; accepted is a plain valid "
        "convolution",
    ),
    (
        lambda: Chain(quantizer(2, 0.5), weights("QuantConv2d", 2, 6, 3)).eval(),
        "Chain (features.0): the input has a scale of 0.5; accepted: 1",
    ),
    (
        lambda: Chain(nn.Hardtanh(), nn.MaxPool2d(2)).eval(),
        "Chain: does not begin with a QuantIdentity, which says how many bits the input has",
    ),
    (
        lambda: nn.Sequential(quantizer(2), weights("QuantConv2d", 2, 6, 3)).eval(),
        "Sequential (0): a black image is not mapped to -1: images become 2x - 1",
    ),
    (
        lambda: behind(weights("QuantLinear", 9, 4)),
        "Chain: does not run on an image of shape 2x9x8: mat1 and mat2 shapes cannot be "
        "multiplied (1x144 and 9x4)",
    ),
]


@pytest.mark.parametrize(("make", "message"), REFUSED, ids=range(len(REFUSED)))
def test_what_is_refused(make: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(ImportModelError, match=f"^{re.escape(message)}$"):
        from_brevitas(make(), input_shape=SHAPE)


def test_a_module_that_does_not_say_its_image() -> None:
    message = "Chain: give the shape of an image: input_shape=(C, H, W)"
    with pytest.raises(ImportModelError, match=f"^{re.escape(message)}$"):
        from_brevitas(behind(weights("QuantLinear", 144, 4)))


def test_without_brevitas_there_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(original, "installed", lambda: False)
    message = (
        "importing the module Chain needs Brevitas, which is not installed; install it with "
        "pip install 'pyahir[brevitas]', or give a state dict and --network"
    )
    with pytest.raises(ImportModelError, match=f"^{re.escape(message)}$"):
        from_brevitas(Chain(nn.Flatten()).eval())
