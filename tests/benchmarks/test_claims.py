"""The runs of benchmarks/claims.py, and their table."""

import importlib
import json
from pathlib import Path

import pytest

from ppsr.config import check_config, load_config


@pytest.fixture
def claims():
    return importlib.import_module("claims")


def test_both_trainings_of_a_claim_differ_by_one_part(claims):
    for name, claim in claims.CLAIMS.items():
        without, added = (load_config(*claims.settings(claim, part)) for part in claims.PARTS)
        for config in (without, added):
            experiment = check_config(config)
            assert sum(experiment.lr_scheduler["periods"]) == experiment.total_iters
        different = {key for key in added if added[key] != without[key]}
        assert different == {"model"}, name


def test_the_table_has_means_spreads_and_differences_of_complete_claims(claims, tmp_path):
    for seed, (off, on) in enumerate([(20.0, 20.5), (21.0, 21.25), (22.0, 21.75)]):
        for part, value in (("without", off), ("with", on)):
            result = {"scores": {"Set5": value}, "hours": 0.25}
            (tmp_path / f"dual_{part}_{seed}.json").write_text(json.dumps(result))
            if seed:
                (tmp_path / f"dense_{part}_{seed}.json").write_text(json.dumps(result))
    rows = claims.table(tmp_path).splitlines()
    (row,) = [row for row in rows if row.startswith("| dual networks")]
    assert row.endswith("| Set5 | 21.00 ± 1.00 | 21.17 ± 0.63 | +0.50, +0.25, -0.25 | 1.50 |")


def test_rows_of_the_page_stay_where_runs_are_missing(claims, tmp_path):
    page = Path("docs/results.md").read_text("utf-8").splitlines()
    rows = claims.table(tmp_path).splitlines()[2:]
    assert rows
    assert all(row in page for row in rows)
