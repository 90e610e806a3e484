"""PyTorch's .pth files (zip and legacy container) without torch, executing nothing.

A tensor is a storage (raw little-endian numbers) with an offset, sizes and strides. Only the names that
weight files need are known; each is a stand-in of our own.
"""

from __future__ import annotations

import io
import math
import pickle
import struct
import zipfile
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from ppsr.errors import printable
from ppsr.weights.dtypes import DTYPES, STORAGES, from_bits
from ppsr.weights.opcodes import CorruptFile, UnsafeFile, scan
from ppsr.weights.pdparams import NUMPY, stored_array
from ppsr.weights.unpickle import Builder, Part, Reader, mapping, plain

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_MAX_ENTRIES = 200_000
_MAX_USES = 16  # how often tensors may show a storage in full; tied weights need two or three


class _Ordered(dict):
    """torch's state dicts; the only attribute they carry is `_metadata`, which is dropped."""

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict) or set(state) - {"_metadata"}:
            raise UnsafeFile("refused: attributes on an OrderedDict")


def _strided(storage: Any, offset: Any, size: Any, stride: Any, kind: str) -> np.ndarray:
    """A contiguous copy of the part of a storage that a tensor shows."""
    if not isinstance(storage, np.ndarray):
        raise CorruptFile("tensor without storage")
    numbers = [offset, *size, *stride]
    if len(size) != len(stride) or not all(type(n) is int and n >= 0 for n in numbers):
        raise CorruptFile("tensor with impossible sizes or strides")
    total = math.prod(size)
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    if total and (last >= len(storage) or total > len(storage)):
        raise UnsafeFile(f"refused: tensor of size {tuple(size)} reaches outside its storage")
    item = storage.itemsize
    if not total:
        view = np.zeros(tuple(size), storage.dtype)
    else:
        steps = tuple(s * item for s in stride)
        view = np.lib.stride_tricks.as_strided(storage[offset:], tuple(size), steps).copy()
    if kind == "bf16":
        return from_bits(view)
    return view


class _Storage(Part):
    """Raw numbers of one storage and their type."""

    __slots__ = ("array", "kind", "left")

    def __init__(self, content: bytes, kind: str, count: int) -> None:
        dtype = np.dtype("<u2" if kind == "bf16" else f"<{kind}" if kind != "b1" else "b1")
        if len(content) != count * dtype.itemsize:
            raise CorruptFile(f"storage has {len(content)} bytes, {count * dtype.itemsize} announced")
        self.array = np.frombuffer(content, dtype)
        self.kind = kind
        self.left = [_MAX_USES * len(self.array)]  # a list, so that views share it

    def spend(self, size: Any) -> None:
        """Count the elements of a tensor, so that a small file cannot ask for terabytes of copies."""
        if all(type(n) is int and n >= 0 for n in size):
            self.left[0] -= math.prod(size)
        if self.left[0] < 0:
            raise UnsafeFile("refused: a storage is shown by too many tensors")


_ABSENT = object()  # a storage whose numbers are not read yet; tensors of it are empty


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, dtype: Any = None) -> np.ndarray:
    """The tensor of `dtype`, by default that of its storage."""
    if storage is _ABSENT:
        return np.zeros(0)
    if not isinstance(storage, _Storage) or not isinstance(dtype, (Builder, type(None))):
        raise CorruptFile("tensor without storage or type")
    array, kind = storage.array, storage.kind
    if dtype is not None:
        kind = dtype.kind
        array = array.view(np.dtype("<u2" if kind == "bf16" else kind))
    view = _strided(array, offset, size, stride, kind)
    storage.spend(size)
    return view


def _typed_tensor(
    storage: Any, offset: Any, size: Any, stride: Any, _gradient: Any, _hooks: Any, dtype: Any, *_: Any
) -> np.ndarray:
    return _tensor(storage, offset, size, stride, dtype)


_TABLE: dict[tuple[str, str], Builder] = {
    **NUMPY,  # scores beside the weights
    ("collections", "OrderedDict"): Builder(lambda items=(): _Ordered(mapping(items))),
    ("torch._utils", "_rebuild_tensor"): Builder(lambda *given: _tensor(*given[:4])),
    ("torch._utils", "_rebuild_tensor_v2"): Builder(lambda *given: _tensor(*given[:4])),
    ("torch._utils", "_rebuild_tensor_v3"): Builder(_typed_tensor),
    ("torch._utils", "_rebuild_parameter"): Builder(lambda data, *_: data),
    ("torch", "Size"): Builder(lambda items=(): tuple(items)),
    ("torch", "device"): Builder(lambda *_: None),
    ("torch.storage", "UntypedStorage"): Builder(kind="u1"),
    **{("torch", name): Builder(kind=kind) for name, kind in {**STORAGES, **DTYPES}.items()},
}


def _reader(content: bytes, load: Callable[[Any], Any]) -> Reader:
    whole = ", as it is a whole pickled module, which is a program" if b"torch.nn.modules" in content else ""
    hint = f"{whole}. Save its weights where it was made: torch.save(module.state_dict(), 'weights.pth')"
    return Reader(io.BytesIO(content), _TABLE, encoding="utf-8", load=load, hint=hint)


def is_torch_file(content: bytes) -> bool:
    """Whether the bytes begin like a torch container: zip, or the legacy magic number."""
    return content[:4] == b"PK\x03\x04" or content[:14] == pickle.dumps(_MAGIC, protocol=2)[:14]


def parse_torch(content: bytes, source: str = "weights") -> Any:
    """Read a .pth file into nested dictionaries of arrays.

    Raises:
        UnsafeFile: it asks for anything but tensors and containers.
        CorruptFile: damaged or truncated.
    """
    try:
        value = _parse_zip(content, source) if content[:2] == b"PK" else _parse_legacy(content, source)
        return plain(value, stored_array)
    except (UnsafeFile, CorruptFile) as error:
        text = str(error)
        raise type(error)(text if text.startswith(source) else f"{source}: {text}") from None
    except zipfile.BadZipFile:
        raise CorruptFile(
            f"{source} is truncated or damaged: {len(content):,} bytes are not a whole archive; download it "
            "again"
        ) from None
    except Exception as error:  # damaged pickles and archives raise nearly every built-in class
        raise CorruptFile(f"{source}: damaged data: {type(error).__name__}: {error}") from None


def _parse_zip(content: bytes, source: str) -> Any:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = archive.infolist()
        names = [entry.filename for entry in entries]
        if len(entries) > _MAX_ENTRIES or len(set(names)) != len(names):
            raise UnsafeFile("refused: too many or repeated archive entries")
        pickles = [name for name in names if name.count("/") == 1 and name.endswith("/data.pkl")]
        if not pickles:
            listed = ", ".join(map(printable, names[:3]))
            raise CorruptFile(f"an archive of other files ({listed}); unpack it and give the file of weights")
        if any(e.compress_type != zipfile.ZIP_STORED or e.flag_bits & 1 for e in entries):
            raise UnsafeFile("refused: compressed or encrypted archive entries")
        if sum(e.file_size for e in entries) > len(content):
            raise UnsafeFile("refused: entries larger than the file")
        if any(name.endswith("constants.pkl") for name in names):
            raise UnsafeFile("refused: a TorchScript program; ask for a state_dict")
        if len(pickles) != 1:
            raise CorruptFile("no single data.pkl in the archive")
        top = pickles[0].split("/")[0]
        if f"{top}/byteorder" in names and archive.read(f"{top}/byteorder").strip() != b"little":
            raise UnsafeFile("refused: big-endian numbers")
        data = archive.read(pickles[0])
        cache: dict[str, _Storage] = {}

        def load(pid: Any) -> _Storage:
            kind, key, count = _persistent(pid, 5)
            if key not in cache:
                cache[key] = _Storage(archive.read(f"{top}/data/{key}"), kind, count)
            return cache[key]

        if scan(data, source) != len(data):
            raise CorruptFile("bytes after the end of the data")
        return _reader(data, load).load()


def _persistent(pid: Any, length: int) -> tuple[str, str, int]:
    """Type, key and number of elements of a storage reference."""
    if not isinstance(pid, tuple) or len(pid) != length or pid[0] != "storage":
        raise UnsafeFile("refused: a persistent object that is not a storage")
    kind, key, count = pid[1], pid[2], pid[4]
    if not isinstance(kind, Builder) or not isinstance(key, str) or type(count) is not int or count < 0:
        raise CorruptFile("damaged storage reference")
    return kind.kind, key, count


def _parse_legacy(content: bytes, source: str) -> Any:
    """Magic, version, system facts, object, keys; then each storage. The object is read
    twice: first for the storages' types and sizes, then with their contents.
    """
    positions = [0]
    for _ in range(5):
        positions.append(scan(content, source, positions[-1]))
    parts = [content[a:b] for a, b in pairwise(positions)]
    head = [_reader(part, _no_storage).load() for part in parts[:3]]
    if head[0] != _MAGIC or head[1] != _PROTOCOL:
        raise CorruptFile("no legacy torch file; if it is older than PyTorch 0.1.10, re-save it with torch")
    if not isinstance(head[2], dict) or head[2].get("little_endian") is not True:
        raise UnsafeFile("refused: big-endian numbers")
    keys = _reader(parts[4], _no_storage).load()
    sizes = _announced(parts[3])
    storages = _read_storages(content, positions[5], keys, sizes)

    def load(pid: Any) -> _Storage:
        kind, key, _ = _persistent(pid, 6)
        view = pid[5]
        storage = storages[key]
        if view is None:
            return storage
        _, offset, count = view
        if not (
            type(offset) is int and type(count) is int and 0 <= offset <= offset + count <= len(storage.array)
        ):
            raise UnsafeFile("refused: storage view out of range")
        part = _Storage(b"", kind, 0)
        part.array = storage.array[offset : offset + count]
        part.left = storage.left
        return part

    return _reader(parts[3], load).load()


def _no_storage(_: Any) -> Any:
    raise CorruptFile("tensor in the header of a legacy file")


def _announced(part: bytes) -> dict[str, tuple[str, int]]:
    """Type and size of each storage, from a first reading that replaces storages by single zeros."""
    found: dict[str, tuple[str, int]] = {}

    def note(pid: Any) -> object:
        kind, key, count = _persistent(pid, 6)
        if found.setdefault(key, (kind, count)) != (kind, count):
            raise CorruptFile("a storage is announced with two sizes")
        return _ABSENT

    _reader(part, note).load()
    return found


def _read_storages(
    content: bytes, position: int, keys: Any, sizes: dict[str, tuple[str, int]]
) -> dict[str, _Storage]:
    if not isinstance(keys, list) or set(keys) != set(sizes):
        raise CorruptFile("the storages do not match the tensors")
    storages = {}
    for key in keys:
        kind, count = sizes[key]
        item = 2 if kind == "bf16" else np.dtype(kind).itemsize
        (stored,) = struct.unpack_from("<q", content, position)
        if stored != count:
            raise CorruptFile(f"storage '{key}' has {stored} elements, {count} announced")
        end = position + 8 + count * item
        storages[key] = _Storage(content[position + 8 : end], kind, count)
        position = end
    if position != len(content):
        raise CorruptFile(f"{len(content) - position} bytes after the last storage")
    return storages
