"""Runs a TorchScript module node by node, on real values, and records its tensor operations.

Control flow and scalars are Python's; tensors go through ``torch.ops``, so the values are torch's
own. Nothing is inlined: every record knows the module that it belongs to and the user's line.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

from pyahir.frontend.locate import of_script
from pyahir.frontend.scalars import SCALARS
from pyahir.ir.graph import Loc

__all__ = ["Record", "Script", "WalkError", "walk"]

Scope = dict[str, Any]
Before = Callable[[str, Sequence[Any]], None]
SCALE_ARGUMENTS = ("output_scale", "Y_scale_i", "scale")


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A loaded module with the functions it calls (``torch.jit.load`` forgets them)."""

    module: Any
    unit: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One tensor operation that was run."""

    op: str
    arguments: dict[str, Any]
    results: tuple[Any, ...]
    loc: Loc
    layer: bool


class WalkError(Exception):
    """The module cannot be run: an operation failed; ``loc`` says which."""

    def __init__(self, loc: Loc, message: str) -> None:
        super().__init__(message)
        self.loc = loc


@dataclass(frozen=True, slots=True)
class _Module:
    """A submodule as a value of the interpreted program, with its path."""

    script: Any
    path: str


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a node is: its module and the source ranges of the calls that led to it."""

    module: _Module
    ranges: tuple[str, ...]

    def enter(self, node: Any) -> tuple[str, ...]:
        return (node.sourceRange(), *self.ranges)

    def loc(self, node: Any) -> Loc:
        return of_script(self.enter(node), self.path)

    @property
    def path(self) -> str:
        """The path of the layer: a linear keeps its parameters in a child of its own."""
        return self.module.path.removesuffix("._packed_params")

    @property
    def layer(self) -> bool:
        name = self.module.script._c._type().qualified_name()
        return name.startswith("__torch__.torch.")


def walk(script: Script, x: torch.Tensor, before: Before | None = None) -> tuple[Any, list[Record]]:
    """Run ``forward`` on ``x``; give its result and the records. ``before`` sees each operation."""
    walker = _Walker(script.unit, before)
    root = _Module(script.module, "")
    result = walker.graph(script.module._c._get_method("forward").graph, [root, x], root, ())
    return result, walker.records


class _Walker:
    def __init__(self, unit: Any, before: Before | None) -> None:
        self.unit = unit
        self.before = before
        self.records: list[Record] = []

    def graph(
        self, graph: Any, arguments: Sequence[Any], module: _Module, ranges: tuple[str, ...]
    ) -> Any:
        names = [item.debugName() for item in graph.inputs()]
        scope: Scope = dict(zip(names, arguments, strict=False))  # the rest has defaults: None
        scope |= dict.fromkeys(names[len(arguments) :])
        self.block(graph, scope, _Place(module, ranges))
        results = [scope[item.debugName()] for item in graph.outputs()]
        return results[0] if len(results) == 1 else tuple(results)

    def block(self, block: Any, scope: Scope, place: _Place) -> list[Any]:
        for node in block.nodes():
            results = self.node(node, scope, place)
            names = [item.debugName() for item in node.outputs()]
            scope.update(zip(names, results, strict=True))
        return [scope[item.debugName()] for item in block.outputs()]

    def node(self, node: Any, scope: Scope, place: _Place) -> Sequence[Any]:
        """Run one node; give its results."""
        kind = node.kind()
        operands = [scope[item.debugName()] for item in node.inputs()]
        simple = _SIMPLE.get(kind)
        if simple is not None:
            return simple(node, operands)
        flow = _FLOW.get(kind)
        if flow is not None:
            return flow(self, node, operands, scope, place)
        if kind in SCALARS and not _on_tensors(node, operands):
            result = SCALARS[kind](*operands)
            return [result] if node.outputsSize() else []
        return self.operation(node, operands, place)

    def operation(self, node: Any, operands: list[Any], place: _Place) -> Sequence[Any]:
        """Run a tensor operation through torch and record it."""
        kind, loc = node.kind(), place.loc(node)
        if node.schema() == "(no schema)":
            raise WalkError(loc, f"{kind} cannot be interpreted")
        overload, schema = _resolve(node.schema())
        arguments = dict(zip((item.name for item in schema.arguments), operands, strict=False))
        _check_scales(loc, kind, arguments)
        if self.before is not None:
            self.before(kind, operands)
        by_position, by_name = _bind(schema, operands)
        if kind.endswith("_") and isinstance(operands[0], torch.Tensor):
            by_position[0] = operands[0].clone()  # keep the recorded operand as it was
        try:
            result = overload(*by_position, **by_name)
        except RuntimeError as error:
            raise WalkError(loc, f"{kind} failed: {str(error).splitlines()[0]}") from error
        count = node.outputsSize()
        results = () if not count else (result,) if count == 1 else tuple(result)
        if any(isinstance(item, torch.Tensor) for item in results):
            record = Record(
                op=kind, arguments=arguments, results=results, loc=loc, layer=place.layer
            )
            self.records.append(record)
        return results

    def call_method(
        self, node: Any, operands: list[Any], scope: Scope, place: _Place
    ) -> Sequence[Any]:
        target = operands[0]
        graph = target.script._c._get_method(node.s("name")).graph
        return [self.graph(graph, operands, target, place.enter(node))]

    def call_function(
        self, node: Any, operands: list[Any], scope: Scope, place: _Place
    ) -> Sequence[Any]:
        graph = self.unit.find_function(operands[0]).graph
        return [self.graph(graph, operands[1:], place.module, place.enter(node))]

    def branch(self, node: Any, operands: list[Any], scope: Scope, place: _Place) -> Sequence[Any]:
        chosen = list(node.blocks())[0 if bool(operands[0]) else 1]
        return self.block(chosen, scope, place)

    def loop(self, node: Any, operands: list[Any], scope: Scope, place: _Place) -> Sequence[Any]:
        body = next(iter(node.blocks()))
        names = [item.debugName() for item in body.inputs()]
        most, going, *carried = operands
        index = 0
        while index < most and bool(going):
            scope.update(zip(names, [index, *carried], strict=True))
            going, *carried = self.block(body, scope, place)
            index += 1
        return carried

    def fail(self, node: Any, operands: list[Any], scope: Scope, place: _Place) -> Sequence[Any]:
        raise WalkError(place.loc(node), f"the model raises: {operands[0]}")


def _constant(node: Any, _: list[Any]) -> Sequence[Any]:
    kind = node.output().type().kind()
    if kind == "FunctionType":
        return [node.output().type().annotation_str]  # the name by which the unit finds it
    return [node.output().toIValue() if node.hasAttribute("value") else None]


def _get_attribute(node: Any, operands: list[Any]) -> Sequence[Any]:
    owner, name = operands[0], node.s("name")
    found = getattr(owner.script, name)
    if not isinstance(found, torch.jit.ScriptModule):
        return [found]
    return [_Module(found, f"{owner.path}.{name}" if owner.path else name)]


def _resolve_text(schema: str) -> tuple[Any, Any]:
    parsed = torch._C.parse_schema(schema)
    space, name = parsed.name.split("::")
    packet = getattr(getattr(torch.ops, space), name)
    return getattr(packet, parsed.overload_name or "default"), parsed


_resolve = lru_cache(maxsize=None)(_resolve_text)


def _bind(schema: Any, operands: list[Any]) -> tuple[list[Any], dict[str, Any]]:
    """Split operands, in schema order, into those by position and those after the ``*``."""
    by_position: list[Any] = []
    by_name: dict[str, Any] = {}
    for operand, argument in zip(operands, schema.arguments, strict=False):
        if argument.kwarg_only:
            by_name[argument.name] = operand
        else:
            by_position.append(operand)
    return by_position, by_name


def _check_scales(loc: Loc, kind: str, arguments: dict[str, Any]) -> None:
    for name in SCALE_ARGUMENTS:
        scale = arguments.get(name)
        if isinstance(scale, torch.Tensor):
            scale = scale.item() if scale.numel() == 1 else None
        if isinstance(scale, float) and not (math.isfinite(scale) and scale > 0):
            raise WalkError(
                loc,
                f"the output scale is {scale}; it has to be positive and finite: "
                "calibrate the model again",
            )


def _on_tensors(node: Any, operands: list[Any]) -> bool:
    """Tell whether an operation with a scalar form is here on tensors."""
    if not any(isinstance(item, torch.Tensor) for item in operands):
        return False
    return any(str(item.type()) == "Tensor" for item in node.outputs())


_SIMPLE: dict[str, Callable[[Any, list[Any]], Sequence[Any]]] = {
    "prim::Constant": _constant,
    "prim::DictConstruct": lambda _, items: [dict(zip(items[::2], items[1::2], strict=True))],
    "prim::GetAttr": _get_attribute,
    "prim::ListConstruct": lambda _, items: [list(items)],
    "prim::ListUnpack": lambda _, items: items[0],
    "prim::TupleConstruct": lambda _, items: [tuple(items)],
    "prim::TupleIndex": lambda _, items: [items[0][items[1]]],
    "prim::TupleUnpack": lambda _, items: items[0],
    "prim::Uninitialized": lambda _node, _items: [None],
}

_FLOW: dict[str, Callable[[_Walker, Any, list[Any], Scope, _Place], Sequence[Any]]] = {
    "prim::CallFunction": _Walker.call_function,
    "prim::CallMethod": _Walker.call_method,
    "prim::If": _Walker.branch,
    "prim::Loop": _Walker.loop,
    "prim::RaiseException": _Walker.fail,
}
