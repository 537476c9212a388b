"""The golden model. Importing this package registers the evaluation rule of every op."""

from __future__ import annotations

from pyahir.ir.eval import conv, elementwise, linear, pool, posit, quant, shape, threshold
from pyahir.ir.eval.boundary import dequantize, from_nchw, quantize, to_nchw
from pyahir.ir.eval.core import EvaluationError, registered
from pyahir.ir.eval.evaluator import Evaluator, Listener
from pyahir.ir.eval.processes import evaluate_batch

__all__ = [
    "EvaluationError",
    "Evaluator",
    "Listener",
    "dequantize",
    "evaluate_batch",
    "from_nchw",
    "quantize",
    "registered",
    "to_nchw",
]

RULES = (conv, elementwise, linear, pool, posit, quant, shape, threshold)
