"""Whether all ranks were started for the same training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from paddle import nn

from ppsr.engine.distributed import Group
from ppsr.errors import ConfigError

__all__ = ["check_equal_ranks", "rank_facts"]

# where a node keeps its files is its own affair
_PLACES = ("output_dir", "path", "weights", "meta_info")


def rank_facts(config: Mapping[str, Any], dataset: Any, nets: Mapping[str, nn.Layer]) -> dict[str, str]:
    """What ranks must have in common: the settings, the training images, the parameters' names and shapes.

    Folders and files of the config may differ; images are compared by name and order.

    Returns:
        Dotted name -> value as text, or digest of many values.
    """
    facts = _flat(config)
    paths = [Path(str(path)).name for path in getattr(dataset, "paths", ())]
    facts["number of training samples"] = str(len(dataset))
    facts["names of the training images"] = _digest(paths)
    for name, net in nets.items():
        shapes = {key: list(value.shape) for key, value in net.state_dict().items()}
        facts[f"parameters of {name}"] = f"{len(shapes)} tensors, {_digest(sorted(shapes.items()))}"
    return facts


def check_equal_ranks(group: Group, facts: Mapping[str, str]) -> None:
    """Compare the facts of all ranks with those of rank 0.

    Raises:
        ConfigError: they differ; on every rank, with the first difference.
    """
    first, *others = group.gather(dict(facts))
    for rank, other in enumerate(others, start=1):
        for key in [*first, *other]:
            if first.get(key) != other.get(key):
                raise ConfigError(
                    f"rank {rank} was started for another training: {key} is {other.get(key, 'not set')}, "
                    f"on rank 0 {first.get(key, 'not set')}; start all ranks with the same config and options"
                )


def _flat(value: Any, name: str = "") -> dict[str, str]:
    if isinstance(value, Mapping):
        parts = {f"{name}.{key}".lstrip("."): part for key, part in value.items() if not _is_place(str(key))}
        return {key: text for inner, part in parts.items() for key, text in _flat(part, inner).items()}
    return {name: str(value)}


def _is_place(key: str) -> bool:
    return key in _PLACES or "folder" in key


def _digest(values: Sequence[Any]) -> str:
    return sha256(repr(values).encode()).hexdigest()[:12]
