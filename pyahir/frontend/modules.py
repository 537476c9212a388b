"""Modules in memory: traced to TorchScript bytes, or exported, as their arithmetic asks."""

from __future__ import annotations

import io
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from pyahir.errors import ImportModelError
from pyahir.frontend import shapes
from pyahir.frontend.shapes import Shape
from pyahir.frontend.torchrun import engine

__all__ = ["export_module", "is_quantized", "script_bytes", "square_shape"]

BY_MODE = (_BatchNorm, _DropoutNd)  # layers that compute something else in training


def is_quantized(module: nn.Module) -> bool:
    """Tell whether a module holds torch's packed int8 parameters."""
    return any(
        isinstance(getattr(item, "_packed_params", None), torch.ScriptObject)
        for item in module.modules()
    )


def script_bytes(module: nn.Module, example: torch.Tensor, origin: str) -> bytes:
    """Trace a module (a ScriptModule is taken as it is) and give the file it would make."""
    if not isinstance(module, torch.jit.ScriptModule):
        _require_eval(module, origin)
        with engine():
            try:
                module = torch.jit.trace_module(module, {"forward": example}, check_trace=False)
            except RuntimeError as error:
                raise _cannot_run(origin, example, error) from error
    buffer = io.BytesIO()
    torch.jit.save(module, buffer)
    return buffer.getvalue()


def export_module(module: nn.Module, example: torch.Tensor, origin: str) -> Any:
    """Export a float module for a batch of one."""
    _require_eval(module, origin)
    single = example[:1].clone()  # torch.export stores the whole storage behind a view
    with engine():
        try:
            return torch.export.export(module, (single,))
        except RuntimeError as error:
            raise _cannot_run(origin, single, error) from error


def _require_eval(module: nn.Module, origin: str) -> None:
    for path, item in module.named_modules():
        if item.training and isinstance(item, BY_MODE) and not _is_converted(item):
            raise ImportModelError(
                f"{origin} ({path}): {type(item).__name__} is in training mode; call .eval() on "
                "the model first"
            )


def _is_converted(item: nn.Module) -> bool:
    """Tell whether ``item`` is torch's quantized stand-in: its dropout drops nothing."""
    return type(item).__module__.startswith("torch.ao.")


def _cannot_run(origin: str, example: torch.Tensor, error: RuntimeError) -> ImportModelError:
    shape = "x".join(map(str, example.shape))
    return ImportModelError(
        f"{origin}: the model does not run on an input of shape {shape}: "
        f"{str(error).strip().splitlines()[0]}"
    )


def square_shape(module: nn.Module, origin: str) -> Shape:
    """Find an input on which the module runs, from its first convolution or linear."""

    def runs(shape: Shape) -> bool:
        try:
            with engine():
                module(torch.zeros(1, *shape))
        except (RuntimeError, ValueError):
            return False
        return True

    for item in module.modules():
        channels = getattr(item, "in_channels", None)
        features = channels if channels is not None else getattr(item, "in_features", None)
        if features is not None:
            tried = shapes.candidates(features, channels is None, True)
            found = shapes.first_that_runs(tried, runs)
            if found is not None:
                return found
            break
    raise ImportModelError(
        f"{origin}: the file does not say the shape of its input, and no square one fits; "
        "give it: --input-shape 1,28,28"
    )
