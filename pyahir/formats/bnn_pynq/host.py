"""What BNN-PYNQ's host program makes of the hardware's results: the class of every image.

In: results of the last layer, (N, classes). Out: class numbers. Not here: running anything.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pyahir.formats.bnn_pynq.topology import Topology

__all__ = ["Scores", "classify"]

Scores = npt.NDArray[Any]


def classify(topology: Topology, results: Scores) -> npt.NDArray[np.int64]:
    """Give classes as the host does for several images.

    Scores: the first largest, and class 0 when none is above 0; scores of XNOR hardware are counts,
    which are. Bits, one a class, as codes or as -1 and +1: the highest that is set, else class 0.
    """
    if topology.layers[-1].thresholds:
        classes = np.arange(results.shape[1], dtype=np.int64)
        return (np.greater(results, 0) * classes).max(axis=1)
    return results.argmax(axis=1).astype(np.int64) * _any_positive(topology, results)


def _any_positive(topology: Topology, results: Scores) -> npt.NDArray[np.int64]:
    last = len(topology.layers) - 1
    least = 0
    if topology.layers[last].weight_width == topology.input_bits(last) == 1:
        least = -topology.real_inputs(last)  # a sum of -F is a count of 0
    return (results.max(axis=1) > least).astype(np.int64)
