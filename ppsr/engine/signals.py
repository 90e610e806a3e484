"""Asking a run to stop or to save, without losing the step it is in."""

from __future__ import annotations

import os
import signal
from types import FrameType

__all__ = ["StopRequest"]


class StopRequest:
    """Flags set by signals: SIGTERM and SIGINT end the run after its step, SIGUSR1 saves and goes on.

    A second SIGINT ends the process at once.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self.save = False
        self._previous: dict[int, object] = {}

    def __enter__(self) -> StopRequest:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _handle(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGUSR1:
            self.save = True
        elif number == signal.SIGINT and self.signal == signal.SIGINT:
            os._exit(130)
        else:
            self.signal = number

    @property
    def exit_code(self) -> int:
        """128 + signal, as a shell would report it."""
        return 128 + (self.signal or 0)
