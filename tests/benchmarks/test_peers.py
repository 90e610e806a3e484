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


def test_table_compares_the_best_of_each_side(peers):
    times = {"paddle": 2.0, "auto": 1.0, "torch": 3.0, "ncnn": 1.25}
    assert peers.ratio(times) == 0.8
    line = {"case": "net", "minimum": times, "median": times, "ratio": 0.8, "auto": "openvino"}
    row = peers.table([line]).splitlines()[-1]
    assert row == "| net | 2 (2) | 1 (1) openvino | 3 (3) | – | – | – | 1.25 (1.25) | 0.80 |"
