"""Flat addresses of array elements.

In: an indexed storage and the expressions of its indices. Out: one expression, the number of the
word. An index wraps where its dimension is a power of two, as in the Aa interpreter.
"""

from __future__ import annotations

from pyahir.backends.aa import ast as aa
from pyahir.backends.aa import types as ty
from pyahir.backends.aa.typing_rules import Typed, array_parts
from pyahir.backends.vhdl.tree import Tree, number_tree, unsupported

__all__ = ["flat_index"]


def flat_index(typed: Typed, indices: list[Tree]) -> Tree:
    """Give the address of an element, or 0 for a storage that is no array."""
    symbol, loc = typed.symbol, typed.node.loc
    assert symbol is not None
    dims, word = array_parts(symbol.type or typed.type)
    if not isinstance(word, ty.UInt | ty.Int) or len(indices) != len(dims):
        unsupported(loc, f"a part of a word of '{symbol.name}'")
    words = 1
    for dim in dims:
        words *= dim
    if words == 1:
        return number_tree(0, ty.UInt(1))
    if len(dims) == 1:
        return indices[0]
    type_ = ty.UInt((words - 1).bit_length())
    total: Tree | None = None
    for dim, index in zip(dims, indices, strict=True):
        words //= dim
        term = _wide(index, dim, type_)
        if words > 1:
            term = _both(aa.BinaryOp.MUL, term, number_tree(words, type_), type_)
        total = term if total is None else _both(aa.BinaryOp.ADD, total, term, type_)
    assert total is not None
    return total


def _wide(index: Tree, dim: int, type_: ty.UInt) -> Tree:
    if dim & (dim - 1) == 0:
        index = _cast(index, ty.UInt(max(1, (dim - 1).bit_length())))
    return number_tree(0, type_) if dim == 1 else _cast(index, type_)


def _cast(tree: Tree, type_: ty.UInt) -> Tree:
    return Tree(Typed(aa.BitCast(type_, tree.typed.node), type_, (tree.typed,)), (tree,))


def _both(op: aa.BinaryOp, left: Tree, right: Tree, type_: ty.UInt) -> Tree:
    node = aa.Binary(op, left.typed.node, right.typed.node)
    return Tree(Typed(node, type_, (left.typed, right.typed)), (left, right))
