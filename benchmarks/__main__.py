"""``python -m benchmarks``: the golden model beside PyTorch, the Aa interpreter, the compiler."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.models import quantized_lenet
from pyahir.backends.aa.engine import AaEngine
from pyahir.compiler import CompileOptions, compile_graph
from pyahir.engines import input_codes
from pyahir.frontend import load_model
from pyahir.ir.builder import GraphBuilder
from pyahir.ir.eval import Evaluator
from pyahir.ir.graph import Graph, Loc, Stage
from pyahir.ir.ops import Linear
from pyahir.ir.types import Affine, Int, Layout, TensorType
from pyahir.ir.verify import verify
from pyahir.quant.integer import Target, add_accumulator, requantize_by_rule
from pyahir.quant.rules import Fbgemm

CONSOLE = Console(width=100)
ENGINES = ("qnnpack", "fbgemm", "x86")


def rate(work: Callable[[], object], images: int, seconds: float = 1.5) -> float:
    """Give images a second: the median of the runs that fit into ``seconds``."""
    work()
    times: list[float] = []
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        before = time.perf_counter()
        work()
        times.append(time.perf_counter() - before)
    return images / statistics.median(times)


def golden_model(folder: Path, images: np.ndarray) -> None:
    """Compare the golden model with PyTorch's own quantized LeNet-5."""
    table = Table(title="LeNet-5, images/s, one thread", title_justify="left")
    for column in ("", "batch 1", "batch 256"):
        table.add_column(column, justify="right" if column else "left")
    for engine in ENGINES:
        path = quantized_lenet(engine, images, folder)
        torch.backends.quantized.engine = engine
        model = torch.jit.load(str(path))
        x = torch.from_numpy(images)
        with torch.no_grad():
            one = rate(lambda m=model, x=x: m(x[:1]), 1)
            many = rate(lambda m=model, x=x: m(x), len(images))
        table.add_row(f"torch {torch.__version__}, {engine}", f"{one:,.0f}", f"{many:,.0f}")
    for engine in ("qnnpack", "fbgemm"):
        graph = load_model(folder / f"lenet_{engine}.pt", quantized_engine=engine).graph
        codes = input_codes(graph, images)
        evaluator = Evaluator(graph)
        one = rate(lambda e=evaluator, c=codes: e.run(c[:1]), 1)
        many = rate(lambda e=evaluator, c=codes: e.run(c), len(images))
        table.add_row(f"pyahir golden model, rule of {engine}", f"{one:,.0f}", f"{many:,.0f}")
    CONSOLE.print(table)


def aa_interpreter(folder: Path, images: np.ndarray) -> None:
    """Time one digit in the Aa interpreter, from the written files."""
    graph = load_model(folder / "lenet_fbgemm.pt").graph
    path = folder / "lenet.aa"
    compile_graph(graph, CompileOptions()).write(path)
    start = time.perf_counter()
    engine = AaEngine.open(path)
    opened = time.perf_counter()
    codes = input_codes(graph, images)
    engine.run(codes[:1])
    first = time.perf_counter()
    engine.run(codes[1:5])
    rest = time.perf_counter()
    table = Table(title="Aa interpreter, LeNet-5, seconds", title_justify="left")
    for column in ("parse, verify, compile", "first digit with weights", "each further digit"):
        table.add_column(column, justify="right")
    table.add_row(f"{opened - start:.2f}", f"{first - opened:.2f}", f"{(rest - first) / 4:.2f}")
    CONSOLE.print(table)


def compiler(folder: Path) -> None:
    """Time the command beyond ``import torch``; then the cost of twice the network."""
    model = folder / "lenet_fbgemm.pt"
    command = [
        sys.executable,
        "-m",
        "pyahir.cli",
        "compile",
        str(model),
        "-o",
        str(folder / "c.aa"),
    ]
    whole = _seconds(command)
    torch_alone = _seconds([sys.executable, "-c", "import torch"])
    CONSOLE.print(
        f"compile of LeNet-5: {whole:.2f} s, {whole - torch_alone:.2f} s beyond import torch"
    )
    table = Table(title="compile of three linear layers as they grow", title_justify="left")
    for column in ("width", "weights", "seconds", "lines of Aa"):
        table.add_column(column, justify="right")
    for width in (128, 256, 512, 1024):
        start = time.perf_counter()
        compiled = compile_graph(_mlp(width), CompileOptions())
        seconds = time.perf_counter() - start
        lines = compiled.text.count(b"\n")
        table.add_row(f"{width}", f"{3 * width * width:,}", f"{seconds:.2f}", f"{lines:,}")
    CONSOLE.print(table)


def _seconds(command: list[str]) -> float:
    def once() -> float:
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        return time.perf_counter() - start

    once()
    return statistics.median(once() for _ in range(3))


def _mlp(width: int) -> Graph:
    rng = np.random.default_rng(0)
    builder = GraphBuilder("mlp", Stage.QUANTIZED)
    kind = TensorType(
        shape=(1, width),
        element=Int(8, signed=False),
        layout=Layout.NC,
        quantization=Affine(scale=1 / 128, zero_point=0),
    )
    value = builder.input("x", kind)
    for index in range(3):
        weight = rng.integers(-127, 128, (width, width)).astype(np.int8)
        name = f"fc{index}"
        acc = add_accumulator(builder, name, Linear(), value, weight, Loc())
        rule = Fbgemm(
            act_times_weight=np.full(width, 1e-5, np.float32),
            bias=np.zeros(width, np.float32),
            scale=np.float32(1 / 128),
            zero_point=0,
        )
        target = Target(quantization=Affine(scale=1 / 128, zero_point=0))
        value = requantize_by_rule(builder, name, acc, rule, target, Loc())
    return verify(builder.finish([value]))


def main() -> None:
    torch.set_num_threads(1)
    images = np.random.default_rng(0).random((256, 1, 28, 28), dtype=np.float32)
    with tempfile.TemporaryDirectory(prefix="pyahir-") as name:
        folder = Path(name)
        golden_model(folder, images)
        aa_interpreter(folder, images)
        compiler(folder)


if __name__ == "__main__":
    main()
