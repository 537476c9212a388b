"""The ``config.h`` of a network, which its hardware and its host program are compiled with.

In: text, or a ``Topology``. Out: the other one. The macros are those of BNN-PYNQ; the comments
beside them tell operations and cycles of a frame, and are not read.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

from pyahir.errors import ImportModelError
from pyahir.formats.bnn_pynq.topology import COLOUR, DIGIT, Layer, Topology

__all__ = ["config_text", "macros", "parse_config", "read_config"]

GUARD = "__LAYER_CONFIG_H_"
MACRO = re.compile(r"^[ \t]*#[ \t]*define[ \t]+L(\d+)_([A-Z_]+)[ \t]+(\d+)\b", re.MULTILINE)
CONVOLUTION = ("K", "IFM_CH", "IFM_DIM", "OFM_CH", "OFM_DIM")
PRECISION = ("WPI", "API", "WPF", "APF")
FOLDING = ("SIMD", "PE", "WMEM", "TMEM")


def macros(layer: Layer) -> dict[str, int]:
    """Give the numbers of a layer under the names of their macros, in the order of the file."""
    folding = {
        "SIMD": layer.simd,
        "PE": layer.pe,
        "WMEM": layer.weight_memory,
        "TMEM": layer.neuron_folds,
    }
    precision = {
        "WPI": layer.weight_bits,
        "API": layer.activation_bits,
        "WPF": layer.weight_fraction,
        "APF": layer.activation_fraction,
    }
    if not layer.kernel_size:
        return {**folding, "MW": layer.synapses, "MH": layer.outputs, **precision}
    sizes = (layer.kernel_size, layer.inputs, layer.in_dim, layer.outputs, layer.out_dim)
    return {**dict(zip(CONVOLUTION, sizes, strict=True)), **folding, **precision}


def config_text(topology: Topology) -> str:
    """Write a topology as a C header."""
    lines = [f"// {topology.name}", f"#ifndef {GUARD}", f"#define {GUARD}"]
    for index, layer in enumerate(topology.layers):
        kind = "convolution" if layer.kernel_size else "fully connected"
        lines += [
            "",
            f"// L{index}, {kind}: {layer.operations} operations, {layer.latency} cycles a frame",
        ]
        lines += [f"#define L{index}_{name} {value}" for name, value in macros(layer).items()]
    return "\n".join([*lines, "", f"#endif // {GUARD}", ""])


def read_config(path: Path, image: tuple[int, int, int] | None = None) -> Topology:
    """Read a ``config.h``."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ImportModelError(f"{path}: no such file; give a config.h of BNN-PYNQ") from None
    except (OSError, UnicodeDecodeError):
        raise ImportModelError(f"{path}: cannot read; give a config.h of BNN-PYNQ") from None
    return parse_config(text, str(path), image)


def parse_config(text: str, name: str, image: tuple[int, int, int] | None = None) -> Topology:
    """Read the macros of a ``config.h``; ``image`` is needed where its size is no known one."""
    layers: dict[int, dict[str, int]] = {}
    for number, macro, value in MACRO.findall(text):
        found = layers.setdefault(int(number), {})
        if macro in found:
            raise ImportModelError(f"{name}: L{number}_{macro} is defined twice")
        found[macro] = int(value)
    if sorted(layers) != list(range(len(layers))) or not layers:
        raise ImportModelError(
            f"{name}: macros of layers {sorted(layers)}; accepted are L0, L1, ... without a gap"
        )
    parsed = tuple(_layer(layers[index], f"{name}: L{index}") for index in range(len(layers)))
    topology = Topology(name=name, image=image or _image(parsed[0], name), layers=parsed)
    for index, layer in enumerate(parsed):
        for macro, expected in macros(layer).items():
            if layers[index][macro] != expected:
                raise ImportModelError(
                    f"{name}: L{index}_{macro} is {layers[index][macro]}; "
                    f"{expected} follows from the other macros"
                )
    return topology


def _layer(found: dict[str, int], where: str) -> Layer:
    sizes = CONVOLUTION if "K" in found else ("MW", "MH")
    missing = [macro for macro in (*sizes, *FOLDING, *PRECISION) if macro not in found]
    if missing:
        raise ImportModelError(f"{where}: the macros {', '.join(missing)} are not there")
    if "K" in found:
        kernel_size, inputs, in_dim, outputs, out_dim = (found[macro] for macro in CONVOLUTION)
    else:
        kernel_size, inputs, in_dim, outputs, out_dim = 0, found["MW"], 1, found["MH"], 1
    return Layer(
        inputs=inputs,
        outputs=outputs,
        kernel_size=kernel_size,
        in_dim=in_dim,
        out_dim=out_dim,
        simd=found["SIMD"],
        pe=found["PE"],
        weight_bits=found["WPI"],
        activation_bits=found["API"],
        weight_fraction=found["WPF"],
        activation_fraction=found["APF"],
    )


def _image(first: Layer, name: str) -> tuple[int, int, int]:
    if first.kernel_size:
        return first.inputs, first.in_dim, first.in_dim
    for image in (DIGIT, COLOUR):
        if 0 <= first.inputs - math.prod(image) < 64:
            return image
    raise ImportModelError(f"{name}: L0_MW is {first.inputs}: the size of an image is not known")
