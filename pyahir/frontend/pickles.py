"""Files that are no graph, or that only unpickling opens: trusted, or refused with the way out."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.ao.nn.quantized.modules import conv as quantized_conv

from pyahir.errors import ImportModelError
from pyahir.frontend.detect import ACCEPTED, FileKind
from pyahir.frontend.torchrun import quiet

__all__ = ["load_pickle", "refuse"]

SAVE = "torch.jit.save(torch.jit.trace(model.eval(), x), 'model.pt')"
EXPORT = "torch.export.save(torch.export.export(model.eval(), (x,)), 'model.pt2')"
REMAKE = (
    "where the model's class is at hand, save it with its graph:\n"
    f"  quantized: {SAVE}\n"
    f"  float:     {EXPORT}"
)
NAMED = "  a network of Brevitas' bnn_pynq: name it, for example --network TFC_1W1A"


def refuse(path: str | os.PathLike[str], kind: FileKind) -> ImportModelError:
    """Say what a file is and the lines that make a usable one."""
    found = f"{path}: this is {kind.value}"
    if kind in (FileKind.EAGER_PICKLE, FileKind.FX_PICKLE):
        return ImportModelError(
            f"{found}: loading it runs code from the file. If you trust it, add --trust-pickle; "
            f"better, {REMAKE}"
        )
    if kind in (FileKind.STATE_DICT, FileKind.SAFETENSORS):
        named = f"\n{NAMED}" if kind is FileKind.STATE_DICT else ""
        return ImportModelError(
            f"{found}: it has weights but not what is computed with them. Load it into the "
            f"model's class (model.load_state_dict), then, {REMAKE}{named}"
        )
    return ImportModelError(f"{found}; give {ACCEPTED}")


def load_pickle(path: str | os.PathLike[str]) -> nn.Module:
    """Unpickle a module that the user trusts."""
    try:
        with quiet(), _initialised_convs():
            module = torch.load(path, map_location="cpu", weights_only=False)
    except (AttributeError, ImportError) as error:
        raise ImportModelError(
            f"{path}: the pickle needs a class that cannot be imported here ({error}); {REMAKE}"
        ) from None
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ImportModelError(f"{path}: the pickle cannot be loaded: {reason}") from None
    if not isinstance(module, nn.Module):
        raise ImportModelError(
            f"{path}: the pickle holds a {type(module).__name__} and no module; {REMAKE}"
        )
    return module.eval()


@contextmanager
def _initialised_convs() -> Iterator[None]:
    """Make unpickled quantized convolutions modules: in torch 2.13 they lack ``_modules``."""
    owner = quantized_conv._ConvNd
    original = owner.__setstate__

    def set_state(self: Any, state: Any) -> None:
        if "_modules" not in self.__dict__:
            nn.Module.__init__(self)
        original(self, state)

    owner.__setstate__ = set_state
    try:
        yield
    finally:
        owner.__setstate__ = original
