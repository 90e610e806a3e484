"""The GPU check in its CPU mode: every part runs, passes, and fails where something is wrong."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "tools" / "gpu_check"


def check(folder: Path, *arguments: str) -> tuple[int, dict]:
    """Exit code and report of a run."""
    report = folder / "report"
    command = [sys.executable, SCRIPT, "--cpu", "--output", report, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert report.with_suffix(".json").exists(), done.stderr
    return done.returncode, json.loads(report.with_suffix(".json").read_text())


@pytest.mark.slow
def test_every_part_runs_and_passes_on_the_cpu(tmp_path: Path) -> None:
    code, record = check(tmp_path)
    rows = record["rows"]
    failed = [row for row in rows if row["verdict"] == "FAIL"]
    assert failed == []
    assert code == 0
    passed = {(row["part"], row["case"]) for row in rows if row["verdict"] == "pass"}
    assert {("training", f"{name} float32") for name in ("CDDNet", "DRN", "Real-SRResNet", "DRCT")} <= passed
    assert {("ranks", "two ranks"), ("export", "export"), ("export", "inference")} <= passed
    assert {("parity", f"{name} float32") for name in ("HAT", "RRDBNet", "MambaIR")} <= passed
    assert {part for part, _ in passed} == {"parity", "training", "ranks", "export", "upscaling"}
    unrun = {row["case"]: row["note"] for row in rows if row["verdict"] == "not run"}
    assert unrun["DRCT O2"] == "mixed precision needs a GPU"
    assert "| parity | HAT float32 | pass |" in (tmp_path / "report.md").read_text()


def test_no_case_begins_after_the_time_is_over(tmp_path: Path) -> None:
    code, record = check(tmp_path, "--minutes", "0", "--only", "parity")
    assert code == 0
    assert [row["verdict"] for row in record["rows"]] == ["not run"]
    assert "--minutes" in record["rows"][0]["note"]


def test_a_wrong_result_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.syspath_prepend(str(SCRIPT))
    import parts
    from record import Check

    monkeypatch.setattr(parts, "TOLERANCE", {"float32": -1.0})
    run = Check(cpu=True, deadline=float("inf"), folder=tmp_path)
    parts.check_parity(run)
    assert {row.verdict for row in run.rows} == {"FAIL"}
    assert "FAIL" in capsys.readouterr().out
