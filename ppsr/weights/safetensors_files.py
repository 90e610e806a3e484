"""The .safetensors container: a JSON header with type, shape and offsets of every tensor, then the data."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save

from ppsr.errors import WeightError
from ppsr.files import read_regular
from ppsr.weights.dtypes import from_bits
from ppsr.weights.opcodes import CorruptFile

_MAX_TENSORS = 200_000
_INDEX = ".safetensors.index.json"  # in place of the number of a file and its suffix
_PART = re.compile(r"-\d{5}-of-\d{5}\.safetensors$")
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


def is_index(start: bytes) -> bool:
    """Whether a file begins as the index of several files."""
    return start.lstrip()[:1] == b"{" and b'"weight_map"' in start


def index_of(path: Path) -> Path | None:
    """The index beside a file that is one of several; None: it is not."""
    index = path.with_name(_PART.sub(_INDEX, path.name))
    return index if index != path and index.is_file() else None


def parse_safetensors(content: bytes, source: str) -> tuple[dict[str, Any], Literal["torch", "paddle"]]:
    """Read the bytes of a file.

    Returns:
        key -> array, or network -> (key -> array) if all keys are `<network>/<key>`, together with the texts
        of the metadata; and the layout that the metadata states, by default torch's.

    Raises:
        CorruptFile: the file is damaged or too large.
        WeightError: a tensor has a type that is not read.
    """
    try:
        tensors = deserialize(content)
        (length,) = struct.unpack_from("<Q", content)
        metadata = json.loads(content[8 : 8 + length], object_pairs_hook=unique_keys).get("__metadata__", {})
    except (SafetensorError, ValueError) as error:
        raise CorruptFile(
            f"{source} is truncated or damaged: its {len(content):,} bytes are not those that its header "
            f"states ({error}); download it again"
        ) from None
    if len(tensors) > _MAX_TENSORS:
        raise CorruptFile(f"{source}: {len(tensors)} tensors; at most {_MAX_TENSORS} are read")
    state: dict[str, np.ndarray] = {}
    for key, entry in tensors:
        if entry["dtype"] not in _TYPES:
            raise WeightError(f"{source}: '{key}' is of type {entry['dtype']}; save it as F32, F16 or BF16")
        array = np.frombuffer(entry["data"], _TYPES[entry["dtype"]]).reshape(entry["shape"])
        state[key] = from_bits(array) if entry["dtype"] == "BF16" else array
    texts = {key: value for key, value in metadata.items() if key not in ("layout", "format")}
    return {**texts, **_by_network(state)}, "paddle" if metadata.get("layout") == "paddle" else "torch"


def parse_index(content: bytes, path: Path) -> tuple[dict[str, Any], Literal["torch", "paddle"]]:
    """Read all files that an index (`model.safetensors.index.json`) names, which lie beside it.

    Returns:
        As `parse_safetensors`, of all files together.

    Raises:
        CorruptFile: it is damaged, or a file lacks tensors that it names.
        WeightError: its files are no .safetensors beside it.
        OSError: a file is missing.
    """
    try:
        places = dict(json.loads(content, object_pairs_hook=unique_keys)["weight_map"])
        names = sorted({str(name) for name in places.values()})
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptFile(f"{path} is damaged ({error}); download it again") from None
    if any(Path(name).name != name or not name.endswith(".safetensors") for name in names):
        raise WeightError(
            f"{path} is the index of weights in several files ({', '.join(names[:2])}, ...); only "
            ".safetensors beside it are read: save the weights as one file"
        )
    parts = [parse_safetensors(read_regular(path.with_name(n), 2**40), str(path.with_name(n))) for n in names]
    state = {key: value for part, _ in parts for key, value in part.items()}
    if missing := sorted(places.keys() - state.keys()):
        raise CorruptFile(f"{path} names '{missing[0]}', which its files lack; download them again")
    return state, parts[0][1] if parts else "torch"


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; ValueError for a repeated key, which two readers could understand differently."""
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
    flat: dict[str, np.ndarray] = {}
    for key, value in state.items():
        if isinstance(value, Mapping):
            flat.update({f"{key}/{k}": np.asarray(v, order="C") for k, v in value.items()})
        else:
            flat[key] = np.asarray(value, order="C")
    return save(flat, metadata=metadata)
