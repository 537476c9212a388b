"""Train a binary or few-bit network; write checkpoints that Brevitas' own script reads too.

Every epoch has its own seed, made of `--random-seed` and its number, so that a run which was
interrupted and resumed ends with the same weights as one that was not.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from datasets import DATASETS, Images, load
from networks import NAMES, Config, Modules, build, clip_weights, config, squared_hinge
from pyahir.errors import PyahirError

THREADS = 1
HALVED_EVERY = 40
SHIFT = 4
SEEDS = 1_000_003  # seeds of two runs do not meet

LOSSES = {"SqrHinge": squared_hinge, "CrossEntropy": nn.functional.cross_entropy}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to train. ``milestones`` are the epochs after which STEP divides the rate by ten."""

    epochs: int
    batch_size: int
    lr: float
    optim: str
    momentum: float
    weight_decay: float
    loss: str
    scheduler: str
    milestones: tuple[int, ...]
    random_seed: int

    def rate(self, epoch: int) -> float:
        """Give the learning rate of an epoch, counted from 1."""
        if self.scheduler == "FIXED":
            return self.lr * 0.5 ** ((epoch - 1) // HALVED_EVERY)
        return self.lr * 0.1 ** sum(milestone < epoch for milestone in self.milestones)

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        if self.optim == "ADAM":
            return torch.optim.Adam(model.parameters(), lr=self.lr, weight_decay=self.weight_decay)
        return torch.optim.SGD(
            model.parameters(),
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
        )


@dataclass(slots=True, kw_only=True)
class Run:
    """A model in training: everything that a checkpoint holds."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    epoch: int = 0
    best: float = 0.0

    def checkpoint(self) -> dict[str, Any]:
        return {
            "state_dict": self.model.state_dict(),
            "optim_dict": self.optimizer.state_dict(),
            "epoch": self.epoch,
            "best_val_acc": self.best,
        }

    def restore(self, path: Path) -> None:
        """Go on from a checkpoint."""
        package = read_checkpoint(path)
        self.model.load_state_dict(package["state_dict"])
        self.optimizer.load_state_dict(package["optim_dict"])
        self.epoch, self.best = int(package["epoch"]), float(package["best_val_acc"])


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of this script or of Brevitas' own, without running code of its pickle."""
    try:
        package = torch.load(path, weights_only=True, map_location="cpu")
    except FileNotFoundError:
        raise click.ClickException(f"{path} does not exist") from None
    keys = {"state_dict", "optim_dict", "epoch", "best_val_acc"}
    if not isinstance(package, dict) or not keys <= package.keys():
        raise click.ClickException(f"{path} is no checkpoint: it has not {', '.join(sorted(keys))}")
    package["state_dict"] = {
        name.removeprefix("module."): value for name, value in package["state_dict"].items()
    }
    return package


def pixels(images: Images) -> Tensor:
    """Return the images as float32 in [0, 1]."""
    return torch.tensor(images.x).float() / 255


def shifted(x: Tensor) -> Tensor:
    """Return colour images cropped at random out of a frame of 4 zero pixels, half mirrored."""
    count, channels, height, width = x.shape
    padded = nn.functional.pad(x, (SHIFT,) * 4)
    dy, dx = torch.randint(0, 2 * SHIFT + 1, (2, count))
    columns = torch.arange(width).expand(count, width)
    mirrored = torch.rand(count) < 0.5
    columns = torch.where(mirrored[:, None], width - 1 - columns, columns) + dx[:, None]
    rows = torch.arange(height) + dy[:, None]
    image = torch.arange(count)[:, None, None, None]
    channel = torch.arange(channels)[:, None, None]
    return padded[image, channel, rows[:, None, :, None], columns[:, None, None, :]]


def train_epoch(run: Run, recipe: Recipe, x: Tensor, y: Tensor, *, augment: bool) -> float:
    """Train one epoch more; return the mean loss."""
    run.epoch += 1
    torch.manual_seed(recipe.random_seed * SEEDS + run.epoch)
    for group in run.optimizer.param_groups:
        group["lr"] = recipe.rate(run.epoch)
    run.model.train()
    total = 0.0
    for batch in torch.randperm(len(x)).split(recipe.batch_size):
        if len(batch) == 1:  # batch norm knows no variance of one image
            continue
        inputs = shifted(x[batch]) if augment else x[batch]
        loss = LOSSES[recipe.loss](run.model(inputs), y[batch])
        run.optimizer.zero_grad()
        loss.backward()
        run.optimizer.step()
        clip_weights(run.model)
        total += loss.item() * len(batch)
    return total / len(x)


def accuracy(model: nn.Module, x: Tensor, y: Tensor, batch_size: int = 500) -> float:
    """Return the percentage of images whose largest score is at their label."""
    model.eval()
    with torch.no_grad():
        parts = [model(part).argmax(dim=1) for part in x.split(batch_size)]
    return 100 * (torch.cat(parts) == y).double().mean().item()


def save(package: dict[str, Any], path: Path) -> None:
    """Write a checkpoint, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    torch.save(package, part)
    part.replace(path)


def train(
    run: Run, recipe: Recipe, data: tuple[Images, Images], folder: Path | None, console: Console
) -> None:
    """Train until the last epoch; write checkpoint.tar every epoch, best.tar for every best."""
    x, y = pixels(data[0]), torch.from_numpy(data[0].y)
    test_x, test_y = pixels(data[1]), torch.from_numpy(data[1].y)
    while run.epoch < recipe.epochs:
        start = time.perf_counter()
        loss = train_epoch(run, recipe, x, y, augment=x.shape[1] == 3)
        found = accuracy(run.model, test_x, test_y)
        best = found >= run.best
        run.best = max(found, run.best)
        if folder is not None:
            for name in ("checkpoint.tar", "best.tar")[: 1 + best]:
                save(run.checkpoint(), folder / name)
        seconds = time.perf_counter() - start
        console.print(
            f"epoch {run.epoch}: loss {loss:.4f}, accuracy {found:.2f} %, "
            f"best {run.best:.2f} %, {seconds:.1f} s"
        )


def show(chosen: Config, dataset: str, test: Images, found: float, console: Console) -> None:
    """Print an accuracy beside the published one."""
    table = Table(chosen.name, f"accuracy on {len(test):,} images of {dataset}")
    table.add_row("here", f"{found:.2f} %")
    if dataset == chosen.dataset:
        table.add_row("published", f"{chosen.published:.2f} %")
    console.print(table)


@click.command(context_settings={"show_default": True})
@click.option("--network", type=click.Choice(NAMES, case_sensitive=False), default="LFC_1W1A")
@click.option("--dataset", type=click.Choice(DATASETS), help="Default: what the network is for.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Folder with the data's files.")
@click.option("--trust-pickle", is_flag=True, help="Read CIFAR-10's Python version: pickles.")
@click.option("--experiments", type=click.Path(path_type=Path), default=Path("build/bnn"))
@click.option("--dry-run", is_flag=True, help="Write no checkpoints.")
@click.option("--evaluate", is_flag=True, help="Measure the checkpoint of --resume only.")
@click.option("--resume", type=click.Path(path_type=Path), help="Go on from this checkpoint.")
@click.option("--epochs", type=click.IntRange(min=1), default=1000)
@click.option("--batch-size", type=click.IntRange(min=2), default=100)
@click.option("--lr", type=float, default=0.02)
@click.option("--optim", type=click.Choice(["ADAM", "SGD"]), default="ADAM")
@click.option("--momentum", type=float, default=0.9, help="Of SGD.")
@click.option("--weight-decay", type=float, default=0.0)
@click.option("--loss", type=click.Choice(list(LOSSES)), default="SqrHinge")
@click.option("--scheduler", type=click.Choice(["FIXED", "STEP"]), default="FIXED")
@click.option("--milestones", default="100,150,200,250", help="Of STEP.")
@click.option("--random-seed", type=int, default=1)
@click.option("--modules", type=click.Choice(["auto", "brevitas", "plain"]), default="auto")
@click.option("--limit", type=click.IntRange(min=2), help="Use only the first images.")
def main(
    network: str,
    dataset: str | None,
    data_dir: Path | None,
    trust_pickle: bool,
    experiments: Path,
    dry_run: bool,
    evaluate: bool,
    resume: Path | None,
    milestones: str,
    modules: Modules,
    limit: int | None,
    **given: Any,
) -> None:
    """Train a network of 1- and 2-bit weights and activations, or measure one."""
    chosen, console = config(network), Console()
    torch.set_num_threads(THREADS)
    torch.use_deterministic_algorithms(True)
    dataset = dataset or chosen.dataset
    if evaluate and resume is None:
        raise click.UsageError("--evaluate needs --resume, the checkpoint to measure")
    if (dataset == "cifar10") != (chosen.family == "CNV"):
        raise click.UsageError(f"{chosen.name} does not take the images of {dataset}")
    try:
        steps = tuple(int(word) for word in milestones.split(","))
    except ValueError:
        raise click.UsageError(f"--milestones {milestones}: accepted is 100,150") from None
    recipe = Recipe(milestones=steps, **given)
    try:
        train_set, test_set = load(dataset, data_dir, trust_pickle=trust_pickle)
        torch.manual_seed(recipe.random_seed)
        model = build(chosen.name, modules)
    except (FileNotFoundError, ModuleNotFoundError, PyahirError) as error:
        raise click.ClickException(str(error)) from error
    train_set, test_set = train_set.take(limit), test_set.take(limit)
    run = Run(model=model, optimizer=recipe.optimizer(model))
    if resume is not None:
        run.restore(resume)
    if not evaluate:
        folder = None if dry_run else experiments / chosen.name / "checkpoints"
        train(run, recipe, (train_set, test_set), folder, console)
    found = accuracy(run.model, pixels(test_set), torch.from_numpy(test_set.y))
    show(chosen, dataset, test_set, found, console)


if __name__ == "__main__":
    main()
