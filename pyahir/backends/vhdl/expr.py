"""Integer expressions as VHDL: numeric_std types, the hardware meaning of every Aa operator.

In: ``Tree`` and a function that names a variable where it is used. Out: text of type ``unsigned``
or ``signed`` with exactly the width of the Aa type; conditions as ``boolean`` where that is
shorter. A product is taken over the bits that its operands had before they were extended, so that
it fits a DSP block. The functions used are those of the package in ``support``.
"""

from __future__ import annotations

from collections.abc import Callable

from pyahir.backends.aa import ast as aa
from pyahir.backends.aa import types as ty
from pyahir.backends.aa.natural_types import COMPARISONS
from pyahir.backends.aa.typing_rules import Typed
from pyahir.backends.vhdl.tree import Tree, Variable, unsupported

__all__ = ["Writer", "constant", "declared"]

_COMPARE = {
    aa.BinaryOp.EQUAL: "=",
    aa.BinaryOp.NOT_EQUAL: "/=",
    aa.BinaryOp.LESS: "<",
    aa.BinaryOp.LESS_EQUAL: "<=",
    aa.BinaryOp.GREATER: ">",
    aa.BinaryOp.GREATER_EQUAL: ">=",
}
_LOGIC = {
    aa.BinaryOp.AND: "and",
    aa.BinaryOp.OR: "or",
    aa.BinaryOp.XOR: "xor",
    aa.BinaryOp.NAND: "nand",
    aa.BinaryOp.NOR: "nor",
    aa.BinaryOp.XNOR: "xnor",
}
_AMOUNT = {
    aa.BinaryOp.SHIFT_LEFT: "shift_up",
    aa.BinaryOp.SHIFT_RIGHT: "shift_down",
    aa.BinaryOp.ROTATE_LEFT: "turn_left",
    aa.BinaryOp.ROTATE_RIGHT: "turn_right",
}
_BITS = {
    aa.BitReduceOp.AND: "all_ones",
    aa.BitReduceOp.OR: "any_one",
    aa.BitReduceOp.XOR: "parity",
}
_UNARY = {
    aa.UnaryOp.DECODE: "one_hot",
    aa.UnaryOp.ENCODE: "index_of",
    aa.UnaryOp.PRIORITY_ENCODE: "highest_bit",
}
_WIDEST = (1 << 31) - 1


def declared(type_: ty.Type, width: int) -> str:
    """Give the subtype of a signal."""
    kind = "signed" if isinstance(type_, ty.Int) else "unsigned"
    return f"{kind}({width - 1} downto 0)"


def constant(value: int, type_: ty.Type, width: int) -> str:
    """Write a constant of an integer type."""
    signed = isinstance(type_, ty.Int)
    low = -_WIDEST if signed else 0
    if low <= value <= _WIDEST:
        return f"{'to_signed' if signed else 'to_unsigned'}({value}, {width})"
    bits = format(value % (1 << width), f"0{width}b")
    return f'{"signed" if signed else "unsigned"}\'("{bits}")'


class Writer:
    """Writes expressions; ``named`` gives the signal of a variable."""

    def __init__(self, named: Callable[[Variable], str]) -> None:
        self.named = named

    def text(self, tree: Tree) -> str:
        """Write an expression with the type and width of its Aa type."""
        node = tree.typed.node
        if tree.variable is not None:
            return self.named(tree.variable)
        if not isinstance(tree.type, ty.UInt | ty.Int):
            unsupported(node.loc, "a value of a type that is not an integer")
        if tree.typed.number is not None and not tree.operands:
            return constant(tree.typed.number, tree.type, tree.width)
        match node:
            case aa.Binary(op):
                return self._binary(op, tree)
            case aa.Unary(op):
                return self._unary(op, tree.operands[0])
            case aa.Mux():
                test, first, second = tree.operands
                return f"pick({self.condition(test)}, {self.text(first)}, {self.text(second)})"
            case aa.PriorityMux() | aa.ExclusiveMux():
                return self._choice(tree)
            case aa.Reduce(op):
                return self._reduce(aa.BinaryOp(op.value), tree)
            case aa.Concat():
                return self._concat(tree)
            case aa.Slice():
                low = tree.typed.number or 0
                return self._slice(tree.operands[0], low + tree.width - 1, low)
            case aa.BitMap(_, pairs):
                return self._bit_map(tree.operands[0], pairs)
            case aa.BitReduce(op):
                return f"{_BITS[op]}({self.text(tree.operands[0])})"
            case aa.Cast() | aa.BitCast():
                return self._cast(tree, plain=isinstance(node, aa.BitCast))
            case _:
                unsupported(node.loc, f"an expression of the kind {type(node).__name__}")

    def condition(self, tree: Tree) -> str:
        """Write an expression as a ``boolean``: true where it is not 0."""
        node = tree.typed.node
        if tree.variable is None and tree.operands and isinstance(node, aa.Binary):
            if node.op in COMPARISONS and node.op in _COMPARE:
                return self._comparison(node.op, tree)
            if tree.width == 1 and node.op in _LOGIC:
                parts = [self.condition(part) for part in tree.operands]
                return f"({parts[0]} {_LOGIC[node.op]} {parts[1]})"
        if tree.width == 1 and tree.variable is not None:
            return f"({self.named(tree.variable)}(0) = '1')"
        if tree.typed.number is not None and not tree.operands:
            return "true" if tree.typed.number else "false"
        if tree.width == 1 and isinstance(node, aa.Unary) and node.op is aa.UnaryOp.INVERT:
            return f"(not {self.condition(tree.operands[0])})"
        return f"({self.text(tree)} /= 0)"

    def bits(self, tree: Tree) -> str:
        """Write the bits of an expression as ``unsigned``."""
        text = self.text(tree)
        return f"unsigned({text})" if isinstance(tree.type, ty.Int) else text

    # Operators

    def _binary(self, op: aa.BinaryOp, tree: Tree) -> str:
        left, right = tree.operands
        if op in _COMPARE:
            return f"flag{_wrapped(self._comparison(op, tree))}"
        if op is aa.BinaryOp.XNOR:  # GHDL's synthesis has no xnor of two constants
            return f"(not ({self.text(left)} xor {self.text(right)}))"
        if op in _LOGIC:
            return f"({self.text(left)} {_LOGIC[op]} {self.text(right)})"
        match op:
            case aa.BinaryOp.ADD | aa.BinaryOp.SUB:
                return f"({self.text(left)} {op.value} {self._addend(right)})"
            case aa.BinaryOp.MUL:
                return self._product(left, right, tree)
            case aa.BinaryOp.CONCAT:
                return self._concat(tree)
            case aa.BinaryOp.BIT_SELECT:
                return f"bit_at({self.bits(left)}, {self.bits(right)})"
            case _ if op in _AMOUNT:
                if _is_constant(right.typed) and right.typed.number is not None:
                    reach = (2 << (left.width - 1).bit_length()) - 1
                    return f"{_AMOUNT[op]}({self.text(left)}, {right.typed.number & reach})"
                return f"{_AMOUNT[op]}({self.text(left)}, {self.bits(right)})"
            case _:
                unsupported(tree.typed.node.loc, f"the operator '{op.value}'")

    def _addend(self, tree: Tree) -> str:
        number = tree.typed.number
        plain = tree.variable is None and not tree.operands
        if plain and number is not None and 0 <= number <= _WIDEST:
            return str(number)
        return self.text(tree)

    def _comparison(self, op: aa.BinaryOp, tree: Tree) -> str:
        left, right = tree.operands
        return f"({self.text(left)} {_COMPARE[op]} {self._addend(right)})"

    def _product(self, left: Tree, right: Tree, tree: Tree) -> str:
        """Multiply the unextended operands as signed numbers and resize the product."""
        first, second = _core(left), _core(right)
        if isinstance(first.type, ty.UInt) and isinstance(second.type, ty.UInt):
            product = f"resize({self.text(first)} * {self.text(second)}, {tree.width})"
            return f"signed({product})" if isinstance(tree.type, ty.Int) else product
        factors = f"{self._signed(first)} * {self._signed(second)}"
        return f"{_kind(tree)}(low_bits({factors}, {tree.width}))"

    def _signed(self, tree: Tree) -> str:
        """Write a number as ``signed``, with a sign bit of its own where it is unsigned."""
        inner = tree
        if isinstance(tree.typed.node, aa.BitCast) and tree.variable is None:
            inner = tree.operands[0]
        number = inner.typed.number if _is_constant(inner.typed) else None
        if number is not None and tree.variable is None:
            value = number % (1 << tree.width)
            if isinstance(tree.type, ty.Int) and value >> (tree.width - 1):
                value -= 1 << tree.width
            least = max(2, value.bit_length() + 1)  # GHDL 2.0 cannot synthesize leading zeros here
            return constant(value, ty.Int(least), least)
        if isinstance(tree.type, ty.Int):
            return self.text(tree)
        return f"signed(resize({self.text(tree)}, {tree.width + 1}))"

    def _unary(self, op: aa.UnaryOp, operand: Tree) -> str:
        if op is aa.UnaryOp.INVERT:
            return f"(not {self.text(operand)})"
        return f"{_UNARY[op]}({self.text(operand)})"

    def _choice(self, tree: Tree) -> str:
        parts = list(tree.operands)
        exclusive = isinstance(tree.typed.node, aa.ExclusiveMux)
        none = constant(0, tree.type, tree.width)
        default = none if exclusive else self.text(parts.pop())
        pairs = list(zip(parts[::2], parts[1::2], strict=True))
        if exclusive:
            picks = [f"pick({self.condition(c)}, {self.text(v)}, {none})" for c, v in pairs]
            return f"({' or '.join(picks)})"
        for test, value in reversed(pairs):
            default = f"pick({self.condition(test)}, {self.text(value)}, {default})"
        return default

    def _reduce(self, op: aa.BinaryOp, tree: Tree) -> str:
        if op is aa.BinaryOp.MUL:
            total = self.text(tree.operands[0])
            for part in tree.operands[1:]:
                total = f"{_kind(tree)}(low_bits({total} * {self.text(part)}, {tree.width}))"
            return total
        word = op.value if op is aa.BinaryOp.ADD else _LOGIC[op]
        return f"({f' {word} '.join(self.text(part) for part in tree.operands)})"

    def _concat(self, tree: Tree) -> str:
        return f"unsigned'({' & '.join(self.bits(part) for part in tree.operands)})"

    def _slice(self, operand: Tree, high: int, low: int) -> str:
        while isinstance(operand.typed.node, aa.Slice) and operand.variable is None:
            shift = operand.typed.number or 0
            operand, high, low = operand.operands[0], high + shift, low + shift
        if operand.variable is not None:
            text = f"{self.named(operand.variable)}({high} downto {low})"
            return f"unsigned({text})" if isinstance(operand.type, ty.Int) else text
        return f"field({self.bits(operand)}, {high}, {low})"

    def _bit_map(self, operand: Tree, pairs: tuple[tuple[int, int], ...]) -> str:
        sources = {target: source for source, target in pairs}
        order = [sources[target] for target in sorted(sources, reverse=True)]
        bits = f"unsigned'({' & '.join(self._slice(operand, bit, bit) for bit in order)})"
        return f"signed({bits})" if isinstance(operand.type, ty.Int) else bits

    def _cast(self, tree: Tree, *, plain: bool) -> str:
        operand = tree.operands[0]
        number = operand.typed.number if _is_constant(operand.typed) else None
        if number is not None and (plain or operand.type == tree.type):
            value = number % (1 << operand.width) % (1 << tree.width)
            negative = int(isinstance(tree.type, ty.Int) and value >> (tree.width - 1) > 0)
            return constant(value - (negative << tree.width), tree.type, tree.width)
        if operand.type == tree.type:
            return self.text(operand)
        if isinstance(tree.type, ty.Int) and not plain:
            inner = self.text(operand)
            inner = f"signed({inner})" if isinstance(operand.type, ty.UInt) else inner
            return inner if operand.width == tree.width else f"resize({inner}, {tree.width})"
        inner = self.bits(operand)
        if operand.width != tree.width:
            inner = f"resize({inner}, {tree.width})"
        return f"signed({inner})" if isinstance(tree.type, ty.Int) else inner


def _kind(tree: Tree) -> str:
    return "signed" if isinstance(tree.type, ty.Int) else "unsigned"


def _is_constant(typed: Typed) -> bool:
    return not typed.operands and typed.symbol is None


def _wrapped(text: str) -> str:
    return text if text.startswith("(") else f"({text})"


def _core(tree: Tree) -> Tree:
    """Look through extensions: the narrowest expression with the same numeric value."""
    while tree.variable is None and isinstance(tree.typed.node, aa.Cast | aa.BitCast):
        inner = tree.operands[0]
        plain = isinstance(tree.typed.node, aa.BitCast)
        if _is_constant(inner.typed) or inner.width > tree.width:
            break
        signed_to_signed = isinstance(inner.type, ty.Int) and isinstance(tree.type, ty.Int)
        if isinstance(inner.type, ty.UInt):
            if inner.width == tree.width and isinstance(tree.type, ty.Int):
                break
            if isinstance(tree.type, ty.Int) and not plain:
                break
        elif not signed_to_signed or (plain and inner.width != tree.width):
            break
        tree = inner
    return tree
