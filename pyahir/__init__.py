"""pyahir compiles PyTorch networks into Aa hardware, bit-exact at every level."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyahir.errors import PyahirError

if TYPE_CHECKING:
    from pyahir.compiler import compile_module as compile

__version__ = "0.1.0"
__all__ = ["PyahirError", "__version__", "compile"]


def __getattr__(name: str) -> object:
    if name == "compile":  # late, so that `import pyahir` costs nothing
        from pyahir.compiler import compile_module

        return compile_module
    raise AttributeError(f"module 'pyahir' has no attribute {name!r}")
