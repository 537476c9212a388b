"""Exported programs (``torch.export``): float models to FLOAT graphs, PT2E to QUANTIZED ones."""

from __future__ import annotations

import operator
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.ao.quantization.fx import _decomposed  # noqa: F401  # registers quantized_decomposed
from torch.export import ExportedProgram
from torch.fx import GraphModule, Interpreter, Node
from torch.fx.node import map_arg

from pyahir.errors import ImportModelError
from pyahir.frontend.aten import rule_for
from pyahir.frontend.calls import Call, Failed, Padded, Pending, PendingSum, Raw, Real, State, Value
from pyahir.frontend.context import ImportContext
from pyahir.frontend.locate import of_stack_trace
from pyahir.frontend.shapes import Shape, text
from pyahir.frontend.torchrun import as_array, engine
from pyahir.frontend.torchscript import Imported
from pyahir.ir.graph import Graph, Loc
from pyahir.ir.types import Array, Float32, Layout, Quantization, TensorType

__all__ = ["ProgramRunner", "import_program"]

CHUNK = 64
QUANTIZED = "quantized_decomposed::"


class _Recorder(Interpreter):
    """Runs a graph and keeps the results of the nodes that are asked for."""

    def __init__(self, module: GraphModule, wanted: Collection[str]) -> None:
        super().__init__(module)
        self.wanted = wanted
        self.found: dict[str, torch.Tensor] = {}

    def run_node(self, n: Node) -> Any:
        result = super().run_node(n)
        if n.name in self.wanted:
            self.found[n.name] = result
        return result


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramRunner:
    """Runs the program with torch's kernels; ``sources`` maps names to nodes of ``module``."""

    module: GraphModule
    sources: dict[str, str]
    codes: dict[str, Quantization | None]
    batched: bool

    def run(self, x: npt.NDArray[np.float32], keep: Collection[str]) -> dict[str, Array]:
        step = CHUNK if self.batched else 1
        parts = [self._chunk(x[at : at + step], keep) for at in range(0, len(x), step)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _chunk(self, x: npt.NDArray[np.float32], keep: Collection[str]) -> dict[str, Array]:
        wanted = {name: node for name, node in self.sources.items() if name in keep}
        recorder = _Recorder(self.module, set(wanted.values()))
        with engine():
            recorder.run(torch.from_numpy(np.ascontiguousarray(x)))
        return {
            name: as_array(recorder.found[node], self.codes[name]) for name, node in wanted.items()
        }


def import_program(
    program: ExportedProgram, *, origin: str, name: str, input_shape: Shape | None = None
) -> Imported:
    """Import an exported program; names come from ``nn_module_stack``, lines from the traces."""
    with engine():
        module = program.run_decompositions({}).module(check_guards=False)
        nodes = [node for node in module.graph.nodes if _is_tensor_call(node)]
        quantized = any(_operation(node).startswith(QUANTIZED) for node in nodes)
        kind = "pt2e" if quantized else "float"
        shape, batched = _input(module, origin)
        if input_shape is not None and input_shape != shape:
            raise ImportModelError(
                f"{origin}: the program takes an input of shape {text(shape)}, not "
                f"{text(input_shape)}; export it again for another shape"
            )
        context = ImportContext(name, origin, kind, (_call(node, {}) for node in nodes))
        graph = _Importer(context, module, shape).run(nodes)
    runner = ProgramRunner(
        module=module,
        sources={key: item for key, item in context.sources.items() if isinstance(item, str)},
        codes={name: kind.quantization for name, kind in graph.types().items()},
        batched=batched,
    )
    return Imported(graph=graph, runner=runner, engine=kind, input_shape=shape)


def _input(module: GraphModule, origin: str) -> tuple[Shape, bool]:
    """Give the input's shape without the batch, and whether the batch is dynamic."""
    inputs = [node for node in module.graph.nodes if node.op == "placeholder"]
    if len(inputs) != 1:
        raise ImportModelError(f"{origin}: the program has {len(inputs)} inputs; one is supported")
    sizes = tuple(inputs[0].meta["val"].shape)
    if len(sizes) not in (2, 4):
        raise ImportModelError(
            f"{origin}: the input has {len(sizes)} axes; a model takes NxCxHxW or NxI"
        )
    dynamic = not isinstance(sizes[0], int)
    if not dynamic and sizes[0] != 1:
        raise ImportModelError(
            f"{origin}: exported for a fixed batch of {sizes[0]}; export it with a batch of 1, or "
            "with dynamic_shapes=({0: torch.export.Dim('batch')},)"
        )
    if not all(isinstance(size, int) for size in sizes[1:]):
        raise ImportModelError(
            f"{origin}: an axis other than the batch is dynamic; hardware has one input size: "
            "export the model for it"
        )
    return tuple(int(size) for size in sizes[1:]), dynamic


def _is_tensor_call(node: Node) -> bool:
    if node.op != "call_function":
        return False
    value = node.meta.get("val")
    return isinstance(value, torch.Tensor | tuple | list)


def _operation(node: Node) -> str:
    schema = getattr(node.target, "_schema", None)
    return schema.name if schema is not None else getattr(node.target, "__name__", str(node.target))


def _layer(node: Node) -> tuple[str, bool]:
    """Give the path of the module a node came from, and whether it is a layer of torch's own."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    if not stack:
        return "", False
    path, kind = stack[-1]
    kind = kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"
    if path.startswith("_empty_nn_module"):
        return "", False
    return path, kind.startswith(("torch.nn.", "torch.ao.nn."))


def _loc(node: Node) -> Loc:
    return of_stack_trace(node.meta.get("stack_trace"), _layer(node)[0])


def _call(node: Node, arguments: dict[str, Any]) -> Call:
    value = node.meta["val"]
    tensor = value if isinstance(value, torch.Tensor) else value[0]
    # a symbolic batch counts as 1: only the other axes are read
    shape = (1, *(int(size) for size in tensor.shape[1:]))
    return Call(
        op=_operation(node),
        arguments=arguments,
        shape=shape,
        loc=_loc(node),
        layer=_layer(node)[1],
        source=node.name,
    )


class _Importer:
    """Imports the nodes of one program in order."""

    def __init__(self, context: ImportContext, module: GraphModule, shape: Shape) -> None:
        self.context = context
        self.module = module
        self.shape = shape
        self.states: dict[Node, Any] = {}

    def run(self, nodes: list[Node]) -> Graph:
        for node in self.module.graph.nodes:
            if node.op == "get_attr":
                self.states[node] = operator.attrgetter(str(node.target))(self.module)
            elif node.op == "placeholder":
                self.states[node] = self._input(node)
        for node in nodes:
            self.states[node] = self._node(node)
        last = next(node for node in self.module.graph.nodes if node.op == "output")
        return self.context.finish(self._outputs(last))

    def _input(self, node: Node) -> State:
        if self.context.engine != "float":
            return Raw()
        layout = Layout.NC if len(self.shape) == 1 else Layout.NCHW
        kind = TensorType(shape=(1, *self.shape), element=Float32(), layout=layout)
        call = Call(
            op="input",
            arguments={},
            shape=(1, *self.shape),
            loc=Loc(),
            layer=False,
            source=node.name,
        )
        return self.context.input(call, kind)

    def _node(self, node: Node) -> Any:
        if node.target is operator.getitem:
            source = self.states.get(node.args[0])  # type: ignore[arg-type]  # a Node
            return source if node.args[1] == 0 else Failed()
        call = _call(node, self._arguments(node))
        tracked = any(self._tracked(value) for value in call.arguments.values())
        if not tracked and not call.op.startswith(QUANTIZED):
            return self._constant(node)
        rule = rule_for(call.op)
        if rule is None:
            self.context.problem(call.loc, f"{call.op} is not supported")
            return Failed()
        state = self.context.run(rule, call)
        made = isinstance(state, Value) and self.context.sources.get(state.name) == node.name
        return self._after_tuple(node, state, made)

    def _after_tuple(self, node: Node, state: State, made: bool) -> State:
        """Record the tensor, not the tuple, of an operation that gives several."""
        if made and not isinstance(node.meta["val"], torch.Tensor) and isinstance(state, Value):
            first = next(user for user in node.users if user.args[1] == 0)
            self.context.sources[state.name] = first.name
        return state

    def _tracked(self, value: Any) -> bool:
        items = value if isinstance(value, list | tuple) else [value]
        return any(isinstance(item, State) for item in items)

    def _constant(self, node: Node) -> Any:
        """Compute what depends on parameters only."""
        resolved = map_arg((node.args, node.kwargs), lambda n: self.states[n])
        return node.target(*resolved[0], **resolved[1])  # type: ignore[operator]  # a function

    def _arguments(self, node: Node) -> dict[str, Any]:
        """Give the arguments by the schema's names, with the defaults that the node leaves out."""
        schema = getattr(node.target, "_schema", None)
        if schema is None:
            return {str(at): self._state(value) for at, value in enumerate(node.args)}
        given = dict(zip((item.name for item in schema.arguments), node.args, strict=False))
        given |= node.kwargs
        return {
            item.name: self._state(given[item.name]) if item.name in given else item.default_value
            for item in schema.arguments
        }

    def _state(self, value: Any) -> Any:
        if isinstance(value, Node):
            return self.states.get(value, 1)  # only a symbolic batch has no state
        if isinstance(value, list | tuple):
            return [self._state(item) for item in value]
        return value

    def _outputs(self, last: Node) -> list[Value]:
        outputs: list[Value] = []
        for node in last.all_input_nodes:
            state = self.states.get(node)
            if isinstance(state, Real):
                state = state.value
            if isinstance(state, Value):
                outputs.append(state)
            elif isinstance(state, Pending | PendingSum):
                self._float_output(state)
            elif isinstance(state, Padded):
                self.context.problem(_loc(node), "padding at the end of the model; remove it")
        return outputs

    def _float_output(self, state: Pending | PendingSum) -> None:
        self.context.problem(
            state.call.loc,
            "the output of this layer stays float: its quantizer has not annotated it. Annotate "
            "the output (XNNPACKQuantizer does), or export the float model and let pyahir "
            "quantize it (--calibrate data.npz)",
        )
