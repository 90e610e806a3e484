"""Running the service on a port, where slow clients do not keep others out."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections import Counter
from typing import TYPE_CHECKING, Any, cast

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ppsr.errors import ConfigError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

_CONNECTIONS = 64
_HEADER_SECONDS = 10.0  # for the lines of a request
_UNREAD = 2**28  # bytes after which a client must have noticed that it was answered
_STALLED_SECONDS = 20.0  # in which a client must take what it was sent, about 256 kB
_HEADERS = [
    # The page loads nothing from elsewhere, and no other page may show it in a frame.
    (
        "content-security-policy",
        "default-src 'self'; img-src 'self' blob:; frame-ancestors 'none'; base-uri 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
]


class _Transport:
    """A transport whose `close` is that of its connection."""

    def __init__(self, transport: asyncio.Transport, connection: _Connection) -> None:
        self._transport, self._connection = transport, connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        """Whether the connection is, or will be."""
        return self._connection.closing or self._transport.is_closing()

    def close(self) -> None:
        """See `_Connection.close`."""
        self._connection.close(self._transport)


class _Connection(H11Protocol):
    """A connection whose client must send and read within some time.

    uvicorn's `limit_concurrency` counts silent connections too, so that 64 of them would keep everybody else
    out, and its one timeout begins after the first answer. Here the connection that has waited longest for
    its client makes room, of the address that has most of them.
    """

    _timer: asyncio.TimerHandle | None = None
    closing = False
    _unread = _UNREAD

    @property
    def waits(self) -> bool:
        """Whether the server waits for the client to send or to read."""
        cycle: Any = self.cycle
        return cycle is None or cycle.response_complete or cycle.more_body or self.flow.write_paused

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has come."""
        super().connection_made(cast("asyncio.Transport", _Transport(transport, self)))
        self.opened, self.address = self.loop.time(), self.client and self.client[0]
        self._limit(_HEADER_SECONDS)
        others = [cast("_Connection", other) for other in self.connections if other is not self]
        waiting = [other for other in others if other.waits]
        if len(others) >= _CONNECTIONS and waiting:
            counts = Counter(other.address for other in waiting)
            max(waiting, key=lambda other: (counts[other.address], -other.opened)).transport.abort()

    def data_received(self, data: bytes) -> None:
        """Bytes of a request; its headers must be complete in time, its body is the application's matter."""
        if self.closing:
            self._unread -= len(data)
            if self._unread < 0:
                self.transport.abort()
            return
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            if not self._timer:
                self._limit(_HEADER_SECONDS)
        elif not self.flow.write_paused:  # another byte does not free a client from reading
            self._limit(None)

    def pause_writing(self) -> None:
        """The client does not read what was sent."""
        super().pause_writing()
        self._limit(_STALLED_SECONDS)

    def resume_writing(self) -> None:
        """The client has read."""
        super().resume_writing()
        if not self.closing:
            self._limit(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        self._limit(None)
        super().connection_lost(exc)

    def close(self, transport: asyncio.Transport) -> None:
        """Close when the client has: closing while bytes still come would lose the answer that was sent."""
        if not self.closing and not transport.is_closing():
            self.closing = True
            self.flow.resume_reading()
            transport.write_eof()
            self._limit(_STALLED_SECONDS)

    def shutdown(self) -> None:
        """The server ends: results that are being sent have a second, everything else ends now."""
        if self.waits or not self.cycle.response_started:
            self.transport.abort()
        else:
            super().shutdown()

    def _limit(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self.loop.call_later(seconds, self.transport.abort)


def bind(host: str, port: int) -> socket.socket:
    """A listening socket.

    Args:
        host: address or name of this machine.
        port: 0 picks a free one.

    Raises:
        ConfigError: the port is taken, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        raise ConfigError(f"cannot listen on {host} port {port}: {error.strerror or error}") from None


def make_server(app: ASGIApp) -> uvicorn.Server:
    """A server for `server.run(sockets=[...])`."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=_Connection,
            ws="none",
            lifespan="off",
            log_level="warning",
            access_log=False,
            server_header=False,
            headers=_HEADERS,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=1,
        )
    )


def run_until_signal(server: uvicorn.Server, listening: socket.socket) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP, which is raised again when the last answer has been sent.

    uvicorn does so for the first two. SIGHUP stays ignored where it is, as under nohup.
    """
    received = []

    def leave(number: int, _: object) -> None:
        received.append(number)
        server.should_exit = True

    previous = signal.getsignal(signal.SIGHUP)
    if previous != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, leave)
    try:
        server.run(sockets=[listening])
    finally:
        signal.signal(signal.SIGHUP, previous)
    if received:
        signal.raise_signal(signal.SIGHUP)
