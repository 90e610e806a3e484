"""What the page's server gives to programs that are no browsers."""

from __future__ import annotations

import http.client
import json
import secrets
from pathlib import Path
from urllib.parse import quote

import pytest

pytest.importorskip("gradio", reason="needs the extra 'serve'")

from ppsr.serve.limits import RefusedError
from ppsr.serve.page import checked_event, is_page_path
from tests.serve.command import Command


def test_files_are_fetched_from_the_own_folder_only(tmp_path):
    inside = tmp_path / "page"
    inside.mkdir()
    room = 100
    (inside / "link").symlink_to("/etc")
    assert is_page_path(f"/gradio_api/file={inside}/a/b.png", inside, room)
    for path in (
        "/etc/passwd",
        f"{inside}/../x",
        f"{inside}x/y",
        f"{inside}/link/passwd",
        "http://127.0.0.1/",
        "",
    ):
        assert not is_page_path(f"/gradio_api/file={path}", inside, room)
    assert is_page_path("/", inside, room)
    assert is_page_path("/assets/index.js", inside, room)
    for path in ("/assets/../x", "/gradio_api/info", "/gradio_api/proxy=http://a", "/monitoring", "/login"):
        assert not is_page_path(path, inside, room)


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "{}/../x", "http://127.0.0.1/a.png", "a\0b", "x" * 5000, 7, ["/etc"]]
)
def test_events_name_uploaded_files_only(tmp_path, path):
    named = path.format(tmp_path) if isinstance(path, str) else path
    good = {"path": str(tmp_path / "a.png"), "meta": {"_type": "gradio.FileData"}}
    event = {"data": [good, 1, {"more": [None, {"path": None}]}]}
    assert json.loads(checked_event(json.dumps(event).encode(), tmp_path)) == event
    event["data"][2]["more"][0] = {**good, "path": named}
    with pytest.raises(RefusedError) as refused:
        checked_event(json.dumps(event).encode(), tmp_path)
    assert refused.value.status == 403


def test_an_event_is_understood_once(tmp_path):
    twice = f'{{"path": "/etc/passwd", "path": "{tmp_path}/a"}}'.encode()
    assert checked_event(twice, tmp_path) == f'{{"path": "{tmp_path}/a"}}'.encode()
    for broken in (b"", b"{", b"[" * 10**5):
        with pytest.raises(RefusedError, match="JSON"):
            checked_event(broken, tmp_path)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    found = Command(tmp_path_factory.mktemp("site"))
    yield found
    found.end()


def _ask(site, method, path, body=None, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=30)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    finally:
        connection.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file=" + quote("../../../../etc/passwd"),
        "/gradio_api/file=" + quote("http://127.0.0.1:1/"),
        "/gradio_api/file/etc/passwd",
        "/gradio_api/proxy=http://127.0.0.1:1/",
        "/gradio_api/info",
        "/gradio_api/vibe-edit/",
        "/gradio_api/process_recording",
        "/assets/" + quote("../../../../../../../../etc/passwd", safe=""),
        "/static/..%2f..%2f..%2f..%2f..%2f..%2f..%2fetc/passwd",
        "/monitoring",
        "/docs",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_other_addresses_of_the_page_do_not_exist(site, method, path):
    status, text = _ask(site, method, path)
    assert status in (403, 404, 405)
    assert "root:" not in text


@pytest.mark.slow
def test_an_event_that_names_a_foreign_file_gets_nothing(site):
    """As the page sends it, but with the path of a file that nobody uploaded."""
    _, html = _ask(site, "GET", "/")
    config = json.loads(html.split("window.gradio_config = ", 1)[1].split(";</script>", 1)[0])
    event = next(entry for entry in config["dependencies"] if len(entry["inputs"]) == 7)
    secret = site.log.with_name("secret.png")
    secret.write_bytes(site.log.read_bytes())
    for path in (str(secret), "/etc/passwd", f"{site.temporary}/../secret.png"):
        file = {"path": path, "orig_name": "a.png", "meta": {"_type": "gradio.FileData"}}
        session = secrets.token_hex(6)
        request = {
            "data": [file, "small", 256, 0, 0, False, "png"],
            "fn_index": event["id"],
            "session_hash": session,
            "trigger_id": event["targets"][0][0],
        }
        headers = {"Content-Type": "application/json"}
        status, text = _ask(site, "POST", "/gradio_api/queue/join", json.dumps(request), headers)
        assert (status, json.loads(text)["error"]) == (403, "foreign_file")
    assert not [p for p in site.temporary.rglob("*") if p.is_file() and p.stat().st_size]


@pytest.mark.slow
def test_the_page_refuses_other_sites(site):
    assert _ask(site, "GET", "/")[0] == 200
    assert _ask(site, "GET", "/", headers={"Host": "evil.example"})[0] == 403
    assert _ask(site, "POST", "/gradio_api/queue/join", "{}", {"Origin": "https://evil.example"})[0] == 403
    assert _ask(site, "POST", "/gradio_api/upload", "", {"Sec-Fetch-Site": "cross-site"})[0] == 403


@pytest.mark.slow
def test_it_listens_on_loopback_only_and_leaves_nothing_behind(tmp_path):
    site = Command(tmp_path)
    listening = [
        line.split()[1]
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/{site.process.pid}/net/{name}").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and line.split()[1].endswith(f":{site.port:04X}")
    ]
    assert listening == [f"0100007F:{site.port:04X}"]
    assert list(site.temporary.iterdir())
    assert site.end() == 143
    assert not list(site.temporary.iterdir())
