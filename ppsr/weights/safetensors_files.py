"""The .safetensors container: a JSON header with type, shape and offsets of every tensor, then the data."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from ppsr.errors import WeightError
from ppsr.weights.dtypes import from_bits
from ppsr.weights.opcodes import CorruptFile

_HEADER_LIMIT = 100_000_000
_MAX_TENSORS = 200_000
_TYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U8": "u1",
    "BOOL": "b1",
}


def is_safetensors(start: bytes, size: int) -> bool:
    """Whether a file of `size` bytes begins with the size of a header and the header's brace."""
    return start[8:9] == b"{" and struct.unpack_from("<Q", start)[0] <= size - 8


def parse_safetensors(content: bytes, source: str) -> tuple[dict[str, Any], Literal["torch", "paddle"]]:
    """Read the bytes of a file.

    Returns:
        key -> array, or network -> (key -> array) if all keys are `<network>/<key>`, together with the texts
        of the metadata; and the layout that the metadata states, by default torch's.

    Raises:
        CorruptFile: the file is damaged or too large.
        WeightError: a tensor has a type that is not read.
    """
    if len(content) < 8:
        raise CorruptFile(f"{source}: truncated header")
    (length,) = struct.unpack_from("<Q", content)
    if length > _HEADER_LIMIT:
        raise CorruptFile(f"{source} is not a .safetensors file: it does not begin with the size of a header")
    if length > len(content) - 8:
        raise _truncated(source, content, 8 + length)
    try:
        header = json.loads(content[8 : 8 + length], object_pairs_hook=_unique)
        if len(header) > _MAX_TENSORS:
            raise CorruptFile(f"{source}: {len(header)} tensors; at most {_MAX_TENSORS} are read")
        metadata = dict(header.pop("__metadata__", {}))
        entries = sorted(header.items(), key=lambda item: item[1]["data_offsets"])
        end = 8 + length + max((entry["data_offsets"][1] for _, entry in entries), default=0)
        if len(content) < end:
            raise _truncated(source, content, end)
        state: dict[str, np.ndarray] = {}
        position = 0
        for key, entry in entries:
            start, end = entry["data_offsets"]
            shape = tuple(entry["shape"])
            if entry["dtype"] not in _TYPES:
                raise WeightError(
                    f"{source}: '{key}' is of type {entry['dtype']}; save it as F32, F16 or BF16"
                )
            dtype = np.dtype(_TYPES[entry["dtype"]])
            if (
                start != position
                or end - start != math.prod(shape) * dtype.itemsize
                or min(shape, default=0) < 0
            ):
                raise CorruptFile(
                    f"{source} is damaged: the offsets of '{key}' do not fit its shape and type; "
                    "download it again"
                )
            position = end
            array = np.frombuffer(content, dtype, math.prod(shape), 8 + length + start).reshape(shape)
            state[key] = from_bits(array) if entry["dtype"] == "BF16" else array
    except WeightError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise CorruptFile(f"{source}: damaged header: {error}") from None
    if 8 + length + position != len(content):
        raise CorruptFile(
            f"{source} is damaged: {len(content):,} bytes where the header needs {8 + length + position:,}; "
            "download it again"
        )
    tree = _by_network(state)
    texts = {key: value for key, value in metadata.items() if key not in ("layout", "format")}
    return {**texts, **tree}, "paddle" if metadata.get("layout") == "paddle" else "torch"


def _truncated(source: str, content: bytes, size: int) -> CorruptFile:
    return CorruptFile(
        f"{source} is truncated: it has {len(content):,} of at least {size:,} bytes; download it again"
    )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, refusing repeated keys."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice")
    return found


def _by_network(state: dict[str, np.ndarray]) -> dict[str, Any]:
    """Split the keys `<network>/<key>` of files that ppsr wrote; other states are returned as they are."""
    if not all("/" in key for key in state):
        return state
    nets: dict[str, Any] = {}
    for key, value in state.items():
        name, _, rest = key.partition("/")
        nets.setdefault(name, {})[rest] = value
    return nets


def dump_safetensors(state: Mapping[str, Any], metadata: dict[str, str]) -> bytes:
    """The bytes of a file.

    Args:
        state: key -> array, or network -> (key -> array).
        metadata: texts by name; `layout`, torch or paddle, is that of the arrays.
    """
    from safetensors.numpy import save

    flat: dict[str, np.ndarray] = {}
    for key, value in state.items():
        if isinstance(value, Mapping):
            flat.update({f"{key}/{k}": np.asarray(v, order="C") for k, v in value.items()})
        else:
            flat[key] = np.asarray(value, order="C")
    return save(flat, metadata=metadata)
