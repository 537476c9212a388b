"""Options that several commands share, and reading a model as they say.

In: what click collected. Out: a model and the options of its compilation. Not here: commands.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pyahir import tables
from pyahir.errors import PyahirError

if TYPE_CHECKING:
    from pyahir.compiler import Compiled, CompileOptions
    from pyahir.data import Images
    from pyahir.frontend.source import SourceModel

__all__ = ["PATH", "compile_model", "json_option", "model_options", "open_model", "plan_options"]

Command = Callable[..., Any]
PATH = click.Path(path_type=Path)

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def model_options(command: Command) -> Command:
    """Add the options that say how a model file is read and quantized."""
    for option in reversed(
        [
            click.option(
                "--trust-pickle", is_flag=True, help="Unpickle the file: it may run code."
            ),
            click.option("--input-shape", metavar="C,H,W", help="Shape of one input."),
            click.option(
                "--quantized-engine",
                type=click.Choice(["auto", "fbgemm", "qnnpack"]),
                default="auto",
                show_default=True,
                help="Whose rounding to follow; the file does not say it.",
            ),
            click.option(
                "--network",
                metavar="NAME",
                help="The file is a checkpoint of this few-bit network: TFC_1W1A ... CNV_2W2A; "
                "the folder is one of BNN-PYNQ's: lfcW1A1 ... cnvW2A2, or that of a config.h.",
            ),
            click.option(
                "--threshold-ties",
                type=click.Choice(["source", "low", "high"]),
                default="source",
                show_default=True,
                help="--network: the level of a sum exactly on a step; low is BNN-PYNQ's.",
            ),
            click.option(
                "--calibrate", type=PATH, metavar="DATA.npz", help="Images 'x', for a float model."
            ),
            click.option(
                "--observer",
                type=click.Choice(["minmax", "percentile", "mse"]),
                default="minmax",
                show_default=True,
                help="How calibration chooses ranges.",
            ),
            click.option(
                "--scheme",
                type=click.Choice(["uint8", "posit8", "float16", "float32"]),
                default="uint8",
                show_default=True,
                help="Number system of a float model's hardware.",
            ),
            click.option(
                "--arith",
                type=click.Choice(["f32", "f16", "quire"]),
                help="posit8: what a layer computes in.  [default: f32]",
            ),
            click.option(
                "--es",
                type=click.Choice(["0", "1", "2"]),
                help="posit8: exponent bits.  [default: 0]",
            ),
            click.option(
                "--weights",
                type=click.Choice(["posit8", "float"]),
                help="posit8: how weights are stored.  [default: float]",
            ),
            click.option(
                "--posit-scale",
                type=click.Choice(["auto", "1"]),
                help="posit8: a calibrated power of two per tensor, or none.  [default: auto]",
            ),
            click.option(
                "--rounding",
                type=click.Choice(["exact", "linear"]),
                default="exact",
                show_default=True,
                help="linear: no exception tables, some codes off by one.",
            ),
        ]
    ):
        command = option(command)
    return command


def plan_options(command: Command) -> Command:
    """Add the options that say what hardware to make."""
    for option in reversed(
        [
            click.option(
                "--multipliers",
                type=click.IntRange(min=1),
                help="Budget of multipliers: the fewest cycles within it.  [default: 64]",
            ),
            click.option(
                "--cycles",
                type=click.IntRange(min=1),
                help="Most clock cycles a frame: the fewest multipliers that keep it.",
            ),
            click.option(
                "--fps", metavar="RATE", help="Frames a second at --clock, instead of --cycles."
            ),
            click.option("--clock", metavar="FREQUENCY", help="For --fps, for example 100MHz."),
            click.option(
                "--memory",
                metavar="BITS",
                help="Most memory, for example 600kbit: the fewest cycles.",
            ),
            click.option(
                "--float",
                "floats",
                type=click.Choice(["exact", "native"]),
                default="exact",
                show_default=True,
                help="native: AHIR's own float operators; its f32 is not exact.",
            ),
            click.option(
                "--stream",
                multiple=True,
                metavar="LAYER",
                help="Bring this layer's weights from outside for every frame, through weights_in.",
            ),
            click.option(
                "--weight-memory",
                metavar="BITS",
                help="Most memory for weights, for example 20Mbit: layers beyond it are streamed.",
            ),
            click.option("--plan", type=PATH, help="Take foldings from this .plan.json."),
            click.option(
                "--folding", multiple=True, metavar="LAYER=PExSIMD", help="Fix one layer's folding."
            ),
        ]
    ):
        command = option(command)
    return command


def open_model(model: Path, **given: Any) -> tuple[SourceModel, CompileOptions]:
    """Read the model; collect the options of a compilation from what the command was given."""
    from pyahir.compiler import CompileOptions
    from pyahir.frontend.source import load_model
    from pyahir.plan.file import read_plan
    from pyahir.plan.folding import parse_folding
    from pyahir.plan.search import Options
    from pyahir.plan.target import parse_quantity, target
    from pyahir.quant.scheme import real_scheme

    foldings = read_plan(given["plan"]) if given.get("plan") else {}
    foldings |= dict(parse_folding(text) for text in given.get("folding") or ())
    on_chip = given.get("weight_memory")
    plan = Options(
        foldings=foldings,
        streamed=frozenset(given.get("stream") or ()),
        weight_memory=int(parse_quantity("--weight-memory", on_chip, "bit")) if on_chip else None,
        **target(given),
    )
    source = load_model(
        model,
        trust_pickle=given["trust_pickle"],
        input_shape=_shape(given["input_shape"]),
        quantized_engine=given["quantized_engine"],
        network=given["network"],
        threshold_ties=given["threshold_ties"],
    )
    calibration = _calibration(given["calibrate"], source)
    es = given["es"]
    real = real_scheme(
        given["scheme"],
        arith=given["arith"],
        es=None if es is None else int(es),
        weights=given["weights"],
        scale=given["posit_scale"],
    )
    options = CompileOptions(
        plan=plan,
        rounding=given["rounding"],
        observer=given["observer"],
        real=real,
        calibration=calibration,
        native_floats=given.get("floats") == "native",
        dump_dir=given.get("dump_dir"),
        progress=tables.progress("calibrating") if calibration is not None else None,
    )
    return source, options


def compile_model(source: SourceModel, options: CompileOptions) -> Compiled:
    """Compile a model that was read."""
    from pyahir.compiler import compile_graph, provenance_of, quantized_graph

    return compile_graph(quantized_graph(source, options), options, provenance_of(source))


def _calibration(path: Path | None, source: SourceModel) -> Images | None:
    from pyahir.data import load_images

    return None if path is None else load_images(path, source.input_shape)


def _shape(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    parts = text.replace("x", ",").split(",")
    if not all(part.isdigit() and int(part) > 0 for part in parts) or len(parts) not in (1, 3):
        raise PyahirError(f"--input-shape {text}: accepted is C,H,W or a vector's length: 1,28,28")
    return tuple(int(part) for part in parts)
