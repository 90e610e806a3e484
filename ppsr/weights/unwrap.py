"""From the entries of a file to the networks in it: nested entries, prefixes of trainers, averages, counters.

Trainers put a state dict below entries (`params_ema`, `state_dict`) and attributes (`module.`, `net_g.`,
`generator.`), beside averages, discriminators and counters. What is taken off or left out is noted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ppsr.errors import WeightError
from ppsr.weights.identify import StateDict

_ENTRIES = ("params", "model_state_dict", "state_dict", "model", "net", "net_g", "netG", "G")
# attributes in lower case without underscores
_ATTRIBUTES = (
    *("netg", "generator", "model", "onlinemodel", "net", "network"),
    *("module", "forwardmodule", "g", "params", "layers"),
)
_WRAPPERS = re.compile(r"(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
_PREDICTOR_PREFIX = "predictor"  # a second network that inference needs, so that nothing may be taken off
_COUNTERS = ("n_averaged", "step_counter", "num_updates", "decay", "epoch", "step", "iter", "global_step")
_PROFILES = ("total_ops", "total_params")  # what thop leaves in every layer
_OF_OPTIMIZER = re.compile(
    r"(optimizers?|param_groups|LR_Scheduler|.*_(moment\d*|velocity|beta\d_pow_acc)_\d+)"
)
_DEPTH = 4
_SHOWN = 3


def _averages(name: str) -> tuple[str, ...]:
    return f"{name}_ema", f"{name}-ema", f"ema_{name}"


@dataclass
class Unwrapped:
    """The networks of a file.

    Attributes:
        nets: state by network name; a file of one network has the name "".
        entry: path of the chosen entry, such as params_ema, or "".
        notes: what was taken off or left out, one sentence each.
    """

    nets: dict[str, StateDict] = field(default_factory=dict)
    entry: str = ""
    notes: list[str] = field(default_factory=list)


def unwrap(tree: Any, source: str, key: str | None = None, *, own: bool = False) -> Unwrapped:
    """Find the weights in what a file holds.

    Args:
        tree: nested dictionaries of arrays and other values.
        key: entry to take instead of the preferred one.
        own: whether the file states its networks, so that keys are theirs and nothing is taken off.

    Raises:
        WeightError: no tensors, or no such entry.
    """
    found = Unwrapped()
    if isinstance(tree, list):  # DRN's dual models: one state per scale
        tree = {f"dual_model_{i}": item for i, item in enumerate(tree)}
    if not isinstance(tree, dict):
        raise WeightError(f"{source} holds a {type(tree).__name__}, not named weights")
    if key:
        if not isinstance(tree.get(key), dict):
            raise WeightError(f"{source} has no entry '{key}'; it has {_listed(tree)}")
        tree, found.entry = tree[key], key
    else:
        tree = _inner(tree, found)
    arrays = {str(k): v for k, v in tree.items() if isinstance(v, np.ndarray)}
    groups = {str(k): v for k, v in tree.items() if _is_state(v)}
    names = arrays or ({} if groups else tree)
    if any(_OF_OPTIMIZER.fullmatch(str(name)) for name in names):
        raise WeightError(
            f"{source} holds the state of an optimizer, not weights; give the file of weights saved beside it"
        )
    if not arrays and not groups:
        raise WeightError(f"{source} holds no tensors; its entries are {_listed(tree)}")
    nets: dict[str, StateDict] = {"": arrays} if arrays else groups
    for name, state in nets.items():
        found.nets[name] = state if own else _without_prefixes(state, found.notes)
    return found


def _listed(tree: Mapping[Any, Any]) -> str:
    return ", ".join(sorted(map(str, tree))[:8]) or "none"


def _is_state(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and all(isinstance(v, np.ndarray) for v in value.values())


def _inner(tree: dict[Any, Any], found: Unwrapped) -> dict[Any, Any]:
    """Follow the preferred entries; an average that never began is empty."""
    order = [entry for name in _ENTRIES for entry in (*_averages(name), name)]
    for _ in range(_DEPTH):
        entry = next((name for name in order if isinstance(tree.get(name), dict) and tree[name]), None)
        if entry is None:
            break
        average = tree.get("ema", {})
        if _is_state(average) and _network_keys(average) == _network_keys(tree[entry]):
            entry = "ema"
        tree, found.entry = tree[entry], f"{found.entry}.{entry}".lstrip(".")
    return tree


def _without_prefixes(state: Mapping[str, np.ndarray], notes: list[str]) -> StateDict:
    """Without what wrappers and trainers put around the keys of a network."""
    wrappers = dict.fromkeys(found[0] for key in state for found in _WRAPPERS.finditer(key))
    notes += [f"took '{wrapper}' off the keys" for wrapper in wrappers]
    result = {_WRAPPERS.sub("", key): value for key, value in state.items()}
    for _ in range(_DEPTH):
        attribute = _attribute(result)
        if attribute is None:
            break
        prefix = f"{attribute}."
        left = [key for key in result if not key.startswith(prefix)]
        notes.append(f"took '{prefix}' off the keys")
        notes += _left_out(left)
        result = {key.removeprefix(prefix): value for key, value in result.items() if key.startswith(prefix)}
    counters = [key for key in result if key in _COUNTERS or key.rpartition(".")[2] in _PROFILES]
    if counters and len(counters) < len(result):
        notes += _left_out(counters)
        result = {key: value for key, value in result.items() if key not in counters}
    return result


def _attribute(state: StateDict) -> str | None:
    """The trainer's attribute that holds the network, if there is one; its average before itself.

    `model.0.weight` is no such key: a digit follows where a network is a sequence by that name itself.
    """
    heads: dict[str, set[str]] = {}
    for key in state:
        head, _, rest = key.partition(".")
        heads.setdefault(head, set()).add(rest)
    if _PREDICTOR_PREFIX in heads:
        return None
    plain = {head.replace("_", "").lower(): head for head in heads}
    for name in filter(None, map(plain.get, _ATTRIBUTES)):
        if name != "module" and any(re.match(r"\d|$", rest) for rest in heads[name]):
            continue
        twins = (head for head in heads if "ema" in re.split("[_-]", head.lower()))
        return next(
            (twin for twin in twins if _network_keys(heads[twin]) == _network_keys(heads[name])), name
        )
    return None


def _network_keys(keys: Iterable[str]) -> set[str]:
    """Keys of a network as an average of it has them, below `module.` and with a counter."""
    return {key.removeprefix("module.") for key in keys} - {*_COUNTERS}


def _left_out(keys: list[str]) -> list[str]:
    if not keys:
        return []
    heads = sorted({key.partition(".")[0] for key in keys})
    more = ", ..." if len(heads) > _SHOWN else ""
    return [f"left out {len(keys)} other tensors: {', '.join(heads[:_SHOWN])}{more}"]
