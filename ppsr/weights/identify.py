"""Finding the network that weights belong to, and its constructor arguments, from keys and shapes alone.

Each network recognises its own weights: a `detect` function on its class. This module asks all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ppsr.errors import WeightError
from ppsr.registry import GENERATORS

__all__ = ["NetworkSpec", "StateDict", "identify", "no_generator", "open_choices"]

StateDict = Mapping[str, np.ndarray]

_GIVE_GENERATOR = "those of a discriminator, which only training needs; give the file of the generator"
_NO_GENERATORS = {  # keys of networks that lie beside generators: what they are
    ("conv0.weight", "conv9.weight"): _GIVE_GENERATOR,  # UNetDiscriminatorSN
    ("conv0_0.weight", "linear1.weight"): _GIVE_GENERATOR,  # VGGStyleDiscriminator
    ("features.0.weight", "classifier.0.weight"): "those of a VGG, which losses and metrics take",
}


class NetworkSpec(NamedTuple):
    """Registered name of a generator, and arguments for `build_generator`."""

    name: str
    kwargs: dict[str, Any]


def identify(state: StateDict) -> NetworkSpec:
    """Name and constructor arguments of the network that weights belong to, in either layout.

    Raises:
        WeightError: no network knows these keys, or the shapes contradict the rules of the one that does.

    Example:
        >>> identify({"first_part.2.weight": ..., "first_part.0.weight": ..., "last_part.0.weight": ...})
        NetworkSpec(name='ESPCN', kwargs={'scale': 3, 'num_channels': 1})
    """
    state = {key: value for key, value in state.items() if value.size}  # so that shapes cost what they say
    detectors = {name: getattr(GENERATORS.get(name), "detect", None) for name in GENERATORS.names()}
    failure: tuple[str, str] | None = None  # of the first that knows the keys; a later one may know all
    for name, detect in detectors.items():
        try:
            arguments = detect(state) if detect else None
        except (KeyError, IndexError, ValueError, ZeroDivisionError) as error:
            reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            failure = failure or (name, reason)
            continue
        if arguments is not None:
            return NetworkSpec(name, _plain(arguments))
    if failure is not None:
        raise WeightError(
            f"the weights look like {failure[0]}, but their shapes do not agree with it: {failure[1]}"
        )
    if kind := no_generator(state):
        raise WeightError(f"the weights are {kind}")
    shown = ", ".join(sorted(state)[:6])
    tried = ", ".join(name for name, detect in detectors.items() if detect)
    heads = {key.partition(".")[0] for key in state}
    prefix = (
        f"If '{heads.pop()}.' is a trainer's prefix, save them without it; else name"
        if len(heads) == 1
        else "Name"
    )
    raise WeightError(
        f"no known network has these {len(state)} keys ({shown}, ...); tried {tried}. "
        f"{prefix} the network in a config"
    )


def no_generator(state: StateDict) -> str | None:
    """Whose weights these are instead of a generator's, and what to do, where it is known."""
    return next((kind for keys, kind in _NO_GENERATORS.items() if all(key in state for key in keys)), None)


def open_choices(spec: NetworkSpec) -> list[str]:
    """Choices that keys and shapes leave open and in which published files differ, a sentence each."""
    network = GENERATORS.get(spec.name)
    return network.open_choices(spec.kwargs) if hasattr(network, "open_choices") else []


def _plain(arguments: dict[str, Any]) -> dict[str, Any]:
    """Numbers of numpy as Python's, so that they can be written to a config."""
    return {key: value.item() if isinstance(value, np.generic) else value for key, value in arguments.items()}
