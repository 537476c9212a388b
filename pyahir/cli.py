"""The command line. Exit status: 0 done, 1 a verification found differences, 2 wrong input."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pyahir import __version__, tables
from pyahir.commands.doctor import doctor_command
from pyahir.commands.report import report_command
from pyahir.commands.simulate import simulate_command
from pyahir.commands.synth import synth_command
from pyahir.errors import PyahirError

if TYPE_CHECKING:
    from pyahir.compiler import Compiled, CompileOptions
    from pyahir.data import Images
    from pyahir.frontend.source import SourceModel

__all__ = ["main"]

# Torch 2.13 announces deprecations from C++ on standard error, where no filter reaches them.
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")

Command = Callable[..., Any]
PATH = click.Path(path_type=Path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit status."""
    try:
        code = cli.main(args=arguments, prog_name="pyahir", standalone_mode=False)
    except PyahirError as error:
        click.echo(f"pyahir: {error}", err=True)
        code = 2
    except click.Abort:
        click.echo("pyahir: interrupted; nothing was written", err=True)
        code = 130
    except click.ClickException as error:
        error.show()
        code = 2
    sys.exit(code if isinstance(code, int) else 0)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pyahir")
def cli() -> None:
    """Compile PyTorch networks into Aa hardware, bit-exact at every level."""


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
                type=click.Choice(["uint8"]),
                default="uint8",
                show_default=True,
                help="Number system of a float model's hardware.",
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
            click.option("--plan", type=PATH, help="Take foldings from this .plan.json."),
            click.option(
                "--folding", multiple=True, metavar="LAYER=PExSIMD", help="Fix one layer's folding."
            ),
        ]
    ):
        command = option(command)
    return command


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@cli.command("compile")
@click.argument("model", type=PATH)
@click.option("-o", "--output", type=PATH, required=True, help="The .aa file to write.")
@model_options
@plan_options
@click.option("--dump-dir", type=PATH, help="Write the graph after every pass into this folder.")
@json_option
def compile_command(model: Path, output: Path, as_json: bool, **given: Any) -> None:
    """Compile MODEL into Aa, its weights and a manifest."""
    source, options = _open(model, **given)
    compiled = _compile(source, options)
    paths = compiled.write(output)
    files = [str(path) for path in paths]
    if as_json:
        click.echo(json.dumps(_summary(compiled, files), sort_keys=True))
        return
    tables.show_design(compiled.manifest)
    lines = compiled.text.count(b"\n")
    click.echo(
        f"wrote {', '.join(files)}: {lines} lines of Aa, {len(compiled.weights)} bytes of weights"
    )
    dropped = compiled.manifest["made_from"]["dropped_exceptions"]
    if dropped:
        click.echo(f"linear rounding: {dropped} accumulators give a code that differs by one")
    if source.note:
        click.echo(source.note)


def _summary(compiled: Compiled, files: list[str]) -> dict[str, Any]:
    return {
        "files": files,
        "layers": compiled.manifest["layers"],
        "dropped_exceptions": compiled.manifest["made_from"]["dropped_exceptions"],
        "aa_lines": compiled.text.count(b"\n"),
        **compiled.manifest["totals"],
    }


@cli.command("run")
@click.argument("model", type=PATH)
@click.option("--engine", type=click.Choice(["torch", "ir", "aa", "ghdl", "ahir"]), required=True)
@click.option("--input", "images_path", type=PATH, required=True, help="Images, .npy or .npz.")
@click.option("-o", "--output", type=PATH, required=True, help="The .npy file to write.")
@click.option("--codes", is_flag=True, help="Write integer codes instead of real numbers.")
@model_options
@plan_options
def run_command(
    model: Path, engine: str, images_path: Path, output: Path, codes: bool, **given: Any
) -> None:
    """Run MODEL, a model file or a compiled .aa, on images in one engine."""
    from pyahir import runner

    if runner.is_design(model):
        result = runner.run_design(model, engine, images_path, codes=codes)
    else:
        source, options = _open(model, **given)
        result = runner.run_model(source, options, engine, images_path, codes=codes)
    runner.save_array(output, result)
    shape = "x".join(map(str, result.shape))
    click.echo(f"wrote {output}: {shape} {result.dtype}, engine {engine}")


@cli.command("verify")
@click.argument("model", type=PATH)
@click.option(
    "--engines", default="torch,ir,aa", show_default=True, help="Of torch, ir, aa, ghdl, ahir."
)
@click.option("--input", "images_path", type=PATH, help="Images; default: seeded random ones.")
@click.option("--limit", type=click.IntRange(min=1), help="Use only the first images.")
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Seed of random images and stalls."
)
@click.option("--design", type=PATH, help="Check this compiled .aa instead of a fresh one.")
@click.option(
    "--stalls",
    metavar="SHARE",
    default="0",
    show_default=True,
    help="Simulate with random gaps in this share of the cycles, or IN,OUT.",
)
@model_options
@plan_options
@json_option
def verify_command(
    model: Path,
    engines: str,
    images_path: Path | None,
    limit: int | None,
    seed: int,
    design: Path | None,
    stalls: str,
    as_json: bool,
    **given: Any,
) -> int:
    """Run MODEL in several engines and compare every layer's integers."""
    from pyahir import engines as machinery
    from pyahir import runner
    from pyahir.data import load_images, random_images
    from pyahir.sim.run import parse_stalls

    wanted = _engine_list(engines, machinery.ENGINES)
    gaps = parse_stalls(stalls, seed)
    source, options = _open(model, **given)
    if images_path is None:
        images = random_images(source.input_shape, limit or 4, seed)
    else:
        images = load_images(images_path, source.input_shape)[:limit]
    with tempfile.TemporaryDirectory(prefix="pyahir-") as folder:
        found, timings = runner.verify(source, options, wanted, images, design, Path(folder), gaps)
    differing = sum(item.differing for item in found)
    compared = sum(item.compared for item in found)
    if as_json:
        click.echo(json.dumps(tables.comparison_json(found, len(images), timings), sort_keys=True))
    else:
        tables.show_comparison(found)
        for timing in timings:
            click.echo(timing.text())
        click.echo(tables.verdict(found, wanted, compared, differing, len(images)))
    return 1 if differing else 0


for command in (doctor_command, report_command, simulate_command, synth_command):
    cli.add_command(command)


def _engine_list(text: str, accepted: Sequence[str]) -> list[str]:
    wanted = text.split(",")
    unknown = [name for name in wanted if name not in accepted]
    if unknown or len(set(wanted)) != len(wanted) or len(wanted) < 2:
        raise PyahirError(
            f"--engines {text}: accepted are two or more of {', '.join(accepted)}, comma-separated"
        )
    return wanted


@cli.command("evaluate")
@click.argument("model", type=PATH)
@click.option("--data", type=PATH, required=True, help="Images 'x' and labels 'y', .npz.")
@click.option(
    "--float", "float_model", type=PATH, help="The float model, to compare accuracy with."
)
@click.option("--limit", type=click.IntRange(min=1), help="Use only the first images.")
@model_options
@json_option
def evaluate_command(
    model: Path,
    data: Path,
    float_model: Path | None,
    limit: int | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Measure the accuracy of MODEL: float against quantized."""
    from pyahir import runner
    from pyahir.data import load_labelled
    from pyahir.frontend.source import load_model

    source, options = _open(model, **given)
    images, labels = load_labelled(data, source.input_shape)
    images, labels = images[:limit], labels[:limit]
    reference = load_model(float_model, input_shape=source.input_shape) if float_model else None
    rows = runner.evaluate(source, options, images, labels, reference)
    if as_json:
        click.echo(json.dumps({"images": len(images), "accuracy": rows}, sort_keys=True))
    else:
        tables.show_accuracy(rows, len(images))


def _open(model: Path, **given: Any) -> tuple[SourceModel, CompileOptions]:
    """Read the model and collect the options of a compilation."""
    from pyahir.compiler import CompileOptions
    from pyahir.frontend.source import load_model
    from pyahir.plan.file import read_plan
    from pyahir.plan.folding import parse_folding
    from pyahir.plan.search import Options
    from pyahir.plan.target import target

    foldings = read_plan(given["plan"]) if given.get("plan") else {}
    foldings |= dict(parse_folding(text) for text in given.get("folding") or ())
    plan = Options(foldings=foldings, **target(given))
    source = load_model(
        model,
        trust_pickle=given["trust_pickle"],
        input_shape=_shape(given["input_shape"]),
        quantized_engine=given["quantized_engine"],
    )
    calibration = _calibration(given["calibrate"], source)
    options = CompileOptions(
        plan=plan,
        rounding=given["rounding"],
        observer=given["observer"],
        calibration=calibration,
        dump_dir=given.get("dump_dir"),
        progress=tables.progress("calibrating") if calibration is not None else None,
    )
    return source, options


def _calibration(path: Path | None, source: SourceModel) -> Images | None:
    from pyahir.data import load_images

    return None if path is None else load_images(path, source.input_shape)


def _compile(source: SourceModel, options: CompileOptions) -> Compiled:
    from pyahir.compiler import compile_graph, provenance_of, quantized_graph

    return compile_graph(quantized_graph(source, options), options, provenance_of(source))


def _shape(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    parts = text.replace("x", ",").split(",")
    if not all(part.isdigit() and int(part) > 0 for part in parts) or len(parts) not in (1, 3):
        raise PyahirError(f"--input-shape {text}: accepted is C,H,W or a vector's length: 1,28,28")
    return tuple(int(part) for part in parts)


if __name__ == "__main__":
    main()
