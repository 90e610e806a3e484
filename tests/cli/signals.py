"""Signals that a command must handle."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def unhandled(*numbers: int) -> Iterator[None]:
    """Signals raise AssertionError here, where the command has no handler of its own."""

    def fail(number: int, _: object) -> None:
        raise AssertionError(f"signal {number} has no handler")

    previous = {number: signal.signal(number, fail) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
