"""ONNX files in: QONNX (few-bit) and QDQ (8-bit) networks as QUANTIZED graphs.

``load`` is the way in. ``model`` reads a file, ``constants`` computes what depends on parameters
only, ``few_bit`` and ``qdq`` each read one chain of nodes, ``reference`` runs the file with the
reference evaluator of the package ``onnx``, which ``package`` asks for.
"""

from __future__ import annotations
