"""Builds the graph call by call: names, problems, and the states of operands.

Problems are collected and raised together in ``finish``, so that a user sees all of them at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np

from pyahir.errors import ImportModelError
from pyahir.frontend.calls import Call, Failed, State, Unsupported, Value
from pyahir.ir.builder import GraphBuilder
from pyahir.ir.graph import Graph, Loc, Stage, legal_name, unique_name
from pyahir.ir.ops import AvgPool2d, Conv2d, Flatten, InferError, Linear, Op, SumPool2d
from pyahir.ir.types import Affine, Array, Int, Layout, TensorType
from pyahir.ir.verify import verify
from pyahir.quant.add_rules import AddRule
from pyahir.quant.integer import Target, add_accumulator, add_pairs, requantize_by_rule
from pyahir.quant.pairs import fit_pairs
from pyahir.quant.rules import SourceRule

__all__ = ["ImportContext", "activation_type", "report"]

Rule = Callable[["ImportContext", Call], State]


def activation_type(shape: Sequence[int], quantization: Affine) -> TensorType:
    """Give the type of uint8 codes for a torch shape (C, H, W) or (I,), without the batch."""
    if len(shape) not in (1, 3):
        raise Unsupported(
            f"an input of shape {'x'.join(map(str, shape))}; a model takes CxHxW or a vector"
        )
    full = (1, *shape) if len(shape) == 1 else (1, *shape[1:], shape[0])
    layout = Layout.NC if len(shape) == 1 else Layout.NHWC
    element = Int(8, signed=False)
    return TensorType(shape=full, element=element, layout=layout, quantization=quantization)


def report(origin: str, problems: Sequence[str]) -> ImportModelError:
    """Make one error of all problems; each begins with its place in the model."""
    if len(problems) == 1:
        return ImportModelError(f"{origin}: {problems[0]}")
    lines = "\n".join(f"  {problem}" for problem in problems)
    return ImportModelError(f"{origin}: {len(problems)} problems\n{lines}")


class ImportContext:
    """The graph so far, and what import rules need: ``emit``, names, types.

    ``engine`` says whose arithmetic the model runs: fbgemm, qnnpack, pt2e or float.
    """

    def __init__(self, name: str, origin: str, engine: str, calls: Iterable[Call]) -> None:
        stage = Stage.FLOAT if engine == "float" else Stage.QUANTIZED
        self.origin = origin
        self.engine = engine
        self.builder = GraphBuilder(name, stage)
        self.sources: dict[str, int | str] = {}
        self.problems: list[str] = []
        self.notes: list[str] = []
        self._reserved = self._layer_names(calls)

    def _layer_names(self, calls: Iterable[Call]) -> set[str]:
        paths: dict[str, str] = {}
        for call in calls:
            if not (call.layer and call.loc.path):
                continue
            name = legal_name(call.loc.path)
            other = paths.setdefault(name, call.loc.path)
            if other != call.loc.path:
                raise ImportModelError(
                    f"{self.origin}: the layers {other!r} and {call.loc.path!r} would both be "
                    f"named {name!r} in hardware, where case and dots do not count; rename one"
                )
        return set(paths)

    def run(self, rule: Rule, call: Call) -> State:
        """Apply a rule; what it cannot do becomes a problem and a ``Failed``."""
        if any(isinstance(item, Failed) for item in call.arguments.values()):
            return Failed()
        try:
            state = rule(self, call)
        except (Unsupported, InferError, ValueError) as error:
            self.problem(call.loc, str(error))
            return Failed()
        return state

    def problem(self, loc: Loc, text: str) -> None:
        place = str(loc)
        line = f"{place}: {text}" if place else text
        if line not in self.problems:
            self.problems.append(line)

    def name(self, call: Call) -> str:
        """Name the result of ``call``: by its layer's path, or by its operation."""
        if call.layer and call.loc.path:
            return legal_name(call.loc.path)
        path = f"{call.loc.path}.{call.short}" if call.loc.path else call.short
        return unique_name(legal_name(path), self._reserved | self.builder.types.keys())

    def type(self, value: Value) -> TensorType:
        return self.builder.types[value.name]

    def input(self, call: Call, kind: TensorType, scale: float = 0.0) -> Value:
        """Add the graph's only input."""
        if self.builder.inputs:
            raise Unsupported("a second input is not supported; a model takes one tensor")
        name = self.builder.input(unique_name("x", self._reserved), kind)
        return self._made(call, name, scale)

    def emit(self, call: Call, op: Op, x: Value, *constants: tuple[str, Array]) -> Value:
        """Add a node; each constant is (suffix, array). The result keeps the scale of ``x``."""
        name = self.name(call)
        operands = [self.builder.constant(f"{name}_{tail}", data) for tail, data in constants]
        made = self.builder.node(name, op, [x.name, *operands], call.loc)
        return self._made(call, made, x.scale)

    def integer_layer(
        self,
        call: Call,
        op: Conv2d | Linear | SumPool2d,
        x: Value,
        weight: Array | None,
        rule: SourceRule,
        target: Target,
        scale: float,
    ) -> Value:
        """Add an accumulator and its requantize; ``scale`` is the result's in full precision."""
        name = self.name(call)
        acc = add_accumulator(self.builder, name, op, x.name, weight, call.loc)
        made = requantize_by_rule(self.builder, name, acc, rule, target, call.loc)
        return self._made(call, made, scale)

    def flat_average(self, call: Call, op: AvgPool2d, x: Value) -> Value:
        """Add an average of whole maps and its vector, which alone has a source."""
        name = self.name(call)
        mean = self.builder.node(f"{name}_map", op, [x.name], call.loc)
        return self._made(call, self.builder.node(name, Flatten(), [mean], call.loc), x.scale)

    def float_join(self, call: Call, op: Op, a: Value, b: Value) -> Value:
        """Add a node of two values in float."""
        made = self.builder.node(self.name(call), op, [a.name, b.name], call.loc)
        return self._made(call, made, 0.0)

    def integer_join(
        self, call: Call, a: Value, b: Value, rule: AddRule, target: Target, scale: float
    ) -> Value:
        """Add a sum of two activations by ``rule``; ``scale`` is the result's in full precision."""
        found = fit_pairs(rule, target.quant_min, target.quant_max)
        made = add_pairs(self.builder, self.name(call), a.name, b.name, found, call.loc)
        return self._made(call, made, scale)

    def _made(self, call: Call, name: str, scale: float) -> Value:
        self.sources[name] = call.source
        return Value(name=name, scale=scale)

    def finish(self, outputs: Sequence[Value]) -> Graph:
        """Raise all problems at once, or give the verified graph."""
        if self.problems:
            raise report(self.origin, self.problems)
        if not outputs:
            raise ImportModelError(f"{self.origin}: the model has no output that depends on x")
        return verify(self.builder.finish([item.name for item in outputs]), after="import")


def target(scale: float, zero_point: int, relu: bool) -> Target:
    """Describe a uint8 activation; a fused ReLU clamps at the zero point."""
    quantization = Affine(scale=float(np.float32(scale)), zero_point=zero_point)
    return Target(quantization=quantization, quant_min=zero_point if relu else 0)


def without_layer(call: Call) -> Call:
    """Give ``call`` as an operation that is named by itself."""
    return replace(call, layer=False)
