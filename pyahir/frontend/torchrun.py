"""The state of torch in which a model is loaded and run: engine, one thread, no gradients."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from pyahir.errors import ImportModelError
from pyahir.ir.types import Array, Quantization

__all__ = ["ENGINES", "as_array", "engine", "quiet"]

ENGINES = ("fbgemm", "qnnpack")
DEPRECATED = (
    "torch.ao.quantization is deprecated",
    r".torch\.jit\.\w+. is deprecated",
    "torch.quantize_per_tensor, torch.quantize_per_channel and other",
    "Please use quant_min and quant_max",
    r"TypedStorage is deprecated",
    "Converting a tensor to a Python",
    r"The given buffer is not writable",
    r".isinstance\(treespec, LeafSpec\). is deprecated",
)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the warnings by which torch 2.13 says that what we must use will go one day."""
    with warnings.catch_warnings():
        for message in DEPRECATED:
            warnings.filterwarnings("ignore", message=message)
        yield


@contextmanager
def engine(name: str | None = None) -> Iterator[None]:
    """Run the block with the quantized engine ``name``, one thread, no gradients; then restore."""
    if name is not None and name not in torch.backends.quantized.supported_engines:
        raise ImportModelError(
            f"this build of torch has no quantized engine {name!r}; it has: "
            + ", ".join(torch.backends.quantized.supported_engines)
        )
    threads, before = torch.get_num_threads(), torch.backends.quantized.engine
    torch.set_num_threads(1)
    if name is not None:
        torch.backends.quantized.engine = name
    try:
        with quiet(), torch.no_grad():
            yield
    finally:
        torch.set_num_threads(threads)
        torch.backends.quantized.engine = before


def as_array(tensor: torch.Tensor, quantization: Quantization | None) -> Array:
    """Give a value as the graph has it: uint8 codes, or float32 without a ``quantization``."""
    if tensor.is_quantized:
        return tensor.int_repr().numpy()
    if tensor.dtype is torch.int8:
        return (tensor.to(torch.int16) + 128).to(torch.uint8).numpy()
    if quantization is None or tensor.dtype is torch.uint8:
        return tensor.numpy()
    # a dequantized tensor: its values are (q - zero_point) * scale
    steps = np.rint(tensor.double().numpy() / quantization.scale) + quantization.zero_point
    return steps.astype(np.uint8)
