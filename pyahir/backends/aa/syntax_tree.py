"""The parse tree of ``aa.lark`` to the AST.

In: the tree that lark makes. Out: ``ast`` nodes with locations. Every method is named after a
rule of the grammar and gets the children of that rule, those below already built.
Not here: syntax errors (``parser``) and any check of meaning (``verify``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from lark import Token, Tree

from pyahir.backends.aa import ast as aa
from pyahir.backends.aa import types as ty

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lark.tree import Meta

    Node = Any
    Rule = Callable[[aa.Loc, list[Node]], Node]

__all__ = ["Builder"]

_BINARY_OPS = {op.value: op for op in aa.BinaryOp}
_UNARY_OPS = {
    "INVERT": aa.UnaryOp.INVERT,
    "DECODE": aa.UnaryOp.DECODE,
    "ENCODE": aa.UnaryOp.ENCODE,
    "PRIORITY_ENCODE": aa.UnaryOp.PRIORITY_ENCODE,
}
_ENTRIES = {"ENTRY": aa.Entry.ENTRY, "LOOPBACK": aa.Entry.LOOPBACK}


class Builder:
    """Builds nodes whose locations name one file."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._rules: dict[str, Rule] = {
            name.removeprefix("_on_"): getattr(self, name)
            for name in dir(self)
            if name.startswith("_on_")
        }

    def program(self, tree: Tree[Token]) -> aa.Program:
        """Build the program from the tree of the start rule."""
        return aa.Program(items=tuple(_flatten(self._build(child) for child in tree.children)))

    def _build(self, node: Node) -> Node:
        if not isinstance(node, Tree):
            return node
        rule = self._rules.get(node.data)
        tree = cast("Tree[Node]", node)
        children = [self._build(child) for child in tree.children]
        return children if rule is None else rule(self._loc(node.meta), children)

    def _loc(self, meta: Meta) -> aa.Loc:
        if meta.empty:
            return aa.Loc(1, 1, self._file)
        return aa.Loc(meta.line, meta.column, self._file)

    # Program items

    def _on_module(self, loc: aa.Loc, c: list[Node]) -> aa.Module:
        kind, role, noopt, use_once, name, inputs, outputs, body = c
        declarations, statements, attributes = body or ((), None, ())
        return aa.Module(
            name=str(name),
            inputs=tuple(_flatten(inputs)),
            outputs=tuple(_flatten(outputs)),
            declarations=tuple(_flatten(declarations)),
            body=None if statements is None else tuple(statements),
            attributes=tuple(attributes),
            **cast("dict[str, Node]", kind or {}),
            role=aa.ModuleRole[role.type] if role else aa.ModuleRole.SHARED,
            noopt=noopt is not None,
            use_once=use_once is not None,
            loc=loc,
        )

    def _on_simple_kind(self, loc: aa.Loc, c: list[Node]) -> dict[str, Node]:
        return {"kind": aa.ModuleKind[c[0].type]}

    def _on_pipeline_kind(self, loc: aa.Loc, c: list[Node]) -> dict[str, Node]:
        depth, buffering, full_rate, deterministic = c
        return {
            "kind": aa.ModuleKind.PIPELINE,
            "depth": depth,
            "buffering": buffering,
            "full_rate": full_rate is not None,
            "deterministic": deterministic is not None,
        }

    def _on_argument(self, loc: aa.Loc, c: list[Node]) -> list[aa.Argument]:
        return [aa.Argument(str(name), c[1], loc=self._token_loc(name)) for name in c[0]]

    def _on_attribute(self, loc: aa.Loc, c: list[Node]) -> aa.Attribute:
        return aa.Attribute(str(c[0]), c[1])

    def _token_loc(self, token: Token) -> aa.Loc:
        return aa.Loc(token.line or 1, token.column or 1, self._file)

    def _on_storage(self, loc: aa.Loc, c: list[Node]) -> list[aa.Storage]:
        register, names, type_, initial = c
        return [
            aa.Storage(
                name=str(name),
                type=type_,
                register=register is not None,
                initial=tuple(initial or ()),
                loc=self._token_loc(name),
            )
            for name in names
        ]

    def _on_constant(self, loc: aa.Loc, c: list[Node]) -> list[aa.Constant]:
        names, type_, value = c
        return [
            aa.Constant(name=str(name), type=type_, value=value, loc=self._token_loc(name))
            for name in names
        ]

    def _on_pipe(self, loc: aa.Loc, c: list[Node]) -> list[aa.Pipe]:
        kind, shift, names, type_, initial, depth, direction, *flags = c
        signal, synch, point_to_point, full_rate, bypass = (flag is not None for flag in flags)
        return [
            aa.Pipe(
                name=str(name),
                type=type_,
                kind=aa.PipeKind[kind.type] if kind else aa.PipeKind.FIFO,
                shift_register=shift is not None,
                depth=depth,
                direction=aa.Direction[direction.type] if direction else None,
                signal=signal,
                synch=synch,
                point_to_point=point_to_point,
                full_rate=full_rate,
                bypass=bypass,
                initial=tuple(initial or ()),
                loc=self._token_loc(name),
            )
            for name in names
        ]

    def _on_parameter(self, loc: aa.Loc, c: list[Node]) -> aa.Parameter:
        return aa.Parameter(name=str(c[0]), value=c[1], loc=loc)

    def _on_record_declaration(self, loc: aa.Loc, c: list[Node]) -> aa.RecordDeclaration:
        return aa.RecordDeclaration(name=str(c[0]), fields=tuple(c[1:]), loc=loc)

    def _on_mutex(self, loc: aa.Loc, c: list[Node]) -> aa.Mutex:
        return aa.Mutex(name=str(c[0]), loc=loc)

    # Sizes and types

    def _on_size_decimal(self, loc: aa.Loc, c: list[Node]) -> ty.Size:
        return int(c[0])

    def _on_size_hex(self, loc: aa.Loc, c: list[Node]) -> ty.Size:
        return int(c[0], 16)

    def _on_size_name(self, loc: aa.Loc, c: list[Node]) -> ty.Size:
        return ty.ParamName(str(c[0]))

    def _on_size_unary(self, loc: aa.Loc, c: list[Node]) -> ty.Size:
        op = ty.ParamUnaryOp(str(c[0]))
        if op is ty.ParamUnaryOp.NEGATE and isinstance(c[1], int):
            return -c[1]
        return ty.ParamUnary(op, c[1])

    def _on_size_binary(self, loc: aa.Loc, c: list[Node]) -> ty.Size:
        return ty.ParamBinary(ty.ParamOp(str(c[1])), c[0], c[2])

    def _on_size_mux(self, loc: aa.Loc, c: list[Node]) -> ty.Size:
        return ty.ParamMux(c[0], c[1], c[2])

    def _on_uint_type(self, loc: aa.Loc, c: list[Node]) -> ty.Type:
        return ty.UInt(c[0])

    def _on_int_type(self, loc: aa.Loc, c: list[Node]) -> ty.Type:
        return ty.Int(c[0])

    def _on_float_type(self, loc: aa.Loc, c: list[Node]) -> ty.Type:
        return ty.Float(c[0], c[1])

    def _on_pointer_type(self, loc: aa.Loc, c: list[Node]) -> ty.Type:
        return ty.Pointer(c[0])

    def _on_array_type(self, loc: aa.Loc, c: list[Node]) -> ty.Type:
        return ty.Array(tuple(c[:-1]), c[-1])

    def _on_record_type(self, loc: aa.Loc, c: list[Node]) -> ty.Type:
        return ty.Record(tuple(c))

    def _on_named_type(self, loc: aa.Loc, c: list[Node]) -> ty.Type:
        return ty.NamedType(str(c[0]))

    def _on_void_type(self, loc: aa.Loc, c: list[Node]) -> ty.Type:
        return ty.Void()

    # Statements

    def _on_simple(self, loc: aa.Loc, c: list[Node]) -> aa.Statement:
        guard, volatile, (node, arguments), mark, synch, delay, keep = c
        return node(
            **arguments,
            guard=guard,
            volatile=volatile is not None,
            mark=mark[0] if mark else None,
            synch=tuple(synch or ()),
            delay=tuple(delay or ()),
            keep=keep is not None,
            loc=loc,
        )

    def _on_guard(self, loc: aa.Loc, c: list[Node]) -> aa.Guard:
        return aa.Guard(str(c[1]), c[0] is not None)

    def _on_mark(self, loc: aa.Loc, c: list[Node]) -> list[str]:
        return [str(c[0])]

    def _on_synch_mark(self, loc: aa.Loc, c: list[Node]) -> aa.Synch:
        return aa.Synch(str(c[1]), c[0] is not None)

    def _on_delay_mark(self, loc: aa.Loc, c: list[Node]) -> aa.Delay:
        return aa.Delay(str(c[0]), c[1])

    def _on_assignment(self, loc: aa.Loc, c: list[Node]) -> tuple[type, dict[str, Node]]:
        target, value, buffering, cut_through = c
        cut = cut_through is not None
        parts = {"target": target, "value": value, "buffering": buffering, "cut_through": cut}
        return aa.Assign, parts

    def _on_call(self, loc: aa.Loc, c: list[Node]) -> tuple[type, dict[str, Node]]:
        name, arguments, results, buffering = c
        return aa.Call, {
            "module": str(name),
            "arguments": tuple(arguments),
            "results": tuple(results),
            "buffering": buffering,
        }

    def _on_split(self, loc: aa.Loc, c: list[Node]) -> tuple[type, dict[str, Node]]:
        source, *widths, targets, buffering = c
        return aa.Split, {
            "source": source,
            "widths": tuple(widths),
            "targets": tuple(targets),
            "buffering": buffering,
        }

    def _on_split_source(self, loc: aa.Loc, c: list[Node]) -> aa.Name:
        return aa.Name(str(c[0]), loc=loc)

    _on_result = _on_split_source
    _on_name = _on_split_source

    def _on_remark(self, loc: aa.Loc, c: list[Node]) -> aa.Statement:
        guard, (node, arguments) = c
        return node(**arguments, guard=guard, loc=loc)

    def _on_lock(self, loc: aa.Loc, c: list[Node]) -> tuple[type, dict[str, Node]]:
        return aa.Lock, {"mutex": str(c[0])}

    def _on_unlock(self, loc: aa.Loc, c: list[Node]) -> tuple[type, dict[str, Node]]:
        return aa.Unlock, {"mutex": str(c[0])}

    def _on_sleep(self, loc: aa.Loc, c: list[Node]) -> tuple[type, dict[str, Node]]:
        return aa.Sleep, {"cycles": c[0]}

    def _on_trace(self, loc: aa.Loc, c: list[Node]) -> tuple[type, dict[str, Node]]:
        return aa.Trace, {"tag": str(c[0]), "index": c[1]}

    def _on_report(self, loc: aa.Loc, c: list[Node]) -> tuple[type, dict[str, Node]]:
        condition, tag, title, *items = c
        parts = {"tag": str(tag), "title": str(title), "items": tuple(items)}
        return aa.Report, {**parts, "condition": condition}

    def _on_report_item(self, loc: aa.Loc, c: list[Node]) -> aa.ReportItem:
        return aa.ReportItem(str(c[0]), c[1])

    def _on_registered_report(self, loc: aa.Loc, c: list[Node]) -> tuple[type, dict[str, Node]]:
        condition, tag, title, *names = c
        items = tuple(aa.ReportItem(str(n), aa.Name(str(n), loc=self._token_loc(n))) for n in names)
        parts = {"tag": str(tag), "title": str(title), "items": items}
        return aa.Report, {**parts, "condition": condition}

    def _on_null(self, loc: aa.Loc, c: list[Node]) -> aa.Null:
        return aa.Null(loc=loc)

    def _on_barrier(self, loc: aa.Loc, c: list[Node]) -> aa.Barrier:
        return aa.Barrier(loc=loc)

    # Blocks

    def _block(self, kind: aa.BlockKind, loc: aa.Loc, c: list[Node]) -> aa.Block:
        label, declarations, body, exports = c
        return aa.Block(
            kind=kind,
            label=None if label is None else str(label),
            declarations=tuple(_flatten(declarations)),
            body=tuple(body),
            exports=tuple(exports or ()),
            loc=loc,
        )

    def _on_series_block(self, loc: aa.Loc, c: list[Node]) -> aa.Block:
        return self._block(aa.BlockKind.SERIES, loc, c)

    def _on_parallel_block(self, loc: aa.Loc, c: list[Node]) -> aa.Block:
        return self._block(aa.BlockKind.PARALLEL, loc, c)

    def _on_fork_block(self, loc: aa.Loc, c: list[Node]) -> aa.Block:
        return self._block(aa.BlockKind.FORK, loc, c)

    def _on_branch_block(self, loc: aa.Loc, c: list[Node]) -> aa.Block:
        return self._block(aa.BlockKind.BRANCH, loc, c)

    def _on_export(self, loc: aa.Loc, c: list[Node]) -> aa.Export:
        return aa.Export(str(c[0]), str(c[1]))

    def _on_join(self, loc: aa.Loc, c: list[Node]) -> aa.Join:
        return aa.Join(labels=tuple(map(str, c[0])), body=tuple(c[1] or ()), loc=loc)

    def _on_entries(self, loc: aa.Loc, c: list[Node]) -> tuple[str | aa.Entry, ...]:
        return tuple(_ENTRIES.get(token.type, str(token)) for token in c)

    _on_on_entries = _on_entries

    def _on_merge(self, loc: aa.Loc, c: list[Node]) -> aa.Merge:
        return aa.Merge(entries=c[0], phis=tuple(c[1]), loc=loc)

    def _on_phi(self, loc: aa.Loc, c: list[Node]) -> aa.Phi:
        target, sources, barrier, relaxed = c
        return aa.Phi(
            target=str(target),
            sources=tuple(sources),
            barrier=barrier is not None,
            relaxed=relaxed is not None,
            loc=loc,
        )

    def _on_phi_source(self, loc: aa.Loc, c: list[Node]) -> aa.PhiSource:
        return aa.PhiSource(c[1], c[2], guard=c[0])

    def _on_switch(self, loc: aa.Loc, c: list[Node]) -> aa.Switch:
        return aa.Switch(selector=c[0], cases=tuple(c[1]), default=tuple(c[2] or ()), loc=loc)

    def _on_switch_case(self, loc: aa.Loc, c: list[Node]) -> aa.SwitchCase:
        return aa.SwitchCase(c[0], tuple(c[1]))

    def _on_if(self, loc: aa.Loc, c: list[Node]) -> aa.If:
        return aa.If(condition=c[0], then_body=tuple(c[1]), else_body=tuple(c[2] or ()), loc=loc)

    def _on_place(self, loc: aa.Loc, c: list[Node]) -> aa.Place:
        return aa.Place(str(c[0]), loc=loc)

    def _on_do_pipeline(self, loc: aa.Loc, c: list[Node]) -> aa.DoPipeline:
        depth, buffering, full_rate, merge, body, condition = c
        return aa.DoPipeline(
            depth=depth,
            buffering=buffering,
            full_rate=full_rate is not None,
            phis=tuple(merge[0]),
            body=tuple(body),
            condition=condition,
            loc=loc,
        )

    # Expressions

    def _on_up_path(self, loc: aa.Loc, c: list[Node]) -> aa.PathName:
        return aa.PathName(str(c[-1]), up=len(c) - 1, loc=loc)

    def _on_down_path(self, loc: aa.Loc, c: list[Node]) -> aa.PathName:
        return aa.PathName(str(c[-1]), labels=tuple(map(str, c[:-1])), loc=loc)

    def _on_path(self, loc: aa.Loc, c: list[Node]) -> aa.PathName:
        return cast("aa.PathName", c[0])

    def _on_index(self, loc: aa.Loc, c: list[Node]) -> aa.Index:
        return aa.Index(c[0], tuple(c[1:]), loc=loc)

    def _on_integer(self, loc: aa.Loc, c: list[Node]) -> aa.Literal:
        token = c[-1]
        if token.type == "UINT":
            sign = -1 if c[0] is not None else 1
            return aa.Literal(sign * int(token), radix=aa.Radix.DECIMAL, loc=loc)
        radix = aa.Radix[token.type]
        return aa.Literal(int(token[2:], radix.value), radix=radix, loc=loc)

    def _on_float_literal(self, loc: aa.Loc, c: list[Node]) -> aa.FloatLiteral:
        return aa.FloatLiteral(float(c[0][2:]), loc=loc)

    def _on_param_literal(self, loc: aa.Loc, c: list[Node]) -> aa.ParamLiteral:
        return aa.ParamLiteral(c[0], loc=loc)

    def _on_zero(self, loc: aa.Loc, c: list[Node]) -> aa.Zero:
        return aa.Zero(c[0], loc=loc)

    def _on_one(self, loc: aa.Loc, c: list[Node]) -> aa.One:
        return aa.One(c[0], loc=loc)

    def _on_address_of(self, loc: aa.Loc, c: list[Node]) -> aa.AddressOf:
        return aa.AddressOf(c[0], loc=loc)

    def _on_dereference(self, loc: aa.Loc, c: list[Node]) -> aa.Dereference:
        return aa.Dereference(c[0], loc=loc)

    def _on_compound(self, loc: aa.Loc, c: list[Node]) -> aa.Expr:
        (node, arguments), buffering = c
        return node(*arguments, buffering=buffering, loc=loc)

    def _on_unary(self, loc: aa.Loc, c: list[Node]) -> tuple[type, tuple[Node, ...]]:
        return aa.Unary, (_UNARY_OPS[c[0].type], c[1])

    def _on_binary(self, loc: aa.Loc, c: list[Node]) -> tuple[type, tuple[Node, ...]]:
        return aa.Binary, (_BINARY_OPS[c[1]], c[0], c[2])

    def _on_mux(self, loc: aa.Loc, c: list[Node]) -> tuple[type, tuple[Node, ...]]:
        return aa.Mux, tuple(c)

    def _on_mux_case(self, loc: aa.Loc, c: list[Node]) -> aa.MuxCase:
        return aa.MuxCase(c[0], c[1])

    def _on_priority_mux(self, loc: aa.Loc, c: list[Node]) -> tuple[type, tuple[Node, ...]]:
        return aa.PriorityMux, (tuple(c[:-1]), c[-1])

    def _on_exclusive_mux(self, loc: aa.Loc, c: list[Node]) -> tuple[type, tuple[Node, ...]]:
        return aa.ExclusiveMux, (tuple(c),)

    def _on_reduce(self, loc: aa.Loc, c: list[Node]) -> tuple[type, tuple[Node, ...]]:
        return aa.Reduce, (aa.ReduceOp(str(c[0])), tuple(c[1:]))

    def _on_concat(self, loc: aa.Loc, c: list[Node]) -> tuple[type, tuple[Node, ...]]:
        return aa.Concat, (tuple(c),)

    def _on_slice(self, loc: aa.Loc, c: list[Node]) -> tuple[type, tuple[Node, ...]]:
        return aa.Slice, tuple(c)

    def _on_bit_map(self, loc: aa.Loc, c: list[Node]) -> tuple[type, tuple[Node, ...]]:
        bits = [int(token) for token in c[1:]]
        return aa.BitMap, (c[0], tuple(zip(bits[::2], bits[1::2], strict=True)))

    def _on_bit_reduce(self, loc: aa.Loc, c: list[Node]) -> tuple[type, tuple[Node, ...]]:
        return aa.BitReduce, (aa.BitReduceOp(str(c[0])), c[1])

    def _on_cast(self, loc: aa.Loc, c: list[Node]) -> tuple[type, tuple[Node, ...]]:
        return aa.Cast, (c[0], c[1])

    def _on_bit_cast(self, loc: aa.Loc, c: list[Node]) -> tuple[type, tuple[Node, ...]]:
        return aa.BitCast, (c[0], c[1])

    def _on_call_expr(self, loc: aa.Loc, c: list[Node]) -> tuple[type, tuple[Node, ...]]:
        return aa.CallExpr, (str(c[0]), tuple(c[1]))


def _flatten(nodes: Node) -> Iterator[Node]:
    for node in nodes:
        if isinstance(node, list):
            yield from cast("list[Node]", node)
        else:
            yield node
