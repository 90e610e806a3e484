"""Building the network that a weight file names, at a cost that the file's own size bounds."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from paddle import nn

from ppsr.errors import WeightError, first_line
from ppsr.registry import GENERATORS
from ppsr.weights.identify import NetworkSpec
from ppsr.weights.record import check_sizes

_SPARE_TENSORS, _SPARE_NUMBERS = 1000, 1 << 20
_lock = threading.Lock()


def build_from_spec(spec: NetworkSpec, states: Iterable[Mapping[str, np.ndarray]], source: str) -> Any:
    """The network of a weight file.

    A small file can name a network of any size. So building ends as soon as the network has more than twice
    the tensors or numbers of the file, before they take memory.

    Raises:
        WeightError: the network is far larger than the file, or cannot be built from these arguments.
    """
    name, arguments = spec
    arrays = [value for state in states for value in state.values()]
    numbers = sum(value.size for value in arrays)
    try:
        check_sizes(arguments)
    except ValueError as error:
        raise WeightError(f"{source}: a {name} as it names it is refused: {error}") from None
    try:
        with _limited(2 * len(arrays) + _SPARE_TENSORS, 2 * numbers + _SPARE_NUMBERS):
            return GENERATORS.build({"name": name, **arguments})
    except _TooLarge:
        raise WeightError(
            f"{source} holds {len(arrays)} tensors with {numbers:,} numbers, and {name} of the sizes that it "
            "names would have far more; the file is damaged or made up"
        ) from None
    except Exception as error:  # constructors divide by, index and multiply whatever a file names
        raise WeightError(
            f"{source} does not name all of its network: {first_line(error)}. Say what is missing in a "
            f"config, or write it into the file: ppsr convert {source} OUT -o KEY=VALUE"
        ) from None


class _TooLarge(Exception):  # noqa: N818
    """The network has passed its limit."""


@contextmanager
def _limited(tensors: int, numbers: int) -> Iterator[None]:
    """Count the parameters that this thread makes, and stop at a limit."""
    owner, left = threading.get_ident(), [tensors, numbers]
    original = nn.Layer.create_parameter

    def counted(layer: nn.Layer, shape: Any, *args: Any, **kwargs: Any) -> Any:
        if threading.get_ident() == owner:
            left[0] -= 1
            left[1] -= math.prod(int(side) for side in shape)
            if min(left) < 0:
                raise _TooLarge
        return original(layer, shape, *args, **kwargs)

    with _lock:
        nn.Layer.create_parameter = counted
        try:
            yield
        finally:
            nn.Layer.create_parameter = original
