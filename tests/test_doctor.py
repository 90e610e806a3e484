"""`ppsr doctor`: what it reports about this installation and about broken ones."""

import importlib.util
import re
from importlib import metadata

import pytest

import ppsr
from ppsr import doctor
from ppsr.doctor import diagnose
from tests.command import run_ppsr


@pytest.fixture
def packages(monkeypatch):
    """Installed distributions, all others are missing; ppsr requires some of them."""
    versions = {"paddlepaddle": "2.6.2", "numpy": "2.4.6", "onnxruntime-gpu": "1.9"}

    def version(name):
        if name not in versions:
            raise metadata.PackageNotFoundError(name)
        return versions[name]

    extras = ["onnxruntime>=1.17; extra == 'onnx'", 'lmdb>=1; extra == "lmdb"']
    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(metadata, "requires", lambda _: ["numpy>=1.24", "scipy>=1.10", *extras])
    monkeypatch.setattr(ppsr, "__file__", "/site-packages/ppsr/__init__.py")
    return versions


def _by_name():
    return {line.name: (line.state, line.text) for line in diagnose(checks=False)}


@pytest.mark.slow
def test_this_installation_works():
    done = run_ppsr("doctor")
    assert done.exit_code == 0, done.output
    assert done.output.startswith("System\n")
    assert done.output.endswith("No problems found.\n")
    backends = ["inference", *(["ncnn"] if importlib.util.find_spec("ncnn") else [])]
    for name in ("ppsr", "numpy", "onnx", "device", "export", *(f"backend {name}" for name in backends)):
        assert re.search(rf"^ +(ok|--)?  {name} ", done.output, re.M), name
    assert re.search(r"backend inference .* error \d\.\de[-+]\d\d", done.output)


def test_missing_packages_come_with_their_install_line(packages, monkeypatch):
    packages["paddlepaddle"] = "3.3.1"
    lines = _by_name()
    assert lines["scipy"] == ("failed", "missing: pip install scipy")
    assert lines["lmdb"] == ("missing", "lmdb missing; pip install 'ppsr[lmdb]'")
    assert lines["onnx"] == ("ok", "onnxruntime 1.9 (onnxruntime-gpu)")
    del packages["paddlepaddle"]
    assert _by_name()["paddle"] == ("ok", "built from source, or installed in another way")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert _by_name()["paddle"] == ("failed", "missing: pip install paddlepaddle==3.3.1")


def test_known_wrong_combinations_are_recognised(packages):
    assert _by_name()["numpy"] == (
        "failed",
        "2.4.6 does not work with Paddle 2: pip install -r requirements.txt -c constraints/paddle26.txt",
    )
    packages.update({"paddlepaddle-gpu": "3.3.1", "numpy": "1.26.4"})
    lines = _by_name()
    assert lines["numpy"] == ("ok", "1.26.4")
    assert lines["paddle"][0] == "failed"
    assert "paddlepaddle 2.6.2 and paddlepaddle-gpu 3.3.1" in lines["paddle"][1]


def test_distributions_that_share_a_folder_are_named(packages):
    packages["onnxruntime"] = "1.8"
    assert _by_name()["onnx"] == (
        "ok",
        "onnxruntime 1.8 and 1.9 (onnxruntime-gpu) share a folder; if one fails, uninstall all of them and "
        "install one",
    )


def test_a_check_that_fails_is_one_line_and_exit_code_1(monkeypatch):
    def broken():
        raise RuntimeError("trace\nno kernel")

    monkeypatch.setattr(doctor, "CHECKS", {"device": broken})
    done = run_ppsr("doctor")
    assert done.exit_code == 1
    assert re.search(r"!!  device +RuntimeError: no kernel$", done.output, re.M)
    assert "1 problems" in done.output
