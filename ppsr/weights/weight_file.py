"""Any weight file by its contents: .pdparams, .pth, .safetensors, ncnn; one network or several."""

from __future__ import annotations

import logging
import mmap
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from ppsr.errors import WeightError
from ppsr.files import atomic_write
from ppsr.weights.catalogue import published_as
from ppsr.weights.dtypes import from_bits
from ppsr.weights.fetch import resolve_weights
from ppsr.weights.foreign import HEAD, PADDLE_GRAPH, foreign_kind
from ppsr.weights.identify import NetworkSpec, StateDict, identify, open_choices
from ppsr.weights.ncnn import read_ncnn
from ppsr.weights.opcodes import CorruptFile, UnsafeFile
from ppsr.weights.pdparams import dump_state, parse_pdparams
from ppsr.weights.record import ENTRY, dump_record, take_record
from ppsr.weights.safetensors_files import (
    dump_safetensors,
    index_of,
    is_index,
    is_safetensors,
    parse_index,
    parse_safetensors,
)
from ppsr.weights.torch_files import is_torch_file, parse_torch
from ppsr.weights.torch_writer import dump_torch
from ppsr.weights.unwrap import unwrap

__all__ = ["WeightFile", "read_state", "read_weight_file", "write_state"]

logger = logging.getLogger(__name__)

Layout = Literal["torch", "paddle"]

_SHARED, _SPARE = 32, 1 << 20  # how many times the size of the file all entries may have, and bytes more


@dataclass
class WeightFile:
    """Contents of a weight file.

    Attributes:
        nets: state by network name; a file of one network has the name "".
        layout: "torch" where Linear weights are transposed with respect to Paddle.
        container: pdparams, torch, safetensors or ncnn.
        nest: the entry that was chosen in a file of nested entries, such as params_ema.
        notes: what was taken off the keys or left out, one sentence each.
        networks: name and constructor arguments of networks that the file itself states, by network name.
    """

    path: Path
    nets: dict[str, StateDict]
    layout: Layout
    container: str
    nest: str = ""
    notes: list[str] = field(default_factory=list)
    networks: dict[str, NetworkSpec] = field(default_factory=dict)

    @property
    def nested(self) -> bool:
        """Whether the file names its networks."""
        return "" not in self.nets

    def state(self, name: str | None = None) -> StateDict:
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
        raise WeightError(
            f"{self.path} holds the networks {sorted(self.nets)}; none is named '{name}'. Take one out: "
            f"ppsr convert {self.path} OUT --key NAME"
        )

    def split(self, names: Iterable[str]) -> WeightFile:
        """This file, or one network of it as its parts, where all keys begin with names of these networks."""
        found: dict[str, dict[str, np.ndarray]] = {}
        for key, value in self.nets.get("", {}).items():
            name, _, rest = key.partition(".")
            found.setdefault(name, {})[rest] = value
        return replace(self, nets={**found}) if found and found.keys() <= set(names) else self

    def parts(self, names: Iterable[str]) -> dict[str, StateDict]:
        """The states of those networks that the file holds, `<name>_ema` before `<name>`; a file of a single
        network holds the first.

        Raises:
            WeightError: it holds none of them.
        """
        wanted = list(names)
        if not self.nested:
            return {wanted[0]: self.nets[""]}
        found = {name: self.state(name) for name in wanted if {name, f"{name}_ema"} & set(self.nets)}
        if not found:
            raise WeightError(f"{self.path} holds {sorted(self.nets)}, the model needs {sorted(wanted)}")
        return found

    def network(self, name: str = "generator") -> NetworkSpec:
        """Registered name and constructor arguments of one network, as the file states them, else as its keys
        and shapes tell.
        """
        stated = self.stated(name)
        if stated:
            return stated
        state = self.state(name)
        try:
            return identify(state)
        except WeightError as error:
            raise WeightError(f"{self.path}: {error}") from None

    def open_choices(self, name: str = "generator") -> list[str]:
        """Options that neither the file nor its keys and shapes determine, with the value assumed."""
        return [] if self.stated(name) else open_choices(self.network(name))

    def stated(self, name: str) -> NetworkSpec | None:
        """Registered name and constructor arguments of one network, where the file itself states them."""
        stated = (self.networks.get(key) for key in (name, name.removesuffix("_ema"), ""))
        return next(filter(None, stated), None)


def read_weight_file(
    path: str | Path, *, key: str | None = None, allow_nonfinite: bool = False
) -> WeightFile:
    """Read a weight file; nothing in it is executed.

    Args:
        path: a file, the folder of a run, or a name of the catalogue. Files are .pdparams (flat or by
            network), .pth (params_ema, params, state_dict or flat), .safetensors, or an ncnn pair, .param and
            .bin, by either name. What trainers put before the keys (`module.`, ...) is taken off and noted.
        key: entry of a torch file to take instead of the preferred one.

    Raises:
        WeightError: missing, unsafe, damaged, or not a weight file.
    """
    path = resolve_weights(path)
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise WeightError(f"cannot read the weights {path}: it is not a regular file; give a weight file")
        with path.open("rb") as stream:
            file = _parsed(path, stream, os.fstat(stream.fileno()).st_size, key)
    except OSError as error:
        place = error.filename or path
        known = published_as(path) if isinstance(error, FileNotFoundError) else None
        hint = f"; published weights of this name: --load {known}" if known else ""
        raise WeightError(f"cannot read the weights {place}: {error.strerror or error}{hint}") from None
    if not allow_nonfinite:
        _refuse_nonfinite(file)
    for note in file.notes:
        logger.info("%s: %s", path, note)
    return file


def _parsed(path: Path, stream: BinaryIO, size: int, key: str | None) -> WeightFile:
    """A file of any kind, recognised by its contents."""
    source = str(path)
    start = stream.read(HEAD)
    stream.seek(0)
    if not start:
        raise CorruptFile(f"{source} is empty")
    if is_torch_file(start):
        return _from_tree(path, parse_torch(stream.read(), source), "torch", "torch", key)
    if is_index(start):
        return _from_tree(path, *parse_index(stream.read(), path), "safetensors", key)
    if index := index_of(path):
        raise WeightError(f"{source} is one file of several; give their index {index}")
    is_ncnn = path.suffix in (".param", ".bin")
    foreign = None if is_safetensors(start, size) else foreign_kind(start, numbers=is_ncnn)
    if foreign:
        raise CorruptFile(f"{source} is not a weight file but {foreign}")
    if is_safetensors(start, size) or path.suffix == ".safetensors":
        tree, layout = parse_safetensors(stream.read(), source)
        return _from_tree(path, tree, layout, "safetensors", key)
    if start[:1] == b"\x80":
        # not closed by hand: the traceback of a refused file may still look into it
        content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        return _from_tree(path, parse_pdparams(content, source, stream), "paddle", "pdparams", key)
    if is_ncnn:
        pair = read_ncnn(path)
        return WeightFile(path, {"": pair.state}, "torch", "ncnn", "", pair.notes, {"": pair.network})
    if path.suffix in (".pdiparams", ".pdmodel"):
        raise CorruptFile(f"{source} is not a weight file but {PADDLE_GRAPH}")
    raise CorruptFile(
        f"{source} is not a weight file: its contents are not .pdparams, .pth, .safetensors or ncnn"
    )


def read_state(path: str | Path, *, key: str | None = None, allow_nonfinite: bool = False) -> StateDict:
    """The state of the only (or generator) network of a file; see `read_weight_file`."""
    return read_weight_file(path, key=key, allow_nonfinite=allow_nonfinite).state("generator")


def _from_tree(path: Path, tree: Any, layout: Layout, container: str, key: str | None) -> WeightFile:
    """A file by its entries; Paddle writes bfloat16 as uint16, which is not a type of any weight."""
    if container != "safetensors":  # which cannot
        _refuse_shared(path, tree)
    networks: dict[str, NetworkSpec] = {}
    if isinstance(tree, dict):
        tree = dict(tree)
        networks = take_record(tree, str(path), layout)
    found = unwrap(tree, str(path), key, own=bool(networks))
    nets = found.nets
    if layout == "paddle":
        nets = {
            name: {k: from_bits(v) if v.dtype == np.uint16 else v for k, v in state.items()}
            for name, state in nets.items()
        }
    return WeightFile(path, nets, layout, container, found.entry, found.notes, networks)


def _refuse_shared(path: Path, tree: Any) -> None:
    """One array can have very many names at the cost of a few bytes each; tied weights need two or three."""
    pending, total, largest = [tree], 0, _SHARED * path.stat().st_size + _SPARE
    while pending and total <= largest:
        value = pending.pop()
        if isinstance(value, dict):
            pending += value.values()
        elif isinstance(value, (list, tuple)):
            pending += value
        elif isinstance(value, np.ndarray):
            total += value.nbytes
    if total > largest:
        raise UnsafeFile(f"{path}: refused: its entries show the same numbers under too many names")


def _refuse_nonfinite(file: WeightFile) -> None:
    for name, state in file.nets.items():
        for key, value in state.items():
            if value.dtype.kind in "fc" and not _all_finite(value):
                where = f"{name}.{key}" if name else key
                raise WeightError(
                    f"{file.path}: '{where}' has NaN or infinite values; training diverged before"
                )


def _all_finite(value: np.ndarray) -> bool:
    """Whether there is no NaN or infinity; the sum shows it at once, unless it overflows by itself."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(value.sum())) or bool(np.isfinite(value).all())


def write_state(
    path: str | Path,
    state: Mapping[str, Any],
    *,
    layout: Layout = "paddle",
    networks: Mapping[str, NetworkSpec | None] | None = None,
) -> None:
    """Write weights, whole or not at all, with a checksum that reading compares.

    Args:
        path: .pdparams (Paddle's layout), .pth or .pt (PyTorch's layout), or .safetensors.
        state: key -> array in the container's layout, or network -> (key -> array).
        layout: array layout, recorded in .safetensors files.
        networks: registered name and constructor arguments by network, "" for the only one; they are written
            too. A flat .pth takes neither, as PyTorch would not load it into a network then.

    Raises:
        WeightError: another suffix.
    """
    path = Path(path)
    stored = {".pth": "torch", ".pt": "torch", ".pdparams": "paddle"}.get(path.suffix, layout)
    record = dump_record(state, networks or {}, stored)
    if path.suffix in (".pth", ".pt"):
        nested = all(isinstance(value, Mapping) for value in state.values())
        atomic_write(path, dump_torch({**state, ENTRY: record} if nested else state))
    elif path.suffix == ".pdparams":
        atomic_write(path, dump_state({**state, ENTRY: record}))
    elif path.suffix == ".safetensors":
        atomic_write(path, dump_safetensors(state, {"layout": layout, "format": "ppsr", ENTRY: record}))
    else:
        raise WeightError(f"cannot write {path}: use .pdparams, .pth or .safetensors")
