"""A service on a loopback port whose models need no weights, and a client without help of a library."""

import http.client
import io
import json
import os
import signal
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import paddle
from PIL import Image

from ppsr.inference.upscaler import Upscaler
from ppsr.serve.api import create_app
from ppsr.serve.models import ModelSource
from ppsr.serve.server import bind, make_server
from ppsr.serve.service import Service
from ppsr.serve.worker import Worker
from tests.inference.helpers import Repeat, small_network


class Slow(Repeat):
    """Takes a while for each tile."""

    def run(self, x):
        time.sleep(0.05)
        return super().run(x)


class Hanging(Repeat):
    """Does not come back, as a decoder may not."""

    def run(self, x):
        time.sleep(60)
        return super().run(x)


class Crashing(Repeat):
    """Ends the process, as a damaged library may."""

    def run(self, x):
        os.kill(os.getpid(), signal.SIGKILL)


class Failing(Repeat):
    """Raises an error by its name."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def run(self, x):
        raise self.error


def open_model(model, strength):
    """What the worker calls: an upscaler by its name, that of half a strength three times larger."""
    name = model.files[0].name
    backends = {
        "repeat": lambda: Repeat(2 if strength is None else 3, radius=2),
        "slow": Slow,
        "hanging": Hanging,
        "crashing": Crashing,
        "broken": lambda: Failing(RuntimeError("secret detail")),
        "short": lambda: Failing(MemoryError("12 GB")),
        "full": lambda: Failing(OSError(28, "No space left on device", "/secret")),
    }
    return Upscaler(network() if name == "net" else backends[name]())


def network():
    """The same network in every process."""
    paddle.seed(1)
    return small_network()


MODELS = ("repeat", "net", "slow", "hanging", "crashing", "broken", "short", "full")


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

    @property
    def report(self):
        return json.loads(self.headers["x-ppsr-report"])


class Client:
    """Asks a service."""

    def __init__(self, port, folder=None, service=None):
        self.port, self.folder, self.service = port, folder, service

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

    def progress(self, job):
        return self.ask("GET", "/api/status", job=job).json["job"]

    def until(self, condition, seconds=10):
        """Wait for a condition; whether it came true."""
        end = time.monotonic() + seconds
        while not (met := condition()) and time.monotonic() < end:
            time.sleep(0.02)
        return met

    def is_idle(self):
        return not self.ask("GET", "/api/status").json["requests"] and not list(self.folder.iterdir())


@contextmanager
def served(folder, limits):
    """A service with all models of `open_model`."""
    worker = Worker(open_model, limits, cached=8)
    service = Service(worker, {name: ModelSource((Path(name),), scale=2) for name in MODELS}, limits)
    worker.open(service.models["net"])
    server = make_server(create_app(service, folder))
    with bind("127.0.0.1", 0) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield Client(listening.getsockname()[1], folder, service)
        finally:
            server.should_exit = True
            thread.join(20)
            worker.close()
        assert not thread.is_alive()
