"""Writing .pth files that `torch.load(weights_only=True)` reads, without torch.

The zip container of PyTorch 1.6 and later: `data.pkl` describes the tensors, `data/<n>` holds their numbers.
"""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from ppsr.errors import WeightError
from ppsr.weights.dtypes import STORAGES

_TOP = "archive"
_ALIGNMENT = 64
_STORAGES = {code: name for name, code in STORAGES.items() if name != "UntypedStorage"}


class _Pickle:
    """The few opcodes (protocol 2) that a dictionary of tensors needs."""

    def __init__(self) -> None:
        self.out = io.BytesIO()
        self.out.write(pickle.PROTO + b"\x02")
        self.storages: list[bytes] = []

    def text(self, value: str) -> None:
        raw = value.encode("utf-8", "surrogatepass")
        self.out.write(pickle.BINUNICODE + struct.pack("<I", len(raw)) + raw)

    def number(self, value: int) -> None:
        if -(2**31) <= value < 2**31:
            self.out.write(pickle.BININT + struct.pack("<i", value))
        else:
            self.out.write(pickle.LONG1 + b"\x08" + struct.pack("<q", value))

    def numbers(self, values: tuple[int, ...]) -> None:
        self.out.write(pickle.MARK)
        for value in values:
            self.number(value)
        self.out.write(pickle.TUPLE)

    def imported(self, module: str, name: str) -> None:
        self.out.write(pickle.GLOBAL + f"{module}\n{name}\n".encode())

    def empty_ordered(self) -> None:
        self.imported("collections", "OrderedDict")
        self.out.write(pickle.EMPTY_TUPLE + pickle.REDUCE)

    def mapping(self, items: Mapping[str, Any]) -> None:
        self.empty_ordered()
        for key, value in items.items():
            self.text(str(key))
            if isinstance(value, Mapping):
                self.mapping(value)
            elif isinstance(value, str):
                self.text(value)
            else:
                self.tensor(str(key), value)
            self.out.write(pickle.SETITEM)

    def tensor(self, key: str, value: Any) -> None:
        """_rebuild_tensor_v2(storage, 0, size, stride, False, OrderedDict())."""
        array = np.asarray(value)
        code = array.dtype.str[1:]
        if code not in _STORAGES:
            raise WeightError(
                f"'{key}' has the type {array.dtype}, which a .pth file cannot hold; convert it to float32"
            )
        self.imported("torch._utils", "_rebuild_tensor_v2")
        self.out.write(pickle.MARK + pickle.MARK)
        self.text("storage")
        self.imported("torch", _STORAGES[code])
        self.text(str(len(self.storages)))
        self.text("cpu")
        self.number(array.size)
        self.out.write(pickle.TUPLE + pickle.BINPERSID)
        self.number(0)
        strides = [1]
        for size in array.shape[:0:-1]:
            strides.insert(0, strides[0] * max(size, 1))
        self.numbers(array.shape)
        self.numbers(tuple(strides[: array.ndim]))
        self.out.write(pickle.NEWFALSE)
        self.empty_ordered()
        self.out.write(pickle.TUPLE + pickle.REDUCE)
        self.storages.append(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())


def dump_torch(state: Mapping[str, Any]) -> bytes:
    """Bytes of a .pth file.

    Args:
        state: nested mappings of arrays in PyTorch's layout, and texts.
    """
    pickled = _Pickle()
    pickled.mapping(state)
    pickled.out.write(pickle.STOP)
    result = io.BytesIO()
    with zipfile.ZipFile(result, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(_entry("data.pkl"), pickled.out.getvalue())
        archive.writestr(_entry("byteorder"), b"little")
        for number, content in enumerate(pickled.storages):
            entry = _entry(f"data/{number}")
            # torch maps storages into memory, so they start at multiples of 64;
            # a local header has 30 bytes, the name, and this extra field
            start = result.tell() + 30 + len(entry.filename) + 4
            entry.extra = struct.pack("<2sH", b"FB", -start % _ALIGNMENT) + b"Z" * (-start % _ALIGNMENT)
            archive.writestr(entry, content)
        archive.writestr(_entry("version"), b"3\n")
    return result.getvalue()


def _entry(name: str) -> zipfile.ZipInfo:
    """An entry with a fixed date, so that equal weights give equal files."""
    return zipfile.ZipInfo(f"{_TOP}/{name}", (1980, 1, 1, 0, 0, 0))
