"""Import rules, one file per family of operations. Importing this package registers them all."""

from __future__ import annotations

from pyahir.frontend.aten import conv, elementwise, join, linear, pool, quant, shape
from pyahir.frontend.aten.registry import imports, registered, rule_for

__all__ = ["RULES", "imports", "registered", "rule_for"]

RULES = (conv, elementwise, join, linear, pool, quant, shape)
