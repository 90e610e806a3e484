"""Asking a run to stop or to save, without losing the step it is in."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from ppsr.engine.distributed import Group

_STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Stopped(BaseException):
    """A signal ended work that may be interrupted at any point; like KeyboardInterrupt it is not an error."""


class StopRequest:
    """Set by signals: SIGTERM, SIGINT and SIGHUP end the run after its step, SIGUSR1 saves and continues.

    A second SIGINT ends the process at once. Those that end the run stay ignored where they are, as SIGHUP
    under nohup.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self.save = False
        self._interruptible = False
        self._previous: dict[int, object] = {}

    def __enter__(self) -> StopRequest:
        handled = [number for number in _STOPPING if signal.getsignal(number) != signal.SIG_IGN]
        for number in (*handled, signal.SIGUSR1):
            previous = self._previous[number] = signal.signal(number, self._handle)
            # one that came before, whose exception some library has swallowed
            self.signal = self.signal or getattr(previous, "received", None)
            signal.siginterrupt(number, False)  # Paddle's store for ranks repeats no interrupted call
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _handle(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGUSR1:
            self.save = True
            return
        if number == signal.SIGINT and self.signal == signal.SIGINT:
            os._exit(130)
        self.signal = number
        if self._interruptible:
            self._interruptible = False
            raise Stopped

    @contextmanager
    def interrupting(self, group: Group) -> Iterator[None]:
        """Inside, a signal raises `Stopped` at once. Several processes wait for each other instead, so they
        ask `check` at places that all of them reach."""
        self._interruptible = group.world == 1
        try:
            if self._interruptible and self.signal:
                raise Stopped
            yield
        finally:
            self._interruptible = False

    def agree(self, group: Group) -> tuple[bool, bool]:
        """Common decision of all ranks, in one reduction: a request on one counts for all.

        Returns:
            Whether to stop, and whether to save. A signal that comes meanwhile counts the next time.
        """
        return self.take(group.sum(self.flags()))

    def flags(self) -> list[float]:
        """Requests of this process, as numbers to sum over ranks."""
        return [*(float(self.signal == number) for number in _STOPPING), float(self.save)]

    def take(self, flags: Sequence[float]) -> tuple[bool, bool]:
        """The decision of `agree`, from sums of every rank's `flags`."""
        *stopping, save = flags
        asked = [number for number, count in zip(_STOPPING, stopping, strict=True) if count]
        if asked:
            self.signal = int(asked[0])
        if save:
            self.save = False
        return bool(asked), bool(save)

    def check(self, group: Group) -> None:
        """Stop on all ranks if one of them has a request."""
        stop, save = self.agree(group)
        self.save = self.save or save  # not here, in the middle of something
        if stop:
            raise Stopped
