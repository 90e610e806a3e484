"""The HTTP interface, asked by real clients over loopback."""

from __future__ import annotations

import errno
import http.client
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="needs the extra 'serve'")
pytest.importorskip("uvicorn", reason="needs the extra 'serve'")

from ppsr.imaging.reading import read_file
from ppsr.inference import files as images_as_files
from ppsr.inference.backend import PaddleBackend
from ppsr.inference.upscaler import Upscaler
from ppsr.serve.limits import Limits
from tests.inference.helpers import Repeat, small_network
from tests.serve.helpers import Gate, Slow, encoded, served


@pytest.fixture
def pixels(rng):
    return rng.integers(0, 256, (20, 26, 3), dtype=np.uint8)


def _doubled(pixels):
    return pixels.repeat(2, axis=0).repeat(2, axis=1)


@pytest.mark.smoke
def test_the_result_is_that_of_the_upscaler(tmp_path, pixels):
    net = small_network()
    with served(tmp_path, net=PaddleBackend(net)) as site:
        answer = site.upscale(encoded(pixels))
    assert (answer.status, answer.headers["content-type"]) == (200, "image/png")
    assert int(answer.headers["content-length"]) == len(answer.body)
    np.testing.assert_array_equal(answer.image, Upscaler(net)(pixels))
    report = json.loads(answer.headers["x-ppsr-report"])
    assert (report["model"], report["size"], report["tiles"]) == ("net", [26, 20], "whole image")
    assert f'filename="image_x{net.scale}.png"' in answer.headers["content-disposition"]


def test_options_reach_the_upscaler(tmp_path, pixels):
    backend = Repeat(radius=2)
    with served(tmp_path, first=Repeat(4), second=backend) as site:
        content = encoded(pixels)
        answer = site.upscale(content, model="second", tile=16, outscale=1.5, ensemble=1, format="tif")
        assert answer.headers["content-type"] == "image/tiff"
        expected = Upscaler(Repeat(radius=2), tile=16, outscale=1.5, ensemble=True)(pixels)
        np.testing.assert_array_equal(answer.image, expected)
        assert max(max(shape[2:]) for shape in backend.seen) <= 16 + 2 * 2
        jpeg = [site.upscale(content, format="jpg", quality=quality).body for quality in (10, 95)]
    assert len(jpeg[0]) < len(jpeg[1])


def test_memory_bounds_the_tile(tmp_path, rng):
    pixels = rng.integers(0, 256, (200, 200, 3), dtype=np.uint8)
    with served(tmp_path) as site:
        assert site.upscale(encoded(pixels), max_memory="100GB").status == 200
        refused = site.upscale(encoded(pixels), max_memory="1MB")
    assert refused.status == 422
    assert "allow more memory" in refused.json["message"]


def test_sixteen_bits_and_alpha_survive(tmp_path, rng):
    import cv2

    deep = rng.integers(0, 2**16, (9, 8, 4), dtype=np.uint16)
    content = cv2.imencode(".png", deep)[1].tobytes()
    with served(tmp_path) as site:
        answer = site.upscale(content)
    back = cv2.imdecode(np.frombuffer(answer.body, np.uint8), cv2.IMREAD_UNCHANGED)
    assert back.dtype == np.uint16
    np.testing.assert_array_equal(back[..., 3], _doubled(deep)[..., 3])


def test_gray_with_alpha_of_16_bits_comes_back_as_tiff(tmp_path, rng):
    from tests.imaging.kinds import tiff

    deep = rng.integers(1, 2**16, (9, 8, 2)).astype(np.uint16)
    with served(tmp_path) as site:
        answer = site.upscale(tiff(deep), format="tif")
    assert answer.status == 200
    (tmp_path / "back.tif").write_bytes(answer.body)
    np.testing.assert_array_equal(read_file(tmp_path / "back.tif").pixels, _doubled(deep))


def test_a_tiff_that_no_decoder_takes_is_not_an_error_of_the_service(tmp_path, rng):
    from tests.imaging.kinds import tiff

    image = rng.integers(0, 256, (9, 8, 7)).astype(np.uint8)
    with served(tmp_path) as site:
        answer = site.upscale(tiff(image, tags={338: [0] * 4}))
    assert answer.status == 422
    assert "7 bands" in answer.json["message"]


@pytest.mark.parametrize(
    ("number", "status", "code"),
    [(errno.ENOSPC, 507, "no_room"), (errno.EDQUOT, 507, "no_room"), (errno.EIO, 422, "cannot_upscale")],
)
def test_a_failing_disk_is_told_without_paths(number, status, code, tmp_path, rng, monkeypatch):
    def fails(*_, **__):
        raise OSError(number, os.strerror(number), str(tmp_path))

    monkeypatch.setattr(images_as_files, "write_rows", fails)
    with served(tmp_path) as site:
        answer = site.upscale(encoded(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)))
    assert (answer.status, answer.json["error"]) == (status, code)
    assert os.strerror(number) in answer.json["message"]
    assert str(tmp_path) not in answer.json["message"]


def test_a_lossy_choice_is_reported(tmp_path, rng):
    with served(tmp_path) as site:
        answer = site.upscale(encoded(rng.integers(0, 256, (8, 8, 4), dtype=np.uint8)), format="jpg")
    assert answer.headers["content-type"] == "image/png"
    assert "no alpha" in json.loads(answer.headers["x-ppsr-report"])["warnings"][0]


def test_models_and_state_are_listed(tmp_path):
    with served(tmp_path, small=Repeat(2), gray=Repeat(3, 1)) as site:
        listed = site.ask("GET", "/api/models").json
        status = site.ask("GET", "/api/status").json
        described = site.ask("GET", "/api/openapi.json").json
    assert [(m["name"], m["scale"], m["channels"]) for m in listed] == [("small", 2, 3), ("gray", 3, 1)]
    assert status["requests"] == 0
    assert status["tiles"] is None
    assert status["limits"]["max_requests"] == 4
    assert set(described["paths"]) == {"/api/models", "/api/status", "/api/upscale"}


@pytest.mark.parametrize(
    ("query", "status", "code", "message"),
    [
        ({"model": "repaet"}, 404, "no_such_model", "did you mean 'repeat'"),
        ({"model": "../../etc/passwd"}, 404, "no_such_model", "valid: repeat"),
        ({"tile": 8}, 400, "bad_option", "tile is 16 to 1024, got 8"),
        ({"tile": "big"}, 400, "bad_option", "tile: .*integer.*'big'"),
        ({"outscale": 17}, 400, "bad_option", "outscale"),
        ({"outscale": "1e-300"}, 400, "bad_option", "outscale"),
        ({"outscale": "nan"}, 400, "bad_option", "outscale"),
        ({"max_memory": "lots"}, 400, "bad_option", "no amount of memory"),
        ({"format": "../x.png"}, 400, "bad_option", "format"),
        ({"format": "jp2"}, 400, "bad_option", "did you mean"),
        ({"quality": 101}, 400, "bad_option", "quality"),
        ({"tiles": 64}, 400, "bad_option", "did you mean 'tile'"),
    ],
)
def test_wrong_options_are_answered(site, pixels, query, status, code, message):
    answer = site.upscale(encoded(pixels), **query)
    assert (answer.status, answer.json["error"]) == (status, code)
    assert re.search(message, answer.json["message"])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with served(tmp_path_factory.mktemp("site"), Limits(max_bytes=20_000, max_pixels=90_000)) as found:
        yield found


def _bomb(side):
    """A PNG of 1 bit that claims a size and holds nothing."""

    def chunk(kind, content):
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 400, "no_image"),
        (b"<html>no image</html>", 415, "not_an_image"),
        (b"\x89PNG\r\n\x1a\n", 422, "cannot_upscale"),
        (b"BM" + bytes(60), 422, "cannot_upscale"),
        (b"II*\0" + bytes(60), 422, "cannot_upscale"),
        (b"\xff\xd8\xff" + bytes(60), 422, "cannot_upscale"),
        (_bomb(301), 413, "too_many_pixels"),
        (_bomb(2**31 - 1), 413, "too_many_pixels"),
        (bytes(20_001), 413, "too_many_bytes"),
        (bytes(150_000), 413, "too_many_bytes"),
    ],
    ids=lambda value: str(len(value)) if isinstance(value, bytes) else str(value),
)
def test_unusable_bodies_are_answered(site, content, status, code):
    answer = site.upscale(content)
    assert (answer.status, answer.json["error"]) == (status, code)
    assert str(site.service.folder) not in answer.json["message"]
    assert list(site.service.folder.iterdir()) == []


def test_a_body_that_is_far_too_long_is_refused_by_what_it_announces(site):
    with socket.create_connection(("127.0.0.1", site.port)) as client:
        client.sendall(b"POST /api/upscale HTTP/1.1\r\nHost: localhost\r\n")
        client.sendall(b"Content-Length: 99999999999\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 413")


def test_a_damaged_image_is_answered(site, pixels):
    answer = site.upscale(encoded(pixels)[:-100])
    assert (answer.status, answer.json["error"]) == (422, "cannot_upscale")


def test_a_body_of_unknown_length_is_measured_while_it_comes(site):
    def blocks():
        for _ in range(30):
            yield bytes(1000)

    answer = site.upscale(blocks())
    assert (answer.status, answer.json["error"]) == (413, "too_many_bytes")


def test_the_result_has_a_limit_too(tmp_path, pixels):
    with served(tmp_path, Limits(max_output_pixels=4 * 20 * 26)) as site:
        assert site.upscale(encoded(pixels)).status == 200
        answer = site.upscale(encoded(pixels), outscale=2.1)
    assert (answer.status, answer.json["error"]) == (413, "too_many_pixels")


def test_a_form_is_answered_by_what_to_send_instead(site, pixels):
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = site.ask("POST", "/api/upscale", encoded(pixels), headers)
    assert answer.status == 415
    assert "--data-binary" in answer.json["message"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/upscale", 405),
        ("GET", "/api/other", 404),
        ("GET", "/", 404),
        ("GET", "/docs", 404),
        ("GET", "/../../../../etc/passwd", 404),
        ("GET", "/api/..%2f..%2f..%2fetc/passwd", 404),
        ("GET", "//etc/passwd", 404),
        ("GET", "/gradio_api/file=/etc/passwd", 404),
    ],
)
def test_other_addresses_do_not_exist(site, method, path, status):
    answer = site.ask(method, path)
    assert answer.status == status
    assert "root:" not in answer.body.decode()
    assert answer.json["message"]


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Host": "evil.example"}, "wrong_host"),
        ({"Host": "127.0.0.1.evil.example:80"}, "wrong_host"),
        ({"Host": ""}, "wrong_host"),
        ({"Host": "[::1"}, "wrong_host"),
        ({"Origin": "http://["}, "foreign_origin"),
        ({"Origin": "https://evil.example"}, "foreign_origin"),
        ({"Origin": "null"}, "foreign_origin"),
        ({"Sec-Fetch-Site": "cross-site"}, "foreign_origin"),
    ],
)
def test_other_sites_cannot_use_the_service(site, pixels, headers, code):
    answer = site.ask("POST", "/api/upscale", encoded(pixels), headers)
    assert (answer.status, answer.json["error"]) == (403, code)


def test_own_pages_and_all_names_of_loopback_are_served(site, pixels):
    for name in ("127.0.0.1", "localhost", "[::1]"):
        host = f"{name}:{site.port}"
        headers = {"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
        assert site.ask("POST", "/api/upscale", encoded(pixels), headers).status == 200


def test_answers_forbid_loading_from_elsewhere(site):
    headers = site.ask("GET", "/api/status").headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in headers


def test_too_many_requests_are_refused_and_the_others_served(tmp_path, pixels):
    gate = Gate()
    with served(tmp_path, Limits(max_requests=3), gate=gate) as site, ThreadPoolExecutor(3) as pool:
        accepted = [pool.submit(site.upscale, encoded(pixels)) for _ in range(3)]
        assert gate.reached.wait(10)
        while site.service.admission.taken < 3:
            time.sleep(0.01)
        refused = site.upscale(encoded(pixels))
        assert (refused.status, refused.json["error"]) == (429, "too_many_requests")
        assert int(refused.headers["retry-after"]) > 0
        assert site.ask("GET", "/api/status").json["tiles"] == {"done": 0, "total": 1}
        gate.open.set()
        for answer in accepted:
            assert answer.result().status == 200
            np.testing.assert_array_equal(answer.result().image, _doubled(pixels))
        assert site.upscale(encoded(pixels)).status == 200


def test_many_clients_at_once_each_get_their_own_image(tmp_path):
    """24 clients with 3 images each, of different sizes and options, against 4 places."""

    def visit(number):
        rng = np.random.default_rng(number)
        waits = 0
        for _ in range(3):
            pixels = rng.integers(0, 256, (*rng.integers(5, 60, 2), 3), dtype=np.uint8)
            tile = int(rng.integers(16, 64))
            model, factor = (("two", 2), ("three", 3))[int(rng.integers(2))]
            while (answer := site.upscale(encoded(pixels), model=model, tile=tile)).status == 429:
                waits += 1
                time.sleep(0.05)
            assert answer.status == 200, answer.body
            expected = pixels.repeat(factor, axis=0).repeat(factor, axis=1)
            np.testing.assert_array_equal(answer.image, expected)
        return waits

    with served(tmp_path, two=Repeat(2, radius=1), three=Repeat(3, radius=1)) as site:
        with ThreadPoolExecutor(24) as pool:
            waits = list(pool.map(visit, range(24)))
        assert sum(waits) > 0
        assert site.idle()
        assert list(tmp_path.iterdir()) == []


def test_an_image_that_takes_too_long_is_stopped(tmp_path, rng):
    pixels = rng.integers(0, 256, (160, 160, 3), dtype=np.uint8)  # 100 tiles of 0.1 s
    with served(tmp_path, Limits(max_seconds=0.5), slow=Slow()) as site:
        started = time.monotonic()
        answer = site.upscale(encoded(pixels), tile=16)
        seconds = time.monotonic() - started
        assert (answer.status, answer.json["error"]) == (422, "time_limit")
        assert 0.5 <= seconds < 5
        assert site.upscale(encoded(pixels)).status == 200


def test_a_client_that_goes_away_frees_its_place(tmp_path, rng):
    pixels = rng.integers(0, 256, (160, 160, 3), dtype=np.uint8)
    slow = Slow()
    with served(tmp_path, Limits(max_requests=1), slow=slow) as site:
        connection = http.client.HTTPConnection("127.0.0.1", site.port)
        connection.request("POST", "/api/upscale?tile=16", encoded(pixels))
        while not slow.seen:
            time.sleep(0.01)
        connection.close()
        assert site.idle(5)  # all tiles would take 10 s
        assert len(slow.seen) < 60
        assert site.upscale(encoded(pixels[:16, :16])).status == 200


def test_a_slow_upload_does_not_keep_its_place(tmp_path):
    with served(tmp_path, Limits(max_requests=1, upload_seconds=0.3)) as site:
        with socket.create_connection(("127.0.0.1", site.port)) as client:
            client.sendall(b"POST /api/upscale HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nabc")
            assert client.recv(4096).startswith(b"HTTP/1.1 408")
        assert site.idle()


def test_a_failure_of_the_service_is_500_without_details(tmp_path, pixels):
    class Broken(Repeat):
        def run(self, x):
            raise RuntimeError("secret detail")

    with served(tmp_path, broken=Broken()) as site:
        answer = site.upscale(encoded(pixels))
        assert (answer.status, answer.json["error"]) == (500, "internal")
        assert "secret" not in answer.body.decode()
        assert site.idle()


def test_short_memory_is_the_clients_to_solve(tmp_path, pixels):
    class Short(Repeat):
        def run(self, x):
            raise MemoryError("12 GB")

    with served(tmp_path, short=Short()) as site:
        assert site.upscale(encoded(pixels)).status == 422


def test_nothing_is_written_outside_the_own_folder(tmp_path, pixels):
    """Every file that this process opens for writing, and every name it changes, during all kinds of
    requests."""
    seen, active = [], threading.Event()

    def hook(event, arguments):
        if not active.is_set():
            return
        writes = os.O_WRONLY | os.O_RDWR | os.O_CREAT
        if event == "open" and isinstance(arguments[0], str) and (arguments[2] or 0) & writes:
            seen.append(arguments[0])
        elif event in ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.symlink"):
            seen.extend(part for part in arguments[:2] if isinstance(part, str))

    sys.addaudithook(hook)
    with served(tmp_path) as site:
        site.upscale(encoded(pixels))
        active.set()
        for name in ("png", "jpg", "webp", "bmp", "tif"):
            assert site.upscale(encoded(pixels), format=name).status == 200
        site.upscale(b"broken")
        site.upscale(encoded(pixels), model="../../x")
        site.ask("PUT", "/api/../../tmp/x", b"x")
        active.clear()
    assert len(seen) >= 5
    outside = [path for path in seen if Path(path).is_absolute() and not path.startswith(str(tmp_path))]
    assert not [path for path in outside if path != os.devnull]


@pytest.mark.slow
def test_the_worker_computes_with_all_cores():
    """OpenMP's number of threads belongs to the thread that set it."""
    code = (
        "import pathlib\nfrom ppsr.accelerate.process import _cores, openmp\n"
        "from ppsr.serve.service import Service\n"
        "service = Service(pathlib.Path())\n"
        "print(service._worker.submit(lambda: openmp().omp_get_max_threads()).result() == _cores())"
    )
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.split()[-1] == "True"


def test_the_commands_of_the_documentation_work(tmp_path, pixels):
    page = (Path(__file__).parents[2] / "docs" / "serve.md").read_text(encoding="utf-8")
    blocks = {
        kind: re.search(rf"```{kind}\n((?:(?!```).)*127.0.0.1:7860/api.*?)```", page, re.S)[1]
        for kind in ("bash", "python")
    }
    place = tmp_path / "user"
    place.mkdir()
    (place / "IN.png").write_bytes(encoded(pixels))
    (tmp_path / "service").mkdir()
    with served(tmp_path / "service") as site:
        for kind, command in (("bash", ["bash", "-euc"]), ("python", [sys.executable, "-c"])):
            if shutil.which(command[0]) is None or (kind == "bash" and shutil.which("curl") is None):
                continue
            text = blocks[kind].replace("7860", str(site.port))
            subprocess.run([*command, text], cwd=place, check=True, capture_output=True, timeout=60)
            np.testing.assert_array_equal(np.asarray(Image.open(place / "OUT.png")), _doubled(pixels))
            (place / "OUT.png").unlink()
