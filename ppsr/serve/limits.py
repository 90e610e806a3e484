"""What one client may take from the others, and the error that answers a request which is not served."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ppsr.errors import ConfigError, PpsrError

__all__ = ["Limits", "RequestError"]


class RequestError(PpsrError):
    """A request is not served; the client can do something about it.

    Attributes:
        status: of the HTTP answer.
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
        max_bytes: of an uploaded file.
        max_pixels: of an image, by its header, before it is decoded.
        max_output_pixels: of the result.
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
