"""`ppsr serve`: mistakes, the warning."""

import importlib.util
import socket
import sys

import pytest

from ppsr import cli
from ppsr.cli import serve
from ppsr.errors import ConfigError


@pytest.fixture
def weights(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.pdparams").write_bytes(b"")
    return [tmp_path / "a.pdparams", tmp_path / "b.pdparams"]


def test_a_missing_package_is_named_with_its_install_line(weights, monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "uvicorn" else True)
    monkeypatch.setattr(sys, "argv", ["ppsr", "serve", "--load", str(weights[0])])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert "ppsr serve needs uvicorn: pip install 'ppsr[serve]'" in capsys.readouterr().err


def test_a_taken_port_is_a_usage_error():
    pytest.importorskip("uvicorn", reason="needs the extra 'serve'")
    from ppsr.serve.server import bind

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1 port {port}"):
            bind("127.0.0.1", port)


@pytest.mark.parametrize(
    ("host", "closed"),
    [
        *(("127.0.0.1", True), ("127.8.8.8", True), ("localhost", True), ("::1", True), ("0.0.0.0", False)),
        *(("::", False), ("192.168.0.7", False), ("gpu-server", False), ("127.0.0.1.example", False)),
    ],
)
def test_an_open_address_is_warned_of(host, closed, capsys):
    from ppsr.serve.limits import is_loopback

    assert is_loopback(host) == closed
    serve._announce(host, 7860, loopback=closed)
    printed = capsys.readouterr()
    assert ("everybody who reaches" in printed.err) == (not closed)
    assert ":7860" in printed.out
