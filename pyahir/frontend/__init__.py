"""Model files and modules in, ``ir.Graph`` out: the only package that imports torch.

``detect`` needs no torch, so the names that do are imported when they are first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyahir.frontend.detect import FileKind, detect

if TYPE_CHECKING:
    from pyahir.frontend.source import SourceModel, from_brevitas, from_module, load_model

__all__ = ["FileKind", "SourceModel", "detect", "from_brevitas", "from_module", "load_model"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pyahir.frontend import source

    return getattr(source, name)
