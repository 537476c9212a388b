"""Hypothesis strategies for Aa ASTs: well-formed trees, not programs that mean anything.

They reach every node and option that the printer spells, so that a round trip covers the grammar.
"""

from __future__ import annotations

from typing import TypeVar

from hypothesis import strategies as st

from pyahir.backends.aa import ast as aa
from pyahir.backends.aa import types as ty

T = TypeVar("T")

NAMES = st.sampled_from(["a", "b", "n_i", "x0", "W", "acc.lo", "p_in"])
OPTIONAL_NAMES = st.none() | NAMES


def sizes() -> st.SearchStrategy[ty.Size]:
    """Compile-time sizes."""
    leaves = st.integers(1, 600) | NAMES.map(ty.ParamName)
    return st.recursive(
        leaves,
        lambda inner: (
            st.builds(ty.ParamBinary, st.sampled_from(ty.ParamOp), inner, inner)
            | st.builds(ty.ParamUnary, st.just(ty.ParamUnaryOp.INVERT), inner)
            | st.builds(ty.ParamMux, inner, inner, inner)
        ),
        max_leaves=3,
    )


OPTIONAL_SIZES = st.none() | sizes()


def types() -> st.SearchStrategy[ty.Type]:
    """All types."""
    leaves = (
        st.builds(ty.UInt, sizes())
        | st.builds(ty.Int, sizes())
        | st.builds(ty.Float, sizes(), sizes())
        | NAMES.map(ty.NamedType)
        | st.just(ty.Void())
    )
    return st.recursive(
        leaves,
        lambda inner: (
            st.builds(ty.Pointer, inner)
            | st.builds(ty.Array, tuples(sizes(), 1), inner)
            | st.builds(ty.Record, tuples(inner, 1))
        ),
        max_leaves=3,
    )


def tuples(items: st.SearchStrategy[T], least: int = 0) -> st.SearchStrategy[tuple[T, ...]]:
    """Tuples of up to three items."""
    return st.lists(items, min_size=least, max_size=3).map(tuple)


LITERALS = st.builds(aa.Literal, st.integers(-(1 << 31), (1 << 70) - 1))
FLOATS = st.builds(aa.FloatLiteral, st.floats(allow_nan=False, allow_infinity=False))
PARAM_LITERALS = st.builds(
    aa.ParamLiteral, st.builds(ty.ParamBinary, st.sampled_from(ty.ParamOp), sizes(), sizes())
)
REFERENCES = (
    st.builds(aa.Name, NAMES)
    | st.builds(aa.PathName, NAMES, up=st.integers(1, 3))
    | st.builds(aa.PathName, NAMES, labels=tuples(NAMES, 1))
)


def _compound(inner: st.SearchStrategy[aa.Expr]) -> st.SearchStrategy[aa.Expr]:
    wait = OPTIONAL_SIZES
    many, two = tuples(inner, 1), st.integers(0, 63)
    cases = tuples(st.builds(aa.MuxCase, inner, inner), 1)
    return st.one_of(
        st.builds(aa.Index, st.builds(aa.Name, NAMES), many),
        st.builds(aa.Unary, st.sampled_from(aa.UnaryOp), inner, buffering=wait),
        st.builds(aa.Binary, st.sampled_from(aa.BinaryOp), inner, inner, buffering=wait),
        st.builds(aa.Mux, inner, inner, inner, buffering=wait),
        st.builds(aa.PriorityMux, cases, inner, buffering=wait),
        st.builds(aa.ExclusiveMux, cases, buffering=wait),
        st.builds(aa.Reduce, st.sampled_from(aa.ReduceOp), many, buffering=wait),
        st.builds(aa.Concat, many, buffering=wait),
        st.builds(aa.Slice, inner, sizes(), sizes(), buffering=wait),
        st.builds(aa.BitMap, inner, tuples(st.tuples(two, two), 1), buffering=wait),
        st.builds(aa.BitReduce, st.sampled_from(aa.BitReduceOp), inner, buffering=wait),
        st.builds(aa.Cast, types(), inner, buffering=wait),
        st.builds(aa.BitCast, types(), inner, buffering=wait),
        st.builds(aa.CallExpr, NAMES, tuples(inner), buffering=wait),
    )


def expressions() -> st.SearchStrategy[aa.Expr]:
    """All expressions but pointers, which are whole right sides."""
    leaves = (
        REFERENCES
        | LITERALS
        | FLOATS
        | PARAM_LITERALS
        | st.builds(aa.Zero, sizes())
        | st.builds(aa.One, sizes())
    )
    return st.recursive(leaves, _compound, max_leaves=5)


GUARDS = st.none() | st.builds(aa.Guard, NAMES, st.booleans())
TARGETS = REFERENCES | st.builds(aa.Index, st.builds(aa.Name, NAMES), tuples(expressions(), 1))
_MODIFIERS = {
    "guard": GUARDS,
    "volatile": st.booleans(),
    "buffering": OPTIONAL_SIZES,
    "mark": OPTIONAL_NAMES,
    "synch": tuples(st.builds(aa.Synch, NAMES, st.booleans())),
    "delay": tuples(st.builds(aa.Delay, NAMES, sizes())),
    "keep": st.booleans(),
}


def simple_statements() -> st.SearchStrategy[aa.Statement]:
    """Statements that may stand anywhere."""
    value = (
        expressions() | st.builds(aa.Dereference, REFERENCES) | st.builds(aa.AddressOf, REFERENCES)
    )
    target = TARGETS | st.builds(aa.Dereference, REFERENCES)
    names = st.builds(aa.Name, NAMES)
    item = st.builds(aa.ReportItem, NAMES, expressions())
    return st.one_of(
        st.builds(aa.Assign, target, value, cut_through=st.booleans(), **_MODIFIERS),
        st.builds(
            aa.Call,
            module=NAMES,
            arguments=tuples(expressions()),
            results=tuples(names),
            **_MODIFIERS,
        ),
        st.builds(
            aa.Split,
            source=names,
            widths=tuples(sizes(), 1),
            targets=tuples(TARGETS, 1),
            **_MODIFIERS,
        ),
        st.just(aa.Null()),
        st.just(aa.Barrier()),
        st.builds(aa.Lock, NAMES, guard=GUARDS),
        st.builds(aa.Unlock, NAMES, guard=GUARDS),
        st.builds(aa.Sleep, sizes(), guard=GUARDS),
        st.builds(aa.Trace, NAMES, OPTIONAL_SIZES, guard=GUARDS),
        st.builds(
            aa.Report,
            tag=NAMES,
            title=NAMES,
            items=tuples(item),
            condition=st.none() | expressions(),
            guard=GUARDS,
        ),
    )


def phis(entries: st.SearchStrategy[str | aa.Entry]) -> st.SearchStrategy[aa.Phi]:
    """Phis over some entries."""
    source = st.builds(aa.PhiSource, expressions(), tuples(entries, 1), guard=GUARDS)
    return st.builds(
        aa.Phi,
        target=NAMES,
        sources=tuples(source, 1),
        barrier=st.booleans(),
        relaxed=st.booleans(),
    )


def branch_statements() -> st.SearchStrategy[aa.Statement]:
    """Statements of a branch block, nested ones included."""
    simple = simple_statements()
    entries = st.sampled_from([aa.Entry.ENTRY]) | NAMES
    loop = st.builds(
        aa.DoPipeline,
        phis=tuples(phis(st.sampled_from(aa.Entry))),
        body=tuples(simple, 1),
        condition=expressions(),
        depth=OPTIONAL_SIZES,
        buffering=OPTIONAL_SIZES,
        full_rate=st.booleans(),
    )
    merge = st.builds(aa.Merge, entries=tuples(entries, 1), phis=tuples(phis(entries)))
    leaves = simple | loop | merge | st.builds(aa.Place, NAMES)
    return st.recursive(leaves, _nested, max_leaves=3)


def _nested(inner: st.SearchStrategy[aa.Statement]) -> st.SearchStrategy[aa.Statement]:
    body = tuples(inner, 1)
    choice = LITERALS | PARAM_LITERALS | st.builds(aa.Name, NAMES)
    cases = tuples(st.builds(aa.SwitchCase, choice, body), 1)
    return st.one_of(
        st.builds(aa.If, condition=expressions(), then_body=body, else_body=tuples(inner)),
        st.builds(aa.Switch, selector=expressions(), cases=cases, default=tuples(inner)),
        _blocks(aa.BlockKind.BRANCH, body),
    )


def _blocks(
    kind: aa.BlockKind, body: st.SearchStrategy[tuple[aa.Statement, ...]]
) -> st.SearchStrategy[aa.Block]:
    return st.builds(
        aa.Block,
        kind=st.just(kind),
        body=body,
        label=OPTIONAL_NAMES,
        declarations=tuples(declarations()),
        exports=tuples(st.builds(aa.Export, NAMES, NAMES)),
    )


def statements() -> st.SearchStrategy[aa.Statement]:
    """Statements of a module's body."""
    simple = simple_statements()
    join = st.builds(aa.Join, labels=tuples(NAMES), body=tuples(simple))
    return st.one_of(
        simple,
        _blocks(aa.BlockKind.SERIES, tuples(simple, 1)),
        _blocks(aa.BlockKind.PARALLEL, tuples(simple, 1)),
        _blocks(aa.BlockKind.FORK, tuples(simple | join, 1)),
        _blocks(aa.BlockKind.BRANCH, tuples(branch_statements(), 1)),
    )


def declarations() -> st.SearchStrategy[aa.Declaration]:
    """Pipes, storages and constants."""
    initial = tuples(LITERALS) | tuples(FLOATS)
    return st.one_of(
        st.builds(
            aa.Pipe,
            name=NAMES,
            type=types(),
            kind=st.sampled_from(aa.PipeKind),
            shift_register=st.booleans(),
            depth=OPTIONAL_SIZES,
            direction=st.none() | st.sampled_from(aa.Direction),
            signal=st.booleans(),
            synch=st.booleans(),
            point_to_point=st.booleans(),
            full_rate=st.booleans(),
            bypass=st.booleans(),
            initial=initial,
        ),
        st.builds(aa.Storage, name=NAMES, type=types(), register=st.booleans(), initial=initial),
        st.builds(aa.Constant, name=NAMES, type=types(), value=LITERALS | FLOATS | PARAM_LITERALS),
    )


def modules() -> st.SearchStrategy[aa.Module]:
    """Modules of every class."""
    arguments = tuples(st.builds(aa.Argument, NAMES, types()))
    common = {
        "name": NAMES,
        "inputs": arguments,
        "outputs": arguments,
        "declarations": tuples(declarations()),
        "body": tuples(statements(), 1),
        "attributes": tuples(st.builds(aa.Attribute, NAMES, OPTIONAL_SIZES)),
        "role": st.sampled_from(aa.ModuleRole),
        "noopt": st.booleans(),
        "use_once": st.booleans(),
    }
    kinds = [aa.ModuleKind.PLAIN, aa.ModuleKind.MACRO, aa.ModuleKind.INLINE]
    return st.one_of(
        st.builds(aa.Module, kind=st.sampled_from(kinds), **common),
        st.builds(
            aa.Module,
            kind=st.just(aa.ModuleKind.PIPELINE),
            depth=OPTIONAL_SIZES,
            buffering=OPTIONAL_SIZES,
            full_rate=st.booleans(),
            deterministic=st.booleans(),
            **common,
        ),
        st.builds(
            aa.Module,
            kind=st.just(aa.ModuleKind.FOREIGN),
            name=NAMES,
            inputs=arguments,
            outputs=arguments,
            body=st.none(),
        ),
    )


def programs() -> st.SearchStrategy[aa.Program]:
    """Whole programs."""
    items = st.one_of(
        modules(),
        declarations(),
        st.builds(aa.Parameter, name=NAMES, value=sizes()),
        st.builds(aa.RecordDeclaration, name=NAMES, fields=tuples(types(), 1)),
        st.builds(aa.Mutex, name=NAMES),
    )
    return st.builds(aa.Program, items=tuples(items))
