"""Aa text from an Aa AST: the only Python file that spells Aa syntax.

In: a ``Program`` (or one expression, statement or type, for messages). Out: text, a function of
the tree alone, that ``parser.parse`` turns back into an equal tree.
Not here: checks (``verify``); a tree that no rule accepts is still printed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from pyahir.backends.aa import ast as aa
from pyahir.backends.aa import types as ty

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = [
    "KEYWORD_MARK",
    "expr_text",
    "literal_text",
    "size_text",
    "statement_lines",
    "to_text",
    "type_text",
]

KEYWORD_MARK = "$"
"""The character that begins every keyword."""

_INDENT = "  "
_DECIMAL_BOUND = 1 << 31

_UNARY_SPELLING = {
    aa.UnaryOp.INVERT: "~",
    aa.UnaryOp.DECODE: "$decode",
    aa.UnaryOp.ENCODE: "$encode",
    aa.UnaryOp.PRIORITY_ENCODE: "$p_encode",
}
_BLOCK_SPELLING = {
    aa.BlockKind.SERIES: "$seriesblock",
    aa.BlockKind.PARALLEL: "$parallelblock",
    aa.BlockKind.FORK: "$forkblock",
    aa.BlockKind.BRANCH: "$branchblock",
}
_ENTRY_SPELLING = {aa.Entry.ENTRY: "$entry", aa.Entry.LOOPBACK: "$loopback"}


def to_text(program: aa.Program) -> str:
    """Spell a program, one declaration or statement a line, with a final newline."""
    lines = list(_comment_lines(program.comment))
    for item in program.items:
        lines.extend(_item_lines(item))
    return "".join(f"{line}\n" for line in lines)


# Sizes and types -------------------------------------------------------------


def size_text(size: ty.Size) -> str:
    """Spell a compile-time size."""
    match size:
        case int():
            return str(size) if size >= 0 else f"{{- {-size}}}"
        case ty.ParamName(name):
            return name
        case ty.ParamUnary(op, operand):
            return f"{{{op.value} {size_text(operand)}}}"
        case ty.ParamBinary(op, lhs, rhs):
            return f"{{{size_text(lhs)} {op.value} {size_text(rhs)}}}"
        case ty.ParamMux(condition, if_true, if_false):
            parts = " ".join(size_text(part) for part in (condition, if_true, if_false))
            return f"{{$mux {parts}}}"
        case _:
            assert_never(size)


def type_text(type_: ty.Type) -> str:
    """Spell a type."""
    match type_:
        case ty.UInt(width):
            return f"$uint<{size_text(width)}>"
        case ty.Int(width):
            return f"$int<{size_text(width)}>"
        case ty.Float(exponent, fraction):
            return f"$float<{size_text(exponent)},{size_text(fraction)}>"
        case ty.Pointer(target):
            return f"$pointer< {type_text(target)} >"
        case ty.Array(dims, element):
            bounds = "".join(f"[{size_text(dim)}]" for dim in dims)
            return f"$array{bounds} $of {type_text(element)}"
        case ty.Record(fields):
            return f"$record {_field_text(fields)}"
        case ty.NamedType(name):
            return name
        case ty.Void():
            return "$void"
        case _:
            assert_never(type_)


def _field_text(fields: Iterable[ty.Type]) -> str:
    return " ".join(f"<{type_text(field)} >" for field in fields)


# Expressions -----------------------------------------------------------------


def literal_text(literal: aa.Literal | aa.FloatLiteral | aa.ParamLiteral) -> str:
    """Spell a literal so that the tools read the value that the node holds."""
    match literal:
        case aa.Literal(value):
            return str(value) if value < _DECIMAL_BOUND else f"_h{value:X}"
        case aa.FloatLiteral(value):
            return f"_f{_float_digits(value)}"
        case aa.ParamLiteral(value):
            text = size_text(value)
            return text if text.startswith("{") else f"{{{text} + 0}}"
        case _:
            assert_never(literal)


def _float_digits(value: float) -> str:
    """Return the shortest ``d.d+e+d+`` form that reads back as ``value``."""
    for digits in range(1, 17):
        text = f"{value:.{digits}e}"
        if float(text) == value:
            return text
    raise ValueError(f"{value} has no Aa literal")


def expr_text(expr: aa.Expr) -> str:
    """Spell an expression; every compound one has its own parentheses."""
    match expr:
        case aa.Name(name):
            return name
        case aa.PathName(name):
            prefix = "../" * expr.up or "".join(f"%{label}" for label in expr.labels)
            return f"{prefix}:{name}"
        case aa.Index(base, indices):
            return expr_text(base) + "".join(f"[{expr_text(index)}]" for index in indices)
        case aa.Literal() | aa.FloatLiteral() | aa.ParamLiteral():
            return literal_text(expr)
        case aa.Zero(width):
            return f"$zero<{size_text(width)}>"
        case aa.One(width):
            return f"$one<{size_text(width)}>"
        case aa.AddressOf(target):
            return f"@({expr_text(target)})"
        case aa.Dereference(pointer):
            return f"->({expr_text(pointer)})"
        case _:
            words = [_compound_text(expr)]
            if expr.buffering is not None:
                words.append(f"$buffering {size_text(expr.buffering)}")
            return f"({' '.join(words)})"


_Compound = (
    aa.Unary
    | aa.Binary
    | aa.Mux
    | aa.PriorityMux
    | aa.ExclusiveMux
    | aa.Reduce
    | aa.Concat
    | aa.Slice
    | aa.BitMap
    | aa.BitReduce
    | aa.Cast
    | aa.BitCast
    | aa.CallExpr
)


def _compound_text(expr: _Compound) -> str:
    match expr:
        case aa.Unary(op, operand):
            return f"{_UNARY_SPELLING[op]} {expr_text(operand)}"
        case aa.Binary(op, lhs, rhs):
            return f"{expr_text(lhs)} {op.value} {expr_text(rhs)}"
        case aa.Mux(condition, if_true, if_false):
            return f"$mux {_exprs((condition, if_true, if_false))}"
        case aa.PriorityMux(cases, default):
            return f"$prioritymux {_cases(cases)} $default {expr_text(default)}"
        case aa.ExclusiveMux(cases):
            return f"$excmux {_cases(cases)}"
        case aa.Reduce(op, operands):
            return f"$reduce {op.value} {_exprs(operands)}"
        case aa.Concat(operands):
            return f"$concat {_exprs(operands)}"
        case aa.Slice(operand, high, low):
            return f"$slice {expr_text(operand)} {size_text(high)} {size_text(low)}"
        case aa.BitMap(operand, pairs):
            moves = " ".join(f"{source} {target}" for source, target in pairs)
            return f"$bitmap {expr_text(operand)} {moves}"
        case aa.BitReduce(op, operand):
            return f"$bitreduce {op.value} {expr_text(operand)}"
        case aa.Cast(type_, operand):
            return f"$cast ({type_text(type_)}) {expr_text(operand)}"
        case aa.BitCast(type_, operand):
            return f"$bitcast ({type_text(type_)}) {expr_text(operand)}"
        case aa.CallExpr(module, arguments):
            return f"$call {module} ({_exprs(arguments)})"
        case _:
            assert_never(expr)


def _exprs(exprs: Iterable[aa.Expr]) -> str:
    return " ".join(expr_text(expr) for expr in exprs)


def _cases(cases: Iterable[aa.MuxCase]) -> str:
    return " ".join(f"{expr_text(case.condition)} {expr_text(case.value)}" for case in cases)


# Statements ------------------------------------------------------------------


def statement_lines(statement: aa.Statement) -> Iterator[str]:
    """Spell a statement, one line or an indented group of lines."""
    match statement:
        case aa.Assign() | aa.Call() | aa.Split():
            yield " ".join(_simple_words(statement))
        case aa.Lock() | aa.Unlock() | aa.Sleep() | aa.Trace() | aa.Report():
            yield " ".join([*_guard_words(statement.guard), _remark_text(statement)])
        case aa.Null():
            yield "$null"
        case aa.Barrier():
            yield "$barrier"
        case aa.Place(label):
            yield f"$place [{label}]"
        case aa.Block():
            yield from _block_lines(statement)
        case aa.Join():
            yield " ".join(["$join", *statement.labels, *(["$fork"] if statement.body else [])])
            yield from _body_lines(statement.body)
            yield "$endjoin"
        case aa.If():
            yield f"$if {expr_text(statement.condition)} $then"
            yield from _body_lines(statement.then_body)
            if statement.else_body:
                yield "$else"
                yield from _body_lines(statement.else_body)
            yield "$endif"
        case aa.Switch():
            yield from _switch_lines(statement)
        case aa.Merge():
            yield " ".join(["$merge", *(_entry_text(entry) for entry in statement.entries)])
            yield from _indented(_phi_text(phi) for phi in statement.phis)
            yield "$endmerge"
        case aa.DoPipeline():
            yield from _loop_lines(statement)
        case _:
            assert_never(statement)


def _body_lines(body: Iterable[aa.Statement]) -> Iterator[str]:
    for statement in body:
        yield from _indented(statement_lines(statement))


def _indented(lines: Iterable[str]) -> Iterator[str]:
    return (f"{_INDENT}{line}" for line in lines)


def _guard_words(guard: aa.Guard | None) -> list[str]:
    if guard is None:
        return []
    return [f"$guard ({'~ ' if guard.inverted else ''}{guard.name})"]


def _simple_words(statement: aa.Assign | aa.Call | aa.Split) -> Iterator[str]:
    yield from _guard_words(statement.guard)
    if statement.volatile:
        yield "$volatile"
    match statement:
        case aa.Assign(target, value):
            yield f"{expr_text(target)} := {expr_text(value)}"
        case aa.Call():
            yield f"$call {statement.module} ({_exprs(statement.arguments)})"
            yield f"({_exprs(statement.results)})"
        case aa.Split():
            yield f"$split ({expr_text(statement.source)} {_sizes(statement.widths)})"
            yield f"({_exprs(statement.targets)})"
        case _:
            assert_never(statement)
    if statement.buffering is not None:
        yield f"$buffering {size_text(statement.buffering)}"
    if isinstance(statement, aa.Assign) and statement.cut_through:
        yield "$cut_through"
    if statement.mark is not None:
        yield f"$mark {statement.mark}"
    if statement.synch:
        marks = (f"{'$update ' if synch.update else ''}{synch.mark}" for synch in statement.synch)
        yield f"$synch ({' '.join(marks)})"
    if statement.delay:
        delays = (f"{delay.mark} {size_text(delay.stages)}" for delay in statement.delay)
        yield f"$delay ({' '.join(delays)})"
    if statement.keep:
        yield "$keep"


def _sizes(sizes: Iterable[ty.Size]) -> str:
    return " ".join(size_text(size) for size in sizes)


def _remark_text(statement: aa.Lock | aa.Unlock | aa.Sleep | aa.Trace | aa.Report) -> str:
    match statement:
        case aa.Lock(mutex):
            return f"$lock {mutex}"
        case aa.Unlock(mutex):
            return f"$unlock {mutex}"
        case aa.Sleep(cycles):
            return f"$sleep {size_text(cycles)}"
        case aa.Trace(tag, index):
            return f"$trace {tag}" if index is None else f"$trace {tag} ({size_text(index)})"
        case aa.Report():
            words = [statement.tag, statement.title]
            words += [f"{item.description} {expr_text(item.value)}" for item in statement.items]
            condition = statement.condition
            prefix = "" if condition is None else f"$assert {expr_text(condition)} "
            return f"{prefix}$report ({' '.join(words)})"
        case _:
            assert_never(statement)


def _block_lines(block: aa.Block) -> Iterator[str]:
    label = "" if block.label is None else f"[{block.label}] "
    yield f"{_BLOCK_SPELLING[block.kind]} {label}{{"
    for declaration in block.declarations:
        yield from _indented(_item_lines(declaration))
    yield from _body_lines(block.body)
    exports = " ".join(f"{export.inner} => {export.outer}" for export in block.exports)
    yield f"}} ({exports})" if exports else "}"


def _switch_lines(switch: aa.Switch) -> Iterator[str]:
    yield f"$switch {expr_text(switch.selector)}"
    for case in switch.cases:
        yield f"{_INDENT}$when {expr_text(case.choice)} $then"
        yield from _indented(_body_lines(case.body))
    if switch.default:
        yield f"{_INDENT}$default"
        yield from _indented(_body_lines(switch.default))
    yield "$endswitch"


def _entry_text(entry: str | aa.Entry) -> str:
    return _ENTRY_SPELLING[entry] if isinstance(entry, aa.Entry) else entry


def _phi_text(phi: aa.Phi) -> str:
    words = [f"$phi {phi.target} :="]
    for source in phi.sources:
        words += _guard_words(source.guard)
        entries = ", ".join(_entry_text(entry) for entry in source.entries)
        words.append(f"{expr_text(source.value)} $on {entries}")
    words += ["$barrier"] if phi.barrier else []
    words += ["$relaxed"] if phi.relaxed else []
    return " ".join(words)


def _loop_lines(loop: aa.DoPipeline) -> Iterator[str]:
    yield " ".join(["$dopipeline", *_rate_words(loop)])
    inner = ["$merge $entry $loopback", *_indented(map(_phi_text, loop.phis)), "$endmerge"]
    yield from _indented(inner)
    yield from _body_lines(loop.body)
    yield f"$while {expr_text(loop.condition)}"


def _rate_words(node: aa.DoPipeline | aa.Module) -> Iterator[str]:
    if node.depth is not None:
        yield f"$depth {size_text(node.depth)}"
    if node.buffering is not None:
        yield f"$buffering {size_text(node.buffering)}"
    if node.full_rate:
        yield "$fullrate"


# Declarations ----------------------------------------------------------------


def _comment_lines(comment: str) -> Iterator[str]:
    return (f"// {line}".rstrip() for line in comment.splitlines())


def _item_lines(item: aa.Item) -> Iterator[str]:
    match item:
        case aa.Module():
            yield from _comment_lines(item.comment)
            yield from _module_lines(item)
        case aa.Pipe():
            yield from _comment_lines(item.comment)
            yield " ".join(_pipe_words(item))
        case aa.Storage():
            yield from _comment_lines(item.comment)
            register = "$register " if item.register else ""
            initial = _initial_text(item.initial)
            yield f"{register}$storage {item.name} : {type_text(item.type)}{initial}"
        case aa.Constant():
            value = literal_text(item.value)
            yield f"$constant {item.name} : {type_text(item.type)} := {value}"
        case aa.Parameter():
            yield f"$parameter {item.name} {size_text(item.value)}"
        case aa.RecordDeclaration():
            yield f"$record [{item.name}] {_field_text(item.fields)}"
        case aa.Mutex():
            yield f"$mutex {item.name}"
        case _:
            assert_never(item)


def _initial_text(initial: tuple[aa.Literal | aa.FloatLiteral, ...]) -> str:
    if not initial:
        return ""
    values = " ".join(literal_text(value) for value in initial)
    return f" := {values}" if len(initial) == 1 else f" := <{values}>"


def _pipe_words(pipe: aa.Pipe) -> Iterator[str]:
    if pipe.kind is not aa.PipeKind.FIFO:
        yield f"${pipe.kind.value}"
    if pipe.shift_register:
        yield "$shiftreg"
    yield f"$pipe {pipe.name} : {type_text(pipe.type)}{_initial_text(pipe.initial)}"
    if pipe.depth is not None:
        yield f"$depth {size_text(pipe.depth)}"
    if pipe.direction is not None:
        yield f"${pipe.direction.value}"
    flags = (
        ("$signal", pipe.signal),
        ("$synch", pipe.synch),
        ("$p2p", pipe.point_to_point),
        ("$fullrate", pipe.full_rate),
        ("$bypass", pipe.bypass),
    )
    yield from (word for word, present in flags if present)


def _class_words(module: aa.Module) -> Iterator[str]:
    if module.kind is not aa.ModuleKind.PLAIN:
        yield f"${module.kind.value}"
    yield from _rate_words(module)
    if module.deterministic:
        yield "$deterministic"
    if module.role is not aa.ModuleRole.SHARED:
        yield f"${module.role.value}"
    if module.noopt:
        yield "$noopt"
    if module.use_once:
        yield "$useonce"


def _module_lines(module: aa.Module) -> Iterator[str]:
    inputs = " ".join(f"{arg.name} : {type_text(arg.type)}" for arg in module.inputs)
    outputs = " ".join(f"{arg.name} : {type_text(arg.type)}" for arg in module.outputs)
    header = [*_class_words(module), f"$module [{module.name}] $in ({inputs}) $out ({outputs})"]
    if module.body is None:
        yield " ".join(header)
        return
    yield " ".join([*header, "$is"])
    yield "{"
    for declaration in module.declarations:
        yield from _indented(_item_lines(declaration))
    yield from _body_lines(module.body)
    for attribute in module.attributes:
        value = "" if attribute.value is None else f" {size_text(attribute.value)}"
        yield f"{_INDENT}$attribute {attribute.name}{value}"
    yield "}"
