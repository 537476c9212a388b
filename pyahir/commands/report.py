"""``pyahir report``: a design's figures and pictures on one page.

In: a compiled design; images, a quantized and a float model where they are given. Out: a folder
with ``index.html``, ``report.md`` and ``report.json``, whole or not at all.
Not here: what the page says (``pyahir.report``).
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pyahir.commands.options import PATH
from pyahir.errors import DataError, OutputError, PyahirError

if TYPE_CHECKING:
    from pyahir.backends.aa.files import DesignFiles
    from pyahir.compiler import CompileOptions
    from pyahir.data import Images, Labels
    from pyahir.frontend.source import SourceModel
    from pyahir.report.build import Run
    from pyahir.report.model import AccuracyRow, Quality, QualityRow
    from pyahir.sim.engine import GhdlEngine

__all__ = ["report_command"]

MOST_IMAGES = 256  # whose activations are compared, all of them in memory
SEED = 0
RANDOM = 64  # images where none are given; as many as are asked are simulated


@click.command("report")
@click.argument("design", type=PATH)
@click.option("-o", "--output", type=PATH, required=True, help="Folder for the three files.")
@click.option("--input", "images_path", type=PATH, help="Images; default: seeded random ones.")
@click.option(
    "--frames",
    type=click.IntRange(min=3),
    default=4,
    show_default=True,
    help="Frames to simulate, the first of the images; 3 or more show the steady state.",
)
@click.option("--no-simulation", is_flag=True, help="Only the plan's figures; GHDL is not needed.")
@click.option(
    "--stalls",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.0,
    metavar="SHARE",
    help="Simulate random gaps at the border in this share of the cycles.",
)
@click.option("--model", type=PATH, help="The model that the design was compiled from.")
@click.option(
    "--float", "float_model", type=PATH, help="The float model, for the quantization error."
)
@click.option(
    "--data", type=PATH, help="Images 'x' and labels 'y', .npz, for accuracy; needs --model."
)
@click.option(
    "--calibrate",
    type=PATH,
    metavar="DATA.npz",
    help="The images that calibrated the design, where --model is a float model.",
)
@click.option("--trust-pickle", is_flag=True, help="Unpickle --model: it may run code.")
def report_command(
    design: Path,
    output: Path,
    images_path: Path | None,
    frames: int,
    no_simulation: bool,
    stalls: float,
    model: Path | None,
    float_model: Path | None,
    data: Path | None,
    calibrate: Path | None,
    trust_pickle: bool,
) -> None:
    """Write a report on DESIGN, a compiled .aa: figures, pictures, and what they mean."""
    from pyahir.report.build import build_report
    from pyahir.report.page import texts
    from pyahir.sim.engine import GhdlEngine

    _check_options(no_simulation, stalls, model, float_model, data, calibrate)
    _check_folder(output)
    engine = GhdlEngine.open(design)
    images, what = _images(engine.files, images_path or data, frames)
    quality = None
    if model is not None:
        given = _Given(
            model=model,
            float_model=float_model,
            images=data or images_path,
            needs_labels=data is not None,
            calibrate=calibrate,
            trust_pickle=trust_pickle,
        )
        quality = _quality(engine.files.manifest, given, images, what)
    run = None
    if not no_simulation:
        run = _run(engine, images, what, frames, stalls, design)
    report = build_report(engine.files.manifest, engine.program, run=run, quality=quality)
    _write(output, texts(report))
    click.echo(f"wrote {output / 'index.html'}, report.md, report.json")


def _check_options(
    no_simulation: bool,
    stalls: float,
    model: Path | None,
    float_model: Path | None,
    data: Path | None,
    calibrate: Path | None,
) -> None:
    if no_simulation and stalls:
        raise PyahirError("--stalls says how to simulate; leave it or --no-simulation out")
    for option, value in (("float", float_model), ("data", data), ("calibrate", calibrate)):
        if value is not None and model is None:
            raise PyahirError(
                f"--{option} {value}: compares with the model that the design was compiled from; "
                "give that with --model"
            )


def _check_folder(output: Path) -> None:
    """Find out before the simulation whether there is a place for the files."""
    if output.exists() and not output.is_dir():
        raise OutputError(f"{output}: cannot write: it is a file; name a folder")
    if not output.parent.is_dir():
        raise OutputError(f"{output}: cannot write: the folder {output.parent} does not exist")


def _images(files: DesignFiles, path: Path | None, frames: int) -> tuple[Images, str]:
    """Give the user's images or random ones, and say which."""
    from pyahir.data import load_images, random_images
    from pyahir.sim.design import image_shape

    shape = image_shape(files.manifest)
    if path is None:
        return random_images(shape, max(frames, RANDOM), SEED), f"random images, seed {SEED}"
    return load_images(path, shape), f"images of {path.name}"


def _run(
    engine: GhdlEngine, images: Images, what: str, frames: int, stalls: float, design: Path
) -> Run:
    """Simulate the first frames; fewer images come again."""
    from pyahir.sim.design import image_codes
    from pyahir.sim.run import Stalls

    chosen = images[[number % len(images) for number in range(frames)]]
    codes = image_codes(engine.files.manifest, chosen, design)
    engine.run(codes, stalls=engine.after_weights(Stalls(SEED, stalls)), monitor=True)
    assert engine.result is not None
    return engine.cycles, engine.result, what, stalls


@dataclass(frozen=True, slots=True, kw_only=True)
class _Given:
    """The files of the options; ``needs_labels``: they were given as --data."""

    model: Path
    float_model: Path | None
    images: Path | None
    needs_labels: bool
    calibrate: Path | None
    trust_pickle: bool


def _quality(manifest: Mapping[str, Any], given: _Given, images: Images, what: str) -> Quality:
    """Compare the design's integers with the float model, and their accuracy."""
    from pyahir.frontend.source import load_model
    from pyahir.ir.graph import Stage
    from pyahir.report.model import Quality
    from pyahir.sim.design import image_shape

    _check_origin(manifest, given.model)
    rule = manifest["made_from"].get("rule")
    source = load_model(
        given.model,
        trust_pickle=given.trust_pickle,
        input_shape=image_shape(manifest),
        quantized_engine=rule if rule in ("fbgemm", "qnnpack") else "auto",
    )
    options = _options(manifest, source, given.calibrate)
    reference = None
    if given.float_model is not None:
        reference = load_model(given.float_model, input_shape=source.input_shape)
        if reference.graph.stage is not Stage.FLOAT:
            raise PyahirError(f"--float {given.float_model}: a quantized model; give the float one")
    elif source.graph.stage is Stage.FLOAT:
        reference = source
    part = images[:MOST_IMAGES]
    return Quality(
        images=len(part),
        source=what,
        rows=_errors(manifest, source, options, reference, part) if reference else (),
        accuracy=_accuracy(source, options, reference, given),
    )


def _check_origin(manifest: Mapping[str, Any], model: Path) -> None:
    wanted = manifest["made_from"].get("model_sha256")
    try:
        found = hashlib.sha256(model.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"--model {model}: cannot read: {error.strerror}") from None
    if wanted is not None and found != wanted:
        raise DataError(
            f"--model {model}: {manifest['name']} was compiled from another file (SHA-256 "
            f"{wanted[:12]}..., this one has {found[:12]}...); give that one or compile again"
        )


def _options(
    manifest: Mapping[str, Any], source: SourceModel, calibrate: Path | None
) -> CompileOptions:
    """Quantize as the design was quantized."""
    from pyahir.compiler import CompileOptions
    from pyahir.data import load_images

    recorded: Mapping[str, Any] = manifest["made_from"].get("options", {})
    images = load_images(calibrate, source.input_shape) if calibrate else None
    wanted = recorded.get("calibration_sha256")
    if images is not None and wanted not in (None, hashlib.sha256(images.tobytes()).hexdigest()):
        raise DataError(
            f"--calibrate {calibrate}: {manifest['name']} was calibrated with other images; give "
            "those or compile again"
        )
    return CompileOptions(
        rounding=recorded.get("rounding", "exact"),
        observer=recorded.get("observer") or "minmax",
        calibration=images,
    )


def _errors(
    manifest: Mapping[str, Any],
    source: SourceModel,
    options: CompileOptions,
    reference: SourceModel,
    images: Images,
) -> tuple[QualityRow, ...]:
    """Run both models and compare layer by layer, the input first."""
    from pyahir.compiler import quantized_graph, rounded_graph
    from pyahir.engines import input_codes
    from pyahir.ir.eval import Evaluator
    from pyahir.report.quality import float_values, quality_row

    names = float_values(manifest, reference.graph)
    layers = [row for row in manifest["layers"] if row["name"] in names]
    graph = rounded_graph(quantized_graph(source, options), options)
    missing = {row["value"] for row in layers} - graph.types().keys()
    if missing:
        raise DataError(f"{source.path}: has no value {sorted(missing)[0]}: compile again")
    codes = input_codes(graph, images, source.engine)
    integers = Evaluator(graph).run(codes, keep=[row["value"] for row in layers])
    real = reference.run(images, keep=[names[row["name"]] for row in layers])
    found = [quality_row(manifest["input"], codes, images)]
    for row in layers:
        found.append(quality_row(row, integers[row["value"]], real[names[row["name"]]]))
    return tuple(found)


def _accuracy(
    source: SourceModel, options: CompileOptions, reference: SourceModel | None, given: _Given
) -> tuple[AccuracyRow, ...]:
    """Count right classes, where there are labels."""
    from pyahir import runner
    from pyahir.report.model import AccuracyRow

    labelled = _labelled(given, source)
    if labelled is None:
        return ()
    images, labels = labelled
    other = None if reference is source else reference
    return tuple(
        AccuracyRow(model=row["model"], correct=row["correct"], images=len(labels))
        for row in runner.evaluate(source, options, images, labels, other)
    )


def _labelled(given: _Given, source: SourceModel) -> tuple[Images, Labels] | None:
    """Read labels from --data, or from --input where it has some."""
    from pyahir.data import load_labelled

    path = given.images
    if path is None or not (given.needs_labels or _has_labels(path)):
        return None
    return load_labelled(path, source.input_shape)


def _has_labels(path: Path) -> bool:
    """Look for an array 'y' in an .npz; an .npy has none."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return "y.npy" in archive.namelist()


def _write(folder: Path, contents: Mapping[str, str]) -> None:
    """Write all files or none, into a folder that is made where it is missing."""
    from pyahir.backends.aa.files import write_files

    made = not folder.exists()
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot write: {error.strerror}") from None
    try:
        write_files({folder / name: text.encode() for name, text in contents.items()})
    except BaseException:
        if made:
            folder.rmdir()
        raise
