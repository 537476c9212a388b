"""The narrow form of the golden model. Importing this package registers its kernels."""

from __future__ import annotations

from pyahir.ir.eval.narrow import pointwise, product, quant, window
from pyahir.ir.eval.narrow.form import narrow_form, registered_narrow
from pyahir.ir.eval.narrow.product import accelerated

__all__ = ["accelerated", "narrow_form", "registered_narrow"]

RULES = (pointwise, product, quant, window)
