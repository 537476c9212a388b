"""Brevitas' own networks and their forward; the only place that imports Brevitas' models.

``installed`` tells whether it is there; everything else needs it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pyahir.errors import ImportModelError
from pyahir.frontend.brevitas.topologies import CLASSES, HIDDEN, Topology

__all__ = ["Original", "build", "installed", "require"]


def installed() -> bool:
    return importlib.util.find_spec("brevitas") is not None


def require(what: str) -> None:
    """Raise unless Brevitas can be imported."""
    if not installed():
        raise ImportModelError(
            f"{what} needs Brevitas, which is not installed; install it with "
            "pip install 'pyahir[brevitas]', or give a state dict and --network"
        )


def build(topology: Topology, state: Mapping[str, Tensor]) -> nn.Module:
    """Make Brevitas' module of a network, with these tensors, for inference."""
    require(f"Brevitas' {topology.name}")
    from brevitas_examples.bnn_pynq.models.CNV import CNV
    from brevitas_examples.bnn_pynq.models.FC import FC

    bits: dict[str, Any] = {
        "num_classes": CLASSES,
        "weight_bit_width": topology.weight_bits,
        "act_bit_width": topology.act_bits,
        "in_bit_width": topology.input_bits,
    }
    if topology.family == "CNV":
        module: nn.Module = CNV(**bits, in_ch=topology.input_shape[0])
    else:
        hidden = [HIDDEN[topology.family]] * 3
        module = FC(**bits, in_channels=topology.input_shape[0], out_features=hidden)
    counters = {
        key: item
        for key, item in module.state_dict().items()
        if key.endswith("num_batches_tracked")
    }
    module.load_state_dict({**counters, **state})
    return module.eval()


class Original:
    """Runs a Brevitas module and records what the modules at ``paths`` give."""

    def __init__(self, module: nn.Module, paths: Collection[str]) -> None:
        self.module, self.paths = module, tuple(paths)

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """Run a batch (N, C, H, W); give the values by path."""
        found: dict[str, Tensor] = {}
        handles = [
            self.module.get_submodule(path).register_forward_hook(_recorder(found, path))
            for path in self.paths
        ]
        try:
            self.module(images)
        finally:
            for handle in handles:
                handle.remove()
        return found


def _recorder(found: dict[str, Tensor], path: str) -> Any:
    def record(module: nn.Module, inputs: object, output: Any) -> None:
        del module, inputs
        found[path] = torch.as_tensor(getattr(output, "value", output)).detach()

    return record
