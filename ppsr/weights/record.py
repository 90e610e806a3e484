"""Metadata of ppsr's own weight files: their networks with all arguments, and a checksum.

Keys and shapes do not show everything (activations, a window's shift, FSRCNN's scale, the value range). So
each file contains one JSON string under the key `ppsr`: in the metadata of .safetensors, as
one more entry of .pdparams and .pth, which Paddle and PyTorch read as the text that it is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ppsr.weights.identify import NetworkSpec
from ppsr.weights.opcodes import CorruptFile

ENTRY = "ppsr"
_FORMAT = 1
_BEGINS = f'{{"format": {_FORMAT}, "networks":'
_LONGEST = 1 << 20
_LARGEST = 1 << 16  # of any number in the arguments of a network, and of a list's sum
_WIDEST_WINDOW = 64  # of attention, whose index has the fourth power of it


def stated_network(net: Any) -> NetworkSpec | None:
    """Name and arguments with which a network was built by its name, where they can be written down.

    >>> import ppsr
    >>> stated_network(ppsr.build_generator("SRVGGNetCompact", num_conv=2, act_type="leakyrelu"))
    NetworkSpec(name='SRVGGNetCompact', kwargs={'num_conv': 2, 'act_type': 'leakyrelu'})
    """
    built = getattr(net, "built_from", None)
    if built is None:
        return None
    arguments = {key: value for key, value in built.items() if key != "name"}
    try:
        json.dumps(arguments)
    except TypeError:
        return None
    return NetworkSpec(str(built["name"]), arguments)


def dump_record(state: Mapping[str, Any], networks: Mapping[str, NetworkSpec | None], layout: str) -> str:
    """The text for a file.

    Args:
        state: nested mappings of arrays, as the file holds them.
        networks: name and arguments by the name of the network in the file, "" in a file of one.
    """
    known = {name: {"name": spec.name, **spec.kwargs} for name, spec in networks.items() if spec}
    return json.dumps({"format": _FORMAT, "networks": known, "sha256": _digest(state, known, layout)})


def take_record(tree: dict[Any, Any], source: str, layout: str) -> dict[str, NetworkSpec]:
    """Take the record out of a file's entries, if it has one.

    Returns:
        The networks that the file states, after its checksum was compared; nothing for other programs' files.

    Raises:
        CorruptFile: the text is damaged, or the arrays are not those that were written.
    """
    names = [key for key, value in tree.items() if isinstance(value, str) and value.startswith(_BEGINS)]
    if names and names != [ENTRY]:
        raise CorruptFile(f"{source}: damaged: its entry '{ENTRY}' is called {names[0]!r}")
    if ENTRY not in tree:
        return {}
    text = tree.pop(ENTRY)
    try:
        if not isinstance(text, str) or len(text) > _LONGEST:
            raise ValueError("no text of at most 1 MB")
        record = json.loads(text)
        found = {}
        networks = record["networks"]
        for name, entries in networks.items():
            arguments = dict(entries)
            found[name] = NetworkSpec(str(arguments.pop("name")), arguments)
            check_sizes(arguments)
        expected = record["sha256"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CorruptFile(f"{source}: damaged entry '{ENTRY}': {error}") from None
    if expected != _digest(tree, networks, layout):
        raise CorruptFile(
            f"{source} is damaged: its numbers do not have the checksum written with them; copy it again"
        )
    return found


def check_sizes(value: Any, key: str = "") -> None:
    """Refuse constructor arguments that no network has: they cost memory before anything is compared."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            check_sizes(item, name)
    elif isinstance(value, list):
        for item in value:
            check_sizes(item, key)
        numbers = [abs(item) for item in value if isinstance(item, (int, float))]
        check_sizes(len(value) + sum(numbers), "" if key == "window_size" else key)
    elif isinstance(value, (int, float)):
        largest = _WIDEST_WINDOW if key == "window_size" else _LARGEST
        if not abs(value) <= largest:
            raise ValueError(f"{key} is {value}; at most {largest} is read")


def _digest(state: Mapping[str, Any], networks: Mapping[str, Any], layout: str) -> str:
    """Checksum of the networks and of keys, types, shapes and values, ordered by key."""
    digest = hashlib.sha256(json.dumps([_FORMAT, layout, networks], sort_keys=True).encode())
    for path, array in sorted(_leaves(state), key=lambda item: item[0]):
        digest.update(f"{path}\n{array.dtype.str}{array.shape}\n".encode("utf-8", "surrogatepass"))
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _leaves(state: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, np.ndarray]]:
    for key, value in state.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}/")
        elif isinstance(value, np.ndarray):
            yield f"{prefix}{key}", value
