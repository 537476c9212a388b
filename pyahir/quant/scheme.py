"""What a user asks for beside uint8: posit or float storage, its arithmetic, weights and scales.

In: the choices of a command line. Out: a checked ``RealScheme``. Nothing is quantized here.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyahir.errors import PyahirError
from pyahir.ir.types import Float16, Float32, Posit

__all__ = ["RealScheme", "real_scheme"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RealScheme:
    """How numbers are stored and computed; ``real_scheme`` makes one of what a user asks for.

    ``weights``: posit8 or float. ``scale``: ``auto``, a calibrated power of two per tensor, or
    ``1``.
    """

    scheme: str = "posit8"
    arith: str = "f32"
    es: int = 0
    weights: str = "float"
    scale: str = "auto"

    @property
    def posit(self) -> bool:
        return self.scheme == "posit8"

    @property
    def calibrated(self) -> bool:
        return self.posit and self.scale == "auto"

    @property
    def element(self) -> Float32 | Float16 | Posit:
        """The element type of activations."""
        if self.posit:
            return Posit(8, self.es)
        return Float16() if self.scheme == "float16" else Float32()

    def __str__(self) -> str:
        if not self.posit:
            return self.scheme
        return f"posit<8,{self.es}>, {self.arith}, weights {self.weights}, scale {self.scale}"


def real_scheme(
    scheme: str,
    *,
    arith: str | None = None,
    es: int | None = None,
    weights: str | None = None,
    scale: str | None = None,
) -> RealScheme | None:
    """Check the choices (None: not given) and fill in the defaults; None for the uint8 scheme."""
    given = {"arith": arith, "es": es, "weights": weights, "scale": scale}
    chosen = {name: item for name, item in given.items() if item is not None}
    if scheme == "posit8":
        return RealScheme(scheme=scheme, **chosen)  # type: ignore[arg-type]  # the command line's choices
    if chosen:
        options = {
            "arith": "--arith",
            "es": "--es",
            "weights": "--weights",
            "scale": "--posit-scale",
        }
        raise PyahirError(
            f"--scheme {scheme} does not take {', '.join(options[name] for name in chosen)}; "
            "these belong to --scheme posit8"
        )
    if scheme == "uint8":
        return None
    return RealScheme(scheme=scheme, arith="f16" if scheme == "float16" else "f32", scale="1")
