"""Tells what a model file is, from its content and never from its name. Nothing is unpickled.

A path comes in, a ``FileKind`` goes out. Reading needs only the zip directory and the opcodes of
pickles, so torch is not imported and no code of the file runs.
"""

from __future__ import annotations

import os
import pickletools
import zipfile
from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from typing import IO

from pyahir.errors import ImportModelError
from pyahir.formats.bnn_pynq.folder import is_folder

__all__ = ["ACCEPTED", "FileKind", "archive_member", "detect", "pickle_globals"]

ACCEPTED = "a file saved by torch.jit.save or torch.export.save, or a quantized ONNX file"

LEGACY_MAGIC = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")  # torch's first pickle, a number
SAFETENSORS_HEADER = 8  # a little-endian length, then JSON
ONNX_SECOND_FIELDS = b"\x12\x1a\x22\x2a\x32\x3a\x42"  # protobuf tags after ir_version


class FileKind(Enum):
    """What the content of a file says it is; the value completes "this is ..."."""

    TORCHSCRIPT = "a TorchScript file (torch.jit.save)"
    EXPORTED = "an exported program (torch.export.save)"
    EAGER_PICKLE = "a pickled module (torch.save)"
    FX_PICKLE = "a pickled torch.fx GraphModule (torch.save)"
    STATE_DICT = "tensors without a model (a state_dict or checkpoint)"
    PICKLE = "a pickle that torch.save did not write"
    ONNX = "an ONNX model"
    SAFETENSORS = "a safetensors file: tensors without a model"
    NUMPY = "NumPy arrays"
    BNN_PYNQ = "a folder of BNN-PYNQ parameters"
    ZIP = "a zip archive that holds no model"
    UNKNOWN = "of no known kind"


def detect(path: str | os.PathLike[str]) -> FileKind:
    """Tell the kind of a file, or raise ``ImportModelError`` when it cannot be read whole."""
    if is_folder(Path(path)):
        return FileKind.BNN_PYNQ
    head, size = _head(path)
    if not size:
        raise ImportModelError(f"{path}: the file is empty; give {ACCEPTED}")
    if head.startswith(b"PK\x03\x04"):
        return _zip_kind(path, size)
    if head.startswith(LEGACY_MAGIC):
        return _legacy_kind(path)
    if head.startswith(b"\x93NUMPY"):
        return FileKind.NUMPY
    if head[SAFETENSORS_HEADER : SAFETENSORS_HEADER + 2] == b'{"':
        return FileKind.SAFETENSORS
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return FileKind.PICKLE
    if head[:1] == b"\x08" and 0 < head[1] < 32 and head[2:3] and head[2] in ONNX_SECOND_FIELDS:
        return FileKind.ONNX
    return FileKind.UNKNOWN


def _head(path: str | os.PathLike[str]) -> tuple[bytes, int]:
    file = Path(path)
    if file.is_dir():
        raise ImportModelError(f"{path}: this is a directory; give {ACCEPTED}")
    try:
        with file.open("rb") as stream:
            head = stream.read(64)
            return head, os.fstat(stream.fileno()).st_size
    except FileNotFoundError:
        raise ImportModelError(f"{path}: no such file; give {ACCEPTED}") from None
    except OSError as error:
        raise ImportModelError(f"{path}: cannot read: {error.strerror}") from None


def damaged(path: str | os.PathLike[str], size: int) -> ImportModelError:
    return ImportModelError(
        f"{path}: truncated or damaged: the {size} bytes begin a zip archive that does not end; "
        "save or copy the file again"
    )


def _zip_kind(path: str | os.PathLike[str], size: int) -> FileKind:
    try:
        with zipfile.ZipFile(path) as archive:
            if min((item.header_offset for item in archive.infolist()), default=0):
                raise damaged(path, size)  # the directory found is that of an archive inside
            return _archive_kind(archive)
    except (zipfile.BadZipFile, EOFError, ValueError):
        raise damaged(path, size) from None


def _archive_kind(archive: zipfile.ZipFile) -> FileKind:
    names = archive.namelist()
    inner = {name.split("/", 1)[-1] for name in names}
    if "archive_format" in inner and any(name.startswith("models/") for name in inner):
        return FileKind.EXPORTED
    if "constants.pkl" in inner and any(name.startswith("code/") for name in inner):
        return FileKind.TORCHSCRIPT
    if "data.pkl" in inner:
        member = next(name for name in names if name.split("/", 1)[-1] == "data.pkl")
        return _pickle_kind(pickle_globals(archive.read(member)))
    if names and all(name.endswith(".npy") for name in names):
        return FileKind.NUMPY
    return FileKind.ZIP


def archive_member(path: str | os.PathLike[str], inner: str) -> bytes | None:
    """Read the member ``inner`` below the archive's top folder; None when there is none."""
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.split("/", 1)[-1] == inner:
                return archive.read(name)
    return None


def pickle_globals(data: bytes | IO[bytes]) -> list[str]:
    """List ``module name`` of every global that one pickle would import, without unpickling."""
    found: list[str] = []
    strings: list[str] = []
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name == "GLOBAL":
            found.append(str(argument))
        elif opcode.name == "STACK_GLOBAL":
            found.append(" ".join(strings[-2:]))
        elif "UNICODE" in opcode.name:
            strings.append(str(argument))
    return found


def _pickle_kind(names: Iterable[str]) -> FileKind:
    names = list(names)
    if "torch.fx.graph_module reduce_graph_module" in names:
        return FileKind.FX_PICKLE
    return FileKind.STATE_DICT if all(map(_is_data, names)) else FileKind.EAGER_PICKLE


def _is_data(name: str) -> bool:
    """Tell whether a global makes only tensors and containers."""
    module, _, item = name.partition(" ")
    if module in ("collections", "numpy", "torch._utils", "_codecs"):
        return True
    if module.startswith("numpy."):
        return True
    return module in ("torch", "torch.storage") and not item.startswith("nn")


def _legacy_kind(path: str | os.PathLike[str]) -> FileKind:
    """Read the fourth pickle of torch's old format: magic, version, system, then the object."""
    try:
        with Path(path).open("rb") as stream:
            for _ in range(3):
                pickle_globals(stream)
            return _pickle_kind(pickle_globals(stream))
    except ValueError:
        raise ImportModelError(
            f"{path}: truncated: a torch.save file of the old format that does not end; "
            "save or copy the file again"
        ) from None
