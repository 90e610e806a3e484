"""Limits per client, and the error for requests that are refused."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ppsr.errors import ConfigError, PpsrError

__all__ = ["Limits", "RequestError"]


class RequestError(PpsrError):
    """A request is not served; the client can do something about it.

    Attributes:
        status: HTTP status code.
        code: short name of the reason, for programs.
        retry_after: seconds after which another attempt makes sense; None: never.
    """

    def __init__(self, status: int, code: str, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after = retry_after


@dataclass(frozen=True)
class Limits:
    """Limits of the service; each is above 0.

    Attributes:
        max_bytes: size limit of an uploaded file.
        max_pixels: limit of the image size, checked in the header before decoding.
        max_output_pixels: limit of the result size.
        max_seconds: for one image from decoding to writing, without waiting and downloading.
        upload_seconds: for an upload to begin; after that it must keep to `MIN_RATE`.
        max_requests: images that are accepted at the same time; one is computed, the others wait.

    Raises:
        ConfigError: a limit is not a finite number above 0.
    """

    max_bytes: int = 2**25
    max_pixels: int = 2**22
    max_output_pixels: int = 2**26
    max_seconds: float = 600
    upload_seconds: float = 10
    max_requests: int = 4

    MIN_RATE = 2**14  # bytes per second of an upload, on average

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (value > 0 and math.isfinite(value)):
                raise ConfigError(f"{name} must be a finite number above 0, got {value}")
