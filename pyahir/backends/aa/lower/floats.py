"""Matrix times vector in IEEE-754 numbers: every sum in the order of ``ir.ops.posit``.

Three kinds of processes, as an adder has several stages and one loop with both a product and a
circulating sum does not start an iteration every cycle:

1. products: an element of the input times the weights of ``pe`` outputs;
2. parts: ``LANES`` sums a channel go round through a pipe, each takes every ``LANES``-th product;
3. tree: four processes that add neighbours, at first part 0 and 1, then the bias and one rounding.
   With fewer of these than ``pe`` the channels take turns.
"""

from __future__ import annotations

from pyahir.backends.aa import ast
from pyahir.backends.aa.ast import BinaryOp
from pyahir.backends.aa.build import Loop, assign, concat, equal, lane, lanes, name, not_, op
from pyahir.backends.aa.lower.arithmetic import Floats
from pyahir.backends.aa.lower.convert import converted
from pyahir.backends.aa.lower.decode import decoded_floats
from pyahir.backends.aa.lower.process import Emitter, Stream
from pyahir.backends.aa.lower.ring import SHORT, Ring, repeated
from pyahir.ir.ops.posit import LANES
from pyahir.plan.plan import PlannedLayer
from pyahir.plan.rounding import Rounding

__all__ = ["float_matvec"]

LEVELS = LANES.bit_length() - 1


def float_matvec(
    emitter: Emitter, planned: PlannedLayer, x: Stream, out: Stream, note: str
) -> None:
    """Add the processes of a layer; ``x`` brings one element a word."""
    assert planned.layer.rounding is not None
    products = _products(emitter, planned, x, note)
    parts = _parts(emitter, planned, products, note)
    count, pe = planned.requantizers, planned.folding.pe
    stream = converted(emitter, f"{planned.name}_parts", parts, count, pe, 4, note)
    for level in range(LEVELS):
        stream = _level(emitter, planned, stream, level, note)
    _results(emitter, planned, stream, out, note)


def _rounding(planned: PlannedLayer) -> Rounding:
    assert planned.layer.rounding is not None
    return planned.layer.rounding


def _products(emitter: Emitter, planned: PlannedLayer, x: Stream, note: str) -> Stream:
    """Multiply; behind the last input of a pixel come zeros until a round of parts is full."""
    layer, tag, pe = planned.layer, planned.name, planned.folding.pe
    rounding = _rounding(planned)
    steps, outer = planned.input_folds, planned.output_folds
    element = layer.weight_element
    weights = emitter.storage(f"w_{tag}", steps * outer, pe * element.width)
    out = emitter.stream(f"pr_{tag}", pe, 4, rounding.acc, comment=f"products of {note}")
    go = emitter.token(f"go_{tag}")
    loop = Loop()
    t = loop.counter("t", steps)
    nf = loop.counter("nf", outer)
    assert t is not None
    address = name(t)
    if nf is not None:
        wraps, loop.wraps = loop.wraps, []
        loop.counter("wa", steps * outer)
        loop.wraps = wraps
        address = name("wa")
    real: str | None = None
    if steps > layer.inputs:
        real = loop.let("real", op(BinaryOp.LESS, name(t), ast.Literal(layer.inputs)))
    word = _input(emitter, loop, planned, x, real)
    loop.set("w", ast.Index(name(weights), (address,)))
    floats = Floats(emitter, loop, rounding)
    (value,) = decoded_floats(emitter, loop, "x", word, layer.x.element, rounding.arith, 1)
    factors = decoded_floats(emitter, loop, "w", "w", element, rounding.arith, pe)
    results: list[ast.Expr] = []
    for p, factor in enumerate(factors):
        product = floats.product(value, name(factor), f"p_{p}")
        result: ast.Expr = name(product)
        if real is not None:
            result = ast.Mux(name(real), result, ast.Zero(rounding.acc))
        results.append(result)
    loop.let("pw", concat(results))
    loop.set(out.pipe, name("pw"))
    first = [assign("go", name(go)), assign(f"gq_{tag}", name("go"))]
    emitter.token(f"gq_{tag}")
    emitter.process(f"mv_{tag}", loop, comment=f"products of {note}", first=first)
    return out


def _input(emitter: Emitter, loop: Loop, planned: PlannedLayer, x: Stream, real: str | None) -> str:
    """Read an element for the first outputs; have it again for the others."""
    if planned.output_folds == 1:
        loop.when(real, "x", name(x.pipe))
        return "x"
    loop.let("first_fold", equal("nf", 0))
    loop.let("again", not_("first_fold"))
    loop.let("keep", not_("nf_last"))
    fresh, again, keep = "first_fold", "again", "keep"
    if real is not None:
        fresh, again, keep = (
            loop.let(f"{flag}_real", op(BinaryOp.AND, name(flag), name(real)))
            for flag in (fresh, again, keep)
        )
    loop.when(fresh, "xn", name(x.pipe))
    ring = Ring(f"xr_{planned.name}", planned.input_folds, x.lanes, x.width)
    return repeated(emitter, loop, ring, (fresh, "xn"), keep, again)


def _parts(emitter: Emitter, planned: PlannedLayer, x: Stream, note: str) -> Stream:
    """Add every ``LANES``-th product; give the parts, those of ``pe`` channels in a word."""
    tag, steps, rounding = planned.name, planned.input_folds, _rounding(planned)
    out = emitter.stream(f"pt_{tag}", x.lanes, LANES, x.width, comment=f"parts of {note}")
    loop = Loop()
    loop.set("p", name(x.pipe))
    floats = Floats(emitter, loop, rounding)
    for p in range(x.lanes):
        loop.let(f"p_{p}", lane("p", p, x.width))
    if steps == LANES:
        sums = [floats.plus_zero(f"p_{p}", f"s_{p}") for p in range(x.lanes)]
        loop.let("sw", concat([name(total) for total in sums]))
        loop.set(out.pipe, name("sw"))
        emitter.process(f"pa_{tag}", loop, comment=f"parts of {note}")
        return out
    ring = emitter.stream(f"ps_{tag}", x.lanes, LANES + 4, x.width)
    loop.counter("i", steps)
    loop.let("first", op(BinaryOp.LESS, name("i"), ast.Literal(LANES)))
    loop.let("more", not_("first"))
    loop.let("last", op(BinaryOp.GREATER, name("i"), ast.Literal(steps - LANES - 1)))
    loop.let("keep", not_("last"))
    loop.when("more", "o", name(ring.pipe))
    sums: list[str] = []
    for p in range(x.lanes):
        before = ast.Mux(name("first"), ast.Zero(x.width), lane("o", p, x.width))
        loop.let(f"o_{p}", before)
        sums.append(floats.total(f"o_{p}", f"p_{p}", f"s_{p}"))
    loop.let("sw", concat([name(total) for total in sums]))
    loop.when("keep", ring.pipe, name("sw"))
    loop.when("last", out.pipe, name("sw"))
    emitter.process(f"pa_{tag}", loop, comment=f"parts of {note}")
    return out


def _level(emitter: Emitter, planned: PlannedLayer, x: Stream, level: int, note: str) -> Stream:
    """Add neighbours: words that are as far apart as the channels need words."""
    tag = planned.name
    distance = planned.folding.pe // x.lanes
    out = emitter.stream(f"l{level}_{tag}", x.lanes, 4, x.width)
    loop = Loop()
    loop.counter("k", 2 * distance)
    loop.let("second", op(BinaryOp.GREATER_EQUAL, name("k"), ast.Literal(distance)))
    loop.set("x", name(x.pipe))
    if distance > SHORT:
        ring = emitter.stream(f"lr{level}_{tag}", x.lanes, distance + 4, x.width)
        loop.let("early", not_("second"))
        loop.when("second", "before", name(ring.pipe))
        loop.when("early", ring.pipe, name("x"))
    else:
        kept = lanes("h", 0, distance * x.lanes, x.width)
        loop.set("h", concat([name("x"), kept]))
        loop.let("before", lanes("h", distance * x.lanes, x.lanes, x.width))
    floats = Floats(emitter, loop, _rounding(planned))
    sums: list[ast.Expr] = []
    for p in range(x.lanes):
        first = loop.let(f"a_{p}", lane("before", p, x.width))
        second = loop.let(f"b_{p}", lane("x", p, x.width))
        sums.append(name(floats.total(first, second, f"s_{p}")))
    loop.let("sw", concat(sums))
    loop.when("second", out.pipe, name("sw"))
    emitter.process(f"le{level}_{tag}", loop, comment=f"level {level} of the tree of {note}")
    return out


def _results(emitter: Emitter, planned: PlannedLayer, x: Stream, out: Stream, note: str) -> None:
    """Add the bias and round to what is stored."""
    tag, rounding = planned.name, _rounding(planned)
    words = planned.layer.outputs // x.lanes
    table = emitter.storage(f"q_{tag}", words, x.lanes * rounding.bits)
    loop = Loop()
    n = loop.counter("n", words)
    loop.set("s", name(x.pipe))
    loop.set("q", ast.Index(name(table), (ast.Zero(1) if n is None else name(n),)))
    floats = Floats(emitter, loop, rounding)
    results: list[ast.Expr] = []
    for p in range(x.lanes):
        total = loop.let(f"a_{p}", lane("s", p, x.width))
        bias = loop.let(f"b_{p}", lane("q", p, rounding.bits))
        results.append(floats.stored(floats.total(total, bias, f"t_{p}"), f"y_{p}"))
    loop.let("yw", concat(results))
    loop.set(out.pipe, name("yw"))
    first = [assign("go", name(f"gq_{tag}"))]
    emitter.process(f"rs_{tag}", loop, comment=f"bias and rounding of {note}", first=first)
