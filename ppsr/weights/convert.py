"""Converting weights between Paddle's and PyTorch's containers, with a line for every tensor."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ppsr.errors import WeightError
from ppsr.weights.build import build_from_spec
from ppsr.weights.identify import NetworkSpec, StateDict
from ppsr.weights.loading import transposed_keys
from ppsr.weights.ncnn import write_ncnn
from ppsr.weights.weight_file import Layout, WeightFile, read_weight_file, write_state

__all__ = ["TensorReport", "convert", "own_state", "save_converted"]

_LAYOUTS: dict[str, Layout] = {
    ".pdparams": "paddle",
    ".safetensors": "paddle",
    ".pth": "torch",
    ".pt": "torch",
    ".param": "torch",
    ".bin": "torch",
}
_NCNN = (".param", ".bin")


@dataclass(frozen=True)
class TensorReport:
    """Conversion record of one tensor."""

    source: str
    target: str
    shape: tuple[int, ...]
    transposed: bool


def convert(
    source: str | Path,
    target: str | Path,
    *,
    key: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> tuple[list[TensorReport], dict[str, NetworkSpec | None]]:
    """Convert a weight file.

    Args:
        source: .pdparams, .pth, .safetensors or an ncnn pair.
        target: .pdparams, .pth, .safetensors or ncnn's .param, by the suffix; .pth is written as BasicSR
            reads it, under `params`.
        key: entry of a torch file to take instead of the preferred one.
        options: constructor arguments that the file's keys and shapes do not show, such as FSRCNN's scale;
            they are written into the target with the others.

    Returns:
        One report per tensor, and what each network was recognised as (None: unknown).

    Raises:
        WeightError: unreadable, unsafe, an unknown suffix, or a network that must be known and is not: the
            weights of Linear layers are transposed between the layouts, those of other layers are not.
    """
    file = read_weight_file(source, key=key)
    if Path(target).exists() and file.path.samefile(target):
        raise WeightError(f"{target} is the file to convert; choose another name")
    return save_converted(file, target, options=options)


def save_converted(
    file: WeightFile, target: str | Path, *, options: Mapping[str, Any] | None = None
) -> tuple[list[TensorReport], dict[str, NetworkSpec | None]]:
    """Write what a file holds into another container; see `convert`."""
    target = Path(target)
    layout = _LAYOUTS.get(target.suffix)
    if layout is None:
        raise WeightError(f"cannot write {target}: use {', '.join(_LAYOUTS)}")
    reports: list[TensorReport] = []
    found: dict[str, NetworkSpec | None] = {}
    nets: dict[str, dict[str, np.ndarray]] = {}
    for name in file.nets:
        found[name], nets[name] = _convert_net(file, name, layout, options or {}, reports)
    if target.suffix in _NCNN:
        _save_ncnn(target, file, nets, found)
        return reports, found
    result = nets if file.nested else nets[""]
    if layout == "torch" and not file.nested:
        result = {file.nest or "params": nets[""]}
    write_state(target, result, layout=layout, networks=found)
    return reports, found


def _save_ncnn(
    target: Path, file: WeightFile, nets: Mapping[str, StateDict], found: Mapping[str, NetworkSpec | None]
) -> None:
    """The generator of a file as an ncnn pair."""
    name = _role_name(file, "generator")
    network = found[name]
    if network is None:
        raise WeightError(f"{file.path} holds no known network, so no graph can be written for it")
    write_ncnn(target, nets[name], network)


def _role_name(file: WeightFile, role: str) -> str:
    state = file.state(role)
    return next(name for name, candidate in file.nets.items() if candidate is state)


def own_state(file: WeightFile, role: str, layout: Layout) -> StateDict:
    """One network of a file under its own keys, without what it derives itself."""
    name = _role_name(file, role)
    found, state = _convert_net(file, name, layout, {}, [])
    if found is None:
        file.network(name)  # says why
    return state


def _convert_net(
    file: WeightFile, name: str, layout: Layout, options: Mapping[str, Any], reports: list[TensorReport]
) -> tuple[NetworkSpec | None, dict[str, np.ndarray]]:
    state = file.nets[name]
    try:
        known = file.network(name)
        found: NetworkSpec | None = known._replace(kwargs={**known.kwargs, **options})
    except WeightError as error:
        matrices = [key for key, value in state.items() if key.endswith("weight") and value.ndim == 2]
        if layout != file.layout and matrices:
            where = f" of '{name}'" if name else ""
            raise WeightError(
                f"{error}. Whether {matrices[0]}{where} must be transposed depends on the network"
            ) from None
        found = None
    turn: set[str] = set()
    names = {key: key for key in state}
    ignored: list[re.Pattern[str]] = []
    if found is not None:
        network = build_from_spec(found, [state], str(file.path))
        published = getattr(type(network), "map_published_keys", None)
        if published is not None:
            names = {old: new for new, old in published({key: key for key in state}).items()}
        ignored = [re.compile(pattern) for pattern in getattr(network, "ignored_keys", ())]
        turn = transposed_keys(network) if layout != file.layout else set()
    result: dict[str, np.ndarray] = {}
    for key, value in state.items():
        new = names[key]
        if any(pattern.fullmatch(new) for pattern in ignored):
            continue  # masks and indices that the network derives itself
        transposed = new in turn and value.ndim == 2
        result[new] = value.T if transposed else value
        prefix = f"{name}/" if name else ""
        reports.append(TensorReport(prefix + key, prefix + new, tuple(result[new].shape), transposed))
    return found, result
