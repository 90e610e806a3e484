"""Clients that are silent, slow or gone, and images that take too long: nobody else is kept out."""

import contextlib
import http.client
import socket
import time

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="needs the extra 'serve'")
pytest.importorskip("uvicorn", reason="needs the extra 'serve'")

from ppsr.serve import server
from tests.imaging.kinds import packed as encoded


@pytest.fixture
def content(rng):
    return encoded(rng.integers(0, 256, (96, 96, 3), dtype=np.uint8))  # 36 tiles of 16


def _connect(site, text=b""):
    client = socket.create_connection(("127.0.0.1", site.port), timeout=10)
    client.sendall(text)
    return client


def _is_closed(client):
    client.setblocking(False)
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


HEAD = b"POST /api/upscale HTTP/1.1\r\nHost: localhost\r\nContent-Length: 40000\r\n\r\n"


@pytest.mark.parametrize("sent", [b"", b"POST /api/upscale HT", HEAD, HEAD + b"abc"], ids=len)
def test_130_silent_connections_keep_nobody_out(site, pixels, sent):
    clients = [_connect(site, sent) for _ in range(130)]
    try:
        started = time.monotonic()
        assert site.upscale(encoded(pixels)).status == 200
        assert time.monotonic() - started < 2
        assert len(site.ask("GET", "/api/models").json) > 1
    finally:
        for client in clients:
            client.close()
    assert site.until(site.is_idle)


@pytest.mark.parametrize(("chunked", "status"), [(True, 411), (False, 413)])
def test_a_client_that_sends_all_before_it_reads_gets_the_answer(site, chunked, status):
    for _ in range(5):
        connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=20)
        body = (bytes(2**16) for _ in range(200))
        headers = {} if chunked else {"Content-Length": str(200 * 2**16)}
        connection.request("POST", "/api/upscale", body, headers, encode_chunked=chunked)
        assert connection.getresponse().status == status
        connection.close()


def test_a_client_that_sends_for_ever_after_its_answer_is_cut_off(site, monkeypatch):
    monkeypatch.setattr(server, "_STALLED_SECONDS", 0.3)
    client = _connect(site, HEAD.replace(b"40000", b"4000000000"))
    assert client.recv(4096).startswith(b"HTTP/1.1 413")
    started = time.monotonic()
    with pytest.raises(OSError, match=r"reset|pipe"):
        while time.monotonic() - started < 5:
            client.sendall(bytes(1000))
            time.sleep(0.01)
    assert time.monotonic() - started < 2


def test_a_connection_that_does_not_finish_its_headers_is_closed(site, monkeypatch):
    monkeypatch.setattr(server, "_HEADER_SECONDS", 0.3)
    client = _connect(site, b"GET / HTTP/1.1\r\n")
    for number in range(20):  # a byte now and then does not help
        if _is_closed(client):
            break
        client.setblocking(True)
        client.sendall(b"X-%d: a\r\n" % number)
        time.sleep(0.05)
    assert 5 <= number < 19


def test_an_upload_that_drips_is_refused_and_holds_no_place(site, pixels):
    clients = [_connect(site, HEAD) for _ in range(10)]
    started = time.monotonic()
    assert site.upscale(encoded(pixels)).status == 200  # there are 3 places
    answers = []
    while time.monotonic() - started < 5 and len(answers) < len(clients):
        for client in clients:
            client.settimeout(0.01)
            try:
                answers.append(client.recv(20))
                clients.remove(client)
            except TimeoutError:
                client.sendall(b"a")
    assert {answer[:12] for answer in answers} == {b"HTTP/1.1 408"}
    assert 0.9 < time.monotonic() - started < 3


def test_a_client_that_never_reads_is_cut_off(site, rng, monkeypatch):
    monkeypatch.setattr(server, "_STALLED_SECONDS", 0.5)
    noise = encoded(rng.integers(0, 256, (120, 130, 3), dtype=np.uint8), "JPEG", quality=50)
    clients = []
    for _ in range(3):
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", site.port))
        client.sendall(b"POST /api/upscale?format=bmp&outscale=12 HTTP/1.1\r\nHost: localhost\r\n")
        client.sendall(b"Content-Length: %d\r\n\r\n" % len(noise) + noise)
        clients.append(client)
    assert site.until(site.is_idle)  # their places are free
    assert site.upscale(noise).status == 200
    clients[0].sendall(b"G")  # the begin of another request gives no more time
    time.sleep(1)
    for client in clients:
        client.settimeout(5)
        received = 0
        with contextlib.suppress(ConnectionResetError):  # at once, or after what had been sent
            while block := client.recv(1 << 16):
                received += len(block)
        assert 0 < received < 3 * 12**2 * 120 * 130  # closed before the end
        client.close()


def test_a_client_that_goes_away_frees_its_place_at_once(site, content, pixels):
    clients = []
    for number in range(3):  # one is computed, two wait
        connection = http.client.HTTPConnection("127.0.0.1", site.port)
        connection.request("POST", f"/api/upscale?model=slow&tile=16&job=j{number}", content)
        clients.append(connection)
    assert site.until(lambda: site.ask("GET", "/api/status").json["requests"] == 3)
    assert site.until(lambda: (site.progress("j0") or {}).get("stage") == "computing")
    assert site.progress("j2")["stage"] == "waiting"
    assert site.upscale(encoded(pixels)).status == 429
    for connection in clients:
        connection.close()
    started = time.monotonic()
    assert site.until(site.is_idle)
    assert time.monotonic() - started < 0.5
    answer = site.upscale(encoded(pixels))
    assert answer.status == 200
    assert time.monotonic() - started < 2  # all tiles would take 5 s


def test_progress_is_that_of_the_job(site, content):
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=30)
    connection.request("POST", "/api/upscale?model=slow&tile=32&job=mine", content)
    assert site.until(lambda: (site.progress("mine") or {}).get("total"))
    assert site.upscale(content, job="mine").json["error"] == "bad_option"  # the name is taken
    seen = site.progress("mine")
    assert seen["total"] == 9
    assert site.until(lambda: site.progress("mine")["done"] > seen["done"])
    assert site.progress("other") is None
    assert connection.getresponse().status == 200
    connection.close()


def test_an_image_that_takes_too_long_is_stopped(site, content):
    started = time.monotonic()
    answer = site.upscale(content, model="slow", tile=16, ensemble=True)  # 14 s
    assert (answer.status, answer.json["error"]) == (422, "time_limit")
    assert 3 <= time.monotonic() - started < 4.5


@pytest.mark.slow
@pytest.mark.parametrize(("model", "code"), [("hanging", "time_limit"), ("crashing", "cannot_upscale")])
def test_what_does_not_stop_is_ended_and_the_next_image_is_served(site, pixels, model, code):
    assert site.upscale(encoded(pixels)).status == 200
    before = site.service.worker.process.pid
    started = time.monotonic()
    answer = site.upscale(encoded(pixels), model=model)
    assert (answer.status, answer.json["error"]) == (422, code)
    assert time.monotonic() - started < 5  # 3 s, and 1 s in which it could have stopped by itself
    assert site.ask("GET", "/api/status").status == 200
    assert site.upscale(encoded(pixels)).status == 200
    assert site.service.worker.process.pid != before


@pytest.mark.slow
def test_an_image_is_served_after_the_worker_ended_while_it_waited(site, pixels):
    worker = site.service.worker
    worker.process.kill()
    worker.process.join()
    assert site.upscale(encoded(pixels)).status == 200
