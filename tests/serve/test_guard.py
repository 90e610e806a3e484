"""The guard without a server: what reaches the application behind it."""

from __future__ import annotations

import asyncio
import time

import pytest

from ppsr.serve.guard import Guard
from ppsr.serve.limits import RefusedError


class Inner:
    """An application that reads its body."""

    def __init__(self):
        self.body, self.gone = b"", False

    async def __call__(self, scope, receive, send):
        more = True
        while more:
            message = await receive()
            self.gone = message["type"] == "http.disconnect"
            self.body += message.get("body", b"")
            more = message.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def _visit(parts, *, inspect=None, seconds=5.0, path="/", delay=0.0, host="localhost:1", hosts=()):
    """Status of the answer, and the application after it got these parts of a body."""
    inner, sent, pending = Inner(), [], list(parts)

    async def receive():
        await asyncio.sleep(delay)
        return {"type": "http.request", "body": pending.pop(0), "more_body": bool(pending)}

    async def send(message):
        sent.append(message)

    def refuse(refused):
        async def answer(scope, receive, send):
            await send({"type": "http.response.start", "status": refused.status, "headers": []})

        return answer

    guard = Guard(
        inner,
        loopback=True,
        hosts=hosts,
        max_bytes=100,
        seconds=seconds,
        refuse=refuse,
        allowed=lambda path: True,
        inspect=inspect or {},
    )
    scope = {"type": "http", "method": "POST", "path": path, "headers": [(b"host", host.encode())]}
    asyncio.run(guard(scope, receive, send))
    return sent[0]["status"], inner


def test_a_body_passes_unchanged():
    assert _visit([b"ab", b"", b"c"])[1].body == b"abc"


def test_a_proxy_may_pass_requests_on_under_a_name_that_is_allowed():
    assert _visit([b""], host="hub.example:443")[0] == 403
    assert _visit([b""], host="hub.example:443", hosts=["Hub.example"])[0] == 200
    assert _visit([b""], host="a.hub.example", hosts=["hub.example"])[0] == 403


def test_an_inspected_body_is_what_the_inspection_returns():
    status, inner = _visit([b"ab", b"c"], inspect={"/event": bytes.upper}, path="/event")
    assert (status, inner.body) == (200, b"ABC")
    assert _visit([b"ab"], inspect={"/event": bytes.upper}, path="/other")[1].body == b"ab"


def test_a_refused_or_endless_body_does_not_reach_the_application():
    def refuse(body):
        raise RefusedError(403, "foreign_file", "no")

    status, inner = _visit([b"ab"], inspect={"/": refuse})
    assert (status, inner.body) == (403, b"")
    status, inner = _visit([bytes(2**19)] * 3, inspect={"/": bytes.upper})
    assert (status, inner.body) == (413, b"")


def test_a_body_that_drips_is_cut_off():
    started = time.monotonic()
    _, inner = _visit([b"a"] * 1000, seconds=0.2, delay=0.02)
    assert inner.gone
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
def test_other_kinds_of_connections(kind):
    reached, sent = [], []

    async def inner(scope, receive, send):
        reached.append(scope["type"])

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message["type"])

    guard = Guard(
        inner,
        loopback=True,
        max_bytes=1,
        seconds=1,
        refuse=lambda _: inner,
        allowed=lambda _: True,
        inspect={},
    )
    asyncio.run(guard({"type": kind}, receive, send))
    assert (reached, sent) == (([], ["websocket.close"]) if kind == "websocket" else (["lifespan"], []))
