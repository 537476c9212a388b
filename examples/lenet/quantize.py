"""Quantize the trained LeNet-5 with PyTorch's own static PTQ; write it as a TorchScript file.

Beside the model go the digits that pyahir's commands read: `digits.npz` (x and y of the test
digits), `digits.npy` (their x) and `calibration.npz` (512 training digits).
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

from data import Digits, load
from model import LeNet5, Pool, accuracy
from train import set_deterministic

CALIBRATION = 512
KNOWN_WARNINGS = (
    r"torch\.ao\.quantization is deprecated",
    r"`torch\.jit\.\w+` is deprecated",
    r"Please use quant_min and quant_max to specify the range for observers",
    r"torch\.quantize_per_tensor, torch\.quantize_per_channel and other quantized tensor creation",
)


def quantized(model: LeNet5, x: Tensor, *, engine: str, fuse: bool = True) -> torch.nn.Module:
    """Return the model with uint8 activations and int8 weights, its ranges observed on `x`."""
    torch.backends.quantized.engine = engine
    prepared = model.fuse() if fuse else model.eval()
    prepared.qconfig = get_default_qconfig(engine)  # pyright: ignore[reportArgumentType]
    prepared = prepare(prepared)
    with torch.no_grad():
        prepared(x)
    return convert(prepared)


def to_torchscript(model: torch.nn.Module, x: Tensor, *, trace: bool) -> torch.jit.ScriptModule:
    """Return the model as TorchScript, traced on `x` or scripted from its source."""
    with torch.no_grad():
        scripted = torch.jit.trace(model, x) if trace else torch.jit.script(model)
    assert isinstance(scripted, torch.jit.ScriptModule)
    return scripted


def save_digits(digits: Digits, test: Digits, output: Path) -> None:
    """Write test and calibration digits."""
    np.savez(output / "digits.npz", x=test.x, y=test.y)
    np.save(output / "digits.npy", test.x)
    np.savez(output / "calibration.npz", x=digits.x, y=digits.y)


def silence_known_warnings() -> None:
    """Hide torch 2.13's notices that what is used here will be replaced, and no others."""
    for message in KNOWN_WARNINGS:
        warnings.filterwarnings("ignore", message)


@click.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("build/lenet"))
@click.option("--weights", type=click.Path(path_type=Path), help="Default: OUTPUT/lenet_float.pth.")
@click.option("--engine", type=click.Choice(["fbgemm", "qnnpack"]), default="fbgemm")
@click.option("--trace/--script", default=True, help="How TorchScript is made.", show_default=True)
@click.option("--fuse/--no-fuse", default=True, help="Join each ReLU to its layer.")
@click.option("--pool", type=click.Choice(["max", "avg"]), default="max", show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
def main(
    output: Path,
    weights: Path | None,
    engine: str,
    trace: bool,
    fuse: bool,
    pool: Pool,
    seed: int,
) -> None:
    """Quantize LeNet-5 with PyTorch and write lenet_ptq.pt and the digits."""
    silence_known_warnings()
    set_deterministic(seed)
    weights = weights or output / "lenet_float.pth"
    if not weights.is_file():
        raise click.ClickException(f"{weights} does not exist; run train.py -o {output} first")
    try:
        digits, test = load()
    except FileNotFoundError as error:
        raise click.ClickException(str(error)) from error
    calibration = digits.take(CALIBRATION)
    test_x, test_y = torch.from_numpy(test.x), torch.from_numpy(test.y)

    model = LeNet5(pool)
    model.load_state_dict(torch.load(weights, weights_only=True))
    model.eval()
    float_accuracy = accuracy(model, test_x, test_y)
    start = time.perf_counter()
    ptq = quantized(model, torch.from_numpy(calibration.x), engine=engine, fuse=fuse)
    scripted = to_torchscript(ptq, test_x[:1].clone(), trace=trace)
    seconds = time.perf_counter() - start

    output.mkdir(parents=True, exist_ok=True)
    torch.jit.save(scripted, output / "lenet_ptq.pt")
    save_digits(calibration, test, output)

    table = Table("LeNet-5", f"accuracy on {len(test):,} digits")
    table.add_row("float", f"{float_accuracy:.2%}")
    table.add_row(f"PTQ, {engine}", f"{accuracy(scripted, test_x, test_y):.2%}")
    console = Console()
    console.print(table)
    how = "traced" if trace else "scripted"
    console.print(f"quantized with {len(calibration)} digits in {seconds:.1f} s, {how}")
    console.print(f"wrote {output / 'lenet_ptq.pt'}, digits.npz, digits.npy, calibration.npz")


if __name__ == "__main__":
    main()
