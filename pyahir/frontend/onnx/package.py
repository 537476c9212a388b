"""Asks for the package ``onnx``, which is an extra."""

from __future__ import annotations

import importlib.util

from pyahir.errors import ImportModelError

__all__ = ["installed", "require"]


def installed() -> bool:
    return importlib.util.find_spec("onnx") is not None


def require(origin: str) -> None:
    """Raise unless the package can be imported."""
    if not installed():
        raise ImportModelError(
            f"{origin}: reading an ONNX file needs the package onnx, which is not installed; "
            "install it with pip install 'pyahir[onnx]'"
        )
