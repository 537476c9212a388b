"""What the hardware of a BNN-PYNQ network is: its layers, their folding and their precision.

In: sizes. Out: ``Topology`` and the numbers that follow from it. Not here: weights and files.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from pyahir.errors import ImportModelError

__all__ = ["NETWORKS", "RAW", "Accumulator", "Layer", "Topology", "network"]

RAW = 16  # activation bits of a last layer that gives its accumulators
WORD = 64
PIXEL_BITS = 8
DIGIT = (1, 28, 28)
COLOUR = (3, 32, 32)


class Accumulator(Enum):
    """What a layer of the hardware adds up, and thereby what its thresholds mean."""

    POPCOUNT = "the number of synapses whose weight bit equals the input bit"
    SIGNED = "the sum of weight times input"
    FIXED = "the sum of weight times pixel; thresholds count in units of 1/256, the sum 1/128"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A convolution of ``kernel_size`` squared, or with ``kernel_size`` 0 a full connection.

    ``inputs`` and ``outputs`` are channels or features as the hardware has them: padding counts.
    ``in_dim`` and ``out_dim`` are the rows of the feature maps. ``activation_bits`` is ``RAW`` for
    a layer without thresholds. Fractions are the bits behind the point, beside those before it.
    """

    inputs: int
    outputs: int
    simd: int
    pe: int
    weight_bits: int
    activation_bits: int
    weight_fraction: int = 0
    activation_fraction: int = 0
    kernel_size: int = 0
    in_dim: int = 1
    out_dim: int = 1

    @property
    def synapses(self) -> int:
        """The weights of one neuron; MW."""
        return self.inputs * max(self.kernel_size, 1) ** 2

    @property
    def synapse_folds(self) -> int:
        return self.synapses // self.simd

    @property
    def neuron_folds(self) -> int:
        """The threshold memory's depth; TMEM."""
        return self.outputs // self.pe

    @property
    def weight_memory(self) -> int:
        """The words of a weight memory; WMEM."""
        return self.synapse_folds * self.neuron_folds

    @property
    def weight_width(self) -> int:
        return self.weight_bits + self.weight_fraction

    @property
    def activation_width(self) -> int:
        return self.activation_bits + self.activation_fraction

    @property
    def thresholds(self) -> int:
        """The thresholds of one neuron."""
        return 0 if self.activation_bits == RAW else 1 << (self.activation_width - 1)

    @property
    def base(self) -> int:
        """The activation below all thresholds; the bit 0 of one bit stands for -1."""
        return -1 if self.activation_width == 1 else -(1 << (self.activation_width - 2))

    @property
    def operations(self) -> int:
        """Multiplications and additions of one frame."""
        return 2 * self.synapses * self.outputs * self.out_dim**2

    @property
    def latency(self) -> int:
        """The cycles of one frame."""
        return self.weight_memory * self.out_dim**2

    def fault(self) -> str | None:
        """Say what can never be right, or None."""
        for value, name in (
            (self.inputs, "inputs"),
            (self.outputs, "outputs"),
            (self.simd, "SIMD"),
            (self.pe, "PE"),
            (self.weight_bits, "WPI"),
            (self.activation_bits, "API"),
            (self.in_dim, "IFM_DIM"),
            (self.out_dim, "OFM_DIM"),
        ):
            if value < 1:
                return f"{name} is {value}; it is at least 1"
        if self.synapses % self.simd or (self.kernel_size and self.inputs % self.simd):
            return f"SIMD {self.simd} does not divide {self.inputs} inputs"
        if self.outputs % self.pe:
            return f"PE {self.pe} does not divide {self.outputs} outputs"
        if self.simd * self.weight_width > WORD:
            return f"{self.simd} weights of {self.weight_width} bits do not fit a word of {WORD}"
        if self.kernel_size and self.out_dim != self.in_dim - self.kernel_size + 1:
            return f"OFM_DIM {self.out_dim} does not follow from {self.in_dim} without padding"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """A network: the image that it takes, (C, H, W), and its layers."""

    name: str
    image: tuple[int, int, int]
    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        if not self.layers:
            raise ImportModelError(f"{self.name}: no layers")
        for index, layer in enumerate(self.layers):
            fault = layer.fault() or self._misfit(index)
            if fault:
                raise ImportModelError(f"{self.name}: layer {index}: {fault}")

    def _misfit(self, index: int) -> str | None:
        layer, found = self.layers[index], self.real_inputs(index)
        if not index and not layer.kernel_size:
            fits = found <= layer.inputs
        else:
            fits = found == layer.inputs
        if not fits:
            return f"{layer.inputs} inputs; {found} come"
        if layer.kernel_size and index and self.pooling(index - 1) is None:
            return f"feature maps of {layer.in_dim} rows do not follow from what comes before"
        if layer.activation_bits == RAW and index + 1 < len(self.layers):
            return f"API {RAW}, no thresholds, is for the last layer only"
        return None

    def real_inputs(self, index: int) -> int:
        """Count the channels or features that come into a layer, without the padding."""
        layer = self.layers[index]
        if not index:
            channels, height, width = self.image
            return channels if layer.kernel_size else channels * height * width
        before = self.layers[index - 1]
        if layer.kernel_size or not before.kernel_size:
            return before.outputs
        return before.outputs * before.out_dim**2

    def pooling(self, index: int) -> int | None:
        """Give the pooling window after a layer: 1 for none, None where the sizes do not fit."""
        layer = self.layers[index]
        following = self.layers[index + 1] if index + 1 < len(self.layers) else None
        if following is None or not following.kernel_size:
            return 1
        window = layer.out_dim // following.in_dim
        return window if window in (1, 2) and window * following.in_dim == layer.out_dim else None

    def input_bits(self, index: int) -> int:
        """Give the width of a layer's inputs: bits of pixels, or of the activations before."""
        if index:
            return self.layers[index - 1].activation_width
        return PIXEL_BITS if self.layers[0].kernel_size else 1

    def accumulator(self, index: int) -> Accumulator:
        layer, bits = self.layers[index], self.input_bits(index)
        if bits == PIXEL_BITS and not index:
            return Accumulator.FIXED
        if layer.weight_width == bits == 1 and layer.activation_bits in (1, RAW):
            return Accumulator.POPCOUNT
        return Accumulator.SIGNED


Folding = tuple[tuple[int, int], ...]  # SIMD and PE of every layer

LFC: Folding = ((64, 32), (32, 64), (64, 32), (8, 16))
CNV_W1: Folding = (
    *((3, 16), (32, 32), (32, 16), (32, 16), (32, 4), (32, 1)),
    *((4, 1), (8, 1), (1, 4)),
)
CNV_W2: Folding = (
    *((3, 8), (16, 16), (16, 8), (16, 8), (8, 4), (8, 1)),
    *((2, 1), (2, 2), (1, 4)),
)
CNV_CONVOLUTIONS = ((3, 64, 32), (64, 64, 30), (64, 128, 14), (128, 128, 12), (128, 256, 5))
CNV_LAST_CONVOLUTION = (256, 256, 3)
CNV_LINEAR = ((256, 512), (512, 512), (512, 64))
LFC_LINEAR = ((832, 1024), (1024, 1024), (1024, 1024), (1024, 64))


def _lfc(name: str, activation_bits: int) -> Topology:
    bits = (activation_bits,) * 3 + (1,)
    layers = tuple(
        Layer(
            inputs=inputs, outputs=outputs, simd=simd, pe=pe, weight_bits=1, activation_bits=width
        )
        for (inputs, outputs), (simd, pe), width in zip(LFC_LINEAR, LFC, bits, strict=True)
    )
    return Topology(name=name, image=DIGIT, layers=layers)


def _cnv(name: str, weight_bits: int, activation_bits: int, folding: Folding) -> Topology:
    sizes = [
        (inputs, outputs, 3, dim, dim - 2)
        for inputs, outputs, dim in (*CNV_CONVOLUTIONS, CNV_LAST_CONVOLUTION)
    ]
    sizes += [(inputs, outputs, 0, 1, 1) for inputs, outputs in CNV_LINEAR]
    widths = (activation_bits,) * (len(sizes) - 1) + (RAW,)
    layers = tuple(
        Layer(
            inputs=inputs,
            outputs=outputs,
            simd=simd,
            pe=pe,
            weight_bits=weight_bits,
            activation_bits=width,
            kernel_size=kernel,
            in_dim=in_dim,
            out_dim=out_dim,
        )
        for (inputs, outputs, kernel, in_dim, out_dim), (simd, pe), width in zip(
            sizes, folding, widths, strict=True
        )
    )
    return Topology(name=name, image=COLOUR, layers=layers)


NETWORKS = {
    topology.name: topology
    for topology in (
        _lfc("lfcW1A1", 1),
        _lfc("lfcW1A2", 2),
        _cnv("cnvW1A1", 1, 1, CNV_W1),
        _cnv("cnvW1A2", 1, 2, CNV_W1),
        _cnv("cnvW2A2", 2, 2, CNV_W2),
    )
}


def network(name: str) -> Topology:
    """Give a published network by its name."""
    found = {known.lower(): topology for known, topology in NETWORKS.items()}.get(name.lower())
    if found is None:
        raise ImportModelError(
            f"{name}: not a network of BNN-PYNQ; accepted: {', '.join(NETWORKS)}"
        )
    return found
