"""Brevitas modules in memory: any chain of its quantized layers as a ``FewBitNetwork``.

In: a module of QuantIdentity, QuantConv2d, QuantLinear, BatchNorm, MaxPool2d, TensorNorm and what
changes nothing in inference. Out: a ``FewBitImport``. The order is that in which a forward calls
them. Quantizers are not believed but probed: what they give on a grid of numbers must be what one
or two bits of one scale give, else the module is refused. Needs Brevitas.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pyahir.errors import ImportModelError
from pyahir.frontend.brevitas import original
from pyahir.frontend.brevitas.load import FewBitImport, assemble
from pyahir.frontend.brevitas.network import batch_norm
from pyahir.frontend.brevitas.reference import quantized
from pyahir.frontend.torchrun import engine
from pyahir.ir.graph import legal_name
from pyahir.quant.few_bit import Activation, FewBitLayer, FewBitNetwork, Pool, few_bit_graph

__all__ = ["from_brevitas"]

SAME = (nn.Dropout, nn.Dropout2d, nn.Identity, nn.Flatten)
ACCEPTED = (
    "QuantIdentity, QuantConv2d, QuantLinear, BatchNorm1d, BatchNorm2d, MaxPool2d, TensorNorm, "
    "Hardtanh, Dropout, Flatten"
)
SCORES = ("weight", "bias", "running_mean", "running_var", "eps")  # what makes a TensorNorm


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    path: str
    module: nn.Module
    x: Tensor


def from_brevitas(
    module: nn.Module,
    *,
    input_shape: tuple[int, ...] | None = None,
    name: str | None = None,
    threshold_ties: str = "source",
) -> FewBitImport:
    """Import a Brevitas module in evaluation mode that takes images in [0, 1].

    ``input_shape`` is (C, H, W); default: 32x32 for a convolution, 28x28 for 784 inputs.
    """
    label = type(module).__name__
    original.require(f"importing the module {label}")
    if module.training:
        raise ImportModelError(f"{label}: is in training mode; call .eval() on the model first")
    shape = input_shape or _input_shape(module, label)
    with engine():
        calls = list(_calls(module, shape, label))
        network, activations = _Chain(label, name or label, shape, calls).network()
    compiled = few_bit_graph(network, threshold_ties)
    paths = [call.path for call in calls]
    forward = original.Original(module, paths)
    return assemble(network, compiled, activations, forward, "brevitas")


def _input_shape(module: nn.Module, label: str) -> tuple[int, ...]:
    for item in module.modules():
        if isinstance(item, nn.Conv2d):
            return (item.in_channels, 32, 32)
        if isinstance(item, nn.Linear) and item.in_features == 28 * 28:
            return (1, 28, 28)
        if isinstance(item, nn.Linear):
            break
    raise ImportModelError(f"{label}: give the shape of an image: input_shape=(C, H, W)")


def _leaves(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Give the modules that are layers: of Brevitas whole, else those without children."""
    from brevitas.nn.mixin.base import QuantLayerMixin

    owned: list[str] = []
    modules: list[tuple[str, nn.Module]] = list(module.named_modules())
    for path, item in modules:
        if any(path.startswith(f"{owner}.") for owner in owned):
            continue
        whole = issubclass(type(item), QuantLayerMixin)
        if whole:
            owned.append(path)
        if whole or not any(item.children()):
            yield path, item


def _calls(module: nn.Module, shape: tuple[int, ...], label: str) -> Iterator[_Call]:
    """Run a black image; give the layers as they are called, with what each is given."""
    found: list[_Call] = []

    def hook(path: str) -> Any:
        def record(item: nn.Module, inputs: tuple[Any, ...]) -> None:
            x = getattr(inputs[0], "value", inputs[0])
            found.append(_Call(path=path, module=item, x=x.detach()))

        return record

    handles = [item.register_forward_pre_hook(hook(path)) for path, item in _leaves(module)]
    try:
        module(torch.zeros(1, *shape))
    except RuntimeError as error:
        raise ImportModelError(
            f"{label}: does not run on an image of shape {'x'.join(map(str, shape))}: "
            f"{str(error).splitlines()[0]}"
        ) from None
    finally:
        for handle in handles:
            handle.remove()
    paths = [call.path for call in found]
    if len(set(paths)) < len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        raise ImportModelError(f"{label} ({twice}): is called twice; accepted is a plain chain")
    yield from found


class _Chain:
    """Reads the calls one by one; a layer is open until the next weight begins."""

    def __init__(self, label: str, name: str, shape: tuple[int, ...], calls: list[_Call]) -> None:
        self.label, self.name, self.shape, self.calls = label, name, shape, calls
        self.layers: list[FewBitLayer] = []
        self.activations: dict[str, str] = {}

    def refuse(self, call: _Call, message: str) -> ImportModelError:
        return ImportModelError(f"{self.label} ({call.path}): {message}")

    def network(self) -> tuple[FewBitNetwork, dict[str, str]]:
        """Give the network, and where the activation of each layer is."""
        from brevitas.nn import QuantConv2d, QuantIdentity, QuantLinear

        calls = [call for call in self.calls if not isinstance(call.module, SAME)]
        if not calls or not isinstance(calls[0].module, QuantIdentity):
            raise ImportModelError(
                f"{self.label}: does not begin with a QuantIdentity, which says how many bits the "
                "input has"
            )
        for call in calls[1:]:
            match call.module:
                case QuantConv2d() | QuantLinear():
                    self.layers.append(self.weight(call))
                case nn.BatchNorm1d() | nn.BatchNorm2d():
                    self.norm(call, call.module.eps)
                case nn.MaxPool2d():
                    self.pool(call)
                case QuantIdentity():
                    self.activation(call)
                case nn.Hardtanh() if call.module.min_val <= -1 and call.module.max_val >= 1:
                    continue  # beyond the outer steps of every activation here
                case item if all(hasattr(item, part) for part in SCORES):
                    self.norm(call, float(getattr(item, "eps")))  # noqa: B009  # no nn.Module has it
                case item:
                    raise self.refuse(
                        call, f"{type(item).__name__} has no few-bit form; accepted: {ACCEPTED}"
                    )
        network = FewBitNetwork(
            name=legal_name(self.name),
            input_shape=self.shape,
            input_path=calls[0].path,
            input_width=self.input_width(calls[0]),
            layers=tuple(self.layers),
        )
        return network, self.activations

    def change(self, call: _Call, **parts: Any) -> None:
        if not self.layers:
            raise self.refuse(call, "stands before the first layer with weights")
        self.layers[-1] = replace(self.layers[-1], **parts)

    def weight(self, call: _Call) -> FewBitLayer:
        layer: Any = call.module
        if self.layers and self.layers[-1].activation is None:
            raise self.refuse(call, f"no activation stands between it and {self.layers[-1].path}")
        if layer.bias is not None:
            raise self.refuse(call, "has a bias; accepted is bias=False, the batch norm has one")
        weight = layer.quant_weight()
        width, real = int(weight.bit_width), weight.value.detach().double()
        if width not in (1, 2):
            raise self.refuse(call, f"its weights have {width} bits; accepted: 1, 2")
        scale = real.abs().reshape(len(real), -1).amax(dim=1)
        scale = torch.where(scale > 0, scale, torch.ones_like(scale))
        levels = torch.round(real / scale.reshape(-1, *(1,) * (real.ndim - 1)))
        geometry: dict[str, Any] = {}
        if real.ndim == 4:
            geometry = self.geometry(call)
        scales = scale.numpy()
        return FewBitLayer(
            path=call.path,
            weight=levels.numpy().astype(np.int8),
            weight_width=width,
            scale=float(scales[0]) if np.unique(scales).size == 1 else scales,
            **geometry,
        )

    def geometry(self, call: _Call) -> dict[str, Any]:
        layer: Any = call.module
        if layer.groups != 1 or tuple(layer.dilation) != (1, 1) or any(layer.padding):
            raise self.refuse(
                call, "has groups, a dilation or a padding; accepted is a plain valid convolution"
            )
        return {"stride": tuple(layer.stride)}

    def norm(self, call: _Call, eps: float) -> None:
        item: Any = call.module
        parts = (item.weight, item.bias, item.running_mean, item.running_var)
        if any(part is None for part in parts):
            raise self.refuse(call, "has no weight, bias or running statistics")
        if self.layers and self.layers[-1].norm is not None:
            raise self.refuse(call, f"a second norm behind {self.layers[-1].path}")
        self.change(call, norm=batch_norm(*parts, eps=eps))

    def pool(self, call: _Call) -> None:
        item: Any = call.module
        kernel, stride = _pair(item.kernel_size), _pair(item.stride)
        if _pair(item.padding) != (0, 0) or _pair(item.dilation) != (1, 1) or item.ceil_mode:
            raise self.refuse(call, "has padding, dilation or ceil_mode; accepted is a plain one")
        layer = self.layers[-1] if self.layers else None
        if layer is not None and layer.pool is not None:
            raise self.refuse(call, f"a second pooling behind {layer.path}")
        first = layer is not None and layer.activation is None
        if first and layer is not None and layer.norm is not None:
            # Between batch norm and activation it commutes with the activation, which is monotone.
            first = False
            pool = Pool(path=call.path, kernel_size=kernel, stride=stride, moved=True)
        else:
            pool = Pool(path=call.path, kernel_size=kernel, stride=stride, first=first)
        self.change(call, pool=pool)

    def activation(self, call: _Call) -> None:
        width, scale = self.probed(call)
        if width not in (1, 2):
            raise self.refuse(call, f"its activation has {width} bits; accepted: 1, 2")
        if not self.layers or self.layers[-1].norm is None:
            raise self.refuse(call, "no batch norm stands before this activation")
        self.change(call, activation=Activation(width=width, scale=scale))
        self.activations[self.layers[-1].path] = call.path

    def input_width(self, call: _Call) -> int:
        width, scale = self.probed(call)
        if scale != (2.0**-7 if width == 8 else 1.0):
            raise self.refuse(call, f"the input has a scale of {scale:.6g}; accepted: 1")
        if not bool((call.x == -1).all()):
            raise self.refuse(call, "a black image is not mapped to -1: images become 2x - 1")
        return width

    def probed(self, call: _Call) -> tuple[int, float]:
        """Give bits and scale of a quantizer, and check that it is one of ours."""
        item: Any = call.module
        width = int(item.act_quant.bit_width()) if item.act_quant.bit_width() is not None else 0
        if width not in (1, 2, 8):
            raise self.refuse(call, f"its activation has {width or 32} bits; accepted: 1, 2, 8")
        grid = torch.linspace(-3, 3, 6145)
        with torch.no_grad():
            given = item(grid)
            most = item(torch.tensor([1e9]))
        given, most = (getattr(part, "value", part) for part in (given, most))
        scale = float(most.abs().max()) if width <= 2 else 2.0**-7
        unit = 1.0 if width == 8 else scale
        if not torch.equal(given, quantized(grid / unit, width) * unit):
            raise self.refuse(
                call,
                f"its {width} bit quantizer is not the signed, narrow one of bnn_pynq (8 bits: "
                "Q1.7)",
            )
        return width, scale


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])
