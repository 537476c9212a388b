"""Files of images: idx, CIFAR-10 in both versions, pictures."""

from __future__ import annotations

import gzip
import pickle
import re
import struct
from pathlib import Path

import numpy as np
import pytest

from pyahir.errors import DataError
from pyahir.formats.cifar import read_cifar_set, read_records, write_records
from pyahir.formats.idx import read_idx, read_idx_set
from pyahir.formats.picture import prepare, read_picture, thumbnail_size


def idx(array: np.ndarray) -> bytes:
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


def colours(count: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)
    return images, rng.integers(0, 10, count, dtype=np.uint8)


@pytest.mark.parametrize("shape", [(5,), (2, 3), (2, 4, 3)])
@pytest.mark.parametrize("compressed", [False, True])
def test_idx_is_read_plain_or_compressed(shape, compressed, tmp_path) -> None:
    array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(idx(array)) if compressed else idx(array))
    assert np.array_equal(read_idx(path), array)


def test_idx_set_takes_either_form(tmp_path) -> None:
    images = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(np.array([7, 3])))
    x, y = read_idx_set(tmp_path, "test")
    assert np.array_equal(x, images)
    assert y.tolist() == [7, 3]
    with pytest.raises(DataError, match=r"has neither train-images-idx3-ubyte nor train-images"):
        read_idx_set(tmp_path, "train")
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(np.array([7, 3, 1])))
    with pytest.raises(DataError, match=r"shape \(2, 4, 3\) and labels of shape \(3,\) do not"):
        read_idx_set(tmp_path, "test")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\1\2\3\4\5", "not an idx file of bytes, which begins with 00 00 08"),
        (b"\0\0\x08\x03\0\0", "truncated: its 3 sizes are not complete"),
        (idx(np.zeros((2, 3)))[:-1], "5 bytes of content; 2x3, as it begins, takes 6"),
        (gzip.compress(idx(np.zeros((2, 3))))[:-9], "cannot read: Compressed file ended"),
    ],
)
def test_wrong_idx_files_are_named(data, message, tmp_path) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(DataError, match=f"^{re.escape(str(path))}: {re.escape(message)}"):
        read_idx(path)


def test_records_are_read_as_written(tmp_path) -> None:
    images, labels = colours(4)
    write_records(tmp_path / "test.bin", images, labels)
    data = (tmp_path / "test.bin").read_bytes()
    assert data[0] == labels[0]
    assert data[1 + 1024 + 33] == images[0, 1, 1, 1]
    assert len(data) == 4 * 3073
    x, y = read_records(tmp_path / "test.bin")
    assert np.array_equal(x, images)
    assert np.array_equal(y, labels)


def test_wrong_records_are_named(tmp_path) -> None:
    (tmp_path / "bad.bin").write_bytes(b"\0" * 3072)
    with pytest.raises(DataError, match=r"bad\.bin: 3072 bytes; CIFAR-10 records take 3073 each"):
        read_records(tmp_path / "bad.bin")
    with pytest.raises(DataError, match=r"no\.bin: no such file$"):
        read_records(tmp_path / "no.bin")
    images, _ = colours(2)
    with pytest.raises(DataError, match=r"shape \(2, 3, 32, 32\) uint8 with 3 labels; accepted"):
        write_records(tmp_path / "x.bin", images, [1, 2, 3])


def test_both_versions_of_cifar_give_the_same(tmp_path) -> None:
    for folder in ("binary", "python"):
        (tmp_path / folder).mkdir()
    for number, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        images, labels = colours(2, seed=number)
        write_records(tmp_path / "binary" / f"{name}.bin", images, labels)
        batch = {b"data": images.reshape(2, -1), b"labels": labels.tolist()}
        (tmp_path / "python" / name).write_bytes(pickle.dumps(batch, protocol=2))
    for part, count in (("train", 10), ("test", 2)):
        x, y = read_cifar_set(tmp_path / "binary", part)
        assert x.shape == (count, 3, 32, 32)
        with pytest.raises(DataError, match=r"a pickle may run code: say --trust-pickle, or take"):
            read_cifar_set(tmp_path / "python", part)
        again_x, again_y = read_cifar_set(tmp_path / "python", part, trust_pickle=True)
        assert np.array_equal(x, again_x)
        assert np.array_equal(y, again_y)
    with pytest.raises(DataError, match=r"has neither data_batch_1\.bin nor data_batch_1; give"):
        read_cifar_set(tmp_path, "train")
    (tmp_path / "python" / "test_batch").write_bytes(pickle.dumps({b"data": 1}))
    with pytest.raises(DataError, match=r"test_batch: not a batch of CIFAR-10's Python version$"):
        read_cifar_set(tmp_path / "python", "test", trust_pickle=True)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((32, 32), (32, 32)),
        ((20, 10), (20, 10)),
        ((1000, 1127), (28, 32)),
        ((64, 43), (32, 21)),
        ((10, 64), (5, 32)),
        ((3000, 2), (32, 1)),
    ],
)
def test_thumbnails_keep_the_aspect(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert thumbnail_size(*size) == expected


def test_pictures_are_centred_on_white(tmp_path: Path) -> None:
    pictures = pytest.importorskip("PIL.Image")
    picture = pictures.new("RGB", (20, 11), (10, 20, 30))
    found = prepare(picture)
    assert found.shape == (3, 32, 32)
    inside = found[:, 10:21, 6:26]
    assert (inside == np.array([10, 20, 30])[:, None, None]).all()
    outside = np.ones((32, 32), bool)
    outside[10:21, 6:26] = False
    assert (found[:, outside] == 255).all()
    picture.save(tmp_path / "small.png")
    assert np.array_equal(read_picture(tmp_path / "small.png"), found)
    pictures.new("RGB", (100, 50), (9, 9, 9)).save(tmp_path / "wide.png")
    wide = read_picture(tmp_path / "wide.png")
    assert (wide[:, 8:24] == 9).all()
    assert (wide[:, :8] == 255).all()


def test_wrong_pictures_are_named(tmp_path: Path) -> None:
    pytest.importorskip("PIL.Image")
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(DataError, match=r"text\.png: not a picture that Pillow reads$"):
        read_picture(tmp_path / "text.png")
    with pytest.raises(DataError, match=r"no\.png: no such file$"):
        read_picture(tmp_path / "no.png")
