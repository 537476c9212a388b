"""Verify, evaluate and compile the ResNet-18 of `train.py` and `quantize.py`.

Verifying compares PyTorch's tensors with pyahir's golden model, residual joins among them. The
table of accuracies is the golden model's, in uint8 and in 8-bit posits. Where the hardware does not
take the network, its message is printed.
"""

from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from pyahir.compiler import CompileOptions, compile_graph, provenance_of, quantized_graph
from pyahir.errors import PlanError
from pyahir.frontend import SourceModel, load_model
from pyahir.ir.eval import Evaluator, dequantize, from_nchw, quantize, to_nchw
from pyahir.ir.graph import Graph, Stage
from pyahir.ir.ops import QuantizedAdd
from pyahir.passes.pipeline import SIMPLIFY, Pipeline
from pyahir.quant.scheme import real_scheme

ENGINES = ("fbgemm", "qnnpack")
COMPARED = 16
Floats = NDArray[np.float32]
Labels = NDArray[np.int64]


def verify(source: SourceModel, images: Floats) -> tuple[int, int]:
    """Return how many codes differ between PyTorch and the golden model: at joins, and in all."""
    expected = source.run(images)
    kinds, start = source.graph.types(), source.graph.inputs[0]
    codes = from_nchw(expected[start.name], start.type)
    actual = Evaluator(source.graph).run(codes, keep=expected.keys())
    found = {
        name: int(np.count_nonzero(to_nchw(actual[name], kinds[name]) != values))
        for name, values in expected.items()
    }
    nodes = source.graph.nodes
    joins = sum(found[node.name] for node in nodes if isinstance(node.op, QuantizedAdd))
    return joins, sum(found.values())


def correct(graph: Graph, x: Floats, y: Labels) -> float:
    """Return the share of images that the golden model classifies as labelled."""
    kind, output = graph.inputs[0].type, graph.outputs[0]
    if graph.stage is Stage.FLOAT:
        scores = Evaluator(graph).run(x)[output]
    else:
        found = Evaluator(graph).run(quantize(from_nchw(x, kind), kind))[output]
        scores = dequantize(found, graph.types()[output])
    return float((scores.argmax(axis=1) == y).mean())


def graphs(folder: Path, calibration: Floats) -> Iterator[tuple[str, Graph]]:
    """Give the network in every form: float, PyTorch's uint8, pyahir's uint8 and posits."""
    source = load_model(folder / "resnet18_float.pt2")
    yield "float32", Pipeline(SIMPLIFY).run(source.graph)
    for engine in ENGINES:
        path = folder / f"resnet18_{engine}.pt"
        if path.is_file():
            yield f"uint8, PyTorch's {engine}", load_model(path, quantized_engine=engine).graph
    yield "uint8, pyahir", quantized_graph(source, CompileOptions(calibration=calibration))
    for arith in ("f32", "f16", "quire"):
        real = real_scheme("posit8", arith=arith, es=0, weights="float", scale="auto")
        options = CompileOptions(real=real, calibration=calibration)
        yield f"posit<8,0>, {arith}", quantized_graph(source, options)


def compiled(source: SourceModel, path: Path) -> str:
    """Compile to hardware; return what was written, or why it was not."""
    try:
        made = compile_graph(source.graph, CompileOptions(), provenance_of(source))
    except PlanError as error:
        return f"not compiled: {error}"
    return f"wrote {', '.join(str(item) for item in made.write(path))}"


@click.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("build/resnet18"))
@click.option("--limit", type=click.IntRange(min=1), help="Use only the first test images.")
@click.option("--posit-limit", type=click.IntRange(min=1), default=200, show_default=True)
def main(output: Path, limit: int | None, posit_limit: int) -> None:
    """Print differences and accuracies, and compile what quantize.py wrote."""
    needed = ("resnet18_float.pt2", "images.npz", "calibration.npz")
    for name in needed:
        if not (output / name).is_file():
            raise click.ClickException(f"{output / name} does not exist; run quantize.py first")
    console = Console()
    with np.load(output / "images.npz") as file:
        x, y = file["x"][:limit], file["y"][:limit]
    with np.load(output / "calibration.npz") as file:
        calibration = file["x"]
    table = Table("numbers", "accuracy", "images")
    for name, graph in graphs(output, calibration):
        count = min(len(x), posit_limit) if name.startswith("posit") else len(x)
        table.add_row(name, f"{correct(graph, x[:count], y[:count]):.2%}", f"{count:,}")
    console.print(table)
    for engine in ENGINES:
        path = output / f"resnet18_{engine}.pt"
        if not path.is_file():
            continue
        source = load_model(path, quantized_engine=engine)
        joins, everywhere = verify(source, x[:COMPARED])
        console.print(
            f"{engine}: torch against the golden model, {min(COMPARED, len(x))} images: "
            f"{joins} codes differ at joins, {everywhere} anywhere"
        )
        console.print(compiled(source, output / f"resnet18_{engine}.aa"))


if __name__ == "__main__":
    main()
