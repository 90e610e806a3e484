"""Ranks that wait for each other by counters."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

from ppsr.engine.distributed import Meeting


class _Store:
    def __init__(self):
        self.counts, self.lock = Counter(), threading.Lock()

    def add(self, key, amount):
        with self.lock:
            self.counts[key] += amount
            return self.counts[key]


@pytest.mark.parametrize("world", [2, 3])
def test_nobody_goes_on_before_all_have_come(world):
    store, lock = _Store(), threading.Lock()
    arrived, seen = Counter(), []

    def rank(number):
        meeting = Meeting(store, number, world)
        for turn in range(20):
            with lock:
                arrived[turn] += 1
            meeting.wait()
            with lock:
                seen.append(arrived[turn])

    threads = [threading.Thread(target=rank, args=(number,)) for number in range(world)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert seen == [world] * (20 * world)
