"""Matrix times vector: one loop over (pixel, output fold, input fold), no bubble between them.

The products of one output channel are an operator (``dot``), and so is the requantizer, so that
the text grows with ``pe + simd`` and not with their product.
"""

from __future__ import annotations

from pyahir.backends.aa import ast
from pyahir.backends.aa.ast import BinaryOp, Expr
from pyahir.backends.aa.build import (
    Loop,
    assign,
    concat,
    constant,
    equal,
    lane,
    lanes,
    name,
    not_,
    op,
    resize_signed,
    uint,
    volatile,
)
from pyahir.backends.aa.lower.process import Emitter, Stream
from pyahir.backends.aa.lower.rescale import RescaleFormat, rescale_format, rescale_operator
from pyahir.backends.aa.types import Int
from pyahir.plan.plan import PlannedLayer

__all__ = ["matvec"]

TREE = 4  # terms that are added in one stage
PRODUCT_WIDTH = 16  # 8-bit unsigned by 8-bit signed


def matvec(emitter: Emitter, planned: PlannedLayer, x: Stream, out: Stream, note: str) -> None:
    """Add the process, its operators and its memories; its words wait for ``go``."""
    layer, folding = planned.layer, planned.folding
    assert layer.rescale is not None
    form = rescale_format(layer.rescale)
    tag = planned.name
    folds, outer = planned.input_folds, planned.output_folds
    emitter.operator(_dot(f"dot_{tag}", folding.simd, form.acc, note))
    emitter.operator(rescale_operator(f"rq_{tag}", layer.rescale, form, note))
    weights = emitter.storage(f"w_{tag}", folds * outer, folding.multipliers * 8)
    table = emitter.storage(f"q_{tag}", outer, folding.pe * form.bits)
    go = emitter.token(f"go_{tag}")
    loop = Loop()
    sf = loop.counter("sf", folds)
    nf = loop.counter("nf", outer)
    address = _address(loop, folds * outer, sf, nf)
    word = _input(emitter, loop, planned, x, sf, nf)
    loop.set("w", ast.Index(name(weights), (address,)))
    loop.set("q", ast.Index(name(table), (_or_zero(nf),)))
    if sf is not None:
        loop.let("sf_first", equal("sf", 0))
    codes = [
        _channel(loop, tag, p, folding.simd, form, word, sf is not None) for p in range(folding.pe)
    ]
    loop.let("yw", concat(codes))
    loop.when("sf_last" if sf is not None else None, out.pipe, name("yw"))
    emitter.process(f"mv_{tag}", loop, comment=note, first=[assign("go", name(go))])


def _or_zero(counter: str | None) -> Expr:
    return ast.Zero(1) if counter is None else name(counter)


def _address(loop: Loop, words: int, sf: str | None, nf: str | None) -> Expr:
    """Count through all weight words; the folds' own counters serve where there is one fold."""
    if sf is None or nf is None:
        return _or_zero(sf if nf is None else nf)
    wraps, loop.wraps = loop.wraps, []
    loop.counter("wa", words)
    loop.wraps = wraps
    return name("wa")


def _input(
    emitter: Emitter, loop: Loop, planned: PlannedLayer, x: Stream, sf: str | None, nf: str | None
) -> str:
    """Read a word in the first output fold; have it again in the others."""
    if nf is None:
        return loop.set("x", name(x.pipe))
    loop.let("first_fold", equal("nf", 0))
    if sf is None:
        loop.when("first_fold", "x", name(x.pipe))  # keeps its value in the other folds
        return "x"
    ring = emitter.stream(f"xr_{planned.name}", x.lanes, planned.input_folds + 4)
    loop.let("again", not_("first_fold"))
    loop.let("keep", not_("nf_last"))
    loop.when("first_fold", "xn", name(x.pipe))
    loop.when("again", "xo", name(ring.pipe))
    loop.let("x", ast.Mux(name("first_fold"), name("xn"), name("xo")))
    loop.when("keep", ring.pipe, name("x"))
    return "x"


def _channel(
    loop: Loop, tag: str, p: int, simd: int, form: RescaleFormat, word: str, folded: bool
) -> Expr:
    """Add one output channel: dot product, accumulator, requantize; give its code."""
    acc = Int(form.acc)
    loop.body.append(
        ast.Call(
            module=f"dot_{tag}",
            arguments=(lanes("w", p * simd, simd, 8), name(word)),
            results=(name(f"t_{p}"),),
        )
    )
    total = f"t_{p}"
    if folded:
        total = f"acc_{p}"
        start = ast.Mux(name("sf_first"), constant(0, acc), name(total))
        loop.set(total, op(BinaryOp.ADD, start, name(f"t_{p}")))
    loop.body.append(
        ast.Call(
            module=f"rq_{tag}",
            arguments=(name(total), lane("q", p, form.bits)),
            results=(name(f"y_{p}"),),
        )
    )
    return name(f"y_{p}")


def _dot(module: str, simd: int, width: int, note: str) -> ast.Module:
    """Sum ``simd`` products of a signed weight and an unsigned code."""
    body: list[ast.Statement] = []
    terms: list[str] = []
    for s in range(simd):
        weight = resize_signed(ast.BitCast(Int(8), lane("w", s, 8)), PRODUCT_WIDTH)
        code = ast.BitCast(Int(PRODUCT_WIDTH), lane("x", s, 8))
        body.append(assign(f"p_{s}", op(BinaryOp.MUL, weight, code)))
        body.append(volatile(f"v_{s}", resize_signed(name(f"p_{s}"), width)))
        terms.append(f"v_{s}")
    level = 0
    while len(terms) > TREE:
        level += 1
        sums = [terms[start : start + TREE] for start in range(0, len(terms), TREE)]
        for index, group in enumerate(sums):
            body.append(assign(f"s_{level}_{index}", _sum(group)))
        terms = [f"s_{level}_{index}" for index in range(len(sums))]
    body.append(assign("t", _sum(terms)))
    return ast.Module(
        name=module,
        kind=ast.ModuleKind.PIPELINE,
        role=ast.ModuleRole.OPERATOR,
        depth=31,
        buffering=2,
        full_rate=True,
        deterministic=True,
        inputs=(ast.Argument("w", uint(8 * simd)), ast.Argument("x", uint(8 * simd))),
        outputs=(ast.Argument("t", Int(width)),),
        body=tuple(body),
        comment=f"dot product of {note}",
    )


def _sum(terms: list[str]) -> Expr:
    if len(terms) == 1:
        return name(terms[0])
    return ast.Reduce(ast.ReduceOp.ADD, tuple(name(term) for term in terms))
