"""TorchScript files of quantized modules: loaded, walked, imported to QUANTIZED graphs.

Bytes of a file (or a ScriptModule) come in; a graph goes out, and ``ScriptRunner`` which gives
torch's own values under the graph's names. Floating-point models are not imported from here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.jit._recursive import wrap_cpp_module

from pyahir.errors import ImportModelError
from pyahir.frontend import shapes
from pyahir.frontend.aten import rule_for
from pyahir.frontend.aten.join import GROUP
from pyahir.frontend.aten.operands import unpack
from pyahir.frontend.calls import Call, Failed, Raw, Real, State, Value
from pyahir.frontend.context import ImportContext, report
from pyahir.frontend.shapes import Shape
from pyahir.frontend.torchrun import ENGINES, as_array, engine, quiet
from pyahir.frontend.walker import Record, Script, WalkError, walk
from pyahir.ir.graph import Graph
from pyahir.ir.ops import QuantizedAdd
from pyahir.ir.types import Array, Quantization

__all__ = ["Imported", "ScriptRunner", "import_script"]

PACKED = ("quantized::conv", "quantized::linear")
CHUNK = 64  # images that the torch engine sees at once
PROBE = (1, 1, 28, 28)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptRunner:
    """Runs the module with torch's kernels; ``sources`` maps names to the records of a walk.

    ``spare`` images more are run and dropped: fbgemm adds the last elements of a tensor by another
    rule than all the others.
    """

    script: Script
    engine: str
    sources: dict[str, int]
    codes: dict[str, Quantization | None]
    operations: tuple[str, ...]
    batched: bool
    spare: int = 0

    def run(self, x: npt.NDArray[np.float32], keep: Collection[str]) -> dict[str, Array]:
        """Give the codes of every name in ``keep`` for a batch (N, ...)."""
        step = CHUNK if self.batched else 1
        parts = [self._chunk(x[at : at + step], keep) for at in range(0, len(x), step)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _chunk(self, x: npt.NDArray[np.float32], keep: Collection[str]) -> dict[str, Array]:
        count = len(x)
        x = np.concatenate([x, *[x[-1:]] * self.spare])
        with engine(self.engine):
            _, records = walk(self.script, torch.from_numpy(np.ascontiguousarray(x)))
        operations = tuple(record.op for record in records)
        assert operations == self.operations, "the model's operations depend on its input's values"
        return {
            name: as_array(records[index].results[0], self.codes[name])[:count]
            for name, index in self.sources.items()
            if name in keep
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """A graph with its runner; ``note`` says what was inferred and not read."""

    graph: Graph
    runner: Any
    engine: str
    input_shape: Shape
    note: str = ""


def import_script(
    data: bytes,
    *,
    origin: str,
    name: str,
    input_shape: Shape | None,
    traced: Shape | None = None,
    quantized_engine: str = "auto",
) -> Imported:
    """Import TorchScript; ``origin`` begins every message."""
    chosen, script, notes = _load(data, origin, quantized_engine)
    with engine(chosen):
        shape = input_shape or traced
        if shape is None:
            shape = _infer_shape(script, origin)
            notes.append(f"input shape {shapes.text(shape)} inferred; --input-shape sets another")
        try:
            graph, runner, more = _build(script, origin, name, chosen, shape)
        except WalkError as error:
            raise _walk_failed(origin, error, shape) from error
    notes += more
    return Imported(
        graph=graph, runner=runner, engine=chosen, input_shape=shape, note="; ".join(notes)
    )


def _walk_failed(origin: str, error: WalkError, shape: Shape) -> ImportModelError:
    text = str(error)
    if " failed: " in text:
        text += f" (input shape {shapes.text(shape)}; --input-shape 1,28,28 sets another)"
    return report(origin, [f"{error.loc}: {text}" if str(error.loc) else text])


def _load(data: bytes, origin: str, wanted: str) -> tuple[str, Script, list[str]]:
    """Load with the engine that the weights were packed for; give it and what was guessed."""
    if wanted not in ("auto", *ENGINES):
        raise ImportModelError(
            f"quantized_engine={wanted!r} is not known; accepted: auto, {', '.join(ENGINES)}"
        )
    chosen = "fbgemm" if wanted == "auto" else wanted
    script = _read(data, origin, chosen)
    per_channel = _check_parameters(script, origin)
    if wanted != "auto":
        return chosen, script, []
    granularity = "channel" if per_channel else "tensor"
    if not per_channel:
        chosen = "qnnpack"
        script = _read(data, origin, chosen)
    note = f"engine {chosen}, because the weights are per {granularity}; --quantized-engine decides"
    return chosen, script, [note]


def _read(data: bytes, origin: str, chosen: str) -> Script:
    native: Any = torch._C  # its stubs lag behind: the call below is torch.jit.load's
    unit = native.CompilationUnit()
    with engine(chosen), quiet():
        try:
            module = native.import_ir_module_from_buffer(unit, data, torch.device("cpu"), {}, False)
        except RuntimeError as error:
            raise ImportModelError(
                f"{origin}: torch {torch.__version__} cannot load this TorchScript file: "
                f"{str(error).splitlines()[0]}"
            ) from None
        return Script(module=wrap_cpp_module(module), unit=unit)


def _packed_parameters(script: Script) -> Iterator[tuple[str, Any]]:
    for path, module in script.module.named_modules():
        packed = getattr(module, "_packed_params", None)
        if isinstance(packed, torch.ScriptObject):
            yield path.removesuffix("._packed_params"), packed


def _check_parameters(script: Script, origin: str) -> bool:
    """Refuse weights that are no numbers; tell whether any layer is quantized per channel."""
    problems: list[str] = []
    per_tensor: list[bool] = []
    for path, packed in _packed_parameters(script):
        parts = unpack(packed)
        per_tensor.append(parts.per_tensor)
        if not (np.isfinite(parts.scales).all() and (parts.scales > 0).all()):
            problems.append(
                f"({path}): the weight scales hold 0, NaN or infinity; calibrate the model again"
            )
        if not np.isfinite(parts.bias).all():
            problems.append(
                f"({path}): the bias holds NaN or infinity; train or save the model again"
            )
    if problems:
        raise report(origin, problems)
    if not per_tensor:
        raise ImportModelError(
            f"{origin}: a TorchScript file without quantized layers; quantize the model before "
            "saving it, or save a float model with torch.export.save"
        )
    return not all(per_tensor)


class _FirstLayer(Exception):
    """Ends a walk at the first layer with parameters."""


def _infer_shape(script: Script, origin: str) -> Shape:
    seen: list[str] = []
    first: list[tuple[int, bool]] = []

    def before(op: str, operands: Any) -> None:
        seen.append(op)
        if op.startswith(PACKED):
            weight, vector = unpack(operands[1]).weight, "linear" in op
            groups = 1 if vector else torch.ops.quantized.conv2d_groups(operands[1])
            first.append((weight.shape[1] * groups, vector))
            raise _FirstLayer

    def runs(shape: Shape) -> bool:
        try:
            walk(script, torch.zeros(1, *shape))
        except WalkError:
            return False
        return True

    with suppress(WalkError, _FirstLayer):
        walk(script, torch.zeros(PROBE), before)
    found = None
    if first:
        flattened = any(op in seen for op in ("aten::flatten", "aten::view", "aten::reshape"))
        found = shapes.first_that_runs(shapes.candidates(*first[0], flattened), runs)
    if found is None:
        raise ImportModelError(
            f"{origin}: the file does not say the shape of its input, and no square one fits; "
            "give it: --input-shape 1,28,28"
        )
    return found


def _example(shape: Shape, count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, *shape, generator=generator)


def _build(
    script: Script, origin: str, name: str, chosen: str, shape: Shape
) -> tuple[Graph, ScriptRunner, list[str]]:
    x = _example(shape, 1)
    result, records = walk(script, x)
    _check_result(script, x, result, origin)
    calls = [_Reader(record, index) for index, record in enumerate(records)]
    context = ImportContext(name, origin, chosen, (item.call(()) for item in calls))
    states: dict[int, State] = {id(x): Raw()}
    for item in calls:
        _import_record(context, item, states)
    outputs = _outputs(context, result, states)
    graph = context.finish(outputs)
    sources = {name: index for name, index in context.sources.items() if isinstance(index, int)}
    batched = _takes_batches(script, shape, result)
    runner = ScriptRunner(
        script=script,
        engine=chosen,
        sources=sources,
        codes={name: kind.quantization for name, kind in graph.types().items()},
        operations=tuple(record.op for record in records),
        batched=batched,
        spare=_spare_images(graph, chosen) if batched else 0,
    )
    return graph, runner, context.notes


def _check_result(script: Script, x: torch.Tensor, walked: Any, origin: str) -> None:
    """Compare the walk with the module itself: in-place tricks could make them differ."""
    called = script.module(x)
    pairs = zip(_tensors(called), _tensors(walked), strict=True)
    if not all(torch.equal(a, b) for a, b in pairs):
        raise ImportModelError(
            f"{origin}: run operation by operation, the model gives other values than as a whole; "
            "it may write into a tensor that it still reads: use operations that return new ones"
        )


def _tensors(result: Any) -> list[torch.Tensor]:
    if isinstance(result, torch.Tensor):
        return [result]
    return [tensor for item in result for tensor in _tensors(item)]


def _takes_batches(script: Script, shape: Shape, single: Any) -> bool:
    """Tell whether the module computes each image of a batch on its own."""
    two = _example(shape, 2)
    try:
        together, _ = walk(script, two)
        apart = [walk(script, item[None])[0] for item in two]
    except WalkError:
        return False
    parts = [torch.cat(items) for items in zip(*map(_tensors, apart), strict=True)]
    return all(map(torch.equal, _tensors(together), parts))


def _spare_images(graph: Graph, chosen: str) -> int:
    """Count the images that hold the elements which fbgemm adds one by one."""
    sums = [node.type.size for node in graph.nodes if isinstance(node.op, QuantizedAdd)]
    rest = [-(-(GROUP - 1) // size) for size in sums if size % GROUP]
    return max(rest, default=0) if chosen == "fbgemm" else 0


@dataclass(frozen=True, slots=True)
class _Reader:
    """A record as a call, once the states of its operands are known."""

    record: Record
    index: int

    def call(self, operands: Collection[tuple[str, Any]]) -> Call:
        record = self.record
        first = next((v for v in record.arguments.values() if isinstance(v, torch.Tensor)), None)
        channels_last = (
            first is not None
            and first.dim() == 4
            and first.is_contiguous(memory_format=torch.channels_last)
        )
        return Call(
            op=record.op,
            arguments=dict(operands),
            shape=tuple(record.results[0].shape),
            loc=record.loc,
            layer=record.layer,
            source=self.index,
            channels_last=channels_last,
            mixed=_mixed(record.arguments),
        )


def _mixed(arguments: dict[str, Any]) -> bool:
    """Tell whether tensors of one shape lie in memory in different orders."""
    tensors = [item for item in arguments.values() if isinstance(item, torch.Tensor)]
    orders = {
        tuple(step for size, step in zip(item.shape, item.stride(), strict=True) if size > 1)
        for item in tensors
        if item.shape == tensors[0].shape
    }
    return len(orders) > 1


def _import_record(context: ImportContext, item: _Reader, states: dict[int, State]) -> None:
    """Import one record; what does not depend on the model's input is a constant and no call."""
    record = item.record
    operands = {name: states.get(id(v), v) for name, v in record.arguments.items()}
    inside = [states[id(v)] for v in _nested(record.arguments) if id(v) in states]
    if not inside:
        return
    call = item.call(operands.items())
    rule = rule_for(record.op)
    state: State = Failed()
    if rule is None:
        context.problem(record.loc, _unsupported(record.op, inside))
    else:
        state = context.run(rule, call)
    for result in record.results:
        states[id(result)] = state


def _nested(arguments: dict[str, Any]) -> Iterator[torch.Tensor]:
    for value in arguments.values():
        items = value if isinstance(value, list | tuple) else [value]
        yield from (item for item in items if isinstance(item, torch.Tensor))


def _unsupported(op: str, operands: list[State]) -> str:
    if any(isinstance(state, Raw) for state in operands):
        return f"{op} on the float input is not supported; let the host prepare the input"
    if any(isinstance(state, Real) for state in operands):
        return f"{op} after the dequantize is not supported; end the model at the dequantize"
    return f"{op} is not supported"


def _outputs(context: ImportContext, result: Any, states: dict[int, State]) -> list[Value]:
    outputs: list[Value] = []
    for tensor in _tensors(result):
        state = states.get(id(tensor))
        if isinstance(state, Real):
            state = state.value
        if isinstance(state, Value):
            outputs.append(state)
    return outputs
