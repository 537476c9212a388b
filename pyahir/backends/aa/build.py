"""Short constructors for Aa expressions and loops: what the lowering is written with.

In: names, widths, numbers. Out: AST nodes. Stages are not counted here (``balance``), and nothing
is spelled here (``printer``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pyahir.backends.aa import ast
from pyahir.backends.aa.ast import BinaryOp, Expr
from pyahir.backends.aa.types import Int, UInt

__all__ = [
    "Loop",
    "assign",
    "bits_for",
    "concat",
    "constant",
    "daemon",
    "equal",
    "guarded",
    "lane",
    "lanes",
    "name",
    "not_",
    "op",
    "operator",
    "pipe",
    "resize_signed",
    "slice_",
    "uint",
    "volatile",
]


def name(text: str) -> ast.Name:
    return ast.Name(text)


def uint(width: int) -> UInt:
    return UInt(width)


def bits_for(count: int) -> int:
    """Give the width of a counter from 0 to ``count - 1``."""
    return max(1, (count - 1).bit_length())


def op(operator: BinaryOp, lhs: Expr, rhs: Expr) -> ast.Binary:
    return ast.Binary(operator, lhs, rhs)


def equal(value: str, number: int) -> ast.Binary:
    return op(BinaryOp.EQUAL, name(value), ast.Literal(number))


def not_(value: str) -> ast.Unary:
    return ast.Unary(ast.UnaryOp.INVERT, name(value))


def constant(value: int, kind: UInt | Int) -> ast.BitCast:
    """Give a literal a type of its own: in a mux arm nothing else names it."""
    return ast.BitCast(kind, ast.Literal(value, kind))


def slice_(value: str, high: int, low: int) -> ast.Slice:
    return ast.Slice(name(value), high, low)


def lane(value: str, index: int, width: int) -> ast.Slice:
    """Give element ``index`` (lowest first) of a word of elements of ``width`` bits."""
    return slice_(value, (index + 1) * width - 1, index * width)


def lanes(value: str, first: int, count: int, width: int) -> ast.Slice:
    return slice_(value, (first + count) * width - 1, first * width)


def concat(parts: Sequence[Expr]) -> Expr:
    """Join elements into a word, the first of ``parts`` lowest."""
    if len(parts) == 1:
        return parts[0]
    return ast.Concat(tuple(reversed(parts)))


def resize_signed(value: Expr, width: int) -> ast.Cast:
    """Sign-extend; never used to narrow (the cast would keep the sign bit)."""
    return ast.Cast(Int(width), value)


def assign(target: str, value: Expr) -> ast.Assign:
    return ast.Assign(name(target), value)


def volatile(target: str, value: Expr) -> ast.Assign:
    return ast.Assign(name(target), value, volatile=True)


def guarded(guard: str, target: str | ast.Index, value: Expr) -> ast.Assign:
    place = name(target) if isinstance(target, str) else target
    return ast.Assign(place, value, guard=ast.Guard(guard))


def pipe(text: str, width: int, depth: int, comment: str = "") -> ast.Pipe:
    return ast.Pipe(name=text, type=UInt(width), depth=max(2, depth), comment=comment)


@dataclass(slots=True)
class Loop:
    """One flattened loop: counters that are phis with volatile next values, then the body.

    Counters are added innermost first: each advances when all before it are at their last value.
    ``stages`` names the registered values that take more than one stage, and how many.
    """

    phis: list[ast.Phi] = field(default_factory=list[ast.Phi])
    body: list[ast.Statement] = field(default_factory=list[ast.Statement])
    wraps: list[str] = field(default_factory=list[str])
    condition: Expr = field(default_factory=lambda: ast.Literal(1))
    stages: dict[str, int] = field(default_factory=dict[str, int])

    def let(self, target: str, value: Expr) -> str:
        """Add a combinational value."""
        self.body.append(volatile(target, value))
        return target

    def set(self, target: str, value: Expr) -> str:
        """Add a registered value, a pipe write, or (``value`` a pipe or an element) a read."""
        self.body.append(assign(target, value))
        return target

    def when(self, guard: str | None, target: str | ast.Index, value: Expr) -> str | ast.Index:
        """Add a guarded statement; without guard an ordinary one."""
        if guard is None:
            place = name(target) if isinstance(target, str) else target
            self.body.append(ast.Assign(place, value))
        else:
            self.body.append(guarded(guard, target, value))
        return target

    def set_at(self, place: ast.Index, value: Expr) -> None:
        """Add a store."""
        self.body.append(ast.Assign(place, value))

    def all_of(self, flags: Sequence[str], stem: str) -> str | None:
        """Give a flag that is the conjunction of ``flags``; None when there are none."""
        if len(flags) < 2:
            return flags[0] if flags else None
        value: Expr = name(flags[0])
        for flag in flags[1:]:
            value = op(BinaryOp.AND, value, name(flag))
        return self.let(stem, value)

    def counter(self, stem: str, limit: int) -> str | None:
        """Add a counter from 0 to ``limit - 1``; None (no hardware) for a limit of 1."""
        if limit == 1:
            return None
        width = bits_for(limit)
        advance = self.all_of(self.wraps, f"{stem}_step")
        last = self.let(f"{stem}_last", equal(stem, limit - 1))
        up = op(BinaryOp.ADD, name(stem), ast.Literal(1))
        following: Expr = ast.Mux(name(last), ast.Zero(width), up)
        if advance is not None:
            following = ast.Mux(name(advance), following, name(stem))
        self.state(stem, width, following)
        self.wraps.append(last)
        return stem

    def state(self, stem: str, width: int, following: Expr) -> None:
        """Add a phi that starts at 0 and takes ``following`` (combinational) next."""
        self.phis.append(
            ast.Phi(
                target=stem,
                sources=(
                    ast.PhiSource(ast.Zero(width), (ast.Entry.ENTRY,)),
                    ast.PhiSource(name(f"n_{stem}"), (ast.Entry.LOOPBACK,)),
                ),
            )
        )
        self.let(f"n_{stem}", following)


def operator(
    module: str,
    inputs: Sequence[tuple[str, UInt | Int]],
    outputs: Sequence[tuple[str, UInt | Int]],
    body: Sequence[ast.Statement],
    comment: str,
) -> ast.Module:
    """Make a pipelined operator with a fixed latency, which takes new operands every cycle."""
    return ast.Module(
        name=module,
        kind=ast.ModuleKind.PIPELINE,
        role=ast.ModuleRole.OPERATOR,
        depth=31,
        buffering=2,
        full_rate=True,
        deterministic=True,
        inputs=tuple(ast.Argument(*item) for item in inputs),
        outputs=tuple(ast.Argument(*item) for item in outputs),
        body=tuple(body),
        comment=comment,
    )


def daemon(
    module: str,
    loops: Sequence[ast.Statement],
    *,
    first: Sequence[ast.Statement] = (),
    comment: str = "",
) -> ast.Module:
    """Wrap statements of a branch block into a free-running module."""
    block = ast.Block(kind=ast.BlockKind.BRANCH, label=f"b_{module}", body=tuple(loops))
    return ast.Module(name=module, body=(*first, block), comment=comment)
