"""Limits per client, checks of every request, and the error of a refused one."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from starlette.requests import Request

from ppsr.errors import ConfigError, PpsrError


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


def is_loopback(host: str) -> bool:
    """Whether an address is reachable only from this machine."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def check_request(request: Request, *, loopback: bool, hosts: Collection[str], max_bytes: int) -> None:
    """Raise for a request that is not served.

    A page of another site that the user's browser has open can send requests to loopback addresses, and by a
    name of its own that it resolves to 127.0.0.1 even read the answers. Hence both names are checked.

    Args:
        loopback: whether the service is bound to a loopback address; requests must then name one, or one of
            `hosts`.
        hosts: names under which a proxy of this machine forwards requests, in lower case.
        max_bytes: size limit of a request body.

    Raises:
        RequestError: 403, 411 or 413.
    """
    headers = request.headers
    host = headers.get("host", "")
    name = _split(f"//{host}").hostname or ""
    if loopback and not is_loopback(name) and name not in hosts:
        text = f"the service is for this machine and '{host}' is another name; --allow-host permits it"
        raise RequestError(403, "wrong_host", text)
    origin = headers.get("origin")
    foreign = headers.get("sec-fetch-site") == "cross-site" and request.method not in ("GET", "HEAD")
    if foreign or (origin is not None and _split(origin).netloc != host):
        raise RequestError(403, "foreign_origin", "requests from pages of other sites are not served")
    if "transfer-encoding" in headers:  # chunks of a byte cost more time than they take to send
        raise RequestError(411, "no_length", "send the length of the file (Content-Length), not chunks")
    length = headers.get("content-length", "0")
    if length.isdecimal() and int(length) > max_bytes:
        raise RequestError(
            413, "too_many_bytes", f"{length} bytes were announced, the limit is {max_bytes:,}"
        )


def _split(address: str) -> SplitResult:
    try:
        return urlsplit(address)
    except ValueError:  # malformed
        return urlsplit("")
