"""The binary and few-bit networks by name: TFC, SFC, LFC for digits, CNV for CIFAR-10.

With Brevitas installed they are its own modules (brevitas_examples.bnn_pynq); without, the modules
of `plain.py`, which compute the same and have the same state dict.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Literal, Protocol, cast

from torch import Tensor, nn

import plain

Modules = Literal["auto", "brevitas", "plain"]

HIDDEN = {"TFC": 64, "SFC": 256, "LFC": 1024}
PUBLISHED = {
    "TFC_1W1A": 93.17,
    "TFC_1W2A": 94.79,
    "TFC_2W2A": 96.60,
    "SFC_1W1A": 97.81,
    "SFC_1W2A": 98.31,
    "SFC_2W2A": 98.66,
    "LFC_1W1A": 98.88,
    "LFC_1W2A": 98.99,
    "CNV_1W1A": 84.22,
    "CNV_1W2A": 87.80,
    "CNV_2W2A": 89.03,
}
NAMES = tuple(PUBLISHED)


class Network(Protocol):
    """What training needs of a model besides `nn.Module`."""

    def clip_weights(self, min_val: float, max_val: float) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Bits of a network, and the data set that it is for."""

    name: str
    weight_bits: int
    act_bits: int

    @property
    def family(self) -> str:
        return self.name.split("_")[0]

    @property
    def dataset(self) -> str:
        return "cifar10" if self.family == "CNV" else "mnist"

    @property
    def published(self) -> float:
        """The published accuracy in percent, on the data set that the network is for."""
        return PUBLISHED[self.name]


def config(name: str) -> Config:
    """Read a name such as TFC_1W2A."""
    name = name.upper()
    if name not in PUBLISHED:
        raise ValueError(f"network {name!r} is not known; accepted: {', '.join(NAMES)}")
    bits = name.split("_")[1]
    return Config(name=name, weight_bits=int(bits[0]), act_bits=int(bits[2]))


def has_brevitas() -> bool:
    return importlib.util.find_spec("brevitas_examples") is not None


def build(name: str, modules: Modules = "auto") -> nn.Module:
    """Return the untrained network; its weights follow torch's seed."""
    chosen = config(name)
    if modules == "auto":
        modules = "brevitas" if has_brevitas() else "plain"
    if modules == "brevitas":
        if not has_brevitas():
            raise ModuleNotFoundError(
                "Brevitas is not installed; install brevitas==0.13.4, or say --modules plain"
            )
        from brevitas_examples.bnn_pynq.models import model_with_cfg

        return model_with_cfg(chosen.name, pretrained=False)[0]
    if chosen.family == "CNV":
        return plain.CNV(chosen.weight_bits, chosen.act_bits)
    return plain.FC([HIDDEN[chosen.family]] * 3, chosen.weight_bits, chosen.act_bits)


def clip_weights(model: nn.Module) -> None:
    """Bring every weight that is quantized back into [-1, 1]."""
    cast("Network", model).clip_weights(-1, 1)


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """Return +1 at the label and -1 elsewhere."""
    return nn.functional.one_hot(labels, classes).float() * 2 - 1


def squared_hinge(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the mean of max(0, 1 - t y)^2 over scores y and targets t of -1 and +1."""
    return (1 - scores * one_hot(labels, scores.shape[1])).clamp(min=0).square().mean()
