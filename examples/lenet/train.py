"""Train LeNet-5 in float on the real digits; write its weights and its exported program."""

import time
from pathlib import Path

import click
import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import Tensor, nn

from data import Digits, load
from model import LeNet5, Pool, accuracy

BATCH = 64
SHIFT = 2
THREADS = 1


def set_deterministic(seed: int) -> None:
    """Fix seed and thread count: sums of floats depend on how they are split."""
    torch.manual_seed(seed)
    torch.set_num_threads(THREADS)


def shifted(x: Tensor, pixels: int) -> Tensor:
    """Return the images, each moved by its own random offset of up to `pixels` either way."""
    count, _, height, width = x.shape
    padded = nn.functional.pad(x, (pixels,) * 4)
    dy, dx = torch.randint(0, 2 * pixels + 1, (2, count))
    rows = dy[:, None] + torch.arange(height)
    columns = dx[:, None] + torch.arange(width)
    image = torch.arange(count)[:, None, None]
    return padded[image, 0, rows[:, :, None], columns[:, None, :]][:, None]


def train(digits: Digits, *, epochs: int, seed: int, pool: Pool, console: Console) -> LeNet5:
    """Return a LeNet-5 in eval mode, trained with one-cycle Adam on shifted digits."""
    set_deterministic(seed)
    torch.use_deterministic_algorithms(True)
    model = LeNet5(pool)
    x, y = torch.from_numpy(digits.x), torch.from_numpy(digits.y)
    steps = epochs * -(-len(digits) // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=5e-3, total_steps=steps)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("train", total=steps)
        for _ in range(epochs):
            for batch in torch.randperm(len(digits)).split(BATCH):
                loss = nn.functional.cross_entropy(model(shifted(x[batch], SHIFT)), y[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                progress.advance(task)
    return model.eval()


def export(model: LeNet5, x: Tensor, path: Path) -> None:
    """Save the exported program of a model that takes one digit at a time."""
    # A slice keeps the whole data set's storage, and torch.export.save writes all of it.
    example = x[:1].clone()
    torch.export.save(torch.export.export(model, (example,)), path)


@click.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("build/lenet"))
@click.option("--epochs", type=click.IntRange(min=1), default=25, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--pool", type=click.Choice(["max", "avg"]), default="max", show_default=True)
@click.option("--limit", type=click.IntRange(min=1), help="Train on this many digits only.")
def main(output: Path, epochs: int, seed: int, pool: Pool, limit: int | None) -> None:
    """Train LeNet-5 on MNIST digits; write lenet_float.pth and lenet_float.pt2."""
    console = Console()
    try:
        digits, test = load()
    except FileNotFoundError as error:
        raise click.ClickException(str(error)) from error
    if limit is not None:
        digits = digits.take(limit)
    start = time.perf_counter()
    model = train(digits, epochs=epochs, seed=seed, pool=pool, console=console)
    seconds = time.perf_counter() - start

    output.mkdir(parents=True, exist_ok=True)
    weights, program = output / "lenet_float.pth", output / "lenet_float.pt2"
    test_x, test_y = torch.from_numpy(test.x), torch.from_numpy(test.y)
    torch.save(model.state_dict(), weights)
    export(model, test_x, program)

    table = Table("LeNet-5", "float")
    table.add_row("training digits", f"{len(digits):,}")
    table.add_row("epochs", f"{epochs}, {seconds:.1f} s")
    table.add_row("test accuracy", f"{accuracy(model, test_x, test_y):.2%} of {len(test):,}")
    table.add_row("weights", str(weights))
    table.add_row("program", str(program))
    console.print(table)


if __name__ == "__main__":
    main()
