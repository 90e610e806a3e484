"""What one user of the service may take from the others: bytes, pixels, time and places in the queue."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ppsr.errors import ConfigError, PpsrError

__all__ = ["CANCELLED", "Admission", "Limits", "RefusedError", "Watch"]

CANCELLED = "cancelled"  # the code of a request that was stopped


class RefusedError(PpsrError):
    """A request is not served; the client can do something about it.

    Attributes:
        status: of the HTTP answer, 400 to 499.
        code: short name of the reason, for programs.
        retry_after: seconds after which trying again makes sense; None: never.
    """

    def __init__(self, status: int, code: str, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after = retry_after


@dataclass(frozen=True)
class Limits:
    """Limits of the service; each is above 0.

    Attributes:
        max_bytes: of an uploaded file.
        max_pixels: of an image, by its header, before it is decoded.
        max_output_pixels: of the result.
        max_seconds: for computing one image, reading and writing included.
        upload_seconds: for receiving one file.
        max_requests: accepted at the same time: one is computed, the others wait.

    Raises:
        ConfigError: a limit is not above 0.
    """

    max_bytes: int = 2**25
    max_pixels: int = 2**22
    max_output_pixels: int = 2**26
    max_seconds: float = 600
    upload_seconds: float = 60
    max_requests: int = 4

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (value > 0 and math.isfinite(value)):
                raise ConfigError(f"{name} is a finite number above 0, got {value}")


class Admission:
    """Counts the requests that are in the house.

    Args:
        places: accepted at the same time.
    """

    def __init__(self, places: int) -> None:
        self.places = places
        self._taken = 0
        self._lock = threading.Lock()

    @property
    def taken(self) -> int:
        """Requests that are in now."""
        return self._taken

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Take a place for the time of the block.

        Raises:
            RefusedError: all are taken (429).
        """
        with self._lock:
            if self._taken >= self.places:
                raise RefusedError(
                    429,
                    "too_many_requests",
                    f"{self.places} images are being worked on, which is the limit; try again later",
                    retry_after=2,
                )
            self._taken += 1
        try:
            yield
        finally:
            with self._lock:
                self._taken -= 1


class Watch:
    """Progress of one image, and what stops it between two tiles.

    Attributes:
        done: tiles that are finished.
        total: tiles of the image; 0: not known yet.
    """

    def __init__(self) -> None:
        self.done = 0
        self.total = 0
        self._cancelled = threading.Event()
        self._seconds = math.inf
        self._end = math.inf

    def start(self, seconds: float) -> None:
        """The computation begins and may take so many seconds."""
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    def cancel(self) -> None:
        """Nobody waits for the result any more."""
        self._cancelled.set()

    def check(self) -> None:
        """Raise if there is a reason to stop.

        Raises:
            RefusedError: cancelled (499), or the time is over (422).
        """
        if self._cancelled.is_set():
            raise RefusedError(499, CANCELLED, "the request was cancelled")
        if time.monotonic() > self._end:
            raise RefusedError(
                422,
                "time_limit",
                f"the image takes longer than {self._seconds:g} s, which is the limit; send a smaller one",
            )

    def step(self) -> None:
        """A tile is finished.

        Raises:
            RefusedError: as `check`.
        """
        self.done += 1
        self.check()
