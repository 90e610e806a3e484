"""Checks of every request: host, origin and content length."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import SplitResult, urlsplit

from starlette.requests import Request

from ppsr.serve.limits import RequestError

__all__ = ["check_request", "is_loopback"]


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
