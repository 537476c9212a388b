"""Graph to text. The grammar is in ``ir.lark`` and on one page in ``docs/ir.md``."""

from __future__ import annotations

import json

from pyahir.ir.graph import Constant, Graph, Loc, Node
from pyahir.ir.ops import Op
from pyahir.ir.types import Bipolar, Element, Float16, Float32, Int, Posit, TensorType

__all__ = ["node_text", "storable", "storage_dtype", "to_text"]


def storable(element: Element) -> bool:
    """Tell whether there are constants of ``element``."""
    match element:
        case Int():
            return element.width <= 64
        case Posit():
            return element.width <= 8
        case _:
            return True


def storage_dtype(kind: TensorType) -> str:
    """Name the little-endian NumPy type in which a constant of ``kind`` is written."""
    if isinstance(kind.element, Float32):
        return "<f4"
    if isinstance(kind.element, Float16):
        return "<f2"
    if isinstance(kind.element, Posit | Bipolar):
        return "<u1"
    assert isinstance(kind.element, Int), f"no constants of {kind.element}"
    size = next(size for size in (1, 2, 4, 8) if size * 8 >= kind.element.width)
    return f"<{'i' if kind.element.signed else 'u'}{size}"


def to_text(graph: Graph, *, elide: bool = False) -> str:
    """Print a graph. With ``elide`` a constant shows its hash only: no text to parse."""
    body = [f"input %{item.name}: {item.type}" for item in graph.inputs]
    body += [_constant(item, elide) for item in graph.constants]
    body += [node_text(graph, node) for node in graph.nodes]
    body += [f"output %{name}" for name in graph.outputs]
    lines = "".join(f"  {line}\n" for line in body)
    return f"graph {graph.name} {graph.stage.value} {{\n{lines}}}\n"


def node_text(graph: Graph, node: Node) -> str:
    """Print one node as it stands in the text of ``graph``."""
    constants = {item.name for item in graph.constants}
    operands = ", ".join(f"{'@' if name in constants else '%'}{name}" for name in node.inputs)
    words = [f"%{node.name}: {node.type} = {node.op.mnemonic()}({operands})"]
    words += [part for part in (_attributes(node.op), _loc(node.loc)) if part]
    return " ".join(words)


def _attributes(op: Op) -> str:
    items = [f"{name} = {_attribute(value)}" for name, value in op.attributes().items()]
    return f"{{{', '.join(items)}}}" if items else ""


def _attribute(value: object) -> str:
    match value:
        case tuple():
            return f"[{', '.join(_attribute(item) for item in value)}]"  # type: ignore[misc]  # elements are checked by the recursive call
        case bool():
            return str(value).lower()
        case int() | float():
            return repr(value)
        case str():
            return json.dumps(value)
        case _:
            raise AssertionError(f"no text for an attribute of type {type(value).__name__}")


def _loc(loc: Loc) -> str:
    if loc == Loc():
        return ""
    return f"loc({json.dumps(loc.file)}:{loc.line}, {json.dumps(loc.path)})"


def _constant(item: Constant, elide: bool) -> str:
    if elide:
        return f"const @{item.name}: {item.type} = sha256 {item.data.digest[:16]}"
    data = item.array.astype(storage_dtype(item.type)).tobytes().hex()
    return f'const @{item.name}: {item.type} = hex "{data}"'
