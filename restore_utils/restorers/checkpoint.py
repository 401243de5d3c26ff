"""Read weight files of strangers: safetensors and what torch.save writes, without running anything that is in them.

A pickle is a program. The reader here lets it name a handful of things, all of which are only notes about tensors
("so many floats, of that shape, from that place of the file"), checks every note against the bytes that the file
really has, and only then makes tensors. Nothing is allocated because a file claims to be large.
"""

from __future__ import annotations

import json
import math
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from restore_utils.errors import ModelError

_LARGEST_HEADER = 32 << 20  # bytes: a safetensors header or a pickle of a hundred thousand tensors
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of files that torch.save wrote before torch 1.6
_DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_UNWRAP = ("params_ema", "params", "state_dict", "model_state_dict", "model", "net", "generator", "netG")


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a weight file, and what a safetensors file says about itself."""

    tensors: dict[str, Tensor]
    metadata: Mapping[str, str]


def read(path: Path) -> Checkpoint:
    """Read the tensors of a weight file, on the CPU; the kind of file is told from its content.

    Wrappers seen in published files (`params_ema`, `params`, `state_dict`, ..., a prefix `module.` on every name) are
    taken off.

    Raises:
        ModelError: when it is not a weight file, is cut off, lies about itself, or holds a program.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            start = file.read(9)
            size = path.stat().st_size
            # First: the length before a safetensors header may begin with the byte that a pickle begins with.
            if start[8:9] == b"{":
                return _read_safetensors(path, struct.unpack("<Q", start[:8])[0], size)
            if start[:4] == b"PK\x03\x04":
                return Checkpoint(_read_zip(path), {})
            if start[:1] == b"\x80":
                file.seek(0)
                return Checkpoint(_read_legacy(file, path, size), {})
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}") from error
    if start.lstrip()[:1] == b"<":
        raise ModelError(f"{path} is a web page, not a weight file: delete it and download the file itself")
    raise ModelError(f"{path} is neither a safetensors nor a torch weight file: give another file")


def _read_safetensors(path: Path, header: int, size: int) -> Checkpoint:
    if header > min(size - 8, _LARGEST_HEADER):
        raise ModelError(f"{path} is broken or hostile: its header claims {header:,} bytes, the file has {size:,}")
    try:
        with safe_open(path, framework="pt") as file:
            return Checkpoint({name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {})  # noqa: SIM118
    except (SafetensorError, ValueError, RuntimeError) as error:
        raise ModelError(f"{path} is broken or hostile: {_line(error)}: download it again") from error


def metadata(path: Path) -> dict[str, str]:
    """What a safetensors file says about itself, without reading its tensors; {} for any other file.

    Raises:
        ModelError: when the header lies.
    """
    with Path(path).open("rb") as file:
        start = file.read(9)
        if start[8:9] != b"{":
            return {}
        header = struct.unpack("<Q", start[:8])[0]
        if header > min(Path(path).stat().st_size - 8, _LARGEST_HEADER):
            raise ModelError(f"{path} is broken or hostile: its header claims {header:,} bytes")
        file.seek(8)
        try:
            found = json.loads(file.read(header)).get("__metadata__", {})
            return {str(key): str(value) for key, value in found.items()}
        except (ValueError, AttributeError, RecursionError) as error:
            raise ModelError(f"{path} is broken: its header is no JSON object: download it again") from error


@dataclass
class _Note:
    """A tensor as a pickle describes it."""

    storage: tuple[str, torch.dtype, int]  # key, kind of number, how many
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class _Reader(pickle._Unpickler):
    """Unpickles containers, numbers, text and notes about tensors; refuses every other name.

    The pure Python unpickler, as the one in C allocates what a pickle claims to need.
    """

    def __init__(self, file: BinaryIO, path: Path) -> None:
        super().__init__(file, encoding="latin1")
        self.path = path
        self.widths: dict[str, int] = {}
        # Made anew for each file: a pickle can set attributes on what it has named.
        self.kinds = {name: type(name, (), {}) for name in _DTYPES}
        self.rebuild = lambda storage, offset, shape, stride, *_: _note(storage, offset, shape, stride)
        self.parameter = lambda data, *_: data

    def read(self) -> Any:
        """The next object of the file.

        Raises:
            ModelError: when there is none, or it wants more than weights need.
        """
        try:
            return self.load()
        except (ModelError, OSError):
            raise
        except Exception as error:  # a broken pickle raises anything
            raise ModelError(
                f"{self.path} is cut off, broken or hostile ({_line(error)}): download it again"
            ) from error

    def load_bytearray8(self) -> None:
        """Python's own makes room for whatever length the file claims, before it looks whether so much is there."""
        raise ModelError(f"{self.path} holds byte arrays, which weights do not need: refused")

    dispatch = {**pickle._Unpickler.dispatch, pickle.BYTEARRAY8[0]: load_bytearray8}  # noqa: RUF012

    def find_class(self, module: str, name: str) -> Any:
        if module in ("torch", "torch.storage") and name in self.kinds:
            return self.kinds[name]
        if (module, name) in (("collections", "OrderedDict"), ("typing", "OrderedDict")):
            return OrderedDict
        if module == "torch._utils" and name in ("_rebuild_tensor_v2", "_rebuild_tensor"):
            return self.rebuild
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return self.parameter
        raise ModelError(
            f"{self.path} wants to run {module}.{name} when it is opened, which weights do not need: refused; save its "
            "state dict as safetensors where you trust it"
        )

    def persistent_load(self, pid: Any) -> tuple[str, torch.dtype, int]:
        try:
            kind, storage, key, _location, count, *_view = pid
            dtype = _DTYPES[storage.__name__]
            if kind != "storage" or not isinstance(count, int) or count < 0:
                raise ValueError(kind)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise ModelError(f"{self.path} is broken: a tensor's storage is not described as torch does it") from error
        self.widths[str(key)] = _width(dtype)
        return str(key), dtype, count


def _note(storage: Any, offset: Any, shape: Any, stride: Any) -> _Note:
    numbers = (offset, *shape, *stride)
    if not isinstance(storage, tuple) or not all(isinstance(n, int) and n >= 0 for n in numbers):
        raise ValueError("a tensor's shape is not made of numbers")
    if len(shape) != len(stride):
        raise ValueError("a tensor's shape and strides differ in length")
    return _Note(storage, offset, tuple(shape), tuple(stride))


def _width(dtype: torch.dtype) -> int:
    return torch.empty(0, dtype=dtype).element_size()


def _read_zip(path: Path) -> dict[str, Tensor]:
    """A file of torch >= 1.6: a zip archive of NAME/data.pkl and one stored, not compressed, entry per storage."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {info.filename: info for info in archive.infolist()}
            if any(info.compress_type != zipfile.ZIP_STORED for info in entries.values()):
                raise ModelError(f"{path} is a compressed archive, which torch never writes: unpack it first")
            if sum(info.file_size for info in entries.values()) > path.stat().st_size:
                raise ModelError(f"{path} is hostile: its entries claim more bytes than the file has")
            index = next((name for name in entries if name == "data.pkl" or name.endswith("/data.pkl")), None)
            if index is None:
                raise ModelError(f"{path} is an archive without weights (no data.pkl): unpack it first")
            if entries[index].file_size > _LARGEST_HEADER:
                raise ModelError(f"{path} is hostile: its index has {entries[index].file_size:,} bytes")
            root = index.removesuffix("data.pkl")
            order = archive.read(root + "byteorder") if root + "byteorder" in entries else b"little"
            if order.strip() != b"little":
                raise ModelError(f"{path} was saved on a big-endian machine: save it as safetensors there")
            with archive.open(index) as file:
                found = _Reader(file, path).read()

            def storage(key: str, length: int) -> bytearray:
                info = entries.get(f"{root}data/{key}")
                if info is None or info.file_size < length:
                    raise ModelError(f"{path} is broken or hostile: storage {key} has fewer bytes than claimed")
                return bytearray(archive.read(info))

            return _tensors(_unwrap(found, path), storage, path)
    except ModelError:
        raise
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError, struct.error) as error:
        raise ModelError(f"{path} is cut off or broken ({_line(error)}): download it again") from error


def _read_legacy(file: BinaryIO, path: Path, size: int) -> dict[str, Tensor]:
    """A file of torch < 1.6: five pickles (magic, version, system, object, storage keys), then the storages' bytes."""
    if _Reader(file, path).read() != _LEGACY_MAGIC:
        raise ModelError(f"{path} is a pickle but not a weight file: give another file")
    _Reader(file, path).read()
    system = _Reader(file, path).read()
    reader = _Reader(file, path)
    found = reader.read()
    keys = _Reader(file, path).read()
    if not isinstance(system, dict) or not system.get("little_endian", True) or not isinstance(keys, list):
        raise ModelError(f"{path} is broken, or of a big-endian machine: save it as safetensors there")
    places: dict[str, tuple[int, int]] = {}
    for key in keys:
        count = struct.unpack("<q", file.read(8).ljust(8, b"\xff"))[0]
        length = count * reader.widths.get(str(key), 1)
        if count < 0 or file.tell() + length > size:
            raise ModelError(f"{path} is cut off or hostile: it claims more bytes than it has: download it again")
        places[str(key)] = file.tell(), length
        file.seek(length, 1)

    def storage(key: str, length: int) -> bytearray:
        start, has = places.get(key, (0, -1))
        if has < length:
            raise ModelError(f"{path} is broken or hostile: storage {key} has fewer bytes than claimed")
        file.seek(start)
        return bytearray(file.read(has))

    return _tensors(_unwrap(found, path), storage, path)


def _tensors(notes: dict[str, _Note], storage: Callable[[str, int], bytearray], path: Path) -> dict[str, Tensor]:
    """Make the tensors that the notes describe; each storage is read once.

    Args:
        storage: reads the bytes of a storage by its key, at least as many as asked for, or raises ModelError.
    """
    read: dict[str, Tensor] = {}
    tensors = {}
    for name, note in notes.items():
        key, dtype, count = note.storage
        last = note.offset + sum((n - 1) * step for n, step in zip(note.shape, note.stride))
        if math.prod(note.shape) > count or (math.prod(note.shape) and last >= count):
            raise ModelError(f"{path} is broken or hostile: {name} is larger than what is stored of it")
        if key not in read:
            length = count * _width(dtype)
            data = storage(key, length)[:length]
            read[key] = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
        tensors[name] = read[key].as_strided(note.shape, note.stride, note.offset)
    return tensors


def _unwrap(found: Any, path: Path) -> dict[str, _Note]:
    """The dict of named tensors inside what was saved."""
    for _ in range(4):
        if not isinstance(found, dict) or any(isinstance(value, _Note) for value in found.values()):
            break
        found = next((found[key] for key in _UNWRAP if isinstance(found.get(key), dict)), None)
    notes = {key: value for key, value in found.items() if isinstance(value, _Note)} if isinstance(found, dict) else {}
    if not notes or not all(isinstance(key, str) for key in notes):
        raise ModelError(f"{path} holds no named tensors: save the network's state dict, not the network")
    if all(key.startswith("module.") for key in notes):
        notes = {key.removeprefix("module."): value for key, value in notes.items()}
    return notes


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
