"""The registry of import rules, by the operation's name without overload (``aten::relu``)."""

from __future__ import annotations

from collections.abc import Callable, Collection

from pyahir.frontend.context import Rule

__all__ = ["imports", "registered", "rule_for"]

_rules: dict[str, Rule] = {}


def imports(*operations: str) -> Callable[[Rule], Rule]:
    """Register a function as the import rule of each operation named."""

    def register(rule: Rule) -> Rule:
        for operation in operations:
            if operation in _rules:
                raise ValueError(f"{operation} has an import rule already")
            _rules[operation] = rule
        return rule

    return register


def registered() -> Collection[str]:
    """List the operations that can be imported."""
    return _rules.keys()


def rule_for(operation: str) -> Rule | None:
    return _rules.get(operation)
