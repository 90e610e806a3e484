"""What the detectors of networks have in common: counting blocks, scales from shapes, ratios from widths."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ppsr.errors import WeightError

__all__ = ["Found", "State", "connection", "count", "part", "ratio", "root", "steps"]

State = Mapping[str, np.ndarray]
Found = tuple[str, dict[str, Any]]


def count(state: State, pattern: str) -> int:
    """How many different numbers stand at the group of a pattern, as in ``layers\\.(\\d+)\\.``."""
    return len({match[1] for key in state if (match := re.match(pattern, key))})


def part(state: State, prefix: str) -> dict[str, np.ndarray]:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def root(value: float) -> int:
    """The whole square root.

    Raises:
        WeightError: there is none.
    """
    found = math.isqrt(round(value))
    if found < 1 or found * found != value:
        raise WeightError(f"{value:g} is no square")
    return found


def steps(state: State, prefix: str) -> int:
    """The scale of a chain of convolutions with pixel shuffle at `<prefix>0.`, `<prefix>2.`, ..."""
    scale = 1
    for step in range(0, 8, 2):
        if f"{prefix}{step}.weight" in state:
            rows, columns = state[f"{prefix}{step}.weight"].shape[:2]
            scale *= root(rows / columns)
    return scale


def connection(state: State) -> str:
    if "conv_after_body.0.weight" in state:
        return "3conv"
    return "1conv" if "conv_after_body.weight" in state else "identity"


def ratio(widths: Iterable[tuple[int, int]]) -> float:
    """The number of fewest decimals with `int(ratio * width) == inner` for every pair (width, inner).

    Raises:
        WeightError: there is none.
    """
    pairs = list(widths)
    lowest = max(inner / width for width, inner in pairs)
    for digits in range(17):
        found = math.ceil(lowest * 10**digits) / 10**digits
        if all(int(found * width) == inner for width, inner in pairs):
            return found
    raise WeightError(f"no ratio gives the inner widths {[inner for _, inner in pairs]}")
