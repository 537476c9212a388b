"""Text to graph: the inverse of ``ir.printer``. Syntax errors show line, column and a caret."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files

import numpy as np
from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedInput, UnexpectedToken

from pyahir.errors import PyahirError
from pyahir.ir import ops
from pyahir.ir.graph import Constant, Graph, Input, Loc, Node, Stage
from pyahir.ir.printer import storable, storage_dtype
from pyahir.ir.types import (
    Affine,
    ArrayData,
    Element,
    Layout,
    PowerOfTwo,
    Quantization,
    TensorType,
    element_of,
)

__all__ = ["IrSyntaxError", "parse"]


class IrSyntaxError(PyahirError):
    """IR text that does not follow ``docs/ir.md``.

    Cause: an edited or truncated file. Example: ``net.ir:3:7: unexpected '='``. Fix: as it says.
    """


@cache
def _lark() -> Lark:
    text = files("pyahir.ir").joinpath("ir.lark").read_text(encoding="utf-8")
    return Lark(text, parser="lalr", propagate_positions=True)


def parse(text: str, file: str = "<text>") -> Graph:
    """Parse IR text; the graph is not verified."""
    try:
        tree = _lark().parse(text)  # pyright: ignore[reportUnknownMemberType]  # lark has no full types
    except UnexpectedInput as error:
        raise IrSyntaxError(_syntax_message(text, file, error)) from None
    return _Builder(file).graph(tree)


def _syntax_message(text: str, file: str, error: UnexpectedInput) -> str:
    lines = text.splitlines() or [""]
    if isinstance(error, UnexpectedToken) and error.token == "":  # pyright: ignore[reportUnknownMemberType]  # lark has no full types
        column = len(lines[-1]) + 1
        where = f"{file}:{len(lines)}:{column}"
        return f"{where}: unexpected end of the text\n  {lines[-1]}\n  {' ' * (column - 1)}^"
    line = error.line if error.line > 0 else len(lines)
    column = max(error.column, 1)
    source = lines[min(line, len(lines)) - 1]
    found = source[column - 1 : column] or "the end of the line"
    return f"{file}:{line}:{column}: unexpected {found!r}\n  {source}\n  {' ' * (column - 1)}^"


OPS = {op.mnemonic(): op for op in ops.ALL}


class _Builder:
    """Turns the parse tree of one file into a graph."""

    def __init__(self, file: str) -> None:
        self.file = file

    def fail(self, at: Tree[Token] | Token, message: str) -> IrSyntaxError:
        meta = at if isinstance(at, Token) else at.meta
        return IrSyntaxError(f"{self.file}:{meta.line}:{meta.column}: {message}")

    def graph(self, tree: Tree[Token]) -> Graph:
        name, stage = (str(item) for item in tree.children[:2])
        if stage not in {item.value for item in Stage}:
            raise self.fail(tree.children[1], f"no stage {stage!r}; accepted: float, quantized")
        groups: dict[str, list[Tree[Token]]] = {"input": [], "const": [], "node": [], "output": []}
        for child in tree.children[2:]:
            assert isinstance(child, Tree)
            groups[child.data].append(child)
        return Graph(
            name=name,
            stage=Stage(stage),
            inputs=tuple(
                Input(name=str(item.children[0]), type=self.type(item.children[1]))
                for item in groups["input"]
            ),
            constants=tuple(self.constant(item) for item in groups["const"]),
            nodes=tuple(self.node(item) for item in groups["node"]),
            outputs=tuple(str(item.children[0]) for item in groups["output"]),
        )

    def constant(self, tree: Tree[Token]) -> Constant:
        name, kind_tree, data = tree.children
        kind = self.type(kind_tree)
        if not storable(kind.element):
            raise self.fail(
                tree, f"no constants of {kind.element}; accepted: f32, f16, iN, uN, posit8_N"
            )
        try:
            raw = bytes.fromhex(json.loads(str(data)))
        except ValueError:
            raise self.fail(tree, "the data is not hexadecimal, two digits a byte") from None
        dtype = np.dtype(storage_dtype(kind))
        if len(raw) != dtype.itemsize * kind.size:
            raise self.fail(tree, f"{len(raw)} bytes for {kind}")
        array = np.frombuffer(raw, dtype=dtype).reshape(kind.shape)
        return Constant(name=str(name), type=kind, data=ArrayData(array))

    def node(self, tree: Tree[Token]) -> Node:
        name, kind, mnemonic, *rest = tree.children
        if str(mnemonic) not in OPS:
            raise self.fail(tree, f"no op {str(mnemonic)!r}; accepted: {', '.join(sorted(OPS))}")
        parts = [item for item in rest if isinstance(item, Tree)]
        operands = tuple(str(item.children[0]) for item in parts if item.data == "operand")
        given: dict[str, object] = {}
        loc = Loc()
        for part in parts:
            if part.data == "attributes":
                given = dict(self.attribute(item) for item in part.children)
            if part.data == "loc":
                file, line, path = part.children
                loc = Loc(
                    file=json.loads(str(file)), line=int(str(line)), path=json.loads(str(path))
                )
        try:
            op = OPS[str(mnemonic)](**given)
        except (TypeError, ValueError) as error:
            raise self.fail(tree, f"{mnemonic}: {error}") from None
        return Node(name=str(name), op=op, inputs=operands, type=self.type(kind), loc=loc)

    def attribute(self, tree: Tree[Token] | Token) -> tuple[str, object]:
        assert isinstance(tree, Tree)
        name, value = tree.children
        return str(name), self.value(value)

    def value(self, tree: Tree[Token] | Token) -> object:
        assert isinstance(tree, Tree)
        match tree.data:
            case "list":
                return tuple(self.value(item) for item in tree.children)
            case "string":
                return json.loads(str(tree.children[0]))
            case "true":
                return True
            case "false":
                return False
            case "inf":
                return float("inf")
            case "minus_inf":
                return float("-inf")
            case _:
                text = str(tree.children[0])
                return float(text) if re.search(r"[.eE]", text) else int(text)

    def type(self, tree: Tree[Token] | Token) -> TensorType:
        assert isinstance(tree, Tree)
        try:
            return self.checked_type(tree)
        except ValueError as error:
            raise self.fail(tree, str(error)) from None

    def checked_type(self, tree: Tree[Token]) -> TensorType:
        shape, element, *rest = tree.children
        layout = Layout.PLAIN
        quantization: Quantization | None = None
        for part in rest:
            if isinstance(part, Tree) and part.data == "layout":
                layout = self.layout(part)
            if isinstance(part, Tree) and part.data == "affine":
                scale, zero_point = part.children
                whole = self.integer(part, zero_point, "zero point")
                quantization = Affine(scale=float(str(scale)), zero_point=whole)
            if isinstance(part, Tree) and part.data == "pow2":
                exponent = self.integer(part, part.children[0], "exponent")
                quantization = PowerOfTwo(exponent=exponent)
        sizes = tuple(int(size) for size in str(shape).split("x") if size != "scalar")
        return TensorType(
            shape=sizes,
            element=self.element(tree, str(element)),
            layout=layout,
            quantization=quantization,
        )

    def integer(self, tree: Tree[Token], token: Tree[Token] | Token, what: str) -> int:
        if not re.fullmatch(r"[+-]?\d+", str(token)):
            raise self.fail(tree, f"the {what} is an integer, not {token}")
        return int(str(token))

    def layout(self, tree: Tree[Token]) -> Layout:
        text = str(tree.children[0])
        if text not in {item.value for item in Layout}:
            raise self.fail(tree, f"no layout {text!r}; accepted: nchw, nhwc, nc, plain")
        return Layout(text)

    def element(self, tree: Tree[Token], text: str) -> Element:
        found = element_of(text)
        if found is not None:
            return found
        raise self.fail(
            tree, f"no element type {text!r}; accepted: f32, f16, iN, uN, posit8_N, bipolar"
        )
