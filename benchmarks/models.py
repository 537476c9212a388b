"""LeNet-5 of examples/lenet with random weights, quantized by PyTorch: what the benchmarks run."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

EXAMPLE = Path(__file__).parents[1] / "examples" / "lenet"


def quantized_lenet(engine: str, images: np.ndarray, folder: Path) -> Path:
    """Write a traced LeNet-5 quantized with ``engine``; give its file."""
    warnings.simplefilter("ignore")
    example = _example()
    torch.manual_seed(0)
    model = example.quantized(example.LeNet5(), torch.from_numpy(images), engine=engine)
    path = folder / f"lenet_{engine}.pt"
    scripted = example.to_torchscript(model, torch.from_numpy(images[:1]), trace=True)
    torch.jit.save(scripted, str(path))
    return path


def _example() -> Any:
    sys.path.insert(0, str(EXAMPLE))
    try:
        import quantize  # pyright: ignore[reportMissingImports]

        return quantize
    finally:
        sys.path.remove(str(EXAMPLE))
