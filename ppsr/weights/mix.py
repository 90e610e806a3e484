"""Mixing two files of one network: `share * a + (1 - share) * b` for every number.

ESRGAN's network interpolation (Wang et al., arXiv:1809.00219) and Real-ESRGAN's denoising strength. It is
sensible only where one network was trained on from the other; nothing in the files shows that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from ppsr.errors import ConfigError, WeightError
from ppsr.weights.catalogue import entries
from ppsr.weights.convert import own_state, save_converted
from ppsr.weights.weight_file import WeightFile, read_weight_file

__all__ = ["mix", "mix_files", "read_with_strength"]

_SHOWN = 5


def mix(a: str | Path, b: str | Path, target: str | Path, *, share: float) -> None:
    """Mix two weight files into a third one.

    Args:
        a: file, folder of a run, or name of the catalogue.
        share: weight of `a`, from 0 to 1.
    """
    first, second = read_weight_file(a), read_weight_file(b)
    if Path(target).exists() and any(file.path.samefile(target) for file in (first, second)):
        raise WeightError(f"{target} is one of the files to mix; choose another name")
    save_converted(mix_files(first, second, share), target)


def mix_files(a: WeightFile, b: WeightFile, share: float) -> WeightFile:
    """The mixture of two files, under the keys of the network and in the layout of `a`.

    Raises:
        ConfigError: a share outside 0 to 1.
        WeightError: different networks, keys or shapes; the first differences are named.
    """
    if not 0 <= share <= 1:
        raise ConfigError(f"the share of the first file must be from 0 to 1, got {share}")
    found = a.network("generator")
    first, second = own_state(a, "generator", a.layout), own_state(b, "generator", a.layout)
    differ = [key for key in first.keys() | second.keys() if _shape(first, key) != _shape(second, key)]
    if differ:
        shown = [f"{key}: {_shape(first, key)} and {_shape(second, key)}" for key in sorted(differ)[:_SHOWN]]
        raise WeightError(
            f"{a.path} and {b.path} are not of one network, {len(differ)} tensors differ: {'; '.join(shown)}"
        )
    if a.networks and b.networks and found != (other := b.network("generator")):
        # what shapes do not show, such as FSRCNN's scale
        raise WeightError(
            f"{a.path} and {b.path} are not of one network: "
            f"{found.name} {found.kwargs} and {other.name} {other.kwargs}"
        )
    mixed = {key: _mixed(key, value, second[key], share) for key, value in first.items()}
    return replace(a, nets={"": mixed}, networks={"": found}, nest="params", notes=[])


def _shape(state: Mapping[str, np.ndarray], key: str) -> tuple[int, ...] | None:
    return tuple(state[key].shape) if key in state else None


def _mixed(key: str, a: np.ndarray, b: np.ndarray, share: float) -> np.ndarray:
    if a.dtype.kind != "f":
        if not np.array_equal(a, b):
            raise WeightError(f"'{key}' holds whole numbers that differ, and cannot be mixed")
        return a
    kind = np.result_type(a.dtype, b.dtype, np.float32)
    return (share * a.astype(kind) + (1 - share) * b.astype(kind)).astype(kind)


def read_with_strength(name: str | Path, strength: float) -> WeightFile:
    """Published weights mixed with their weaker partner, such as realesr-general-x4v3 with its wdn.

    Args:
        strength: denoising strength, from 0 (the partner alone) to 1 (this model alone).
    """
    partner = next((entry.partner for entry in entries() if entry.name == str(name)), "")
    if not partner:
        names = ", ".join(entry.name for entry in entries() if entry.partner)
        raise ConfigError(f"'{name}' has no second file to mix with; those that have one: {names}")
    return (
        read_weight_file(name)
        if strength == 1
        else mix_files(read_weight_file(name), read_weight_file(partner), strength)
    )
