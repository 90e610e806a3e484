"""The table of benchmarks/peers.py, and what it leaves out."""

import importlib

import pytest


@pytest.fixture
def peers():
    return importlib.import_module("peers")


def test_table_compares_the_best_of_each_side(peers):
    times = {"paddle": 2.0, "auto": 1.0, "torch": 3.0, "ncnn": 1.25}
    assert peers.ratio(times) == 0.8
    line = {"case": "net", "minimum": times, "median": times, "ratio": 0.8, "auto": "openvino"}
    row = peers.table([line]).splitlines()[-1]
    assert row == "| net | 2 (2) | 1 (1) openvino | 3 (3) | – | – | – | 1.25 (1.25) | 0.80 |"
