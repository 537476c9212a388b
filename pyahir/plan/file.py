"""The plan as a file that a person can edit: the folding of every layer, as JSON.

``{"format": 1, "layers": {"conv1": {"pe": 6, "simd": 3, "requantizers": 1, "whole": false,
"streamed": false}}}``: a layer or a field that is left out is chosen by the planner. What is
written is what was planned.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from pyahir.errors import PlanError
from pyahir.plan.folding import Folding
from pyahir.plan.layers import LayerKind
from pyahir.plan.plan import Plan

__all__ = ["FORMAT", "folding_fields", "plan_text", "read_plan"]

FORMAT = 1
FIELDS = {"pe": int, "simd": int, "requantizers": int, "whole": bool, "streamed": bool}
REQUIRED = ("pe", "simd")


def folding_fields(folding: Folding) -> dict[str, int | bool | None]:
    """Give what the file says of one layer."""
    return {
        "pe": folding.pe,
        "simd": folding.simd,
        "requantizers": folding.requantizers,
        "whole": bool(folding.whole),
        "streamed": bool(folding.streamed),
    }


def plan_text(plan: Plan) -> str:
    """Write the foldings of a plan, and what it predicts, for a person to read and to change."""
    layers = {
        planned.name: folding_fields(planned.folding)
        for planned in plan.layers
        if planned.layer.kind == LayerKind.MATVEC
    }
    predicted = {"cycles_per_frame": plan.cycles_per_frame, "multipliers": plan.multipliers}
    content = {"format": FORMAT, "layers": layers, "predicted": predicted}
    return json.dumps(content, indent=2) + "\n"


def read_plan(path: Path) -> dict[str, Folding]:
    """Read the foldings of a plan file; ``predicted`` is not read."""
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PlanError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise PlanError(f"{path}: not JSON: {error}; accepted: what compile writes") from None
    layers = _mapping(content).get("layers")
    if not isinstance(layers, dict) or _mapping(content).get("format") != FORMAT:
        raise PlanError(
            f'{path}: no plan; accepted: {{"format": {FORMAT}, "layers": {{NAME: FOLDING, ...}}}}'
        )
    return {
        name: _folding(path, name, fields)
        for name, fields in cast("dict[str, Any]", layers).items()
    }


def _mapping(value: Any) -> Mapping[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _folding(path: Path, name: str, fields: Any) -> Folding:
    given = _mapping(fields)
    for key, value in given.items():
        kind = FIELDS.get(key)
        if kind is None or (type(value) is not kind and value is not None):
            raise PlanError(
                f"{path}: {name}: {key}={json.dumps(value)}; "
                f"accepted: {', '.join(f'{field} ({t.__name__})' for field, t in FIELDS.items())}"
            )
    missing = [key for key in REQUIRED if given.get(key) is None]
    if missing:
        raise PlanError(f"{path}: {name}: {' and '.join(missing)} missing; leave out the layer")
    return Folding(**given)
