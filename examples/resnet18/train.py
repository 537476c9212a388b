"""Train ResNet-18 in float; write its weights and its exported program."""

import time
from pathlib import Path

import click
import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import Tensor, nn

from data import NAMES, Images, Name, load
from model import WIDTH, ResNet18, accuracy
from pyahir.errors import DataError

SHIFT = 2


def shifted(x: Tensor, pixels: int, *, mirror: bool) -> Tensor:
    """Return the images, each moved by up to `pixels` either way, and half of them mirrored."""
    count, channels, height, width = x.shape
    padded = nn.functional.pad(x, (pixels,) * 4)
    dy, dx = torch.randint(0, 2 * pixels + 1, (2, count))
    rows = dy[:, None] + torch.arange(height)
    columns = dx[:, None] + torch.arange(width)
    if mirror:
        turned = torch.rand(count) < 0.5
        columns = torch.where(turned[:, None], columns.flip(1), columns)
    image = torch.arange(count)[:, None, None, None]
    channel = torch.arange(channels)[:, None, None]
    return padded[image, channel, rows[:, None, :, None], columns[:, None, None, :]]


def train(
    model: ResNet18,
    images: Images,
    *,
    epochs: int,
    batch: int,
    seed: int,
    mirror: bool,
    console: Console,
) -> ResNet18:
    """Return `model` in eval mode, trained with one-cycle AdamW on shifted images."""
    torch.manual_seed(seed)
    x, y = torch.from_numpy(images.x), torch.from_numpy(images.y)
    steps = epochs * -(-len(images) // batch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, total_steps=steps)
    model.train()
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("train", total=steps)
        for _ in range(epochs):
            for index in torch.randperm(len(images)).split(batch):
                scores = model(shifted(x[index], SHIFT, mirror=mirror))
                loss = nn.functional.cross_entropy(scores, y[index])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                progress.advance(task)
    return model.eval()


@click.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("build/resnet18"))
@click.option("--data", "name", type=click.Choice(NAMES), default="mnist", show_default=True)
@click.option("--data-dir", type=click.Path(path_type=Path), help="idx files or CIFAR-10 batches.")
@click.option("--width", type=click.IntRange(min=1), default=WIDTH // 8, show_default=True)
@click.option("--epochs", type=click.IntRange(min=1), default=6, show_default=True)
@click.option("--batch", type=click.IntRange(min=2), default=64, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--limit", type=click.IntRange(min=1), help="Train on this many images only.")
def main(
    output: Path,
    name: Name,
    data_dir: Path | None,
    width: int,
    epochs: int,
    batch: int,
    seed: int,
    threads: int,
    limit: int | None,
) -> None:
    """Train ResNet-18; write resnet18_float.pth and resnet18_float.pt2."""
    console = Console()
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    try:
        images, test = load(name, data_dir)
    except (FileNotFoundError, DataError) as error:
        raise click.ClickException(str(error)) from error
    images = images.take(limit)
    start = time.perf_counter()
    model = ResNet18(channels=images.x.shape[1], width=width)
    model = train(
        model,
        images,
        epochs=epochs,
        batch=batch,
        seed=seed,
        mirror=name != "mnist",
        console=console,
    )
    seconds = time.perf_counter() - start

    output.mkdir(parents=True, exist_ok=True)
    weights, program = output / "resnet18_float.pth", output / "resnet18_float.pt2"
    test_x, test_y = torch.from_numpy(test.x), torch.from_numpy(test.y)
    torch.save(model.state_dict(), weights)
    # A slice keeps the whole data set's storage, and torch.export.save writes all of it.
    torch.export.save(torch.export.export(model, (test_x[:1].clone(),)), program)

    table = Table("ResNet-18", "float")
    table.add_row("width", f"{width}, {sum(p.numel() for p in model.parameters()):,} parameters")
    table.add_row("training images", f"{len(images):,} of {name}")
    table.add_row("epochs", f"{epochs}, {seconds:.1f} s")
    table.add_row("test accuracy", f"{accuracy(model, test_x, test_y):.2%} of {len(test):,}")
    table.add_row("weights", str(weights))
    table.add_row("program", str(program))
    console.print(table)


if __name__ == "__main__":
    main()
