"""Any weight file by its contents: .pdparams, .pth, .safetensors; one network or several."""

from __future__ import annotations

import json
import math
import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ppsr.errors import WeightError
from ppsr.files import atomic_write
from ppsr.weights.bfloat16 import from_bits
from ppsr.weights.opcodes import CorruptFile
from ppsr.weights.pdparams import dump_state, parse_pdparams
from ppsr.weights.torch_files import is_torch_file, parse_torch
from ppsr.weights.torch_writer import dump_torch

__all__ = ["WeightFile", "read_file", "read_state", "write_state"]

State = dict[str, np.ndarray]
Layout = Literal["torch", "paddle"]

_NESTS = ("params_ema", "params", "state_dict", "model", "net", "net_g")
_HEAD = 64  # bytes that tell the kind of a file
_HEADER_LIMIT = 100_000_000
_MAX_TENSORS = 200_000
_SAFE_TYPES = {
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


@dataclass
class WeightFile:
    """What a file holds.

    Attributes:
        nets: state by network name; a file of one network has the name "".
        layout: "torch" where Linear weights are transposed with respect to Paddle.
        container: pdparams, torch or safetensors.
        nest: the entry that was chosen in a torch file, such as params_ema.
    """

    path: Path
    nets: dict[str, State]
    layout: Layout
    container: str
    nest: str = ""

    @property
    def nested(self) -> bool:
        """Whether the file names its networks."""
        return "" not in self.nets

    def state(self, name: str | None = None) -> State:
        """The state of one network: the only one, or `<name>_ema` before `<name>`.

        Raises:
            WeightError: the file has several networks and not this one.
        """
        if not self.nested:
            return self.nets[""]
        for key in (f"{name}_ema", name):
            if key in self.nets:
                return self.nets[key]
        if len(self.nets) == 1:
            return next(iter(self.nets.values()))
        raise WeightError(f"{self.path} holds the networks {sorted(self.nets)}; none is named '{name}'")


def read_file(path: str | Path, *, key: str | None = None, allow_nonfinite: bool = False) -> WeightFile:
    """Read a weight file; nothing in it is executed.

    Args:
        path: .pdparams (flat or by network), .pth (params_ema, params or flat; `module.` is stripped), or
            .safetensors.
        key: entry of a torch file to take instead of the preferred one.
        allow_nonfinite: accept NaN and infinity.

    Raises:
        WeightError: missing, unsafe, damaged, or not a weight file.
    """
    path = Path(path)
    source = str(path)
    try:
        with path.open("rb") as stream:
            start = stream.read(_HEAD)
            if not start:
                raise CorruptFile(f"{source} is empty")
            stream.seek(0)
            if start[:1] == b"\x80" and not is_torch_file(start):
                # not closed by hand: the traceback of a refused file may still look into it
                content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
                tree = parse_pdparams(content, source, stream)
                file = _from_tree(path, tree, "paddle", "pdparams", key)
            else:
                file = _from_bytes(path, stream.read(), key)
    except OSError as error:
        raise WeightError(f"cannot read the weights {path}: {error.strerror or error}") from None
    if not allow_nonfinite:
        _refuse_nonfinite(file)
    return file


def _from_bytes(path: Path, content: bytes, key: str | None) -> WeightFile:
    """A torch or safetensors file, told by its contents."""
    source = str(path)
    if is_torch_file(content):
        return _from_tree(path, parse_torch(content, source), "torch", "torch", key)
    if path.suffix == ".safetensors" or content[8:9] == b"{":
        state, layout = _parse_safetensors(content, source)
        return WeightFile(path, _split_nets(state), layout, "safetensors")
    raise CorruptFile(f"{source} is no weight file: neither .pdparams, .pth nor .safetensors by its contents")


def read_state(path: str | Path, *, key: str | None = None, allow_nonfinite: bool = False) -> State:
    """The state of the only (or generator) network of a file; see `read_file`."""
    return read_file(path, key=key, allow_nonfinite=allow_nonfinite).state("generator")


def _is_state(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and all(isinstance(v, np.ndarray) for v in value.values())


def _from_tree(path: Path, tree: Any, layout: Layout, container: str, key: str | None) -> WeightFile:
    """A file by its entries; Paddle writes bfloat16 as uint16, which is no type of any weight."""
    nest = ""
    if isinstance(tree, list):  # DRN's dual models: one state per scale
        tree = {f"dual_model_{i}": item for i, item in enumerate(tree)}
    if not isinstance(tree, dict):
        raise WeightError(f"{path} holds a {type(tree).__name__}, not named weights")
    for name in (key,) if key else _NESTS:
        if isinstance(tree.get(name), dict) and (tree[name] or key):  # an average that never began is empty
            tree, nest = tree[name], str(name)
            break
    else:
        if key:
            raise WeightError(f"{path} has no entry '{key}'; it has {sorted(map(str, tree))[:8]}")
    if layout == "paddle":
        tree = {k: _widened(v) if _is_state(v) else v for k, v in _widened(tree).items()}
    arrays = {str(k): v for k, v in tree.items() if isinstance(v, np.ndarray)}
    groups = {str(k): _strip(v) for k, v in tree.items() if _is_state(v)}
    if arrays:
        return WeightFile(path, {"": _strip(arrays)}, layout, container, nest)
    if groups:
        return WeightFile(path, groups, layout, container, nest)
    raise WeightError(f"{path} holds no tensors; its entries are {sorted(map(str, tree))[:8]}")


def _widened(tree: Mapping[Any, Any]) -> dict[Any, Any]:
    return {k: from_bits(v) if getattr(v, "dtype", None) == np.uint16 else v for k, v in tree.items()}


def _strip(state: Mapping[Any, np.ndarray]) -> State:
    """Without what torch's wrappers add: prefixes of parallel and compiled networks, a count of averages."""
    names = {
        str(key).replace("_orig_mod.", "").removeprefix("module."): value for key, value in state.items()
    }
    return {name: value for name, value in names.items() if name != "n_averaged"}


def _refuse_nonfinite(file: WeightFile) -> None:
    for name, state in file.nets.items():
        for key, value in state.items():
            if value.dtype.kind in "fc" and not _all_finite(value):
                where = f"{name}.{key}" if name else key
                raise WeightError(
                    f"{file.path}: '{where}' has NaN or infinite values; training diverged before"
                )


def _all_finite(value: np.ndarray) -> bool:
    """Whether there is no NaN or infinity; the sum tells at once, unless it overflows by itself."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(value.sum())) or bool(np.isfinite(value).all())


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, refusing repeated keys."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice")
    return found


def _parse_safetensors(content: bytes, source: str) -> tuple[State, Layout]:
    """Header length, JSON header, numbers without gaps or overlaps."""
    if len(content) < 8:
        raise CorruptFile(f"{source}: truncated header")
    (length,) = struct.unpack_from("<Q", content)
    if length > min(_HEADER_LIMIT, len(content) - 8):
        raise CorruptFile(f"{source}: header of {length} bytes in a file of {len(content)}")
    try:
        header = json.loads(content[8 : 8 + length], object_pairs_hook=_unique)
        if len(header) > _MAX_TENSORS:
            raise CorruptFile(f"{source}: {len(header)} tensors; at most {_MAX_TENSORS} are read")
        metadata = header.pop("__metadata__", {})
        entries = sorted(header.items(), key=lambda item: item[1]["data_offsets"])
        state: State = {}
        position = 0
        for key, entry in entries:
            start, end = entry["data_offsets"]
            shape = tuple(entry["shape"])
            dtype = np.dtype(_SAFE_TYPES[entry["dtype"]])
            if (
                start != position
                or end - start != math.prod(shape) * dtype.itemsize
                or min(shape, default=0) < 0
            ):
                raise CorruptFile(f"{source}: the place of '{key}' does not fit")
            position = end
            array = np.frombuffer(content, dtype, math.prod(shape), 8 + length + start).reshape(shape)
            if entry["dtype"] == "BF16":
                array = from_bits(array)
            state[key] = array
    except WeightError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CorruptFile(f"{source}: damaged header: {error}") from None
    if 8 + length + position != len(content):
        raise CorruptFile(f"{source}: {len(content)} bytes, {8 + length + position} announced")
    layout: Layout = "paddle" if metadata.get("layout") == "paddle" else "torch"
    return state, layout


def _split_nets(state: State) -> dict[str, State]:
    """Networks of our own files, whose keys are `<net>/<key>`."""
    if not all("/" in key for key in state) or not state:
        return {"": _strip(state)}
    nets: dict[str, State] = {}
    for key, value in state.items():
        name, _, rest = key.partition("/")
        nets.setdefault(name, {})[rest] = value
    return nets


def write_state(path: str | Path, state: Mapping[str, Any], *, layout: Layout = "paddle") -> None:
    """Write weights, whole or not at all.

    Args:
        path: .pdparams (Paddle's layout), .pth or .pt (PyTorch's layout), or .safetensors.
        state: key -> array in the container's layout, or network -> (key -> array).
        layout: of a .safetensors file, which records it.

    Raises:
        WeightError: another suffix.
    """
    path = Path(path)
    if path.suffix in (".pth", ".pt"):
        atomic_write(path, dump_torch(state))
    elif path.suffix == ".pdparams":
        atomic_write(path, dump_state(state))
    elif path.suffix == ".safetensors":
        from safetensors.numpy import save

        flat: State = {}
        for key, value in state.items():
            if isinstance(value, Mapping):
                flat.update({f"{key}/{k}": np.asarray(v, order="C") for k, v in value.items()})
            else:
                flat[key] = np.asarray(value, order="C")
        atomic_write(path, save(flat, metadata={"layout": layout, "format": "ppsr"}))
    else:
        raise WeightError(f"cannot write {path}: use .pdparams, .pth or .safetensors")
