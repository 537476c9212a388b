"""Verification is able to fail: every small change of a design is caught and located.

A mutant is killed when a layer's stream differs, the design stops, or its text is refused. A
survivor must be shown to be equivalent: its requantizer, tried on *every* accumulator that can
occur, gives the same codes; or its comparison decides between two equal values.
"""

from __future__ import annotations

import contextlib
import dataclasses
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pyahir.backends.aa import ast
from pyahir.backends.aa.ast import BinaryOp
from pyahir.backends.aa.files import read_design, weights_bytes
from pyahir.backends.aa.printer import to_text
from pyahir.compiler import Compiled
from pyahir.engines import Values, compare, run_aa, run_ir
from pyahir.errors import AaError
from pyahir.ir.graph import Graph
from tests.designs import written
from tests.networks import Chain, small

IMAGES = 40
SWAPS = {
    BinaryOp.ADD: BinaryOp.SUB,
    BinaryOp.SUB: BinaryOp.ADD,
    BinaryOp.MUL: BinaryOp.ADD,
    BinaryOp.AND: BinaryOp.OR,
    BinaryOp.OR: BinaryOp.AND,
    BinaryOp.EQUAL: BinaryOp.NOT_EQUAL,
    BinaryOp.NOT_EQUAL: BinaryOp.EQUAL,
    BinaryOp.LESS: BinaryOp.LESS_EQUAL,
    BinaryOp.LESS_EQUAL: BinaryOp.LESS,
    BinaryOp.GREATER: BinaryOp.GREATER_EQUAL,
    BinaryOp.GREATER_EQUAL: BinaryOp.GREATER,
}


@dataclasses.dataclass(frozen=True)
class Bench:
    """A compiled network, images, and the golden values they give."""

    graph: Graph
    compiled: Compiled
    path: Path
    codes: np.ndarray
    golden: Values


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    chain = small()
    return made(chain, tmp_path_factory.mktemp("mutants"), chain.images(IMAGES))


def made(chain: Chain, folder: Path, codes: np.ndarray) -> Bench:
    graph = chain.graph()
    compiled, path = written(graph, folder, multipliers=12)
    return Bench(graph, compiled, path, codes, run_ir(graph, codes))


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise ``TimeoutError`` in a mutant that runs round for ever, by the process's own time."""

    def stop(*_: object) -> None:
        raise TimeoutError

    previous = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, previous)


def outcome(bench: Bench) -> str | None:
    """Run the files of ``bench``; say where they first differ from the golden model, or None."""
    try:
        with time_limit(2):
            return differences(bench)
    except TimeoutError:
        return "does not end"


def differences(bench: Bench) -> str | None:
    try:
        found = compare(
            {"ir": bench.golden, "aa": run_aa(bench.path, bench.codes)},
            [node.name for node in bench.graph.nodes],
        )
    except AaError as error:
        return f"refused or stopped: {error}"
    worst = next((item for item in found if item.differing), None)
    return None if worst is None else f"{worst.layer}: {worst.first}"


def restore(bench: Bench) -> None:
    bench.compiled.write(bench.path)


def memory_bits(bench: Bench, kind: str) -> Iterator[tuple[str, int]]:
    """Give (layer, bit position among the loader's items) of every used bit of a kind of memory."""
    position = 0
    for memory in bench.compiled.design.memories:
        for word in range(memory.words):
            start = position + word * memory.items * 64
            if memory.name.startswith(kind):
                yield from ((memory.layer, start + bit) for bit in range(memory.width))
        position += memory.words * memory.items * 64


def flipped(bench: Bench, bit: int) -> None:
    items = np.array(read_design(bench.path).items, dtype=np.uint64)
    items[bit // 64] ^= np.uint64(1 << (bit % 64))
    bench.path.with_suffix(".weights").write_bytes(weights_bytes(items))


@pytest.mark.parametrize("count", [8, pytest.param(60, marks=pytest.mark.slow)])
def test_a_flipped_weight_is_caught_and_located(bench: Bench, count: int) -> None:
    bits = list(memory_bits(bench, "w_"))
    chosen = random.Random(1).sample(bits, count)
    killed = 0
    for layer, bit in chosen:
        flipped(bench, bit)
        found = outcome(bench)
        restore(bench)
        assert found is not None, f"bit {bit} of the weights of {layer} survived"
        assert found.startswith(f"{layer}: frame "), found
        assert ", channel " in found
        killed += 1
    print(f"weights: {killed} of {len(chosen)} mutants killed")
    assert outcome(bench) is None


@pytest.mark.parametrize("count", [20, pytest.param(100, marks=pytest.mark.slow)])
def test_a_flipped_parameter_is_caught_or_equivalent(tmp_path: Path, count: int) -> None:
    """Multipliers, offsets (thresholds) and exceptions, on the *whole* input space of a network.

    One input of 256 codes: what no image shows, no image can show, and the mutant is equivalent.
    """
    chain = Chain((1,), seed=3)
    chain.linear(4, relu=False)
    chain.linear(3, relu=False)
    everything = np.arange(256, dtype=np.uint8).reshape(256, 1)
    bench = made(chain, tmp_path, everything)
    chosen = random.Random(2).sample(list(memory_bits(bench, "q_")), count)
    killed = 0
    for layer, bit in chosen:
        flipped(bench, bit)
        found = outcome(bench)
        restore(bench)
        assert found is None or found.startswith(f"{layer}: frame "), found
        killed += found is not None
    print(f"parameters: {killed} of {len(chosen)} killed, the others equivalent on all inputs")
    assert killed > len(chosen) // 3  # low bits of M and B lie below every step


def test_a_changed_shift_is_caught(bench: Bench) -> None:
    """The bits that the shift takes from the product, moved by one, in every requantizer."""
    mutants = [
        mutant
        for mutant in mutated(bench.compiled.design.program, _moved_slice)
        if mutant.module.startswith("rq_")
    ]
    survivors = [mutant.change for mutant in mutants if not caught(bench, mutant)]
    restore(bench)
    print(f"shifts: {len(mutants) - len(survivors)} of {len(mutants)} mutants killed")
    assert len(mutants) == 2
    assert survivors == []


@pytest.mark.parametrize("count", [12, pytest.param(120, marks=pytest.mark.slow)])
def test_a_changed_operator_is_caught_or_equivalent(bench: Bench, count: int) -> None:
    """Operators of the text, one at a time."""
    mutants = list(mutated(bench.compiled.design.program, _swapped))
    chosen = random.Random(4).sample(mutants, min(len(mutants), count))
    survivors = [mutant for mutant in chosen if not caught(bench, mutant)]
    restore(bench)
    for mutant in survivors:
        print(f"  survived: {mutant.module}: {mutant.change}: equivalent {mutant.equivalent}")
    assert all(mutant.equivalent for mutant in survivors)
    killed = len(chosen) - len(survivors)
    print(f"operators: {killed} of {len(chosen)} killed, {len(survivors)} equivalent")
    assert killed > 0.8 * len(chosen)


def test_a_changed_golden_value_is_caught(bench: Bench) -> None:
    """Every layer: one code of the expected values, found at its place."""
    order = [node.name for node in bench.graph.nodes]
    actual = run_aa(bench.path, bench.codes)
    rng = np.random.default_rng(5)
    for layer in actual:
        wrong = {name: values.copy() for name, values in bench.golden.items()}
        place = tuple(int(rng.integers(size)) for size in wrong[layer].shape)
        wrong[layer][place] ^= 1
        found = compare({"ir": wrong, "aa": actual}, order)
        assert [layer] == [item.layer for item in found if item.differing]
        (first,) = [item.first for item in found if item.differing]
        assert first is not None
        assert place[:2] == (first.frame, first.channel)
        assert int(bench.golden[layer][place]) == first.actual


@dataclasses.dataclass(frozen=True)
class Mutant:
    """A program with one change; ``equivalent`` when the two sides of it are shown to be equal."""

    program: ast.Program
    module: str
    change: str
    equivalent: bool


def caught(bench: Bench, mutant: Mutant) -> bool:
    bench.path.write_text(to_text(mutant.program))
    return outcome(bench) is not None


Rewrite = tuple[object, str, bool]


def mutated(program: ast.Program, rewrite: Any) -> Iterator[Mutant]:
    """Give every program that differs from ``program`` by one rewrite of one node."""
    for index, item in enumerate(program.items):
        if not isinstance(item, ast.Module):
            continue
        for changed, change, equivalent in _variants(item, rewrite, ()):
            items = (*program.items[:index], changed, *program.items[index + 1 :])
            new = dataclasses.replace(program, items=items)
            yield Mutant(new, item.name, change, equivalent)


def _variants(node: Any, rewrite: Any, above: tuple[Any, ...]) -> Iterator[Rewrite]:
    if isinstance(node, tuple):
        for index, child in enumerate(node):
            for new, change, equal in _variants(child, rewrite, above):
                yield (*node[:index], new, *node[index + 1 :]), change, equal
    elif dataclasses.is_dataclass(node) and not isinstance(node, type):
        yield from rewrite(node, above)
        for item in dataclasses.fields(node):
            child = getattr(node, item.name)
            for new, change, equal in _variants(child, rewrite, (*above, node)):
                yield dataclasses.replace(node, **{item.name: new}), change, equal


def _moved_slice(node: Any, above: tuple[Any, ...]) -> Iterator[Rewrite]:
    del above
    product = isinstance(node, ast.Slice) and node.operand == ast.Name("u")
    if product and node.low > 0:  # type: ignore[operator]  # emitted sizes are numbers
        moved = dataclasses.replace(node, high=node.high - 1, low=node.low - 1)  # type: ignore[operator]
        yield moved, f"slice {node.high}..{node.low} moved", False


def _swapped(node: Any, above: tuple[Any, ...]) -> Iterator[Rewrite]:
    if isinstance(node, ast.Binary) and node.op in SWAPS:
        changed = dataclasses.replace(node, op=SWAPS[node.op])
        equal = _decides_between_equals(node, above[-1]) or _counts_alike(node, above)
        yield changed, f"{node.op.name} in {node}", equal


def _counts_alike(node: ast.Binary, above: tuple[Any, ...]) -> bool:
    """Tell whether a counter that goes down instead of up passes through as many states.

    From 0 to L - 1 in w bits, downwards, are 2**w - L + 2 steps: as many as upwards where
    L = 2**(w-1) + 1. The states between differ, so nothing may look at them but comparisons with
    0 and L - 1 (with one bit there are none between).
    """
    loop = next(item for item in reversed(above) if isinstance(item, ast.DoPipeline | ast.Module))
    if not isinstance(loop, ast.DoPipeline) or node.op not in (BinaryOp.ADD, BinaryOp.SUB):
        return False
    counter = node.lhs
    widths = {
        source.value.width
        for phi in loop.phis
        if ast.Name(phi.target) == counter
        for source in phi.sources
        if isinstance(source.value, ast.Zero)
    }
    if node.rhs != ast.Literal(1) or len(widths) != 1:
        return False
    (width,) = widths
    last = 1 << (width - 1)
    compared = {
        part.rhs.value
        for part in _walk(loop.body)
        if isinstance(part, ast.Binary)
        and part.lhs == counter
        and isinstance(part.rhs, ast.Literal)
        and part.op is not node.op
    }
    reads = sum(part == counter for part in _walk(loop.body))
    equalities = sum(
        isinstance(part, ast.Binary) and part.op is BinaryOp.EQUAL and part.lhs == counter
        for part in _walk(loop.body)
    )
    mentioned = equalities + 1 + sum(_keeps(part, counter) for part in _walk(loop.body))
    return compared <= {0, last} and last in compared and (width == 1 or reads == mentioned)


def _keeps(node: Any, counter: Any) -> bool:
    """Tell whether ``node`` is the mux that lets a counter stand still."""
    return isinstance(node, ast.Mux) and node.if_false == counter


def _walk(node: Any) -> Iterator[Any]:
    if isinstance(node, tuple):
        for child in node:
            yield from _walk(child)
    elif dataclasses.is_dataclass(node) and not isinstance(node, type):
        yield node
        for item in dataclasses.fields(node):
            yield from _walk(getattr(node, item.name))


def _decides_between_equals(node: ast.Binary, parent: Any) -> bool:
    """Tell whether ``node`` is an order comparison that chooses between its own two operands.

    ``mux(a > b, a, b)`` gives the same with ``>=``: where they differ, a and b are equal. In a
    clamp the other arm is a second mux that ends in the same value.
    """
    orders = {BinaryOp.LESS, BinaryOp.LESS_EQUAL, BinaryOp.GREATER, BinaryOp.GREATER_EQUAL}
    if node.op not in orders or not isinstance(parent, ast.Mux) or parent.condition is not node:
        return False
    operands = {_plain(node.lhs), _plain(node.rhs)}
    arms = {_plain(parent.if_true), _plain(parent.if_false)}
    return arms == operands


def _plain(node: Any) -> Any:
    """Strip casts; of a mux take the value that it lets through."""
    while isinstance(node, ast.BitCast | ast.Mux):
        node = node.operand if isinstance(node, ast.BitCast) else node.if_false
    return node
