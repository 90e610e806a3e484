"""The table of benchmarks/peers.py, and what it leaves out."""

import importlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def peers(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    yield importlib.import_module("peers")
    for name in ("peers", "peers_workers", "cpu_training", "interleaved"):
        sys.modules.pop(name, None)


def test_what_is_not_there_is_left_out_with_its_reason(peers, monkeypatch, tmp_path):
    monkeypatch.setattr(peers.importlib.util, "find_spec", lambda name: None if name == "ncnn" else object())
    (tmp_path / "python").write_text("#!/bin/sh\nexit 0\n")
    (tmp_path / "python").chmod(0o755)
    python = str(tmp_path / "python")  # one that imports everything
    variants, skipped = peers.usable(peers.WORKS["rrdb"], python, None)
    assert variants == ["paddle", "auto", "torch", "torch_channels_last", "openvino", "onnxruntime"]
    assert skipped == {"ncnn": "pip install ncnn"}
    _, skipped = peers.usable(peers.WORKS["hat"], python, tmp_path)
    assert skipped["torch"] == "--published has no HAT/hat/archs/hat_arch.py"
    variants, skipped = peers.usable(peers.WORKS["drct_small_step"], "/bin/false", None)
    assert variants == ["paddle"]
    assert skipped["torch"].startswith("/bin/false has no torch")


def test_table_compares_the_best_of_each_side(peers):
    times = {"paddle": 2.0, "auto": 1.0, "torch": 3.0, "ncnn": 1.25}
    assert peers.ratio(times) == 0.8
    line = {"case": "net", "minimum": times, "median": times, "ratio": 0.8, "auto": "openvino"}
    row = peers.table([line]).splitlines()[-1]
    assert row == "| net | 2 (2) | 1 (1) openvino | 3 (3) | – | – | – | 1.25 (1.25) | 0.80 |"
