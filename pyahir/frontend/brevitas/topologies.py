"""The networks of Brevitas' bnn_pynq by name: TFC, SFC, LFC and CNV with one and two bits.

In: a name such as ``TFC_1W1A``. Out: a ``Topology``: which layers there are, in which order, under
which keys of a state dict, and of what shape. No tensors here.

The fully connected networks take 28x28 digits, CNV 32x32 colour images; every image is in [0, 1]
and mapped to [-1, 1]. CNV's convolutions are 3x3 without padding; its pooling is 2x2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pyahir.errors import ImportModelError

__all__ = ["NAMES", "Section", "Topology", "topology"]

HIDDEN = {"TFC": 64, "SFC": 256, "LFC": 1024}
CHANNELS = ((64, False), (64, True), (128, False), (128, True), (256, False), (256, False))
FEATURES = ((256, 512), (512, 512))
PRECISIONS = ("1W1A", "1W2A", "2W2A")
NAMES = tuple(f"{family}_{precision}" for family in (*HIDDEN, "CNV") for precision in PRECISIONS)
CLASSES = 10
DIGIT = (1, 28, 28)
COLOUR = (3, 32, 32)
INPUT_BITS = 8  # of CNV: Q1.7
FC_EPS, CNV_EPS, SCORE_EPS = 1e-5, 1e-4, 1e-4
PARAMETERS = ("weight", "bias", "running_mean", "running_var")


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One layer and what follows it; each path begins keys of the state dict.

    The last one has no ``activation``: its ``norm`` is a TensorNorm, one number for all classes.
    """

    path: str
    shape: tuple[int, ...]
    norm: str
    eps: float
    activation: str | None = None
    pool: str | None = None

    def keys(self) -> dict[str, tuple[int, ...]]:
        """Map the keys of the state dict to the shapes of their tensors."""
        size = (1,) if self.activation is None else self.shape[:1]
        return {f"{self.path}.weight": self.shape} | {
            f"{self.norm}.{name}": size for name in PARAMETERS
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """A network without its numbers; ``input_path`` is its first quantizer."""

    name: str
    weight_bits: int
    act_bits: int
    input_bits: int
    input_shape: tuple[int, ...]
    input_path: str
    sections: tuple[Section, ...]

    @property
    def family(self) -> str:
        return self.name.split("_")[0]

    def keys(self) -> dict[str, tuple[int, ...]]:
        return {key: shape for section in self.sections for key, shape in section.keys().items()}

    @property
    def parameters(self) -> int:
        """The number of trained parameters; running statistics are none."""
        trained = {key: shape for key, shape in self.keys().items() if ".running_" not in key}
        return sum(math.prod(shape) for shape in trained.values())


def topology(name: str) -> Topology:
    """Give a network by its name, in any case."""
    known = name.upper()
    if known not in NAMES:
        raise ImportModelError(
            f"--network {name}: no network of this name; accepted: {', '.join(NAMES)}"
        )
    family, precision = known.split("_")
    weight_bits, act_bits = int(precision[0]), int(precision[2])
    digits = family in HIDDEN
    return Topology(
        name=known,
        weight_bits=weight_bits,
        act_bits=act_bits,
        input_bits=act_bits if digits else INPUT_BITS,
        input_shape=DIGIT if digits else COLOUR,
        input_path="features.0" if digits else "conv_features.0",
        sections=_fully_connected(HIDDEN[family]) if digits else _convolutional(),
    )


def _fully_connected(hidden: int) -> tuple[Section, ...]:
    """Quantizer and dropout, then (linear, batch norm, quantizer, dropout) three times."""
    sections: list[Section] = []
    inputs = math.prod(DIGIT)
    for at in (2, 6, 10):
        sections.append(
            Section(
                path=f"features.{at}",
                shape=(hidden, inputs),
                norm=f"features.{at + 1}",
                eps=FC_EPS,
                activation=f"features.{at + 2}",
            )
        )
        inputs = hidden
    last = Section(path="features.14", shape=(CLASSES, inputs), norm="features.15", eps=SCORE_EPS)
    return (*sections, last)


def _convolutional() -> tuple[Section, ...]:
    """A quantizer, then (convolution, batch norm, quantizer, perhaps a pooling), then linear."""
    sections: list[Section] = []
    at, inputs = 1, COLOUR[0]
    for outputs, pooled in CHANNELS:
        sections.append(
            Section(
                path=f"conv_features.{at}",
                shape=(outputs, inputs, 3, 3),
                norm=f"conv_features.{at + 1}",
                eps=CNV_EPS,
                activation=f"conv_features.{at + 2}",
                pool=f"conv_features.{at + 3}" if pooled else None,
            )
        )
        at, inputs = at + 3 + pooled, outputs
    for at, (inputs, outputs) in zip((0, 3), FEATURES, strict=True):
        sections.append(
            Section(
                path=f"linear_features.{at}",
                shape=(outputs, inputs),
                norm=f"linear_features.{at + 1}",
                eps=CNV_EPS,
                activation=f"linear_features.{at + 2}",
            )
        )
    last = Section(
        path="linear_features.6",
        shape=(CLASSES, FEATURES[-1][1]),
        norm="linear_features.7",
        eps=SCORE_EPS,
    )
    return (*sections, last)
