"""Without PaddleGAN, and its import on this Paddle."""

import sys
from importlib import import_module

import paddle
import pytest

from ppsr.cli.train import main
from ppsr.compat.paddlegan.components import INSTALL, soft_relu


@pytest.fixture
def absent(monkeypatch):
    """As if ppgan were not installed."""
    for name in [name for name in sys.modules if name.split(".")[0] == "ppgan"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ppgan", None)


def test_the_command_line_prints_that_message_alone(absent, tmp_path, capsys):
    path = tmp_path / "config.yaml"
    path.write_text("total_iters: 1\nmodel: {name: SRModel, generator: {name: ppgan.NotBuiltYet}}\n")
    assert main(["-c", str(path), "--device", "cpu"]) == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert INSTALL in printed
    assert f"{path}:2" in printed


def test_importing_the_bridge_without_ppgan_says_the_same(absent, monkeypatch):
    monkeypatch.delitem(sys.modules, "ppsr.compat.ppgan", raising=False)
    with pytest.raises(ImportError, match="install it by: pip install munch"):
        import_module("ppsr.compat.ppgan")


def test_the_stand_in_is_the_logarithm_of_one_plus_the_exponential():
    x = paddle.to_tensor([-3.0, 0.0, 5.0])
    assert paddle.allclose(soft_relu(x), paddle.nn.functional.softplus(x), atol=1e-6)
    assert float(soft_relu(paddle.to_tensor(100.0))) == pytest.approx(40.0)
