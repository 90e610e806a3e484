"""What every request passes first: whose page sent it, which address it names, how large it is."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from ppsr.serve.limits import RefusedError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Guard", "is_loopback"]

_EVENT_ROOM = 2**20  # bytes of a body that is inspected
_FORM_ROOM = 2**16  # of the lines around a file in a form
# The page loads nothing from elsewhere, and no other page may show it in a frame.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' "
    "'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; media-src 'self' blob:; connect-src "
    "'self' data: blob:; worker-src 'self' blob:; frame-ancestors 'none'; base-uri 'self'; form-action 'self'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


def is_loopback(host: str) -> bool:
    """Whether only programs of this machine reach an address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


async def _body(receive: Receive) -> bytes:
    """All of a body that should be short.

    Raises:
        RefusedError: it is not (413).
    """
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > _EVENT_ROOM:
            raise RefusedError(413, "too_many_bytes", f"an event has at most {_EVENT_ROOM} bytes")
    return body


def _given(body: bytes, receive: Receive) -> Receive:
    """Hands out a body that was already received, then what comes after it."""
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return pending.pop() if pending else await receive()

    return replay


def _hurried(receive: Receive, seconds: float) -> Receive:
    """Ends a body that does not come in time, as if the client had gone; what comes after it has all time."""
    end, complete = time.monotonic() + seconds, False

    async def limited() -> Message:
        nonlocal complete
        if complete:
            return await receive()
        try:
            message = await asyncio.wait_for(receive(), max(0.0, end - time.monotonic()))
        except (TimeoutError, asyncio.TimeoutError):  # two classes before Python 3.11
            message = {"type": "http.disconnect"}
        complete = not message.get("more_body", False)
        return message

    return limited


def _split(address: str) -> SplitResult:
    """The parts of an address; those of nothing where it is malformed."""
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")


class Guard:
    """ASGI middleware.

    A page of another site that the user's browser has open can send requests to loopback addresses, and by a
    name of its own that it resolves to 127.0.0.1 even read the answers. Hence both names are checked.

    Args:
        app: what is guarded.
        loopback: whether the service is bound to a loopback address; requests must then name one, or one of
            `hosts`.
        hosts: names under which a proxy of this machine passes requests on.
        max_bytes: of an uploaded file.
        seconds: for receiving a body; then the connection counts as closed.
        refuse: makes the answer of a refusal.
        allowed: whether a path exists at all.
        inspect: for some paths, what raises for a body that is not served and returns it otherwise.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        loopback: bool,
        hosts: Collection[str] = (),
        max_bytes: int,
        seconds: float,
        refuse: Callable[[RefusedError], ASGIApp],
        allowed: Callable[[str], bool],
        inspect: Mapping[str, Callable[[bytes], bytes]],
    ) -> None:
        self.app = app
        self.loopback = loopback
        self.hosts = {name.lower() for name in hosts}
        self.max_bytes = max_bytes
        self.seconds = seconds
        self.refuse = refuse
        self.allowed = allowed
        self.inspect = inspect

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or refuse it."""
        if scope["type"] == "websocket":  # neither the page nor the interface has any
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def hardened(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message["headers"]}
                more = [(k.encode(), v.encode()) for k, v in _HEADERS.items() if k.encode() not in given]
                message["headers"] = [*message["headers"], *more]
            await send(message)

        receive = _hurried(receive, self.seconds)
        try:
            self._check(scope)
            if scope["path"] in self.inspect:
                receive = _given(self.inspect[scope["path"]](await _body(receive)), receive)
        except RefusedError as refused:
            await self.refuse(refused)(scope, receive, hardened)
            return
        await self.app(scope, receive, hardened)

    def _check(self, scope: Scope) -> None:
        """Raise for a request that is not served.

        Raises:
            RefusedError: 403, 404 or 413.
        """
        headers = {name.decode("latin1").lower(): value.decode("latin1") for name, value in scope["headers"]}
        host = headers.get("host", "")
        name = _split(f"//{host}").hostname or ""
        if self.loopback and not is_loopback(name) and name not in self.hosts:
            text = f"the service is for this machine and '{host}' is another name; --allow-host permits it"
            raise RefusedError(403, "wrong_host", text)
        origin = headers.get("origin")
        foreign = headers.get("sec-fetch-site") == "cross-site" and scope["method"] not in ("GET", "HEAD")
        if foreign or (origin is not None and _split(origin).netloc != host):
            raise RefusedError(403, "foreign_origin", "requests from pages of other sites are not served")
        if not self.allowed(scope["path"]):
            raise RefusedError(404, "not_found", f"there is no {scope['path']}")
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > 8 * self.max_bytes + _FORM_ROOM:
            raise RefusedError(
                413, "too_many_bytes", f"{length} bytes were announced, allowed are {self.max_bytes}"
            )
