"""Adds integer layers to a graph: sums of exactly the width that the weights need, requantized."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pyahir.ir.builder import GraphBuilder
from pyahir.ir.graph import Loc
from pyahir.ir.ops import Conv2d, Linear, Requantize, SumPool2d
from pyahir.ir.ranges import accumulator_bounds, signed_width
from pyahir.ir.types import Affine, Array
from pyahir.quant.pairs import PairFit
from pyahir.quant.requantize import Fit, fit, fit_average
from pyahir.quant.rules import AveragePool, SourceRule

__all__ = ["Target", "add_accumulator", "add_pairs", "add_requantize", "requantize_by_rule"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The activation that a requantize makes: its quantization and its clamp."""

    quantization: Affine
    quant_min: int = 0
    quant_max: int = 255


def add_accumulator(
    builder: GraphBuilder,
    name: str,
    op: Conv2d | Linear | SumPool2d,
    x: str,
    weight: Array | None,
    loc: Loc,
) -> str:
    """Add ``NAME_acc``: the op on integers, its accumulator as wide as the weights require."""
    low, high = accumulator_bounds(op, builder.types[x], weight)
    op = replace(op, acc_width=signed_width(int(low.min()), int(high.max())))
    operands = [x]
    if weight is not None:
        operands.append(builder.constant(f"{name}_weight", weight))
    return builder.node(f"{name}_acc", op, operands, loc)


def requantize_by_rule(
    builder: GraphBuilder, name: str, acc: str, rule: SourceRule, target: Target, loc: Loc
) -> str:
    """Fit ``rule`` over the accumulators that can occur and add the requantize."""
    node = next(node for node in builder.nodes if node.name == acc)
    constants = {item.name: item.array for item in builder.constants}
    x, *weights = node.inputs
    weight = constants[weights[0]] if weights else None
    low, high = accumulator_bounds(node.op, builder.types[x], weight)
    if isinstance(rule, AveragePool):
        assert isinstance(node.op, SumPool2d)
        taps = node.op.kernel_size[0] * node.op.kernel_size[1]
        found = fit_average(rule, taps, int(low.min()), int(high.max()))
    else:
        found = fit(rule, low, high, target.quant_min, target.quant_max)
    return add_requantize(builder, name, acc, found, target, loc)


def add_requantize(
    builder: GraphBuilder, name: str, acc: str, found: Fit, target: Target, loc: Loc
) -> str:
    """Add ``NAME``: the requantize with the integers of ``found``."""
    op = Requantize(
        shift=found.shift,
        quant_min=target.quant_min,
        quant_max=target.quant_max,
        scale=target.quantization.scale,
        zero_point=target.quantization.zero_point,
        tie_bits=found.tie_bits,
        tie_parity=found.tie_parity,
    )
    operands = [
        acc,
        builder.constant(f"{name}_multiplier", found.multiplier.astype(np.int64)),
        builder.constant(f"{name}_offset", found.offset.astype(np.int64)),
        builder.constant(f"{name}_exceptions", found.exceptions.astype(np.int64)),
    ]
    return builder.node(name, op, operands, loc)


def add_pairs(builder: GraphBuilder, name: str, a: str, b: str, found: PairFit, loc: Loc) -> str:
    """Add ``NAME``: the sum of two activations, with the integers of ``found``."""
    table = builder.constant(f"{name}_exceptions", found.exceptions.astype(np.int64))
    return builder.node(name, found.op, [a, b, table], loc)
