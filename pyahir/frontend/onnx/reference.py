"""Runs an ONNX file with the reference evaluator of the package ``onnx``: float32 in NumPy.

In: images (N, C, H, W). Out: the values of the file by their names. It knows the standard
operators; ``Quant``, ``BipolarQuant`` and ``MultiThreshold`` are added here as QONNX defines them.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from onnx.version_converter import convert_version

from pyahir.errors import ImportModelError
from pyahir.frontend.onnx.model import QUANTIZERS, OnnxModel

__all__ = ["Evaluation"]

Array = npt.NDArray[Any]
LINEAR = ("QuantizeLinear", "DequantizeLinear")
OLDEST = 19  # the first opset whose linear quantizers the evaluator of onnx 1.23 has


def _quant(x: Array, scale: Array, zero_point: Array, width: Array, **attributes: Any) -> Array:
    """``(clamp(round(x / scale + zero_point)) - zero_point) * scale``, all in float32."""
    signed, narrow = attributes["signed"], attributes["narrow"]
    bits = int(width)
    low = -(1 << (bits - 1)) + narrow if signed else 0
    high = (1 << (bits - 1)) - 1 if signed else (1 << bits) - 1 - narrow
    code = np.clip(np.rint(x / scale + zero_point), low, high)
    return ((code - zero_point) * scale).astype(np.float32)


class Quant(OpRun):
    def _run(  # type: ignore[override]
        self,
        x: Array,
        scale: Array,
        zero_point: Array,
        width: Array,
        signed: int = 1,
        narrow: int = 0,
        rounding_mode: str = "ROUND",
    ) -> tuple[Array]:
        del rounding_mode  # ROUND: the importer refuses every other
        return (_quant(x, scale, zero_point, width.item(), signed=signed, narrow=narrow),)


class BipolarQuant(OpRun):
    def _run(self, x: Array, scale: Array) -> tuple[Array]:  # type: ignore[override]
        return (np.where(x >= 0, scale, -scale).astype(np.float32),)


class MultiThreshold(OpRun):
    def _run(  # type: ignore[override]
        self,
        x: Array,
        thresholds: Array,
        out_dtype: str = "",
        out_scale: float = 1.0,
        out_bias: float = 0.0,
        data_layout: str = "NCHW",
    ) -> tuple[Array]:
        del out_dtype, data_layout  # channels first: the importer refuses others
        axes = (1, -1) + (1,) * (x.ndim - 2)
        count = np.zeros(x.shape, np.float32)
        for column in np.asarray(thresholds).T:
            count += x >= column.reshape(axes)
        return ((np.float32(out_scale) * count + np.float32(out_bias)).astype(np.float32),)


def _operators() -> list[Any]:
    """Give each operator in every domain that it is found in."""
    return [
        type(base.__name__, (base,), {"op_domain": domain})
        for base in (Quant, BipolarQuant, MultiThreshold)
        for domain in QUANTIZERS
    ]


def _evaluated(model: OnnxModel) -> Any:
    """Give the file in a version of the operators that the evaluator has."""
    versions = {item.domain: item.version for item in model.proto.opset_import}
    linear = any(item.op in LINEAR for item in model.nodes)
    if not linear or versions.get("", OLDEST) >= OLDEST:
        return model.proto
    try:
        return convert_version(model.proto, OLDEST)
    except RuntimeError as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ImportModelError(
            f"{model.origin}: opset {versions['']} cannot be converted to opset {OLDEST}, which "
            f"the reference evaluator needs: {reason}; export it with opset_version={OLDEST}"
        ) from None


class Evaluation:
    """The evaluator of one file."""

    def __init__(self, model: OnnxModel) -> None:
        self.model = model
        self.session = ReferenceEvaluator(_evaluated(model), new_ops=_operators())

    def __call__(self, x: npt.NDArray[np.float32], names: Collection[str]) -> dict[str, Array]:
        """Run a batch; one image at a time where the file has a fixed batch of 1."""
        step = len(x) if self.model.batched else 1
        parts = [self._chunk(x[at : at + step], names) for at in range(0, len(x), step)]
        return {name: np.concatenate([part[name] for part in parts]) for name in names}

    def _chunk(self, x: npt.NDArray[np.float32], names: Collection[str]) -> dict[str, Array]:
        found: Any = self.session.run(None, {self.model.input: x}, intermediate=True)
        return {name: found[name] for name in names}
