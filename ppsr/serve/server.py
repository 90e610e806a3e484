"""Running the service on a port."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import uvicorn

from ppsr.errors import ConfigError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

__all__ = ["bind", "make_server"]

_CONNECTIONS = 128
_GRACE = 3  # seconds that running requests get when the server is told to end


def bind(host: str, port: int) -> socket.socket:
    """A listening socket.

    Args:
        host: address or name of this machine.
        port: 0: any that is free.

    Raises:
        ConfigError: the port is taken, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise ConfigError(f"cannot listen on {host} port {port}: {error.strerror or error}") from None


def make_server(app: ASGIApp) -> uvicorn.Server:
    """A server for `server.run(sockets=[...])`."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            limit_concurrency=_CONNECTIONS,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=_GRACE,
        )
    )
