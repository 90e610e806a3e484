"""A service on a loopback port, clients without help of a library, and backends that wait."""

from __future__ import annotations

import http.client
import io
import json
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlencode

import numpy as np
from PIL import Image

from ppsr.serve.api import create_app
from ppsr.serve.server import bind, make_server
from ppsr.serve.service import Service
from tests.inference.helpers import Repeat


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def image(self):
        return np.asarray(Image.open(io.BytesIO(self.body)))


class Gate(Repeat):
    """Computes a tile only when it may."""

    def __init__(self, **more):
        super().__init__(**more)
        self.open = threading.Event()
        self.reached = threading.Event()

    def run(self, x):
        self.reached.set()
        assert self.open.wait(20)
        return super().run(x)


class Slow(Repeat):
    """Takes a while for each tile."""

    def run(self, x):
        time.sleep(0.1)
        return super().run(x)


class Served:
    """A running service with a client."""

    def __init__(self, service, port):
        self.service, self.port = service, port

    def ask(self, method, path, body=None, headers=None, **query):
        target = f"{path}?{urlencode(query)}" if query else path
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, target, body, headers or {})
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def upscale(self, content, **query):
        return self.ask("POST", "/api/upscale", content, **query)

    def idle(self, seconds=10):
        """Wait until no request is in."""
        end = time.monotonic() + seconds
        while self.service.admission.taken and time.monotonic() < end:
            time.sleep(0.02)
        return not self.service.admission.taken


@contextmanager
def served(folder, limits=None, make_app=create_app, **backends):
    """A service with backends of these names; `repeat` if none is given."""
    service = Service(folder, limits)
    for name, backend in (backends or {"repeat": Repeat()}).items():
        service.add(name, lambda backend=backend: backend)
    server = make_server(make_app(service))
    with bind("127.0.0.1", 0) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield Served(service, listening.getsockname()[1])
        finally:
            server.should_exit = True
            for backend in backends.values():
                if isinstance(backend, Gate):
                    backend.open.set()
            thread.join(20)
            service.close()
        assert not thread.is_alive()


def encoded(pixels, kind="PNG", **options):
    """The bytes of an image file."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()
