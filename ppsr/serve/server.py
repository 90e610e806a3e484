"""Running the service on a port."""

from __future__ import annotations

import signal
import socket
from typing import TYPE_CHECKING

import uvicorn

from ppsr.errors import ConfigError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

_HEADERS = [
    # The page loads nothing from elsewhere, and no other page may show it in a frame.
    (
        "content-security-policy",
        "default-src 'self'; img-src 'self' blob:; frame-ancestors 'none'; base-uri 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
]


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
            http="h11",  # reads what a refused client still sends, so that the answer arrives
            ws="none",
            lifespan="off",
            log_level="critical",  # errors are logged by the application, requests that end with it are none
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
