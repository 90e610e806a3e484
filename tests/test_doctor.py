"""`ppsr doctor`: what it says of this installation and of broken ones."""

from __future__ import annotations

import os
import re
import signal
from importlib import metadata
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ppsr import cli, doctor
from ppsr.doctor import Line, diagnose

ROOT = Path(__file__).parents[1]


def _by_name(lines):
    return {line.name: line for line in lines}


def test_the_packages_are_those_that_the_project_declares():
    def names(lines):
        return {
            re.split(r"[<>=;\[ ]", line, maxsplit=1)[0] for line in lines if line and not line.startswith("#")
        }

    assert set(doctor.REQUIRED) == names((ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines())
    declared = (
        (ROOT / "pyproject.toml").read_text(encoding="utf-8").split("[project.optional-dependencies]")[1]
    )
    for extra, listed in doctor.OPTIONAL.items():
        line = re.search(rf"^{extra} = \[(.*?)\]", declared, re.M)
        assert line, extra
        assert set(listed) == names(re.findall(r'"([^"]+)"', line[1])), extra
    extras = re.findall(r"^(\w+) = \[", declared.split("\n[")[0], re.M)
    assert set(extras) == set(doctor.OPTIONAL)


@pytest.mark.slow
def test_this_installation_is_well():
    done = CliRunner().invoke(cli.build_app(), ["doctor"])
    assert done.exit_code == 0, done.output
    assert done.output.startswith("System\n")
    assert done.output.endswith("No problem was found.\n")
    for name in ("ppsr", "numpy", "onnx", "device", "forward", "export", "backend inference"):
        assert re.search(rf"^ +(ok|--)?  {name} ", done.output, re.M), name
    assert re.search(r"forward .* error \d\.\de[-+]\d\d", done.output)


@pytest.mark.smoke
def test_missing_parts_come_with_their_install_line(monkeypatch):
    real = metadata.version

    def version(name):
        if name in ("lmdb", "onnxruntime", "onnxslim", "scipy", "munch", "ppgan"):
            raise metadata.PackageNotFoundError(name)
        return "1.2.3" if name == "paddle2onnx" else real(name)

    monkeypatch.setattr(metadata, "version", version)
    lines = _by_name(diagnose(checks=False))
    old = " -c constraints/paddle26.txt" if doctor._is_old() else ""
    assert lines["lmdb"] == Line("optional", "lmdb", "missing", f"missing: pip install lmdb{old}")
    assert lines["onnx"].text == f"paddle2onnx 1.2.3; missing: pip install onnxruntime onnxslim{old}"
    both = f"missing: pip install munch{old} && pip install --no-deps ppgan==2.1.0"
    assert lines["ppgan"] == Line("optional", "ppgan", "missing", both)
    assert (lines["scipy"].state, lines["scipy"].text) == ("failed", f"missing: pip install scipy{old}")
    assert lines["analysis"].state == "ok"


def test_known_wrong_pairs_are_recognised(monkeypatch):
    versions = {"paddlepaddle": "2.6.2", "numpy": "2.4.6", "onnxruntime-gpu": "1.9"}

    def version(name):
        if name not in versions:
            raise metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(metadata, "version", version)
    lines = _by_name(diagnose(checks=False))
    assert lines["numpy"].state == "failed"
    assert "constraints/paddle26.txt" in lines["numpy"].text
    install = "pip install paddle2onnx onnxslim -c constraints/paddle26.txt"
    assert lines["onnx"].text == f"onnxruntime 1.9 (onnxruntime-gpu); missing: {install}"
    versions.update({"paddlepaddle-gpu": "3.3.1", "numpy": "1.26.4"})
    lines = _by_name(diagnose(checks=False))
    assert lines["numpy"].state == "ok"
    assert lines["paddle"].state == "failed"
    assert "paddlepaddle 2.6.2 and paddlepaddle-gpu 3.3.1" in lines["paddle"].text


def test_no_name_of_a_user_is_shown(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(ROOT.parent))
    monkeypatch.setenv("PPSR_GOLDEN_DIR", f"{ROOT.parent}/data")
    lines = _by_name(diagnose(checks=False))
    assert lines["ppsr"].text.endswith(f"in ~/{ROOT.name}/ppsr")
    assert "PPSR_GOLDEN_DIR=~/data" in lines["variables"].text
    assert not [line for line in lines.values() if str(ROOT.parent) in line.text]


def test_a_user_without_a_home_does_not_garble_paths(monkeypatch):
    monkeypatch.setenv("HOME", "/")
    assert _by_name(diagnose(checks=False))["ppsr"].text.endswith(f"in {ROOT}/ppsr")
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert _by_name(diagnose(checks=False))["ppsr"].text.endswith(f"in {ROOT}/ppsr")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", f"signal {signal.SIGSEGV.value}"),
        ("raise RuntimeError('no kernel')", "exit code 1: RuntimeError: no kernel"),
        ("import time; time.sleep(30)", "no answer within 5 s"),
    ],
)
def test_a_check_that_breaks_its_process_is_one_failed_line(monkeypatch, tmp_path, code, reason):
    """The child finds another paddle first, which does what the code says."""
    (tmp_path / "paddle").mkdir()
    (tmp_path / "paddle" / "__init__.py").write_text(code, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    lines = list(doctor._in_a_process("device", 5))
    assert [(line.state, line.text) for line in lines] == [("failed", reason)]


def test_a_problem_is_exit_code_1(monkeypatch):
    monkeypatch.setattr(
        doctor, "diagnose", lambda **_: iter([Line("package", "paddle", "failed", "missing")])
    )
    done = CliRunner().invoke(cli.build_app(), ["doctor"])
    assert done.exit_code == 1
    assert "!!  paddle" in done.output
    assert "1 problems" in done.output
