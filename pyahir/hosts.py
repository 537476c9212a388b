"""What a host makes of a network's results: the class of every image, ties and silence included.

In: raw scores or bits of the last layer, (N, classes), and a ``HostRule``. Out: class numbers.

The presets follow two published hosts. ``bnn-pynq``: scores begin with the best at 0 and take a
later class only if it is greater, so the first of equal ones wins and class 0 is the answer when
none is above 0; bits are read as a binary number, so the highest one wins, and none is class 0.
``pytorch``: the comparison is "not less", so the last of equal ones wins, and no bit is class 9.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pyahir.errors import PyahirError
from pyahir.ir.graph import Graph
from pyahir.ir.ops import Linear
from pyahir.ir.types import Array, Bipolar

__all__ = ["PRESETS", "HostRule", "host_rule"]

PRESETS = ("bnn-pynq", "pytorch")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRule:
    """``ties``: the ``low``est or ``high``est index of equal scores wins.

    ``none_class`` is the answer when no score is above ``floor`` (with ``high`` ties: when all are
    below it), or no bit is set; without it the greatest wins whatever it is.
    """

    ties: str = "low"
    none_class: int | None = None
    floor: int = 0

    def classes(self, scores: Array) -> npt.NDArray[np.int64]:
        """Give the class of every row of (N, classes): numbers, or bits as codes 0 and 1."""
        rows = scores.reshape(len(scores), -1)
        if self.ties == "low":
            found = rows.argmax(axis=1)
        else:
            found = rows.shape[1] - 1 - rows[:, ::-1].argmax(axis=1)
        if self.none_class is None:
            return found.astype(np.int64)
        best = rows.astype(np.float64).max(axis=1)
        silent = best <= self.floor if self.ties == "low" else best < self.floor
        return np.where(silent, self.none_class, found).astype(np.int64)


def host_rule(
    graph: Graph,
    *,
    preset: str | None = None,
    ties: str | None = None,
    none_class: int | None = None,
) -> HostRule:
    """Give the rule for a graph's output: a preset, or the default, with what else was asked.

    Sums of bits times bits are counted by XNOR hardware as 0 to n, so their floor is -n here.
    """
    if preset is not None and preset not in PRESETS:
        raise PyahirError(f"--host {preset}: no such host; accepted: {', '.join(PRESETS)}")
    bits = isinstance(graph.types()[graph.outputs[0]].element, Bipolar)
    rule = HostRule(floor=_floor(graph))
    if preset == "bnn-pynq":
        rule = replace(rule, ties="high" if bits else "low", none_class=0)
    elif preset == "pytorch":
        rule = replace(rule, ties="high", none_class=9 if bits else 0)
    if ties is not None:
        rule = replace(rule, ties=ties)
    if none_class is not None:
        rule = replace(rule, none_class=none_class)
    if bits and rule.ties == "high":
        rule = replace(rule, floor=1)  # a bit that is not set is 0, and no winner
    return rule


def _floor(graph: Graph) -> int:
    """Give the score below which XNOR hardware counts nothing."""
    node = graph.node_map().get(graph.outputs[0])
    if node is None or not isinstance(node.op, Linear):
        return 0
    kinds = [graph.types()[name] for name in node.inputs]
    if not all(isinstance(kind.element, Bipolar) for kind in kinds):
        return 0
    return -kinds[0].shape[1]
