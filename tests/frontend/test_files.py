"""Files of every kind, whole and broken: what they are said to be, and that no code runs."""

from __future__ import annotations

import json
import os
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from models import LENET_SHAPE, LeNet, Net, assert_equal, images, quantized, saved
from torch import nn
from torch.ao.quantization import QConfigMapping, get_default_qconfig, quantize_fx

from pyahir.errors import ImportModelError
from pyahir.frontend import FileKind, detect, load_model

REMAKE = (
    "where the model's class is at hand, save it with its graph:\n"
    "  quantized: torch.jit.save(torch.jit.trace(model.eval(), x), 'model.pt')\n"
    "  float:     torch.export.save(torch.export.export(model.eval(), (x,)), 'model.pt2')"
)
ACCEPTED = "a file saved by torch.jit.save or torch.export.save, or a quantized ONNX file"
UNTRUSTED = (
    ": loading it runs code from the file. If you trust it, add --trust-pickle; better, " + REMAKE
)
WEIGHTS_ONLY = (
    ": it has weights but not what is computed with them. Load it into the model's class "
    "(model.load_state_dict), then, " + REMAKE
)
NAMELESS = (
    f"{WEIGHTS_ONLY}\n  a network of Brevitas' bnn_pynq: name it, for example --network TFC_1W1A"
)


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(ImportModelError) as raised:
        load_model(path, **options)
    return str(raised.value)


def float_net() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()).eval()


def save_safetensors(path: Path) -> None:
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))


def save_numpy(path: Path) -> None:
    with path.open("wb") as stream:
        np.savez(stream, x=np.zeros(3))


def save_array(path: Path) -> None:
    with path.open("wb") as stream:
        np.save(stream, np.zeros(3))


def save_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "nothing")


def legacy(item: Any) -> Callable[[Path], None]:
    return lambda path: torch.save(item, path, _use_new_zipfile_serialization=False)


NOT_MODELS: dict[str, tuple[Callable[[Path], object], FileKind, str]] = {
    "state dict": (
        lambda path: torch.save(float_net().state_dict(), path),
        FileKind.STATE_DICT,
        NAMELESS,
    ),
    "checkpoint": (
        lambda path: torch.save({"model": float_net().state_dict(), "epoch": 3}, path),
        FileKind.STATE_DICT,
        NAMELESS,
    ),
    "old state dict": (legacy(float_net().state_dict()), FileKind.STATE_DICT, NAMELESS),
    "module": (lambda path: torch.save(float_net(), path), FileKind.EAGER_PICKLE, UNTRUSTED),
    "old module": (legacy(float_net()), FileKind.EAGER_PICKLE, UNTRUSTED),
    "fx": (
        lambda path: torch.save(torch.fx.symbolic_trace(float_net()), path),
        FileKind.FX_PICKLE,
        UNTRUSTED,
    ),
    "pickle": (
        lambda path: path.write_bytes(pickle.dumps([1])),
        FileKind.PICKLE,
        f"; give {ACCEPTED}",
    ),
    "safetensors": (save_safetensors, FileKind.SAFETENSORS, WEIGHTS_ONLY),
    "npz": (save_numpy, FileKind.NUMPY, f"; give {ACCEPTED}"),
    "npy": (save_array, FileKind.NUMPY, f"; give {ACCEPTED}"),
    "zip": (save_zip, FileKind.ZIP, f"; give {ACCEPTED}"),
    "text": (lambda path: path.write_text("hello"), FileKind.UNKNOWN, f"; give {ACCEPTED}"),
}


@pytest.mark.parametrize("case", NOT_MODELS)
def test_files_that_are_no_models(tmp_path: Path, case: str) -> None:
    save, kind, ending = NOT_MODELS[case]
    path = tmp_path / "model.pt2"  # a name that says nothing
    save(path)
    assert kind is detect(path)
    assert f"{path}: this is {kind.value}{ending}" == refusal(path)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    path = tmp_path / "lenet.pt"
    assert f"{path}: no such file; give {ACCEPTED}" == refusal(path)
    assert f"{tmp_path}: this is a directory; give {ACCEPTED}" == refusal(tmp_path)
    path.write_bytes(b"")
    assert f"{path}: the file is empty; give {ACCEPTED}" == refusal(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    path = tmp_path / "lenet.pt"
    path.write_bytes(b"x")
    path.chmod(0)
    assert f"{path}: cannot read: Permission denied" == refusal(path)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
@pytest.mark.parametrize("kind", ["script", "program", "module", "old"])
def test_truncated_files(tmp_path: Path, kind: str, part: float) -> None:
    path = tmp_path / "net.pt"
    if kind == "script":
        saved(quantized(Net(nn.Conv2d(1, 2, 3)), (1, 8, 8)), path, (1, 8, 8))
    elif kind == "program":
        torch.export.save(torch.export.export(float_net(), (torch.zeros(1, 1, 8, 8),)), path)
    else:
        torch.save(float_net(), path, _use_new_zipfile_serialization=kind == "module")
    data = path.read_bytes()
    size = int(len(data) * part)
    path.write_bytes(data[:size])
    if kind != "old":
        expected = (
            f"{path}: truncated or damaged: the {size} bytes begin a zip archive that does not "
            "end; save or copy the file again"
        )
        assert expected == refusal(path)
    else:
        assert str(path) in refusal(path, trust_pickle=True)


def test_a_damaged_program(tmp_path: Path) -> None:
    path = tmp_path / "net.pt2"
    torch.export.save(torch.export.export(float_net(), (torch.zeros(1, 1, 8, 8),)), path)
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"graph_module"', b'"graph_modulf"', 1))
    assert (
        f"{path}: damaged: Bad CRC-32 for file 'net/models/model.json'; save or copy the file again"
    ) == refusal(path)


class Attack:
    """Writes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = str(target)

    def __reduce__(self) -> Any:
        return (open, (self.target, "w"))


def attacked_module(path: Path, mark: Path) -> None:
    module = float_net()
    module.attack = Attack(mark)
    torch.save(module, path)


def attacked_state(path: Path, mark: Path) -> None:
    torch.save({"w": torch.zeros(1), "attack": Attack(mark)}, path)


def attacked_old(path: Path, mark: Path) -> None:
    torch.save([Attack(mark)], path, _use_new_zipfile_serialization=False)


def attacked_pickle(path: Path, mark: Path) -> None:
    path.write_bytes(pickle.dumps(Attack(mark)))


def attacked_samples(path: Path, mark: Path) -> None:
    torch.export.save(torch.export.export(float_net(), (torch.zeros(1, 1, 8, 8),)), path)
    sample = path.with_suffix(".sample")
    torch.save((Attack(mark),), sample)
    rewrite(path, "sample_inputs/model.pt", lambda _: sample.read_bytes())


@pytest.mark.parametrize(
    "attack",
    [attacked_module, attacked_state, attacked_old, attacked_pickle, attacked_samples],
)
def test_no_pickle_is_run_without_trust(
    tmp_path: Path, attack: Callable[[Path, Path], None]
) -> None:
    path, mark = tmp_path / "net.pt", tmp_path / "mark"
    attack(path, mark)
    assert str(path) in refusal(path)
    assert not mark.exists()


def rewrite(path: Path, ending: str, change: Callable[[bytes], bytes]) -> None:
    """Replace one member of an archive."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, change(data) if name.endswith(ending) else data)


def edited(before: str, after: str) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        text = json.dumps(json.loads(data))
        assert before in text
        return text.replace(before, after).encode()

    return change


@pytest.mark.parametrize(
    ("member", "before", "after", "reason"),
    [
        (
            "models/model.json",
            '"target": "torch.ops.aten.relu.default"',
            '"target": "torch.os.system"',
            "calls 'torch.os.system'",
        ),
        (
            "models/model.json",
            "Symbol('s",
            "__import__('os').getcwd() or Symbol('s",
            "holds the expression ",
        ),
        (
            "model_weights_config.json",
            '"use_pickle": false',
            '"use_pickle": true',
            "holds a pickle",
        ),
        ("models/model.json", '"name": "relu"', '"name": "relu = f()"', "holds the name 'relu = f"),
        ("model_weights_config.json", '"weight_0"', '"opaque_obj_0"', "holds the object 'opaque_"),
    ],
)
def test_programs_that_ask_for_trust(
    tmp_path: Path, member: str, before: str, after: str, reason: str
) -> None:
    path = tmp_path / "net.pt2"
    dynamic = ({0: torch.export.Dim("batch")},)
    example = torch.zeros(2, 1, 8, 8)
    torch.export.save(torch.export.export(float_net(), (example,), dynamic_shapes=dynamic), path)
    rewrite(path, member, edited(before, after))
    message = refusal(path)
    assert message.startswith(f"{path}: the exported program {reason}")
    ending = ", which may run code from the file; if you trust it, add --trust-pickle"
    assert message.endswith(ending)


def test_guards_of_a_program_are_not_run(tmp_path: Path) -> None:
    path, mark = tmp_path / "net.pt2", tmp_path / "mark"
    torch.export.save(torch.export.export(float_net(), (torch.zeros(1, 1, 8, 8),)), path)

    def change(data: bytes) -> bytes:
        program = json.loads(data)
        program["guards_code"] = [f"open({str(mark)!r}, 'w') is not None"]
        return json.dumps(program).encode()

    rewrite(path, "models/model.json", change)
    assert (
        f"{path}: the exported program holds guards, which may run code from the file; if you "
        "trust it, add --trust-pickle"
    ) == refusal(path)
    assert not mark.exists()


def test_a_trusted_eager_pickle(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    torch.save(quantized(LeNet(), LENET_SHAPE), path)
    source = load_model(path, trust_pickle=True)
    assert (
        source.kind,
        source.input_shape,
        source.engine,
    ) == (FileKind.EAGER_PICKLE, LENET_SHAPE, "fbgemm")
    assert_equal(source, images(LENET_SHAPE, 8))


def test_a_trusted_fx_pickle(tmp_path: Path) -> None:
    mapping = QConfigMapping().set_global(get_default_qconfig("qnnpack"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        body = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(972, 4))
        example = torch.randn(4, *LENET_SHAPE)
        prepared = quantize_fx.prepare_fx(body.eval(), mapping, (example,))
        prepared(example)
        model = quantize_fx.convert_fx(prepared)
    path = tmp_path / "net.pt"
    torch.save(model, path)
    assert FileKind.FX_PICKLE is detect(path)
    source = load_model(path, trust_pickle=True, input_shape=LENET_SHAPE)
    assert_equal(source, images(LENET_SHAPE, 8))


def test_a_trusted_float_pickle(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    torch.save(float_net(), path)
    source = load_model(path, trust_pickle=True, input_shape=(1, 8, 8))
    assert (source.engine, source.input_shape, source.note) == ("float", (1, 8, 8), "")
    inferred = load_model(path, trust_pickle=True)
    assert inferred.note == "input shape 1,28,28 inferred; --input-shape sets another"


def test_a_trusted_pickle_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    torch.save([float_net()], path)
    assert (f"{path}: the pickle holds a list and no module; {REMAKE}") == refusal(
        path, trust_pickle=True
    )
