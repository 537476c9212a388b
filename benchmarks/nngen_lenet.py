"""LeNet-5 in NNgen: Verilog, its test bench, and how long generating took.

Run by the Python of an environment that has NNgen; nothing of pyahir is imported here. In: a
folder and the parallelism of channels. Out: ``design.v``, ``bench.v``, ``design.json`` there.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import time
from pathlib import Path
from typing import Any

import nngen as ng  # pyright: ignore[reportMissingImports]
import numpy as np
import veriloggen as vg  # pyright: ignore[reportMissingImports]
import veriloggen.thread as vthread  # pyright: ignore[reportMissingImports]
from veriloggen import simulation  # pyright: ignore[reportMissingImports]
from veriloggen.types import axi  # pyright: ignore[reportMissingImports]

MEMORY_BYTES = 1 << 20
CHUNK = 64
BUS_BITS = 32


def network(parallel: int) -> tuple[Any, Any]:
    """Build LeNet-5 on a 28x28 image, int8, with random weights; give its output and its input."""
    rng = np.random.default_rng(0)
    image = ng.placeholder(dtype=ng.int8, shape=(1, 28, 28, 1), name="image")
    value = _conv(rng, image, "conv1", 6, parallel, padding=2)
    value = ng.max_pool_serial(value, ksize=(1, 2, 2, 1), strides=(1, 2, 2, 1))
    value.attribute(par=parallel)
    value = _conv(rng, value, "conv2", 16, parallel, padding=0)
    value = ng.max_pool_serial(value, ksize=(1, 2, 2, 1), strides=(1, 2, 2, 1))
    value.attribute(par=parallel)
    value = ng.reshape(value, [1, -1])
    value = _linear(rng, value, "fc1", 120, parallel, relu=True)
    value = _linear(rng, value, "fc2", 84, parallel, relu=True)
    return _linear(rng, value, "fc3", 10, parallel, relu=False), image


def _conv(
    rng: np.random.Generator, x: Any, name: str, out: int, parallel: int, *, padding: int
) -> Any:
    weight = ng.variable(dtype=ng.int8, shape=(out, 5, 5, x.shape[-1]), name=name + "_weight")
    weight.set_value(rng.integers(-127, 128, weight.shape).astype(np.int64))
    layer = ng.conv2d(
        x,
        weight,
        strides=(1, 1, 1, 1),
        padding=padding,
        bias=_bias(rng, name, out),
        scale=_scale(name, out),
        act_func=ng.relu,
        dtype=ng.int8,
        sum_dtype=ng.int32,
        name=name,
    )
    layer.attribute(par_ich=parallel, par_och=parallel, cshamt_out=10)
    return layer


def _linear(
    rng: np.random.Generator, x: Any, name: str, out: int, parallel: int, *, relu: bool
) -> Any:
    weight = ng.variable(dtype=ng.int8, shape=(out, x.shape[-1]), name=name + "_weight")
    weight.set_value(rng.integers(-127, 128, weight.shape).astype(np.int64))
    layer = ng.matmul(
        x,
        weight,
        bias=_bias(rng, name, out),
        scale=_scale(name, out),
        transposed_b=True,
        act_func=ng.relu if relu else None,
        dtype=ng.int8,
        sum_dtype=ng.int32,
        name=name,
    )
    layer.attribute(par_ich=parallel, par_och=parallel, cshamt_out=10)
    return layer


def _bias(rng: np.random.Generator, name: str, out: int) -> Any:
    bias = ng.variable(dtype=ng.int32, shape=(out,), name=name + "_bias")
    bias.set_value(rng.integers(-100, 100, out).astype(np.int64))
    return bias


def _scale(name: str, out: int) -> Any:
    scale = ng.variable(dtype=ng.int8, shape=(out,), name=name + "_scale")
    scale.set_value(np.ones(out, np.int64))
    return scale


def memory_image(output: Any, image: Any, parallel: int) -> tuple[np.ndarray, int]:
    """Lay out one image and the weights as the design reads them; give also where it may scribble.

    The design takes the output first, then its input, then the weights.
    """
    memory = np.zeros(MEMORY_BYTES // (BUS_BITS // 8), dtype=np.int64)
    pixels = np.random.default_rng(1).integers(0, 128, (1, 28, 28, 1)).astype(np.int64)
    axi.set_memory(memory, pixels, BUS_BITS, 8, image.addr, max(BUS_BITS // 8, parallel))
    weights = ng.export_ndarray([output], CHUNK)
    first = _aligned(image.addr + image.memory_size)
    axi.set_memory(memory, weights, BUS_BITS, 8, first)
    return memory, _aligned(first + len(weights) + output.memory_size)


def _aligned(address: int) -> int:
    return -(-address // CHUNK) * CHUNK


def bench(target: Any, memory: np.ndarray, scratch: int, folder: Path) -> str:
    """Write a test bench that runs one image and prints the cycles from start to end."""
    m = vg.Module("bench")
    m.copy_params(target)
    ports = m.copy_sim_ports(target)
    clk, resetn = ports["CLK"], ports["RESETN"]
    rst = m.Wire("RST")
    rst.assign(vg.Not(resetn))
    model = axi.AxiMemoryModel(
        m,
        "memory",
        clk,
        rst,
        BUS_BITS,
        mem_datawidth=BUS_BITS,
        memimg=memory,
        memimg_name=str(folder / "memory.out"),
        memimg_datawidth=BUS_BITS,
    )
    model.connect(ports, "maxi")
    saxi = vthread.AXIMLite(m, "_saxi", clk, rst, noio=True)
    saxi.connect(ports, "saxi")
    now = m.Reg("now", 32, initval=0)
    sequence = vg.Seq(m, "count", clk, rst)
    sequence(now.inc())

    def control() -> None:  # compiled to a state machine
        for _ in range(100):
            pass
        ng.sim.set_global_addrs(saxi, scratch)
        start = now
        ng.sim.start(saxi)
        ng.sim.wait(saxi)
        end = now
        print("cycles", end - start)
        vthread.finish()

    thread = vthread.Thread(m, "control", clk, rst, control)
    thread.start()
    m.Instance(target, "under_test", params=m.connect_params(target), ports=m.connect_ports(target))
    simulation.setup_clock(m, clk, hperiod=5)
    simulation.setup_reset(m, resetn, m.make_reset(), period=100, polarity="low")
    return m.to_verilog()


def main(folder: Path, parallel: int, *, with_bench: bool) -> None:
    os.chdir(folder)  # some files of the generator go to where it runs
    start = time.perf_counter()
    output, image = network(parallel)
    target = ng.to_veriloggen([output], "lenet", silent=True, config={"maxi_datawidth": BUS_BITS})
    text = target.to_verilog()
    seconds = time.perf_counter() - start
    (folder / "design.v").write_text(text)
    figures = {
        "seconds": seconds,
        "lines": text.count("\n"),
        "multipliers": len(re.findall(r"^module (?:madd|multiplier)_\d+$", text, re.MULTILINE)),
    }
    if with_bench:
        memory, scratch = memory_image(output, image, parallel)
        (folder / "bench.v").write_text(bench(target, memory, scratch, folder))
    (folder / "design.json").write_text(json.dumps(figures))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("parallel", type=int, help="channels at a time, in and out")
    parser.add_argument("--bench", action="store_true", help="write the test bench too")
    arguments = parser.parse_args()
    main(arguments.folder.resolve(), arguments.parallel, with_bench=arguments.bench)
