"""The HTTP interface, asked by real clients over loopback."""

import re
import shutil
import subprocess
import sys
import time
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="needs the extra 'serve'")
pytest.importorskip("uvicorn", reason="needs the extra 'serve'")

from ppsr.inference.upscaler import Upscaler
from ppsr.serve import api
from tests.imaging.kinds import packed as encoded
from tests.imaging.kinds import png
from tests.inference.helpers import Repeat
from tests.serve.helpers import MODELS, network


def _doubled(pixels):
    return pixels.repeat(2, axis=0).repeat(2, axis=1)


@pytest.mark.smoke
def test_the_result_is_that_of_the_upscaler(site, pixels):
    answer = site.upscale(encoded(pixels), model="net")
    assert (answer.status, answer.headers["content-type"]) == (200, "image/png")
    assert int(answer.headers["content-length"]) == len(answer.body)
    np.testing.assert_array_equal(answer.image, Upscaler(network())(pixels))
    report = answer.report
    assert (report["model"], report["size"], report["tiles"]) == ("net", [26, 20], "whole image")
    assert "output" not in report
    assert 'filename="image_x2.png"' in answer.headers["content-disposition"]


def test_the_folder_of_temporary_files_may_be_removed(site, pixels):
    assert site.until(site.is_idle)
    site.folder.rmdir()
    assert site.upscale(encoded(pixels)).status == 200


def test_options_reach_the_upscaler(site, pixels):
    content = encoded(pixels)
    answer = site.upscale(content, tile=16, outscale=1.5, ensemble=1, format="tif")
    assert answer.headers["content-type"] == "image/tiff"
    expected = Upscaler(Repeat(radius=2), tile=16, outscale=1.5, self_ensemble=True)(pixels)
    np.testing.assert_array_equal(answer.image, expected)
    assert "4 tiles of 16" in answer.report["tiles"]
    assert site.upscale(content).report["tiles"] == "whole image"  # nothing of the last request is left
    jpeg = [site.upscale(content, format="jpg", quality=quality).body for quality in (10, 95)]
    assert len(jpeg[0]) < len(jpeg[1])


def test_sixteen_bits_and_alpha_are_kept(site, rng):
    import cv2

    deep = rng.integers(0, 2**16, (9, 8, 4), dtype=np.uint16)
    answer = site.upscale(cv2.imencode(".png", deep)[1].tobytes())
    back = cv2.imdecode(np.frombuffer(answer.body, np.uint8), cv2.IMREAD_UNCHANGED)
    assert back.dtype == np.uint16
    np.testing.assert_array_equal(back[..., 3], _doubled(deep)[..., 3])


def test_a_format_that_loses_alpha_is_replaced_and_reported(site, rng):
    answer = site.upscale(encoded(rng.integers(0, 256, (8, 8, 4), dtype=np.uint8)), format="jpg")
    assert answer.headers["content-type"] == "image/png"
    assert "no alpha" in answer.report["warnings"][0]


def test_models_and_state_are_listed(site):
    listed = site.ask("GET", "/api/models").json
    status = site.ask("GET", "/api/status").json
    described = site.ask("GET", "/api/openapi.json").json
    assert [m["name"] for m in listed] == list(MODELS)
    assert listed[0] | {"scale": 2, "download": 0, "strength": False} == listed[0]
    assert (status["requests"], status["job"], status["limits"]["max_requests"]) == (0, None, 3)
    assert set(described["paths"]) == {"/api/models", "/api/status", "/api/upscale"}


@pytest.mark.parametrize(
    ("query", "status", "code", "message"),
    [
        ({"model": "repaet"}, 404, "no_such_model", "did you mean 'repeat'"),
        ({"model": "../../etc/passwd"}, 404, "no_such_model", "valid: "),
        ({"tile": 8}, 400, "bad_option", "tile: .*16, got '8'"),
        ({"tile": "big"}, 400, "bad_option", "tile: .*integer.*'big'"),
        ({"outscale": 17}, 400, "bad_option", "outscale"),
        ({"outscale": "nan"}, 400, "bad_option", "outscale"),
        ({"strength": 0.5}, 400, "bad_option", "'repeat' has no partner"),
        ({"format": "../x.png"}, 400, "bad_option", "format"),
        ({"quality": 101}, 400, "bad_option", "quality"),
        ({"tiles": 64}, 400, "bad_option", "tiles: .*not permitted"),
        ({"job": "../x"}, 400, "bad_option", "job"),
    ],
)
def test_wrong_options_are_answered(site, pixels, query, status, code, message):
    answer = site.upscale(encoded(pixels), **query)
    assert (answer.status, answer.json["error"]) == (status, code)
    assert re.search(message, answer.json["message"])


def _bomb(side):
    """A PNG of 1 bit that claims a size and holds nothing."""
    return png(side, side, 1, 0, zlib.compress(b""))


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 400, "no_image"),
        (b"<html>no image</html>", 415, "not_an_image"),
        (b"\x89PNG\r\n\x1a\n", 422, "cannot_upscale"),
        (b"II*\0" + bytes(60), 422, "cannot_upscale"),
        (b"\xff\xd8\xff" + bytes(60), 422, "cannot_upscale"),
        (_bomb(301), 413, "too_many_pixels"),
        (_bomb(2**31 - 1), 413, "too_many_pixels"),
        (bytes(50_001), 413, "too_many_bytes"),
    ],
    ids=str,
)
def test_unusable_bodies_are_answered(site, content, status, code):
    answer = site.upscale(content)
    assert (answer.status, answer.json["error"]) == (status, code)
    assert str(site.folder) not in answer.json["message"]
    assert site.until(site.is_idle)


def test_the_result_has_a_limit_too(site):
    content = encoded(np.zeros((200, 260), np.uint8))
    assert site.upscale(content).status == 200
    answer = site.upscale(content, outscale=8)
    assert (answer.status, answer.json["error"]) == (413, "too_many_pixels")
    assert "the result of 2080 x 1600" in answer.json["message"]


def test_a_form_is_answered_by_what_to_send_instead(site, pixels):
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = site.ask("POST", "/api/upscale", encoded(pixels), headers)
    assert answer.status == 415
    assert "--data-binary" in answer.json["message"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/upscale", 405),
        ("/docs", 404),
        ("/page.py", 404),
        ("/../../../../etc/passwd", 404),
        ("/api/..%2f..%2f..%2fetc/passwd", 404),
        ("//etc/passwd", 404),
    ],
)
def test_other_addresses_do_not_exist(site, path, status):
    answer = site.ask("GET", path)
    assert answer.status == status
    assert answer.json["message"]


@pytest.mark.parametrize("path", ["/", "/page.js", "/page.css"])
def test_the_query_does_not_choose_the_file(site, tmp_path, path):
    (tmp_path / "secret").write_bytes(b"secret")
    page = site.ask("GET", path)
    answer = site.ask("GET", path, file=tmp_path / "secret")
    assert (answer.status, answer.body) == (page.status, page.body) == (200, page.body)
    assert len(page.body) > 1000


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
    if code == "wrong_host":
        answer = site.ask("GET", "/api/openapi.json", headers=headers)
        assert (answer.status, answer.json["error"]) == (403, code)


def test_own_pages_and_all_names_of_loopback_are_served(site, pixels):
    for name in ("127.0.0.1", "localhost", "[::1]"):
        host = f"{name}:{site.port}"
        headers = {"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
        assert site.ask("POST", "/api/upscale", encoded(pixels), headers).status == 200
    headers = site.ask("GET", "/").headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in headers


def test_many_clients_at_once_each_get_their_own_image(site):
    """12 clients with 3 images each, of different sizes and tiles, against 3 places."""

    def visit(number):
        rng = np.random.default_rng(number)
        waits = 0
        for _ in range(3):
            pixels = rng.integers(0, 256, (*rng.integers(5, 60, 2), 3), dtype=np.uint8)
            tile = int(rng.integers(16, 64))
            while (answer := site.upscale(encoded(pixels), tile=tile)).status == 429:
                assert int(answer.headers["retry-after"]) > 0
                waits += 1
                time.sleep(0.05)
            assert answer.status == 200, answer.body
            np.testing.assert_array_equal(answer.image, _doubled(pixels))
        return waits

    with ThreadPoolExecutor(12) as pool:
        waits = list(pool.map(visit, range(12)))
    assert sum(waits) > 0
    assert site.until(site.is_idle)


@pytest.mark.parametrize(
    ("model", "status", "code", "text"),
    [
        ("broken", 500, "internal", "its log"),
        ("short", 422, "cannot_upscale", "memory is short"),
        ("full", 507, "no_room", "No space left"),
    ],
)
def test_failures_are_answered_without_details(site, pixels, model, status, code, text):
    answer = site.upscale(encoded(pixels), model=model)
    assert (answer.status, answer.json["error"]) == (status, code)
    assert text in answer.json["message"]
    assert "secret" not in answer.body.decode()
    assert site.until(site.is_idle)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (OSError(28, "No space left on device", "/secret"), 507, "no_room"),
        (KeyError("secret"), 500, "internal"),
    ],
)
def test_failures_of_the_server_itself_are_answered_without_details(
    site, pixels, monkeypatch, error, status, code
):
    async def receive(*_):
        raise error

    monkeypatch.setattr(api, "_receive", receive)
    answer = site.upscale(encoded(pixels))
    assert (answer.status, answer.json["error"]) == (status, code)
    assert "secret" not in answer.body.decode()
    assert site.until(site.is_idle)


@pytest.mark.slow
def test_no_damaged_image_breaks_the_service(site):
    """300 images of six kinds with changed, missing and inserted bytes: 200 or 4xx, each within 5 s."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (24, 30, 3), dtype=np.uint8)
    whole = [encoded(pixels, kind) for kind in ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")]
    answered = Counter()
    for number in range(300):
        content = bytearray(whole[number % len(whole)])
        for _ in range(int(rng.integers(1, 6))):
            at = int(rng.integers(4, min(len(content), 400)))
            length = int(rng.integers(1, 40))
            change = [rng.bytes(1), rng.bytes(4), b"", rng.bytes(length)][int(rng.integers(4))]
            content[at : at + (len(change) if len(change) in (1, 4) else 0 if change else length)] = change
        started = time.monotonic()
        answer = site.upscale(bytes(content))
        assert time.monotonic() - started < 5
        assert answer.status in (200, 413, 415, 422), (number, answer)
        answered[answer.status] += 1
    assert answered[422] > 50
    assert answered[200] > 15
    assert site.until(site.is_idle)


@pytest.mark.slow
def test_the_commands_of_the_documentation_work(site, tmp_path, pixels):
    page = (Path(__file__).parents[2] / "docs" / "serve.md").read_text(encoding="utf-8")
    (tmp_path / "IN.png").write_bytes(encoded(pixels))
    for kind, command in (("bash", ["bash", "-euc"]), ("python", [sys.executable, "-c"])):
        if kind == "bash" and (shutil.which("bash") is None or shutil.which("curl") is None):
            continue
        text = re.search(rf"```{kind}\n((?:(?!```).)*127.0.0.1:7860/api.*?)```", page, re.S)[1]
        text = text.replace("7860", str(site.port))
        subprocess.run([*command, text], cwd=tmp_path, check=True, capture_output=True, timeout=60)
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "OUT.png")), _doubled(pixels))
        (tmp_path / "OUT.png").unlink()
