"""The abstract syntax of Aa: what the parser makes and printer, verifier and interpreter read.

In: nothing. Out: frozen nodes that compare by structure; locations and comments do not take part
in comparisons, so ``parse(to_text(program)) == program``. A text that declares several names at
once (pipes, storages, constants, arguments) becomes one node a name.
Not here: spelling (``printer``, ``aa.lark``), rules about what may be combined (``verify``).
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from pyahir.backends.aa.types import Int

if TYPE_CHECKING:
    from pyahir.backends.aa.types import Size, Type, UInt

WIDEST_DECIMAL = 32
"""The tools keep decimal literals in this many bits; wider ones must be hexadecimal."""


@dataclass(frozen=True, slots=True)
class Loc:
    """A position in a text, counted from 1; ``file`` as the user named it."""

    line: int
    column: int
    file: str | None = None

    def __str__(self) -> str:
        return f"{self.file or '<text>'}:{self.line}:{self.column}"


class BinaryOp(Enum):
    """Binary operators by meaning; the value is the Aa spelling."""

    ADD = "+"
    SUB = "-"
    MUL = "*"
    DIV = "/"
    POWER = "**"
    AND = "&"
    OR = "|"
    XOR = "^"
    NAND = "~&"
    NOR = "~|"
    XNOR = "~^"
    SHIFT_LEFT = "<<"
    SHIFT_RIGHT = ">>"
    ROTATE_LEFT = "<o<"
    ROTATE_RIGHT = ">o>"
    EQUAL = "=="
    NOT_EQUAL = "!="
    LESS = "<"
    LESS_EQUAL = "<="
    GREATER = ">"
    GREATER_EQUAL = ">="
    CONCAT = "&&"
    BIT_SELECT = "[]"
    UNORDERED = "><"


class UnaryOp(Enum):
    """Operators with one operand and no other argument."""

    INVERT = "invert"
    DECODE = "decode"
    ENCODE = "encode"
    PRIORITY_ENCODE = "priority_encode"


class ReduceOp(Enum):
    """Operators that fold a list of operands; the value is the Aa spelling."""

    ADD = "+"
    MUL = "*"
    OR = "|"
    AND = "&"
    XOR = "^"


class BitReduceOp(Enum):
    """Operators that fold the bits of one operand; the value is the Aa spelling."""

    OR = "|"
    AND = "&"
    XOR = "^"


class Radix(Enum):
    """How a text wrote an integer: the verifier looks for literals that the tools would cut."""

    BINARY = 2
    DECIMAL = 10
    HEXADECIMAL = 16


class BlockKind(Enum):
    """In what order the statements of a block start."""

    SERIES = "series"
    PARALLEL = "parallel"
    FORK = "fork"
    BRANCH = "branch"


class PipeKind(Enum):
    """What a read and a write of a pipe do; ``FIFO`` blocks when empty or full."""

    FIFO = "fifo"
    LIFO = "lifo"
    NOBLOCK = "noblock"


class Direction(Enum):
    """The declared side of a pipe at the system's border."""

    IN = "in"
    OUT = "out"


class ModuleKind(Enum):
    """The first part of a module's class."""

    PLAIN = "plain"
    FOREIGN = "foreign"
    PIPELINE = "pipeline"
    INLINE = "inline"
    MACRO = "macro"


class ModuleRole(Enum):
    """The second part of a module's class: how a caller gets its hardware."""

    SHARED = "shared"
    OPERATOR = "operator"
    VOLATILE = "volatile"
    OPAQUE = "opaque"


class Entry(Enum):
    """Entries of a merge that are not names of places."""

    ENTRY = "entry"
    LOOPBACK = "loopback"


# Expressions -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Name:
    """A variable, argument, pipe, storage, constant or parameter."""

    name: str
    _: KW_ONLY
    loc: Loc | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class PathName:
    """A name in another scope: ``up`` scopes outwards, or down through the blocks ``labels``."""

    name: str
    _: KW_ONLY
    up: int = 0
    labels: tuple[str, ...] = ()
    loc: Loc | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Index:
    """An element of an array or a field of a record."""

    base: Name | PathName
    indices: tuple[Expr, ...]
    _: KW_ONLY
    loc: Loc | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Literal:
    """An integer that takes its type from the context.

    With ``type`` the node brings the value into the form that the tools read right at that width:
    a negative value of more than 32 bits becomes its two's complement pattern.
    """

    value: int
    type: UInt | Int | None = field(default=None, compare=False, repr=False)
    _: KW_ONLY
    radix: Radix | None = field(default=None, compare=False, repr=False)
    loc: Loc | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.type is None or not isinstance(self.type.width, int):
            return
        width = self.type.width
        bound = 1 << width
        lowest = -(bound >> 1) if isinstance(self.type, Int) else 0
        if not lowest <= self.value < bound:
            raise ValueError(f"{self.value} does not fit the {width} bits of the literal's type")
        if self.value < 0 and width > WIDEST_DECIMAL:
            object.__setattr__(self, "value", self.value + bound)


@dataclass(frozen=True, slots=True)
class FloatLiteral:
    """A floating-point number that takes its type from the context."""

    value: float
    _: KW_ONLY
    loc: Loc | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ParamLiteral:
    """A compile-time size in braces, used as an integer literal."""

    value: Size
    _: KW_ONLY
    loc: Loc | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Zero:
    """The unsigned 0 of a given width."""

    width: Size
    _: KW_ONLY
    loc: Loc | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class One:
    """The unsigned 1 of a given width."""

    width: Size
    _: KW_ONLY
    loc: Loc | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Unary:
    """One operand, no other argument."""

    op: UnaryOp
    operand: Expr
    _: KW_ONLY
    buffering: Size | None = None
    loc: Loc | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Binary:
    """Two operands; for all but concatenation and the bit index they have one type."""

    op: BinaryOp
    lhs: Expr
    rhs: Expr
    _: KW_ONLY
    buffering: Size | None = None
    loc: Loc | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Mux:
    """``if_true`` where the one-bit condition is 1; both arms are evaluated."""

    condition: Expr
    if_true: Expr
    if_false: Expr
    _: KW_ONLY
    buffering: Size | None = None
    loc: Loc | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class MuxCase:
    """One condition of a priority or exclusive multiplexer and the value it selects."""

    condition: Expr
    value: Expr


@dataclass(frozen=True, slots=True)
class PriorityMux:
    """The value of the first true case, else ``default``."""

    cases: tuple[MuxCase, ...]
    default: Expr
    _: KW_ONLY
    buffering: Size | None = None
    loc: Loc | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ExclusiveMux:
    """The bitwise or of the values of all true cases; 0 if there is none."""

    cases: tuple[MuxCase, ...]
    _: KW_ONLY
    buffering: Size | None = None
    loc: Loc | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Reduce:
    """``op`` over all operands, which have one type."""

    op: ReduceOp
    operands: tuple[Expr, ...]
    _: KW_ONLY
    buffering: Size | None = None
    loc: Loc | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Concat:
    """The bits of all operands; the first operand is the highest."""

    operands: tuple[Expr, ...]
    _: KW_ONLY
    buffering: Size | None = None
    loc: Loc | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Slice:
    """Bits ``high`` down to ``low`` as an unsigned integer."""

    operand: Expr
    high: Size
    low: Size
    _: KW_ONLY
    buffering: Size | None = None
    loc: Loc | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class BitMap:
    """A permutation: for each pair ``(from, to)``, bit ``to`` of the result is bit ``from``."""

    operand: Expr
    pairs: tuple[tuple[int, int], ...]
    _: KW_ONLY
    buffering: Size | None = None
    loc: Loc | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class BitReduce:
    """``op`` over the bits of the operand; one bit."""

    op: BitReduceOp
    operand: Expr
    _: KW_ONLY
    buffering: Size | None = None
    loc: Loc | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Cast:
    """Conversion of the value, decided by the target type: sign-extends to ``Int``."""

    type: Type
    operand: Expr
    _: KW_ONLY
    buffering: Size | None = None
    loc: Loc | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class BitCast:
    """The same bits in another type, zero-extended or cut."""

    type: Type
    operand: Expr
    _: KW_ONLY
    buffering: Size | None = None
    loc: Loc | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class CallExpr:
    """The result of a module with exactly one output."""

    module: str
    arguments: tuple[Expr, ...]
    _: KW_ONLY
    buffering: Size | None = None
    loc: Loc | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class AddressOf:
    """A pointer to a storage object or an element of it; only as a whole right side."""

    target: Name | PathName | Index
    _: KW_ONLY
    loc: Loc | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Dereference:
    """The object that a pointer names; only as a target or as a whole right side."""

    pointer: Name | PathName | Index
    _: KW_ONLY
    loc: Loc | None = field(default=None, compare=False, repr=False)


Expr = (
    Name
    | PathName
    | Index
    | Literal
    | FloatLiteral
    | ParamLiteral
    | Zero
    | One
    | Unary
    | Binary
    | Mux
    | PriorityMux
    | ExclusiveMux
    | Reduce
    | Concat
    | Slice
    | BitMap
    | BitReduce
    | Cast
    | BitCast
    | CallExpr
    | AddressOf
    | Dereference
)
Target = Name | PathName | Index | Dereference


# Statements ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Guard:
    """A one-bit variable that must be 1 (0 if ``inverted``) for the statement to act."""

    name: str
    inverted: bool = False


@dataclass(frozen=True, slots=True)
class Synch:
    """Wait until a marked statement has started, or with ``update`` finished."""

    mark: str
    update: bool = False


@dataclass(frozen=True, slots=True)
class Delay:
    """A hint for the balancer: so many stages after a marked statement."""

    mark: str
    stages: Size


@dataclass(frozen=True, slots=True)
class Assign:
    """``target := value``."""

    target: Target
    value: Expr
    _: KW_ONLY
    guard: Guard | None = None
    volatile: bool = False
    buffering: Size | None = None
    cut_through: bool = False
    mark: str | None = None
    synch: tuple[Synch, ...] = ()
    delay: tuple[Delay, ...] = ()
    keep: bool = False
    loc: Loc | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call of a module; ``results`` are variables, pipes, scalar storages or out arguments."""

    module: str
    arguments: tuple[Expr, ...] = ()
    results: tuple[Name, ...] = ()
    guard: Guard | None = None
    volatile: bool = False
    buffering: Size | None = None
    mark: str | None = None
    synch: tuple[Synch, ...] = ()
    delay: tuple[Delay, ...] = ()
    keep: bool = False
    loc: Loc | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Cut ``source`` into pieces of the given widths; the first target gets the highest bits."""

    source: Name
    widths: tuple[Size, ...]
    targets: tuple[Target, ...]
    guard: Guard | None = None
    volatile: bool = False
    buffering: Size | None = None
    mark: str | None = None
    synch: tuple[Synch, ...] = ()
    delay: tuple[Delay, ...] = ()
    keep: bool = False
    loc: Loc | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Null:
    """Nothing; fills a body that needs a statement."""

    loc: Loc | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Barrier:
    """Everything before has ended when anything after starts."""

    loc: Loc | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Lock:
    """Take a mutex."""

    mutex: str
    _: KW_ONLY
    guard: Guard | None = None
    loc: Loc | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Unlock:
    """Give a mutex back."""

    mutex: str
    _: KW_ONLY
    guard: Guard | None = None
    loc: Loc | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait for so many cycles; no effect on values."""

    cycles: Size
    _: KW_ONLY
    guard: Guard | None = None
    loc: Loc | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Trace:
    """A marker for simulation; no effect on values."""

    tag: str
    index: Size | None = None
    _: KW_ONLY
    guard: Guard | None = None
    loc: Loc | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ReportItem:
    """A described value of a report."""

    description: str
    value: Expr


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A message for simulation, printed unless ``condition`` holds; no effect on values."""

    tag: str
    title: str
    items: tuple[ReportItem, ...] = ()
    condition: Expr | None = None
    guard: Guard | None = None
    loc: Loc | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Export:
    """Makes ``inner`` of a block visible outside as ``outer``."""

    inner: str
    outer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A scope whose statements start in the order of ``kind``."""

    kind: BlockKind
    body: tuple[Statement, ...]
    label: str | None = None
    declarations: tuple[Declaration, ...] = ()
    exports: tuple[Export, ...] = ()
    loc: Loc | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """In a fork block: wait for labelled blocks, then run ``body``."""

    labels: tuple[str, ...]
    body: tuple[Statement, ...] = ()
    loc: Loc | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class If:
    """A choice in a branch block; the condition is true where it is not 0."""

    condition: Expr
    then_body: tuple[Statement, ...]
    else_body: tuple[Statement, ...] = ()
    loc: Loc | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class SwitchCase:
    """The statements for one value of a switch."""

    choice: Literal | ParamLiteral | Name
    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """A choice by value in a branch block; without ``default`` other values hang the module."""

    selector: Expr
    cases: tuple[SwitchCase, ...]
    default: tuple[Statement, ...] = ()
    loc: Loc | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class PhiSource:
    """The value that a phi takes when the merge is entered through one of ``entries``."""

    value: Expr
    entries: tuple[str | Entry, ...]
    _: KW_ONLY
    guard: Guard | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Phi:
    """A variable chosen by the way into a merge; all phis of a merge read the old values."""

    target: str
    sources: tuple[PhiSource, ...]
    barrier: bool = False
    relaxed: bool = False
    loc: Loc | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """A point in a branch block that several places lead to."""

    entries: tuple[str | Entry, ...]
    phis: tuple[Phi, ...] = ()
    loc: Loc | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Place:
    """Continue at the merge that names ``label``."""

    label: str
    _: KW_ONLY
    loc: Loc | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DoPipeline:
    """A loop whose iterations overlap; runs again while ``condition`` is not 0."""

    phis: tuple[Phi, ...] = ()
    body: tuple[Statement, ...]
    condition: Expr
    depth: Size | None = None
    buffering: Size | None = None
    full_rate: bool = False
    loc: Loc | None = field(default=None, compare=False, repr=False)


Statement = (
    Assign
    | Call
    | Split
    | Null
    | Barrier
    | Lock
    | Unlock
    | Sleep
    | Trace
    | Report
    | Block
    | Join
    | If
    | Switch
    | Merge
    | Place
    | DoPipeline
)


# Declarations and programs ---------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipe:
    """A channel between modules, or to the outside where only one side is in the program."""

    name: str
    type: Type
    kind: PipeKind = PipeKind.FIFO
    shift_register: bool = False
    depth: Size | None = None
    direction: Direction | None = None
    signal: bool = False
    synch: bool = False
    point_to_point: bool = False
    full_rate: bool = False
    bypass: bool = False
    initial: tuple[Literal | FloatLiteral, ...] = ()
    comment: str = field(default="", compare=False)
    loc: Loc | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """A memory, or a scalar kept in one; undefined until written."""

    name: str
    type: Type
    register: bool = False
    initial: tuple[Literal | FloatLiteral, ...] = ()
    comment: str = field(default="", compare=False)
    loc: Loc | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """A named scalar value."""

    name: str
    type: Type
    value: Literal | FloatLiteral | ParamLiteral
    loc: Loc | None = field(default=None, compare=False, repr=False)


Declaration = Pipe | Storage | Constant


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A named compile-time size."""

    name: str
    value: Size
    loc: Loc | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordDeclaration:
    """A named record type; the first field lies in the low bits."""

    name: str
    fields: tuple[Type, ...]
    loc: Loc | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutex:
    """A lock that modules take and give back."""

    name: str
    loc: Loc | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Argument:
    """A named input or output of a module."""

    name: str
    type: Type
    _: KW_ONLY
    loc: Loc | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Attribute:
    """A remark for the tools at the end of a module."""

    name: str
    value: Size | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """A process; without arguments it may run for ever as a daemon, else it is called.

    ``body`` is None for a module declared without one (foreign modules).
    """

    name: str
    inputs: tuple[Argument, ...] = ()
    outputs: tuple[Argument, ...] = ()
    declarations: tuple[Declaration, ...] = ()
    body: tuple[Statement, ...] | None
    attributes: tuple[Attribute, ...] = ()
    kind: ModuleKind = ModuleKind.PLAIN
    depth: Size | None = None
    buffering: Size | None = None
    full_rate: bool = False
    deterministic: bool = False
    role: ModuleRole = ModuleRole.SHARED
    noopt: bool = False
    use_once: bool = False
    comment: str = field(default="", compare=False)
    loc: Loc | None = field(default=None, compare=False, repr=False)


Item = Module | Pipe | Storage | Constant | Parameter | RecordDeclaration | Mutex


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A whole text; ``comment`` may have several lines and is printed first."""

    items: tuple[Item, ...]
    comment: str = field(default="", compare=False)

    def modules(self) -> tuple[Module, ...]:
        """The modules in textual order."""
        return tuple(item for item in self.items if isinstance(item, Module))

    def pipes(self) -> tuple[Pipe, ...]:
        """The pipes declared at program level, in textual order."""
        return tuple(item for item in self.items if isinstance(item, Pipe))

    def storages(self) -> tuple[Storage, ...]:
        """The storages declared at program level, in textual order."""
        return tuple(item for item in self.items if isinstance(item, Storage))

    def module(self, name: str) -> Module:
        """The module called ``name``; ``KeyError`` if there is none."""
        for item in self.modules():
            if item.name == name:
                return item
        raise KeyError(name)
