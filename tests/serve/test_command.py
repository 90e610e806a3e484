"""The command as a process: where it listens, how it ends, what it leaves behind."""

import signal
import socket
import threading
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="needs the extra 'serve'")
pytest.importorskip("uvicorn", reason="needs the extra 'serve'")

from tests.imaging.kinds import packed as encoded
from tests.serve.command import Command
from tests.serve.helpers import Client


def _children(pid):
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _is_running(pid):
    try:
        # empty: ended, and nobody has asked for its code
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_it_ends_within_two_seconds_and_leaves_nothing_behind(number, tmp_path):
    """While one image is computed, another one waits, and a client is silent."""
    site = Command(tmp_path)
    client = Client(site.port)
    pid = site.process.pid
    listening = [
        line.split()[1]
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and line.split()[1].endswith(f":{site.port:04X}")
    ]
    assert listening == [f"0100007F:{site.port:04X}"]
    assert "libpaddle" not in Path(f"/proc/{pid}/maps").read_text()  # the server computes and decodes nothing
    workers = [child for child in _children(pid) if "libpaddle" in Path(f"/proc/{child}/maps").read_text()]
    assert len(workers) == 1

    content = encoded(np.zeros((700, 700, 3), np.uint8))
    answers = []

    def ask(name):
        try:
            answers.append(client.upscale(content, model="other", ensemble=1, tile=64, job=name).status)
        except OSError:
            answers.append("closed")

    threads = [threading.Thread(target=ask, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    assert client.until(lambda: any((client.progress(job) or {}).get("total") for job in ("one", "two")), 30)
    assert list(site.temporary.iterdir())
    silent = socket.create_connection(("127.0.0.1", site.port))
    drips = socket.create_connection(("127.0.0.1", site.port))
    drips.sendall(b"POST /api/upscale HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nabc")
    started = time.monotonic()
    assert site.end(number) == 128 + number
    assert time.monotonic() - started < 2
    for client_gone in (silent, drips):
        client_gone.close()
    for thread in threads:
        thread.join(5)
    assert len(answers) == 2
    assert 200 not in answers
    assert "Traceback" not in site.log.read_text()
    assert not list(site.temporary.iterdir())
    assert client.until(lambda: not _is_running(workers[0]))


@pytest.mark.slow
def test_its_worker_ends_with_it_even_when_it_is_killed(tmp_path):
    site = Command(tmp_path)
    workers = _children(site.process.pid)
    assert workers
    site.process.kill()
    site.end()
    assert Client(site.port).until(lambda: not any(map(_is_running, workers)))
