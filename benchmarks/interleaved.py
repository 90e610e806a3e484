"""Workers that take turns, one timed call each, so that a busy moment of the machine meets all of them."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

__all__ = ["Turns", "take_calls", "take_turns"]

_PAUSE = 0.3  # seconds between turns, in which the last worker's idle threads stop spinning


class Turns(NamedTuple):
    """What was measured.

    Attributes:
        seconds: median of each variant.
        fastest: shortest time of each variant.
        peak_mib: peak memory of each variant's process.
        load: of the machine when the turns began.
    """

    seconds: dict[str, float]
    fastest: dict[str, float]
    peak_mib: dict[str, int]
    load: float


def take_turns(variants: Iterable[str], start: Callable[[str], subprocess.Popen], repeats: int) -> Turns:
    """Start a worker for each variant and let them take turns.

    Args:
        variants: names.
        start: starts the worker of a variant, which prints `ready`, and for each line that it is sent the
            JSON list [seconds, peak memory in MiB].
        repeats: turns of each.

    Raises:
        RuntimeError: a worker ended.
    """
    workers: dict[str, subprocess.Popen] = {}
    peaks: dict[str, int] = {}
    try:
        for variant in variants:
            workers[variant] = start(variant)
            _answer(workers[variant])
        times: dict[str, list[float]] = {variant: [] for variant in workers}
        load = os.getloadavg()[0]
        for _ in range(repeats):
            for variant, process in workers.items():
                time.sleep(_PAUSE)
                assert process.stdin is not None
                print(file=process.stdin, flush=True)
                seconds, peak = json.loads(_answer(process))
                times[variant].append(seconds)
                peaks[variant] = round(peak)
    finally:
        for process in workers.values():
            process.kill()
            process.wait()
    medians = {variant: statistics.median(spent) for variant, spent in times.items()}
    return Turns(medians, {variant: min(spent) for variant, spent in times.items()}, peaks, load)


def take_calls(call: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> None:
    """What a worker of `take_turns` does once it has warmed up: one timed call per input line."""
    print("ready", flush=True)
    for _ in sys.stdin:
        start = clock()
        call()
        seconds = clock() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps([seconds, peak]), flush=True)


def _answer(process: subprocess.Popen) -> str:
    """The next line of a worker that is one of ours; Paddle prints lines of its own."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(("ready", "[")):
            return line
    raise RuntimeError(f"a worker ended with code {process.wait()}: {process.args}")
