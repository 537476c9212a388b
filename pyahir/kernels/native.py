"""Programs with float types as programs without: arithmetic becomes calls of the kernels.

In: an Aa ``Program`` that the verifier accepts. Out: one in which values of float<5,10> and
float<8,23> are unsigned integers with the same bits; ``+``, ``-``, ``*`` and casts are calls of
kernels, comparisons are integer expressions, all exact as IEEE 754 asks. A program without float
types comes back as it is.
Not here: division, and arithmetic in phis and in combinational statements: each an ``AaError``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import NoReturn, cast

from pyahir.backends.aa import ast
from pyahir.backends.aa import types as ty
from pyahir.backends.aa.ast import BinaryOp, Expr
from pyahir.backends.aa.balance import names_in
from pyahir.backends.aa.build import assign, constant, name, not_, op, slice_, volatile
from pyahir.backends.aa.natural_types import COMPARISONS, scalar_width
from pyahir.backends.aa.scopes import Kind, Scope, build_scopes
from pyahir.backends.aa.typing_rules import Typed, Typing
from pyahir.backends.aa.values import FloatFormat
from pyahir.errors import AaError
from pyahir.kernels import load
from pyahir.kernels.casts import from_float, to_float

__all__ = ["without_floats"]

_FORMATS = {(5, 10): "f16", (8, 23): "f32"}
_KERNELS = {BinaryOp.ADD: "add", BinaryOp.SUB: "add", BinaryOp.MUL: "mul"}


def without_floats(program: ast.Program) -> ast.Program:
    """Replace float types and what is done with them."""
    if not any(isinstance(node, ty.Float) for node in _nodes(program.items)):
        return program
    scopes = build_scopes(program)
    scopes.report.raise_if_any()
    typing, used = Typing(scopes), dict[str, ast.Module]()
    items: list[ast.Item] = []
    for item in program.items:
        if isinstance(item, ast.Module) and item.body is not None:
            writer = _Module(item, scopes.modules[item.name], typing)
            body = writer.statements(item.body, writer.scope)
            item = replace(item, body=())
            items.append(replace(cast("ast.Module", _unfloated(item)), body=body))
            used |= writer.used
        else:
            items.append(cast("ast.Item", _unfloated(item)))
    scopes.report.raise_if_any()
    known = {module.name for module in program.modules()}
    kernels = [used[kernel] for kernel in sorted(used) if kernel not in known]
    return replace(program, items=(*kernels, *items))


def _nodes(node: object) -> Iterator[object]:
    yield node
    if isinstance(node, tuple):
        for item in cast("tuple[object, ...]", node):
            yield from _nodes(item)
    elif is_dataclass(node) and not isinstance(node, type):
        for item in fields(node):
            yield from _nodes(getattr(node, item.name))


def _unfloated(node: object) -> object:
    """Rebuild a node with other types; expressions of a float type must be gone before."""
    if isinstance(node, ty.Float):
        return ty.UInt(scalar_width(node))
    if isinstance(node, ast.Constant) and isinstance(node.value, ast.FloatLiteral):
        value = _pattern(node.value, node.type)
        return replace(node, type=_unfloated(node.type), value=value)  # type: ignore[arg-type]  # a type of numbers
    if isinstance(node, tuple):
        return tuple(_unfloated(item) for item in cast("tuple[object, ...]", node))
    if is_dataclass(node) and not isinstance(node, type):
        changed = {item.name: _unfloated(getattr(node, item.name)) for item in fields(node)}
        kept = {item.name for item in fields(node) if not item.init}
        changed = {key: value for key, value in changed.items() if key not in kept}
        old = {key: getattr(node, key) for key in changed}
        same = all(changed[key] is old[key] or changed[key] == old[key] for key in changed)
        return node if same else replace(node, **changed)
    return node


def _shell(block: ast.Block) -> ast.Block:
    return cast("ast.Block", _unfloated(block))


def _pattern(literal: ast.FloatLiteral, type_: ty.Type) -> ast.Literal:
    assert isinstance(type_, ty.Float)
    assert isinstance(type_.exponent, int)
    assert isinstance(type_.fraction, int)
    bits = FloatFormat(type_.exponent, type_.fraction).pack(literal.value)
    return ast.Literal(bits, ty.UInt(scalar_width(type_)))


def _format(type_: ty.Float, loc: ast.Loc | None) -> str:
    size = (type_.exponent, type_.fraction)
    known = _FORMATS.get(cast("tuple[int, int]", size))
    if known is None:
        _refuse(loc, f"arithmetic of float<{size[0]},{size[1]}>; accepted: <5,10> and <8,23>")
    return known


def _refuse(loc: ast.Loc | None, what: str) -> NoReturn:
    where = "" if loc is None else f"{loc}: "
    raise AaError(f"{where}{what} is not supported by the VHDL back end")


class _Module:
    """Rewrites the statements of one module; ``before`` collects those that one needs first."""

    def __init__(self, module: ast.Module, scope: Scope, typing: Typing) -> None:
        self.scope = scope
        self.typing = typing
        self.used: dict[str, ast.Module] = {}
        self.before: list[ast.Statement] = []
        self.volatile = False
        self.taken = {item.name for item in _nodes(module.body) if isinstance(item, ast.Name)}
        self.count = 0

    def statements(self, body: Sequence[ast.Statement], scope: Scope) -> tuple[ast.Statement, ...]:
        made: list[ast.Statement] = []
        for statement in body:
            self.before = []
            done = self._statement(statement, scope)
            made += [*self.before, done]
        self.before = []
        return tuple(made)

    def _statement(self, statement: ast.Statement, scope: Scope) -> ast.Statement:
        self.volatile = False
        match statement:
            case ast.Assign():
                return self._assign(statement, scope)
            case ast.Call():
                self.volatile = statement.volatile
                given = statement.arguments
                typed = self.typing.arguments(statement, statement.module, given, scope)
                return replace(
                    statement, arguments=tuple(self._expr(part, scope) for part in typed)
                )
            case ast.Block():
                inner = self.statements(statement.body, scope.block(statement))
                return replace(_shell(replace(statement, body=())), body=inner)
            case ast.Join():
                return replace(statement, body=self.statements(statement.body, scope))
            case ast.DoPipeline():
                return self._loop(statement, scope)
            case ast.If():
                bodies = (statement.then_body, statement.else_body)
                then_body, else_body = (self.statements(body, scope) for body in bodies)
                test = self._expr(self.typing.condition(statement.condition, scope), scope)
                return replace(statement, condition=test, then_body=then_body, else_body=else_body)
            case ast.Switch():
                cases = tuple(
                    replace(case, body=self.statements(case.body, scope))
                    for case in statement.cases
                )
                default = self.statements(statement.default, scope)
                selector = self._expr(self.typing.typed(statement.selector, scope, None), scope)
                return replace(statement, selector=selector, cases=cases, default=default)
            case ast.Merge():
                return replace(statement, phis=self._phis(statement.phis, scope))
            case _:
                return statement

    def _loop(self, loop: ast.DoPipeline, scope: Scope) -> ast.DoPipeline:
        """Rewrite a loop; what its condition needs is made at the end of the body."""
        body = self.statements(loop.body, scope)
        phis = self._phis(loop.phis, scope)
        condition = self._expr(self.typing.condition(loop.condition, scope), scope)
        body, self.before = (*body, *self.before), []
        return replace(loop, phis=phis, body=body, condition=condition)

    def _phis(self, phis: Sequence[ast.Phi], scope: Scope) -> tuple[ast.Phi, ...]:
        made: list[ast.Phi] = []
        for phi in phis:
            kind = self.typing.variable_type(scope.symbols[phi.target])
            sources: list[ast.PhiSource] = []
            for source in phi.sources:
                value = self._expr(self.typing.typed(source.value, scope, kind), scope)
                sources.append(replace(source, value=value))
            if self.before:
                _refuse(phi.loc, "float arithmetic in a phi")
            made.append(replace(phi, sources=tuple(sources)))
        return tuple(made)

    def _assign(self, statement: ast.Assign, scope: Scope) -> ast.Statement:
        expected = self.typing.natural(statement.target, scope)
        typed = self.typing.typed(statement.value, scope, expected)
        self.volatile = statement.volatile
        if not any(isinstance(part.type, ty.Float) for part in _parts(typed)):
            return statement
        value = self._expr(typed, scope)
        last = self.before[-1] if self.before else None
        target = statement.target
        alone = isinstance(last, ast.Call) and value == last.results[0]
        if isinstance(last, ast.Call) and alone and statement.guard is None:
            symbol = scope.find(target.name) if isinstance(target, ast.Name) else None
            if symbol is not None and symbol.kind in (Kind.VARIABLE, Kind.OUTPUT):
                self.before.pop()
                return replace(last, results=(cast("ast.Name", target),), loc=statement.loc)
        return replace(statement, value=value)

    # Expressions

    def _expr(self, typed: Typed, scope: Scope) -> Expr:
        node, type_ = typed.node, typed.type
        if isinstance(node, ast.FloatLiteral):
            return ast.BitCast(ty.UInt(scalar_width(type_)), _pattern(node, type_))
        sources = [part.type for part in typed.operands]
        parts = [self._expr(part, scope) for part in typed.operands]
        if isinstance(node, ast.Cast) and ty.Float in (type(sources[0]), type(type_)):
            return self._cast(sources[0], type_, parts[0], node.loc)
        if isinstance(node, ast.Binary) and isinstance(sources[0], ty.Float):
            if node.op in COMPARISONS:
                return self._compared(node, sources[0], parts, scope)
            return self._called(node.op, sources[0], parts, node.loc)
        if isinstance(node, ast.Reduce) and isinstance(type_, ty.Float):
            total = parts[0]
            for part in parts[1:]:
                total = self._called(BinaryOp(node.op.value), type_, [total, part], node.loc)
            return total
        return _rebuilt(node, typed.operands, parts)

    def _called(
        self, operator: BinaryOp, type_: ty.Float, parts: list[Expr], loc: ast.Loc | None
    ) -> Expr:
        what = _KERNELS.get(operator)
        if what is None:
            _refuse(loc, f"the operator '{operator.value}' of float types")
        left, right = parts
        if operator is BinaryOp.SUB:
            width = scalar_width(type_)
            right = op(BinaryOp.XOR, right, constant(1 << (width - 1), ty.UInt(width)))
        return self._kernel(load(f"{_format(type_, loc)}_{what}"), (left, right), loc)

    def _kernel(
        self, kernel: ast.Module, arguments: tuple[Expr, ...], loc: ast.Loc | None
    ) -> ast.Name:
        if self.volatile:
            _refuse(loc, "float arithmetic in a combinational statement")
        self.used[kernel.name] = kernel
        result = name(self._fresh("float"))
        self.before.append(
            ast.Call(module=kernel.name, arguments=arguments, results=(result,), loc=loc)
        )
        return result

    def _cast(self, source: ty.Type, target: ty.Type, part: Expr, loc: ast.Loc | None) -> Expr:
        if source == target:
            return part
        if isinstance(source, ty.Float) and isinstance(target, ty.Float):
            kernel = load(f"{_format(source, loc)}_to_{_format(target, loc)}")
            return self._kernel(kernel, (part,), loc)
        if isinstance(source, ty.UInt | ty.Int):
            assert isinstance(target, ty.Float)
            sign = "int" if isinstance(source, ty.Int) else "uint"
            title = f"{sign}{scalar_width(source)}_to_{_format(target, loc)}"
            return self._kernel(to_float(title, source, target), (part,), loc)
        assert isinstance(source, ty.Float)
        width = scalar_width(target)
        kernel = from_float(f"{_format(source, loc)}_to_bits{width}", source, width)
        bits = self._kernel(kernel, (part,), loc)
        return ast.BitCast(ty.Int(width), bits) if isinstance(target, ty.Int) else bits

    def _compared(self, node: ast.Binary, type_: ty.Float, parts: list[Expr], scope: Scope) -> Expr:
        """Compare as integers: NaN is unordered, both zeros are equal, negative ones go down."""
        width = scalar_width(type_)
        top = ((1 << cast("int", type_.exponent)) - 1) << cast("int", type_.fraction)
        sides = [self._side(part, scope) for part in parts]
        sizes = [self._let(slice_(side, width - 2, 0)) for side in sides]
        nans = [op(BinaryOp.GREATER, name(size), ast.Literal(top)) for size in sizes]
        unordered = self._let(op(BinaryOp.OR, nans[0], nans[1]))
        if node.op is BinaryOp.UNORDERED:
            return name(unordered)
        either = self._let(op(BinaryOp.OR, name(sizes[0]), name(sizes[1])))
        zeros = self._let(op(BinaryOp.EQUAL, name(either), ast.Literal(0)))
        same = op(BinaryOp.EQUAL, name(sides[0]), name(sides[1]))
        equal = op(BinaryOp.OR, same, name(zeros))
        ordered = not_(unordered)
        if node.op is BinaryOp.EQUAL:
            return op(BinaryOp.AND, equal, ordered)
        if node.op is BinaryOp.NOT_EQUAL:
            return ast.Unary(ast.UnaryOp.INVERT, op(BinaryOp.AND, equal, ordered))
        if node.op in (BinaryOp.GREATER, BinaryOp.GREATER_EQUAL):
            sides.reverse()
        keys = [self._key(side, width) for side in sides]
        below = op(BinaryOp.LESS, name(keys[0]), name(keys[1]))
        less = op(BinaryOp.AND, below, not_(zeros))
        if node.op in (BinaryOp.LESS_EQUAL, BinaryOp.GREATER_EQUAL):
            less = op(BinaryOp.OR, less, equal)
        return op(BinaryOp.AND, less, ordered)

    def _key(self, side: str, width: int) -> str:
        """Give an unsigned number that grows with the float."""
        mark = constant(1 << (width - 1), ty.UInt(width))
        negative = self._let(slice_(side, width - 1, width - 1))
        return self._let(ast.Mux(name(negative), not_(side), op(BinaryOp.OR, name(side), mark)))

    def _side(self, part: Expr, scope: Scope) -> str:
        """Give an operand a name; what is read from a pipe or storage is read once."""
        symbols = [scope.find(item.name) for item in names_in(part)]
        if any(item is not None and item.kind in (Kind.PIPE, Kind.STORAGE) for item in symbols):
            made = self._fresh("float")
            self.before.append(assign(made, part))
            return made
        return part.name if isinstance(part, ast.Name) else self._let(part)

    def _let(self, value: Expr) -> str:
        made = self._fresh("float")
        self.before.append(volatile(made, value))
        return made

    def _fresh(self, stem: str) -> str:
        while f"{stem}_{self.count}" in self.taken:
            self.count += 1
        self.count += 1
        return f"{stem}_{self.count - 1}"


def _parts(typed: Typed) -> Iterator[Typed]:
    yield typed
    for part in typed.operands:
        yield from _parts(part)


def _rebuilt(node: Expr, operands: Sequence[Typed], parts: Sequence[Expr]) -> Expr:
    """Put rewritten operands in the places of the old ones, and change types."""
    table = {id(old.node): new for old, new in zip(operands, parts, strict=True)}

    def walk(item: object) -> object:
        if id(item) in table:
            return table[id(item)]
        if isinstance(item, tuple):
            return tuple(walk(part) for part in cast("tuple[object, ...]", item))
        if isinstance(item, ast.MuxCase):
            return replace(item, condition=walk(item.condition), value=walk(item.value))  # type: ignore[arg-type]  # expressions both
        return _unfloated(item)

    changed = {item.name: walk(getattr(node, item.name)) for item in fields(node) if item.init}
    return replace(node, **changed)
