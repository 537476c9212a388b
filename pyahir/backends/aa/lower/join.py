"""Two streams that are added, element by element."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pyahir.backends.aa import ast
from pyahir.backends.aa.ast import BinaryOp, Expr
from pyahir.backends.aa.build import (
    Loop,
    assign,
    concat,
    constant,
    lane,
    name,
    op,
    operator,
    resize_signed,
    uint,
    volatile,
)
from pyahir.backends.aa.lower.arithmetic import Floats
from pyahir.backends.aa.lower.decode import decoded, decoded_floats
from pyahir.backends.aa.lower.finish import finish_operator
from pyahir.backends.aa.lower.process import Emitter, Stream
from pyahir.backends.aa.lower.rescale import clamped, shifted
from pyahir.backends.aa.types import Int
from pyahir.ir.ops import QuantizedAdd
from pyahir.ir.types import Posit, PowerOfTwo, TensorType
from pyahir.plan.addition import Addition
from pyahir.plan.layers import Rescale
from pyahir.plan.plan import PlannedLayer
from pyahir.plan.rounding import fixed_width

__all__ = ["join"]


def join(
    emitter: Emitter, planned: PlannedLayer, given: Sequence[Stream], out: Stream, note: str
) -> None:
    """Add the process: words of both streams have the lanes of the result."""
    layer, tag = planned.layer, planned.name
    assert layer.addition is not None
    loop = Loop()
    for target, stream in zip("ab", given, strict=True):
        loop.set(target, name(stream.pipe))
    if layer.rounding is None:
        module = emitter.operator(_add_operator(f"ad_{tag}", layer.addition, note))
        parts = [
            _called(loop, module, (lane("a", n, 8), lane("b", n, 8)), f"y_{n}")
            for n in range(out.lanes)
        ]
    elif layer.rounding.arith == "quire":
        parts = _exact(emitter, loop, planned, out.lanes, note)
    else:
        parts = _floats(emitter, loop, planned, out.lanes)
    loop.let("yw", concat(parts))
    loop.set(out.pipe, name("yw"))
    emitter.process(f"jo_{tag}", loop, comment=note)


def _called(loop: Loop, module: str, arguments: tuple[Expr, ...], target: str) -> Expr:
    loop.body.append(ast.Call(module=module, arguments=arguments, results=(name(target),)))
    return name(target)


def _add_operator(module: str, addition: Addition, note: str) -> ast.Module:
    """Write ``QuantizedAdd`` for one pair of codes, (a, b) -> y."""
    added = addition.op
    assert isinstance(added, QuantizedAdd)
    wide = Int(addition.width)
    body: list[ast.Statement] = []
    for source, factor in zip("ab", added.multipliers, strict=True):
        value = ast.BitCast(wide, name(source))
        body.append(volatile(f"{source}w", value))
        product = op(BinaryOp.MUL, name(f"{source}w"), constant(factor, wide))
        body.append(assign(f"{source}p", product))
    total = "t" if added.away else "u"
    terms = (name("ap"), name("bp"), constant(added.offset, wide))
    body.append(assign(total, ast.Reduce(ast.ReduceOp.ADD, terms)))
    if added.away:
        half = (added.zero_point << added.shift) + (1 << added.shift >> 1)
        below = op(BinaryOp.LESS, name("t"), constant(half, wide))
        body.append(volatile("below", below))
        one = ast.Mux(name("below"), constant(1, wide), constant(0, wide))
        body += [volatile("one", one), assign("u", op(BinaryOp.SUB, name("t"), name("one")))]
    rule = _rule(added)
    body += shifted(rule, addition.width)
    code = clamped("v", Int(addition.width - added.shift), rule)
    rows = addition.exceptions.tolist()
    if not rows:
        body.append(assign("y", code))
    else:
        body.append(assign("c", code))
        terms_of_code: list[Expr] = [name("c")]
        for number, (a, b, d) in enumerate(rows):
            first = op(BinaryOp.EQUAL, name("a"), ast.Literal(a))
            second = op(BinaryOp.EQUAL, name("b"), ast.Literal(b))
            body.append(volatile(f"h_{number}", op(BinaryOp.AND, first, second)))
            chosen = ast.Mux(name(f"h_{number}"), constant(d & 0xFF, uint(8)), ast.Zero(8))
            body.append(assign(f"x_{number}", chosen))
            terms_of_code.append(name(f"x_{number}"))
        body.append(assign("y", ast.Reduce(ast.ReduceOp.ADD, tuple(terms_of_code))))
    inputs = [("a", uint(8)), ("b", uint(8))]
    return operator(module, inputs, [("y", uint(8))], body, f"sum of two codes, {note}")


def _rule(added: QuantizedAdd) -> Rescale:
    """Give the shift, ties and limits in the form that a requantizer has."""
    none = np.zeros(0, np.int64)
    return Rescale(
        multiplier=none,
        offset=none,
        shift=added.shift,
        quant_min=added.quant_min,
        quant_max=added.quant_max,
        exceptions=np.zeros((0, 3), np.int64),
        low=0,
        high=0,
        tie_bits=added.tie_bits,
        tie_parity=added.tie_parity,
    )


def _exponents(planned: PlannedLayer) -> tuple[int, int]:
    """Give the exponents of the scales of both operands."""
    found: list[int] = []
    for kind in (planned.layer.x, planned.layer.other):
        assert isinstance(kind, TensorType)
        assert isinstance(kind.quantization, PowerOfTwo)
        found.append(kind.quantization.exponent)
    return found[0], found[1]


def _exact(
    emitter: Emitter, loop: Loop, planned: PlannedLayer, count: int, note: str
) -> list[Expr]:
    """Add posits as integers of the finer scale, and round once."""
    layer = planned.layer
    assert layer.rounding is not None
    acc, element = layer.rounding.acc, layer.x.element
    width, exponents = fixed_width(element), _exponents(planned)
    unit = min(exponents)
    module = emitter.operator(finish_operator(f"rq_{planned.name}", layer, note))
    least = ast.BitCast(Int(acc), op(BinaryOp.CONCAT, ast.One(1), ast.Zero(acc - 1)))
    flags: dict[str, list[str]] = {}
    for source in "ab":
        _, flags[source] = decoded(emitter, loop, source, source, element, count)
    parts: list[Expr] = []
    for n in range(count):
        terms: list[Expr] = []
        for source, exponent in zip("ab", exponents, strict=True):
            number = ast.BitCast(Int(width), lane(f"{source}d", n, width))
            value = loop.let(f"{source}v_{n}", resize_signed(number, acc))
            if exponent > unit:
                factor = constant(1 << (exponent - unit), Int(acc))
                value = loop.set(f"{source}s_{n}", op(BinaryOp.MUL, name(value), factor))
            terms.append(name(value))
        total = loop.set(f"t_{n}", op(BinaryOp.ADD, *terms))
        nar = op(BinaryOp.OR, name(flags["a"][n]), name(flags["b"][n]))
        loop.let(f"nar_{n}", nar)
        value = loop.let(f"v_{n}", ast.Mux(name(f"nar_{n}"), least, name(total)))
        parts.append(_called(loop, module, (name(value),), f"y_{n}"))
    return parts


def _floats(emitter: Emitter, loop: Loop, planned: PlannedLayer, count: int) -> list[Expr]:
    """Bring both to the coarser scale, add, and round to what is stored."""
    layer = planned.layer
    assert layer.rounding is not None
    floats = Floats(emitter, loop, layer.rounding)
    element, arith = layer.x.element, layer.rounding.arith
    exponents = _exponents(planned)
    unit = max(exponents)
    values: dict[str, list[str]] = {}
    for source, exponent in zip("ab", exponents, strict=True):
        found = decoded_floats(emitter, loop, source, source, element, arith, count)
        if exponent < unit:
            dtype, bits = (np.float32, "u4") if arith == "f32" else (np.float16, "u2")
            pattern = int(np.array([2.0 ** (exponent - unit)], dtype).view(bits)[0])
            factor = constant(pattern, uint(layer.rounding.acc))
            found = [
                floats.product(value, factor, f"{source}p_{n}") for n, value in enumerate(found)
            ]
        values[source] = [
            floats.plus_zero(value, f"{source}z_{n}")
            if not isinstance(element, Posit) or exponent < unit
            else value
            for n, value in enumerate(found)
        ]
    return [
        floats.stored(floats.total(values["a"][n], values["b"][n], f"t_{n}"), f"y_{n}")
        for n in range(count)
    ]
