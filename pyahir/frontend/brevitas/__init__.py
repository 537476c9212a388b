"""Brevitas' binary and few-bit networks: checkpoints and modules in, ``FewBitNetwork`` out.

``topologies`` knows the networks by name, ``checkpoint`` reads a file, ``network`` turns its
tensors into layers, ``modules`` does the same for a Brevitas module in memory. ``original`` and
``reference`` run them in torch: Brevitas' own forward, or ours where Brevitas is not installed.
"""

from __future__ import annotations
