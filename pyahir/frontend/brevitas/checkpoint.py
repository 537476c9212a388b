"""Reads the tensors of a checkpoint and checks them against a topology. Nothing is unpickled.

In: a file of ``torch.save``: a state dict, or a dict that holds one as ``state_dict`` (best.tar and
checkpoint.tar of Brevitas' trainer). Out: float32 tensors by key. Brevitas is not needed.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from pyahir.errors import ImportModelError
from pyahir.frontend.brevitas.topologies import NAMES, Topology, topology
from pyahir.frontend.torchrun import quiet

__all__ = ["checked_state", "load_state"]

COUNTER = ".num_batches_tracked"
PARALLEL = "module."  # the prefix that torch.nn.DataParallel puts before every key


def load_state(path: str | os.PathLike[str], network: Topology) -> dict[str, Tensor]:
    """Read the state dict of ``network`` from a file."""
    try:
        with quiet():
            loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ImportModelError(f"{path}: no such file; give a checkpoint of torch.save") from None
    except (RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ImportModelError(
            f"{path}: cannot be read as plain tensors: {reason}; save it with "
            "torch.save(model.state_dict(), file)"
        ) from None
    if isinstance(loaded, dict) and isinstance(loaded.get("state_dict"), dict):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, dict) or not all(isinstance(item, str) for item in loaded):
        raise ImportModelError(
            f"{path}: holds a {type(loaded).__name__} and no state dict; save it with "
            "torch.save(model.state_dict(), file)"
        )
    return checked_state(loaded, network, os.fspath(path))


def checked_state(state: Mapping[str, Any], network: Topology, origin: str) -> dict[str, Tensor]:
    """Check that ``state`` is that of ``network``, and give its tensors as float32."""
    given = {key.removeprefix(PARALLEL): item for key, item in state.items()}
    given = {key: item for key, item in given.items() if not key.endswith(COUNTER)}
    wanted = network.keys()
    where = f"{origin}, read as {network.name}"
    missing = [key for key in wanted if key not in given]
    surplus = [key for key in given if key not in wanted]
    if missing or surplus:
        found = f"{missing[0]!r} is missing" if missing else f"{surplus[0]!r} is not part of it"
        raise ImportModelError(
            f"{where}: {found} ({len(missing)} keys missing, {len(surplus)} too many)"
            f"{_advice(given)}"
        )
    for key, shape in wanted.items():
        _check(where, key, given[key], shape, _advice(given))
    return {key: given[key].detach().to(torch.float32) for key in wanted}


def _check(where: str, key: str, item: Any, shape: tuple[int, ...], advice: str) -> None:
    if not isinstance(item, Tensor) or not item.is_floating_point():
        kind = item.dtype if isinstance(item, Tensor) else type(item).__name__
        raise ImportModelError(f"{where}: {key!r} is {kind}; accepted is a tensor of floats")
    if tuple(item.shape) != shape:
        found = "x".join(map(str, item.shape)) or "scalar"
        raise ImportModelError(
            f"{where}: {key!r} has shape {found}, not {'x'.join(map(str, shape))}{advice}"
        )
    if not bool(torch.isfinite(item).all()):
        raise ImportModelError(f"{where}: {key!r} holds NaN or infinity; train the network again")
    if key.endswith(".running_var") and bool((item < 0).any()):
        raise ImportModelError(f"{where}: {key!r} holds a negative variance")


def _advice(given: Mapping[str, Any]) -> str:
    """Say which networks the tensors do fit; the bits of activations are not in the file."""
    shapes = {key: tuple(getattr(item, "shape", ())) for key, item in given.items()}
    fitting = [name for name in NAMES if topology(name).keys() == shapes]
    if not fitting:
        return f"; accepted are the checkpoints of {', '.join(NAMES)}"
    return f"; the tensors are those of {', '.join(fitting)}"
