"""``python -m benchmarks.posit_reference MODEL``: LeNet-5 in a plain posit program, digit by digit.

The program knows nothing of pyahir: float weights from the file, loops, softposit's own types.
es 0: ``posit8`` and ``quire8``; es 2: ``posit_2`` of 8 bits and ``quire_2``. softposit has no 8-bit
posit of es 1, so there the quire is a Python integer, the numbers are those of ``posit16`` (which
has es 1) that end in zeros, and a sum is rounded at the ``posit16`` between two of them. Every code
of every layer is compared with pyahir's golden model, at scale 1: a softposit quire has no other.
Products with a zero, which change no sum, are left out.
"""

from __future__ import annotations

import sys
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

import click
import numpy as np
import softposit
import torch
from rich.console import Console
from rich.table import Table

from pyahir.compiler import CompileOptions, quantized_graph
from pyahir.data import load_images
from pyahir.engines import input_codes, run_ir
from pyahir.frontend import load_model
from pyahir.quant.scheme import real_scheme

NAR = 128
CHUNK = 10
CONVOLUTIONS = (("conv1", 2), ("conv2", 0))  # and their padding
LINEARS = ("fc1", "fc2", "fc3")
Code = int
Codes = np.ndarray[Any, np.dtype[np.uint8]]
Layers = dict[str, Codes]


class Softposit:
    """Posits of es 0 or 2 with the quire that softposit has for them."""

    def __init__(self, es: int) -> None:
        self.es = es
        self.numbers = [self._posit(code) for code in range(256)]
        raw = softposit._softposit  # the classes make a posit anew for each product
        names = ("q8Clr", "q8_fdp_add") if es == 0 else ("qX2Clr", "qX2_fdp_add")
        self.clear, self.add = (getattr(raw, name) for name in names)
        largest = 6 if es == 0 else 24
        self.unit = 2.0 ** (-2 * largest)  # of the quire: the least posit squared
        values = {self.encoded(2.0**power): 2.0**power for power in range(-largest, largest + 1)}
        powers = [(code, value) for code, value in values.items() if self._value(code) == value]
        pairs = {one[1] * two[1]: (one[0], two[0]) for one, two in product(powers, powers)}
        self.pairs = sorted(pairs.items(), reverse=True)  # products that are powers of two

    def _posit(self, code: Code) -> Any:
        if self.es == 0:
            return softposit.posit8(bits=code).v
        return softposit.posit_2(bits=code, x=8).v

    def _value(self, code: Code) -> float:
        number = self.numbers[code]
        convert = softposit.convertP8ToDouble if self.es == 0 else softposit.convertPX2ToDouble
        return float(convert(number))

    def encoded(self, number: float) -> Code:
        if self.es == 0:
            return int(softposit.convertDoubleToP8(number).v) % 256
        return int(softposit.convertDoubleToPX2(number, 8).v) >> 24

    def dot(self, x: list[Code], weight: list[Code], bias: list[Code]) -> Code:
        quire, add, numbers = self.clear(), self.add, self.numbers
        for left, right in zip(x, weight, strict=True):
            if left and right:
                quire = add(quire, numbers[left], numbers[right])
        for left, right in zip(bias[::2], bias[1::2], strict=True):
            quire = add(quire, numbers[left], numbers[right])
        if self.es == 0:
            return int(softposit.q8_to_p8(quire).v) % 256
        return int(softposit.qX2_to_pX2(quire, 8).v) >> 24

    def bias(self, number: float) -> list[Code]:
        """Give factors whose products add up to the bias, rounded to the unit of the quire."""
        rest, sign = int(np.rint(number / self.unit)), 1 if number > 0 else -1
        rest, codes = abs(rest), list[Code]()
        for value, (left, right) in self.pairs:
            units = int(value / self.unit)
            while units <= rest:
                rest -= units
                codes += [left if sign > 0 else -left % 256, right]
        return codes


class Integers:
    """Posits of es 1: integers in units of the least posit, and of its square for sums."""

    unit = 2.0**-12

    def __init__(self) -> None:
        values = [0 if code == NAR else _posit16(code << 8) for code in range(256)]
        self.numbers = [int(value / self.unit) for value in values]
        self.borders = [int(_posit16(2 * code + 1 << 7) / self.unit**2) for code in range(1, 127)]

    def rounded(self, total: float) -> Code:
        """Give the nearest posit, the even one of two; never 0 for a number that is not 0.

        Python compares integers and floats exactly.
        """
        if total == 0:
            return 0
        size = abs(total)
        place = bisect_left(self.borders, size)
        code = place + 1
        if place < len(self.borders) and self.borders[place] == size:
            code += code % 2
        return code if total > 0 else 256 - code

    def encoded(self, number: float) -> Code:
        return self.rounded(number / self.unit**2)  # exact: a power of two

    def dot(self, x: list[Code], weight: list[Code], bias: list[Code]) -> Code:
        numbers = self.numbers
        pairs = zip(x, weight, strict=True)
        return self.rounded(sum((numbers[a] * numbers[b] for a, b in pairs), bias[0]))

    def bias(self, number: float) -> list[int]:
        return [int(np.rint(number / self.unit**2))]


def _posit16(bits: int) -> float:
    return float(softposit.posit16(bits=bits))


class Network:
    """LeNet-5 as loops over codes; one digit at a time."""

    def __init__(self, weights: dict[str, np.ndarray[Any, Any]], es: int) -> None:
        self.posits = Integers() if es == 1 else Softposit(es)
        self.weights = {
            name: self._rows(weights[f"{name}.weight"], weights[f"{name}.bias"])
            for name in (*(name for name, _ in CONVOLUTIONS), *LINEARS)
        }

    def _rows(
        self, weights: np.ndarray[Any, Any], biases: np.ndarray[Any, Any]
    ) -> list[tuple[list[Code], list[int]]]:
        """Give the codes of each output channel's weights, and its bias."""
        return [
            (self._codes(row).ravel().tolist(), self.posits.bias(float(bias)))
            for row, bias in zip(weights, biases, strict=True)
        ]

    def _codes(self, numbers: np.ndarray[Any, Any]) -> Codes:
        flat = [self.posits.encoded(float(number)) for number in numbers.ravel()]
        return np.array(flat, np.uint8).reshape(numbers.shape)

    def run(self, image: np.ndarray[Any, Any]) -> Layers:
        """Give the codes of every layer."""
        x = self._codes(image)
        found: Layers = {"x": x}
        for number, (name, padding) in enumerate(CONVOLUTIONS, 1):
            x = relu(self._convolution(name, x, padding))
            found[name] = x
            x = pooled(x)
            found[f"pool{number}"] = x
        for name in LINEARS:
            values = x.ravel().tolist()
            codes = [self.posits.dot(values, *row) for row in self.weights[name]]
            x = np.array(codes, np.uint8)
            x = x if name == LINEARS[-1] else relu(x)
            found[name] = x
        return found

    def _convolution(self, name: str, x: Codes, padding: int) -> Codes:
        x = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
        size, rows = x.shape[1] - 4, self.weights[name]
        out = np.zeros((len(rows), size, size), np.uint8)
        for i, j in product(range(size), range(size)):
            window = x[:, i : i + 5, j : j + 5].ravel().tolist()
            for channel, row in enumerate(rows):
                out[channel, i, j] = self.posits.dot(window, *row)
        return out


def relu(codes: Codes) -> Codes:
    return np.where(codes > NAR, 0, codes).astype(np.uint8)


def pooled(codes: Codes) -> Codes:
    """Take the largest of four: posits compare as signed integers."""
    channels, height, width = codes.shape
    blocks = codes.view(np.int8).reshape(channels, height // 2, 2, width // 2, 2)
    return blocks.max(axis=(2, 4)).view(np.uint8)


_network: Network | None = None  # of a worker process


def _prepare(path: Path, es: int) -> None:
    global _network
    state = torch.export.load(path).state_dict
    weights = {name: tensor.detach().numpy() for name, tensor in state.items()}
    _network = Network(weights, es)


def _digit(image: np.ndarray[Any, Any]) -> Layers:
    assert _network is not None
    return _network.run(image)


def reference(
    path: Path, es: int, images: np.ndarray[Any, Any], jobs: int, seconds: float
) -> list[Layers]:
    """Run the program on as many images as the time allows."""
    found: list[Layers] = []
    start = time.perf_counter()
    with ProcessPoolExecutor(jobs, initializer=_prepare, initargs=(path, es)) as pool:
        for part in _parts(images, CHUNK * jobs, lambda: time.perf_counter() - start < seconds):
            found += pool.map(_digit, part)
    return found


def _parts(
    images: np.ndarray[Any, Any], size: int, more: Callable[[], bool]
) -> Iterator[np.ndarray[Any, Any]]:
    for first in range(0, len(images), size):
        if not more():
            return
        yield images[first : first + size]


def golden(path: Path, es: int, images: np.ndarray[Any, Any]) -> Layers:
    """Run pyahir's golden model."""
    scheme = real_scheme("posit8", arith="quire", es=es, weights="posit8", scale="1")
    graph = quantized_graph(load_model(path), CompileOptions(real=scheme))
    return {
        name: array.astype(np.uint8)
        for name, array in run_ir(graph, input_codes(graph, images)).items()
    }


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--input", "images_path", type=click.Path(path_type=Path), required=True)
@click.option("--limit", default=1000, show_default=True, help="Digits.")
@click.option("--es", "chosen", default="0,1,2", show_default=True)
@click.option("--jobs", default=2, show_default=True, help="Processes of the plain program.")
@click.option("--seconds", default=600.0, show_default=True, help="Time for each es.")
def main(
    model: Path, images_path: Path, limit: int, chosen: str, jobs: int, seconds: float
) -> None:
    """Print how many codes of the golden model differ from those of the plain program."""
    images = load_images(images_path, load_model(model).input_shape)[:limit]
    table = Table(
        title="LeNet-5 in posits and a quire, weights posit8, scale 1", title_justify="left"
    )
    for column in ("numbers", "reference", "digits", "codes", "differing", "seconds"):
        table.add_column(column, justify="left" if column in ("numbers", "reference") else "right")
    total = 0
    for es in map(int, chosen.split(",")):
        start = time.perf_counter()
        found = reference(model, es, images, jobs, seconds)
        spent = time.perf_counter() - start
        expected = golden(model, es, images[: len(found)])
        differing, compared = 0, 0
        for name in found[0]:
            actual = np.stack([layers[name] for layers in found])
            differing += int((actual != expected[name]).sum())
            compared += actual.size
        total += differing
        kind = {0: "posit8, quire8", 1: "Python integers", 2: "posit_2, quire_2"}[es]
        cells = (f"{len(found):,}", f"{compared:,}", f"{differing:,}", f"{spent:,.0f}")
        table.add_row(f"posit<8,{es}>", kind, *cells)
        print(f"es {es}: {' '.join(cells)}", file=sys.stderr, flush=True)
    Console(width=100).print(table)
    sys.exit(1 if total else 0)


if __name__ == "__main__":
    main()
