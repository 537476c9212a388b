"""Measure the trained LeNet-5 in 8-bit posits: accuracy for every es and arithmetic, in one table.

The float weights and the digits are those of `train.py`; every posit row is pyahir's golden model,
which the hardware follows bit for bit. Beside them stand published figures of another LeNet-5,
trained on all of MNIST.
"""

import itertools
import time
from pathlib import Path

import click
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from data import Digits, load
from model import LeNet5, Pool
from pyahir.compiler import CompileOptions, quantized_graph
from pyahir.frontend.source import SourceModel, from_module
from pyahir.ir.eval import Evaluator, dequantize, from_nchw, quantize
from pyahir.quant.scheme import real_scheme

CALIBRATION = 512
PUBLISHED = {
    "float32": "96.42 %",
    "posit<8,0>, f32, scale 1": "89 %",
    "posit<8,0>, f16, scale 1": "89.37 %",
    "uint8, calibrated": "98 %",
}
Choice = tuple[str, str | None, int | None, str | None, str | None]


def measure(source: SourceModel, choice: Choice, digits: Digits, test: Digits) -> tuple[int, float]:
    """Return the correct digits and the images a second of the golden model."""
    scheme, arith, es, weights, scale = choice
    real = real_scheme(scheme, arith=arith, es=es, weights=weights, scale=scale)
    graph = quantized_graph(source, CompileOptions(real=real, calibration=digits.x))
    kind, output = graph.inputs[0].type, graph.outputs[0]
    evaluator = Evaluator(graph)
    start = time.perf_counter()
    found = evaluator.run(quantize(from_nchw(test.x, kind), kind))[output]
    seconds = time.perf_counter() - start
    scores = dequantize(found, graph.types()[output])
    return int((scores.argmax(axis=1) == test.y).sum()), len(test) / seconds


def choices(weights: str) -> list[tuple[str, Choice]]:
    """List the rows of the table: their names and what they measure."""
    rows: list[tuple[str, Choice]] = [
        ("float32", ("float32", None, None, None, None)),
        ("float16", ("float16", None, None, None, None)),
        ("uint8, calibrated", ("uint8", None, None, None, None)),
    ]
    for scale, es, arith in itertools.product(("1", "auto"), (0, 1, 2), ("f32", "f16", "quire")):
        name = f"posit<8,{es}>, {arith}, scale {scale}"
        rows.append((name, ("posit8", arith, es, weights, scale)))
    return rows


@click.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("build/lenet"))
@click.option("--pool", type=click.Choice(["max", "avg"]), default="max", show_default=True)
@click.option("--weights", type=click.Choice(["float", "posit8"]), default="float")
@click.option("--limit", type=click.IntRange(min=1), help="Use only the first test digits.")
def main(output: Path, pool: Pool, weights: str, limit: int | None) -> None:
    """Print the accuracy of LeNet-5 in floats, uint8 and posits on the test digits."""
    path = output / "lenet_float.pth"
    if not path.is_file():
        raise click.ClickException(f"{path} does not exist; run train.py -o {output} first")
    try:
        digits, test = load()
    except FileNotFoundError as error:
        raise click.ClickException(str(error)) from error
    calibration, test = digits.take(CALIBRATION), test.take(limit or len(test))
    model = LeNet5(pool)
    model.load_state_dict(torch.load(path, weights_only=True))
    source = from_module(model.eval(), torch.from_numpy(np.zeros((1, 1, 28, 28), np.float32)))

    title = f"LeNet-5, weights {weights}: {len(test):,} digits"
    table = Table("numbers", "accuracy", "images/s", "published", title=title)
    table.columns[0].no_wrap = True
    for name, choice in choices(weights):
        correct, rate = measure(source, choice, calibration, test)
        accuracy = f"{correct / len(test):.2%}"
        table.add_row(name, accuracy, f"{rate:,.0f}", PUBLISHED.get(name, ""))
    Console().print(table)


if __name__ == "__main__":
    main()
