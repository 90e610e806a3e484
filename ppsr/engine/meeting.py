"""Waiting for slower ranks without a time limit of seconds."""

from __future__ import annotations

import time
from typing import Protocol

__all__ = ["Meeting"]

_PAUSE = 0.0005  # seconds between two looks, up to 0.05


class _Store(Protocol):
    def add(self, key: str, amount: int) -> int: ...


class Meeting:
    """A place in the program where all ranks wait for each other, by counters in the launcher's store.

    gloo, which sums on CPUs, gives up when a rank comes 30 seconds after another, for instance from a large
    image, and Paddle has no option for that. So ranks meet here first.

    Args:
        store: counters that all ranks share; adding returns the new value.
        rank: own number.
        world: number of ranks.
    """

    def __init__(self, store: _Store, rank: int, world: int) -> None:
        self._store = store
        self._own = f"ppsr/meetings/{rank}"
        self._others = [f"ppsr/meetings/{other}" for other in range(world) if other != rank]

    def wait(self) -> None:
        """Return when all ranks have called this as often as this one."""
        count = self._store.add(self._own, 1)
        for other in self._others:
            pause = _PAUSE
            while self._store.add(other, 0) < count:
                time.sleep(pause)
                pause = min(2 * pause, 0.05)
