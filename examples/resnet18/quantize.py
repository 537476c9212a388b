"""Quantize the trained ResNet-18 with PyTorch's own static PTQ; write it as a TorchScript file.

Beside the model go the images that pyahir's commands read: `images.npz` (x and y of test images)
and `calibration.npz`.
"""

import time
import warnings
from pathlib import Path

import click
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.ao.quantization import convert, get_default_qconfig, prepare

from data import NAMES, Name, load
from model import WIDTH, ResNet18, accuracy
from pyahir.errors import DataError

CALIBRATION = 512
KNOWN_WARNINGS = (
    r"torch\.ao\.quantization is deprecated",
    r"`torch\.jit\.\w+` is deprecated",
    r"Please use quant_min and quant_max to specify the range for observers",
    r"torch\.quantize_per_tensor, torch\.quantize_per_channel and other quantized tensor creation",
)


def quantized(model: ResNet18, x: Tensor, *, engine: str) -> torch.nn.Module:
    """Return the model with uint8 activations and int8 weights, its ranges observed on `x`."""
    torch.backends.quantized.engine = engine
    prepared = model.fuse()
    prepared.qconfig = get_default_qconfig(engine)  # pyright: ignore[reportArgumentType]
    prepared = prepare(prepared)
    with torch.no_grad():
        prepared(x)
    return convert(prepared)


def to_torchscript(model: torch.nn.Module, x: Tensor) -> torch.jit.ScriptModule:
    """Return the model as TorchScript, traced on `x`."""
    with torch.no_grad():
        traced = torch.jit.trace(model, x)
    assert isinstance(traced, torch.jit.ScriptModule)
    return traced


def silence_known_warnings() -> None:
    """Hide torch 2.13's notices that what is used here will be replaced, and no others."""
    for message in KNOWN_WARNINGS:
        warnings.filterwarnings("ignore", message)


@click.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("build/resnet18"))
@click.option("--data", "name", type=click.Choice(NAMES), default="mnist", show_default=True)
@click.option("--data-dir", type=click.Path(path_type=Path), help="idx files or CIFAR-10 batches.")
@click.option("--width", type=click.IntRange(min=1), default=WIDTH // 8, show_default=True)
@click.option("--engine", type=click.Choice(["fbgemm", "qnnpack"]), default="fbgemm")
@click.option("--limit", type=click.IntRange(min=1), default=1000, show_default=True)
def main(
    output: Path, name: Name, data_dir: Path | None, width: int, engine: str, limit: int
) -> None:
    """Quantize resnet18_float.pth; write resnet18_ENGINE.pt and the first LIMIT test images."""
    silence_known_warnings()
    torch.set_num_threads(1)
    weights = output / "resnet18_float.pth"
    if not weights.is_file():
        raise click.ClickException(f"{weights} does not exist; run train.py -o {output} first")
    try:
        images, test = load(name, data_dir)
    except (FileNotFoundError, DataError) as error:
        raise click.ClickException(str(error)) from error
    calibration, test = images.take(CALIBRATION), test.take(limit)
    test_x, test_y = torch.from_numpy(test.x), torch.from_numpy(test.y)
    model = ResNet18(channels=test.x.shape[1], width=width, quantizable=True)
    model.load_state_dict(torch.load(weights, weights_only=True))
    float_accuracy = accuracy(model.eval(), test_x, test_y)
    start = time.perf_counter()
    ptq = quantized(model, torch.from_numpy(calibration.x), engine=engine)
    traced = to_torchscript(ptq, test_x[:1].clone())
    seconds = time.perf_counter() - start

    path = output / f"resnet18_{engine}.pt"
    torch.jit.save(traced, path)
    np.savez(output / "images.npz", x=test.x, y=test.y)
    np.savez(output / "calibration.npz", x=calibration.x, y=calibration.y)
    console = Console()
    table = Table("ResNet-18", f"accuracy on {len(test):,} images")
    table.add_row("float", f"{float_accuracy:.2%}")
    table.add_row(f"PTQ, {engine}", f"{accuracy(traced, test_x, test_y):.2%}")
    console.print(table)
    console.print(f"quantized with {len(calibration)} images in {seconds:.1f} s; wrote {path}")


if __name__ == "__main__":
    main()
