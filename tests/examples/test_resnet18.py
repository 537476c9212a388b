"""The ResNet-18 example: its model, and training, quantization and verification in small."""

import gzip
import importlib
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from click.testing import CliRunner

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "resnet18"
MODULES = ("data", "model", "train", "quantize", "compile")


@pytest.fixture(scope="module")
def example() -> Iterator[SimpleNamespace]:
    """Give the example's modules; leave neither their short names nor torch's settings behind."""
    engine, threads = torch.backends.quantized.engine, torch.get_num_threads()
    before = {name: sys.modules.pop(name, None) for name in MODULES}
    sys.path.insert(0, str(EXAMPLE))
    try:
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in MODULES})
    finally:
        sys.path.remove(str(EXAMPLE))
        for name in MODULES:
            sys.modules.pop(name, None)
        sys.modules |= {name: module for name, module in before.items() if module}
        torch.set_num_threads(threads)
        torch.backends.quantized.engine = engine


def parameters(model: torch.nn.Module) -> int:
    return sum(item.numel() for item in model.parameters())


def test_the_number_of_parameters_is_the_published_one(example) -> None:
    assert parameters(example.model.ResNet18()) == 11_173_962
    assert parameters(example.model.ResNet18(stem="imagenet", classes=1000)) == 11_689_512
    assert parameters(example.model.small()) == 176_258


@pytest.mark.parametrize(("stem", "size", "last"), [("cifar", 32, 4), ("imagenet", 64, 2)])
def test_the_stems_shrink_the_map(example, stem: str, size: int, last: int) -> None:
    model = example.model.ResNet18(width=4, stem=stem).eval()
    sizes = []
    model.blocks.register_forward_hook(lambda *given: sizes.append(given[-1].shape))
    assert model(torch.zeros(1, 3, size, size)).shape == (1, 10)
    assert sizes == [(1, 32, last, last)]


def test_an_unknown_stem_is_refused(example) -> None:
    with pytest.raises(ValueError, match=r"^stem='x' is not known; use 'cifar' or 'imagenet'$"):
        example.model.ResNet18(stem="x")


def test_the_quantizable_form_computes_the_same(example) -> None:
    torch.manual_seed(1)
    plain = example.model.ResNet18(width=4).eval()
    other = example.model.ResNet18(width=4, quantizable=True).eval()
    other.load_state_dict(plain.state_dict())
    x = torch.rand(2, 3, 16, 16)
    assert torch.equal(plain(x), other(x))
    assert torch.allclose(plain(x), other.fuse()(x), atol=1e-5)


def write_idx(folder: Path, count: int) -> Path:
    """Write a data set of bright squares, one place for each class."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for part in ("train", "t10k"):
        labels = rng.integers(0, 10, count, dtype=np.uint8)
        images = rng.integers(0, 40, (count, 16, 16), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[label : label + 5, label : label + 5] = 250
        sizes = struct.pack(">3I", count, 16, 16)
        header, names = (
            b"\0\0\x08",
            (f"{part}-images-idx3-ubyte.gz", f"{part}-labels-idx1-ubyte.gz"),
        )
        (folder / names[0]).write_bytes(gzip.compress(header + b"\3" + sizes + images.tobytes()))
        content = header + b"\1" + struct.pack(">I", count) + labels.tobytes()
        (folder / names[1]).write_bytes(gzip.compress(content))
    return folder


def run(command, *arguments: str) -> str:
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize(
    "engines", [("fbgemm",), pytest.param(("fbgemm", "qnnpack"), marks=pytest.mark.slow)]
)
def test_train_quantize_and_verify(example, engines: tuple[str, ...], tmp_path: Path) -> None:
    data = ("--data", "mnist", "--data-dir", str(write_idx(tmp_path / "data", 64)))
    where = ("-o", str(tmp_path / "out"))
    run(example.train.main, *where, *data, "--width", "2", "--epochs", "2", "--batch", "32")
    for engine in engines:
        run(example.quantize.main, *where, *data, "--width", "2", "--engine", engine)
    found = run(example.compile.main, *where, "--posit-limit", "4")
    assert " ".join(found.split()).count("0 codes differ at joins, 0 anywhere") == len(engines)
    for name in ("float32", "uint8, PyTorch's fbgemm", "uint8, pyahir", "posit<8,0>, f16"):
        assert name in found


@pytest.mark.slow
@pytest.mark.parametrize("arith", ["quire", "f16", "f32"])
def test_posit_hardware_of_the_whole_network(example, arith: str, tmp_path: Path) -> None:
    """An eighth of the width, 16 x 16 pixels, posits as weights: every value of every layer."""
    from pyahir.compiler import CompileOptions
    from pyahir.frontend.source import from_module
    from pyahir.plan.search import Options
    from pyahir.quant.scheme import real_scheme
    from pyahir.runner import verify

    torch.manual_seed(0)
    shape, rng = (3, 16, 16), np.random.default_rng(0)
    model = example.model.ResNet18(width=8, channels=3).train()
    with torch.no_grad():  # batch norms see images
        model(torch.from_numpy(rng.standard_normal((16, *shape), np.float32)))
    source = from_module(model.eval(), torch.zeros(1, *shape))
    options = CompileOptions(
        real=real_scheme("posit8", arith=arith, es=0, weights="posit8", scale="auto"),
        calibration=rng.standard_normal((8, *shape), np.float32),
        plan=Options(multipliers=64),
    )
    images = rng.standard_normal((1, *shape), np.float32)
    found, _ = verify(source, options, ("ir", "aa"), images, None, tmp_path)
    assert len(found) == 30  # 20 convolutions, 8 joins, the pool, the linear layer
    assert [item for item in found if item.differing] == []


def test_missing_data_is_said(example, tmp_path: Path) -> None:
    result = CliRunner().invoke(example.train.main, ["--data", "cifar10", "-o", str(tmp_path)])
    assert result.exit_code == 1
    assert result.output == "Error: CIFAR-10: give its folder with --data-dir\n"
    result = CliRunner().invoke(example.quantize.main, ["-o", str(tmp_path)])
    assert "resnet18_float.pth does not exist; run train.py" in " ".join(result.output.split())


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["fbgemm", "qnnpack"])
def test_the_full_network_equals_torch_at_every_value(rule: str) -> None:
    """Width 64, 64 images: nothing differs, at the joins or anywhere."""
    from benchmarks.residual import SHAPE, differing, quantized_resnet
    from pyahir.frontend.source import from_module
    from pyahir.ir.ops import QuantizedAdd

    images = np.random.default_rng(5).random((64, *SHAPE), np.float32)
    model = quantized_resnet(64, rule)
    source = from_module(model, torch.from_numpy(images[:1]), quantized_engine=rule)
    assert sum(isinstance(node.op, QuantizedAdd) for node in source.graph.nodes) == 8
    found = differing(source, images)
    assert len(found) == 32
    assert dict.fromkeys(found, 0) == found
