"""Hand-written Aa: posit conversions and IEEE 754 arithmetic, one operator a file.

In: the name of a kernel, which is that of its file and of its module. Out: the module as AST,
with its header as comment; its latency counts registered statements. Every kernel is a pipelined
operator with an initiation interval of 1.
Not here: kernels whose text depends on widths (``fixed``, ``casts``), and programs with float types
(``native``).
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from importlib.resources import files

from pyahir.backends.aa import ast
from pyahir.backends.aa.balance import operator_latency
from pyahir.backends.aa.parser import parse

__all__ = ["kernel_names", "latency", "load"]

_SUFFIX = ".aa"


@cache
def kernel_names() -> tuple[str, ...]:
    """List the kernels by name."""
    found = (item.name for item in files(__name__).iterdir())
    return tuple(sorted(name.removesuffix(_SUFFIX) for name in found if name.endswith(_SUFFIX)))


@cache
def load(name: str) -> ast.Module:
    """Give a kernel's module; an unknown name is a mistake of the caller."""
    assert name in kernel_names(), f"no kernel {name!r}; known: {', '.join(kernel_names())}"
    text = files(__name__).joinpath(f"{name}{_SUFFIX}").read_text(encoding="utf-8")
    module = parse(text, f"{name}{_SUFFIX}").module(name)
    return replace(module, comment=_summary(text))


@cache
def latency(name: str) -> int:
    """Count the cycles from a kernel's operands to its result."""
    return operator_latency(load(name))


def _summary(text: str) -> str:
    """Give the first sentence of the header, which names ports and meaning."""
    lines: list[str] = []
    for line in text.splitlines():
        words = line.removeprefix("//").strip()
        if not line.startswith("//") or not words:
            break
        lines.append(words)
    return " ".join(lines).split(". ")[0].removesuffix(".")
