"""The command line. Exit status: 0 done, 1 a verification found differences, 2 wrong input."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pyahir import __version__, tables
from pyahir.commands.doctor import doctor_command
from pyahir.commands.explore import explore_command
from pyahir.commands.options import (
    PATH,
    compile_model,
    json_option,
    model_options,
    open_model,
    plan_options,
)
from pyahir.commands.pynq import export_pynq_command
from pyahir.commands.report import report_command
from pyahir.commands.simulate import simulate_command
from pyahir.commands.synth import synth_command
from pyahir.errors import PyahirError

if TYPE_CHECKING:
    from pyahir.compiler import Compiled
    from pyahir.engines import LayerCheck

__all__ = ["main"]

# Torch 2.13 announces deprecations from C++ on standard error, where no filter reaches them.
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit status."""
    try:
        code = cli.main(args=arguments, prog_name="pyahir", standalone_mode=False)
    except PyahirError as error:
        click.echo(f"pyahir: {error}", err=True)
        code = 2
    except click.Abort:
        click.echo("pyahir: interrupted", err=True)
        code = 130
    except click.ClickException as error:
        error.show()
        code = 2
    sys.exit(code if isinstance(code, int) else 0)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pyahir")
def cli() -> None:
    """Compile PyTorch networks into Aa hardware, bit-exact at every level."""


@cli.command("compile")
@click.argument("model", type=PATH)
@click.option("-o", "--output", type=PATH, required=True, help="The .aa file to write.")
@model_options
@plan_options
@click.option("--dump-dir", type=PATH, help="Write the graph after every pass into this folder.")
@json_option
def compile_command(model: Path, output: Path, as_json: bool, **given: Any) -> None:
    """Compile MODEL into Aa, its weights and a manifest."""
    source, options = open_model(model, **given)
    compiled = compile_model(source, options)
    paths = compiled.write(output)
    files = [str(path) for path in paths]
    if as_json:
        click.echo(json.dumps(_summary(compiled, files), sort_keys=True))
        return
    tables.show_design(compiled.manifest)
    tables.show_streams(compiled.manifest)
    lines = compiled.text.count(b"\n")
    click.echo(
        f"wrote {', '.join(files)}: {lines} lines of Aa, {len(compiled.weights)} bytes of weights"
    )
    dropped = compiled.manifest["made_from"]["dropped_exceptions"]
    if dropped:
        click.echo(f"linear rounding: {dropped} accumulators give a code that differs by one")
    if compiled.manifest["made_from"]["inexact_in_ahir"]:
        click.echo(
            "native float32: the operators of AHIR round some results wrong, so the engine ahir "
            "will differ; the other engines are exact"
        )
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
@click.option(
    "--engine",
    type=click.Choice(["torch", "ir", "aa", "ghdl", "ahir", "verilator"]),
    required=True,
)
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
        source, options = open_model(model, **given)
        result = runner.run_model(source, options, engine, images_path, codes=codes)
    runner.save_array(output, result)
    shape = "x".join(map(str, result.shape))
    click.echo(f"wrote {output}: {shape} {result.dtype}, engine {engine}")


@cli.command("verify")
@click.argument("model", type=PATH)
@click.option(
    "--engines",
    help="Of torch, ir, aa, ghdl, ahir, verilator.  [default: torch,ir,aa; with --layer ir,aa]",
)
@click.option(
    "--layer",
    "layers",
    multiple=True,
    metavar="NAME",
    help="Check this layer's hardware on its own, or that of each one: all.",
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
    engines: str | None,
    layers: tuple[str, ...],
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
    from pyahir.layerwise import verify_layers
    from pyahir.sim.run import parse_stalls

    if layers and design is not None:
        raise PyahirError("--layer and --design: a single layer is compiled afresh; give one")
    engines = engines or ("ir,aa" if layers else "torch,ir,aa")
    wanted = _engine_list(engines, machinery.ENGINES)
    gaps = parse_stalls(stalls, seed)
    source, options = open_model(model, **given)
    if images_path is None:
        images = random_images(source.input_shape, limit or 4, seed)
    else:
        images = load_images(images_path, source.input_shape)[:limit]
    with tempfile.TemporaryDirectory(prefix="pyahir-") as name:
        folder = Path(name)
        if layers:
            checks = verify_layers(source, options, layers, wanted, images, folder, gaps)
            return _layers_verdict(checks, wanted, len(images), as_json=as_json)
        found, timings = runner.verify(source, options, wanted, images, design, folder, gaps)
    differing = sum(item.differing for item in found)
    compared = sum(item.compared for item in found)
    if as_json:
        click.echo(json.dumps(tables.comparison_json(found, len(images), timings), sort_keys=True))
    else:
        tables.show_comparison(found)
        for timing in timings:
            click.echo(timing.text())
        click.echo(tables.verdict(found, wanted, compared, differing, len(images)))
        if differing and source.ties:
            click.echo(source.note)
    return 1 if differing else 0


def _layers_verdict(
    checks: Sequence[LayerCheck], engines: Sequence[str], frames: int, *, as_json: bool
) -> int:
    """Print what single layers gave; give the exit status."""
    found = [item for check in checks for item in check.comparisons]
    differing = sum(item.differing for item in found)
    if as_json:
        click.echo(json.dumps(tables.layers_json(checks, frames), sort_keys=True))
    else:
        compared = sum(item.compared for item in found)
        tables.show_layers(checks)
        click.echo(tables.verdict(found, engines, compared, differing, frames))
    return 1 if differing else 0


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
@click.option("--host", help="Choose classes as this host does: bnn-pynq (of folders) or pytorch.")
@click.option(
    "--ties",
    type=click.Choice(["low", "high"]),
    help="Which index of equal scores wins.  [default: low]",
)
@click.option(
    "--none-class",
    type=click.IntRange(min=0),
    help="The class when no score is above 0 or no bit is set, for example 0 or 9.",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Processes of the golden model.",
)
@model_options
@json_option
def evaluate_command(
    model: Path,
    data: Path,
    float_model: Path | None,
    limit: int | None,
    host: str | None,
    ties: str | None,
    none_class: int | None,
    jobs: int,
    as_json: bool,
    **given: Any,
) -> None:
    """Measure the accuracy of MODEL: float against quantized."""
    from pyahir import runner
    from pyahir.data import load_labelled
    from pyahir.frontend.source import load_model
    from pyahir.hosts import host_rule

    source, options = open_model(model, **given)
    rule = host_rule(source.graph, preset=host or source.host, ties=ties, none_class=none_class)
    images, labels = load_labelled(data, source.input_shape)
    images, labels = images[:limit], labels[:limit]
    reference = load_model(float_model, input_shape=source.input_shape) if float_model else None
    rows = runner.evaluate(source, options, images, labels, reference, rule, jobs)
    if as_json:
        click.echo(json.dumps({"images": len(images), "accuracy": rows}, sort_keys=True))
    else:
        tables.show_accuracy(rows, len(images))


for command in (
    doctor_command,
    explore_command,
    export_pynq_command,
    report_command,
    simulate_command,
    synth_command,
):
    cli.add_command(command)

if __name__ == "__main__":
    main()
